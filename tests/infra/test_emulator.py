"""The emulator's process: quick to start, clear when it cannot, and never left behind."""

import subprocess
import sys
import time

import psutil
import pytest

from infra.build import ROOT
from testkit.emulator import Emulator, EmulatorError, process
from testkit.emulator.process import answers, stop_detached

pytestmark = pytest.mark.e2e


def group_of(pid):
    """Every living process that the emulator leads, workers included."""
    return [found for found in psutil.process_iter() if leads(pid, found)]


def leads(pid, found):
    try:
        return found.status() != psutil.STATUS_ZOMBIE and pid in {
            found.pid,
            *(p.pid for p in found.parents()),
        }
    except psutil.NoSuchProcess:
        return False


def test_emulator_answers_inside_the_block_and_is_gone_after_it(tmp_path):
    with Emulator(tmp_path) as emulator:
        assert emulator.client("sqs").create_queue(QueueName="q")["QueueUrl"].startswith(emulator.url)
        assert group_of(emulator.pid)
    assert not group_of(emulator.pid)
    assert not answers(emulator.url)
    assert [path.name for path in tmp_path.iterdir()] == ["emulator.log"]


def test_temporary_home_is_removed():
    with Emulator() as emulator:
        assert emulator.log_path.exists()
    assert not emulator.home.exists()


def test_emulator_listens_on_this_machine_only():
    with Emulator() as emulator:
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(emulator.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert set(listening) == {"127.0.0.1"}


def test_functions_inherit_no_variable_of_this_shell(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    monkeypatch.setenv("AWS_PROFILE", "real")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    with Emulator(environment={"SSL_CERT_FILE": "/certificates"}) as emulator:
        seen = psutil.Process(emulator.pid).environ()
    assert not {"AWS_ENDPOINT_URL", "AWS_PROFILE", "HTTPS_PROXY"} & set(seen)
    assert seen["SSL_CERT_FILE"] == "/certificates"


def test_emulator_ends_with_a_parent_that_is_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from testkit.emulator import Emulator;"
        f"print(Emulator(Path({str(tmp_path)!r})).start().pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        assert group_of(pid)
        parent.kill()
    wait_for_end(pid)


def test_detached_emulator_outlives_its_starter_until_another_process_stops_it(tmp_path):
    program = (
        "from pathlib import Path; from testkit.emulator import Emulator;"
        f"e = Emulator(Path({str(tmp_path)!r})).start(detached=True); print(e.pid, e.url)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pid, url = done.stdout.split()
    try:
        assert answers(url)
    finally:
        assert stop_detached(tmp_path)
    wait_for_end(int(pid))
    assert not stop_detached(tmp_path)


def test_a_process_number_that_belongs_to_somebody_else_by_now_is_left_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        process.note_path(tmp_path).write_text(f'{{"pid": {stranger.pid}, "url": "", "temporary": false}}')
        assert not stop_detached(tmp_path)
        assert stranger.poll() is None


def wait_for_end(pid):
    deadline = time.monotonic() + 5
    while group_of(pid):
        assert time.monotonic() < deadline, "the emulator is still there"
        time.sleep(0.05)


def test_an_emulator_that_ends_at_once_is_reported_with_its_log(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "clean_environment", lambda files, port: {"GATEWAY_PORT": "none"})
    with pytest.raises(
        EmulatorError, match=r"(?s)the emulator ended with 1; the end of .*log:\n.*ValueError"
    ):
        Emulator(tmp_path).start()


def test_another_port_is_taken_when_the_first_is_gone(monkeypatch):
    with Emulator() as first:
        taken = int(first.url.rpartition(":")[2])
        ports = iter((taken, process.free_port()))
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        with Emulator() as second:
            assert second.url != first.url
