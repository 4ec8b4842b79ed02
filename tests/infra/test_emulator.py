"""The emulator's process: it is isolated, takes a free port, and reports why it cannot start.

The tests of the demo show that it ends with its user, and that a detached one runs until it is stopped.
"""

import subprocess
import sys

import psutil
import pytest

from testkit.emulator import Emulator, EmulatorError, process
from testkit.emulator.process import answers, stop_detached

pytestmark = pytest.mark.e2e


def test_emulator_runs_inside_the_block_isolated_from_this_shell(tmp_path, monkeypatch):
    shell = {"AWS_ENDPOINT_URL": "http://elsewhere", "AWS_PROFILE": "real", "HTTPS_PROXY": "http://proxy"}
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    with Emulator(tmp_path, environment={"SSL_CERT_FILE": "/certificates"}) as emulator:
        monkeypatch.undo()  # the client in this process is not isolated
        assert emulator.client("sqs").create_queue(QueueName="q")["QueueUrl"].startswith(emulator.url)
        running = psutil.Process(emulator.pid)
        connections = running.net_connections("tcp")
        environment = running.environ()
    listening = {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert not shell.keys() & environment.keys()
    assert environment["SSL_CERT_FILE"] == "/certificates"
    assert not running.is_running()
    assert not answers(emulator.url)
    assert [path.name for path in tmp_path.iterdir()] == ["emulator.log"]


def test_emulator_takes_a_free_port_and_removes_its_temporary_home(monkeypatch):
    with Emulator() as first:
        taken = int(first.url.rpartition(":")[2])
        ports = iter((taken, process.free_port()))
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        with Emulator() as second:
            assert second.url != first.url
            assert second.log_path.exists()
    assert not second.home.exists()


def test_process_that_reuses_the_emulators_pid_is_not_stopped(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        process.note_path(tmp_path).write_text(f'{{"pid": {stranger.pid}, "url": "", "temporary": false}}')
        assert not stop_detached(tmp_path)
        assert stranger.poll() is None


def test_emulator_that_fails_to_start_is_reported_with_its_log(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "clean_environment", lambda files, port: {"GATEWAY_PORT": "none"})
    message = r"(?s)the emulator ended with 1; the end of .*log:\n.*ValueError"
    with pytest.raises(EmulatorError, match=message):
        Emulator(tmp_path).start()
