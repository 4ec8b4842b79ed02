"""The emulator's process: it starts, reports why it cannot, and never outlives its user."""

import subprocess
import sys
import time

import psutil
import pytest

from infra.build import ROOT
from testkit.emulator import Emulator, EmulatorError, process
from testkit.emulator.process import answers, stop_detached

pytestmark = pytest.mark.e2e


def list_group(pid):
    """Return every living process that the emulator leads, workers included."""
    return [found for found in psutil.process_iter() if leads(pid, found)]


def leads(pid, found):
    try:
        group = {found.pid, *(parent.pid for parent in found.parents())}
        return found.status() != psutil.STATUS_ZOMBIE and pid in group
    except psutil.NoSuchProcess:
        return False


def wait_for_end(pid):
    deadline = time.monotonic() + 5
    while list_group(pid):
        assert time.monotonic() < deadline, "the emulator is still running"
        time.sleep(0.05)


def test_emulator_runs_inside_the_block_isolated_from_this_shell(tmp_path, monkeypatch):
    shell = {"AWS_ENDPOINT_URL": "http://elsewhere", "AWS_PROFILE": "real", "HTTPS_PROXY": "http://proxy"}
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    with Emulator(tmp_path, environment={"SSL_CERT_FILE": "/certificates"}) as emulator:
        monkeypatch.undo()  # the client in this process is not isolated
        assert emulator.client("sqs").create_queue(QueueName="q")["QueueUrl"].startswith(emulator.url)
        running = psutil.Process(emulator.pid)
        listening = [
            connection.laddr.ip
            for connection in running.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
        environment = running.environ()
    assert set(listening) == {"127.0.0.1"}
    assert not shell.keys() & environment.keys()
    assert environment["SSL_CERT_FILE"] == "/certificates"
    assert not list_group(emulator.pid)
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


def test_emulator_ends_with_a_killed_parent(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from testkit.emulator import Emulator;"
        f"print(Emulator(Path({str(tmp_path)!r})).start().pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert list_group(pid)
        parent.kill()
    wait_for_end(pid)


def test_detached_emulator_runs_until_another_process_stops_it(tmp_path):
    program = (
        "from pathlib import Path; from testkit.emulator import Emulator;"
        f"e = Emulator(Path({str(tmp_path)!r})).start(detached=True); print(e.pid, e.url)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    pid, url = done.stdout.split()
    try:
        assert answers(url)
    finally:
        assert stop_detached(tmp_path)
    wait_for_end(int(pid))
    assert not stop_detached(tmp_path)


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
