"""A small storm from end to end, and what is left when its process dies."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.fault_injection.lifeline import ROOT

SMALL = ("--sessions", "100", "--consumers", "2", "--rates", "0.3", "--timeout", "2")
# Ends by what was done and not by the clock: a slow machine is to see as much of a storm as a fast one.
QUICK = ("--kill-seconds", "2", "--enough", "0.3", "--storm-seconds", "300")
SECONDS_TO_END = 15


@pytest.fixture
def storm(tmp_path):
    """A storm's process; ended with all that it started, however the test ends."""
    started = []

    def begins():
        command = [sys.executable, "-m", "tests.fault_injection", *SMALL, *QUICK, "--home", str(tmp_path)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield begins
    for process in started:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_miscounted_while_three_of_ten_calls_go_wrong(storm, tmp_path):
    process = storm()
    said, _ = process.communicate(timeout=580)
    result = json.loads((tmp_path / "30%" / "result.json").read_text()) if process.returncode == 0 else {}
    assert process.returncode == 0, said.decode()
    assert result["verdict"] == {"lost": [], "doubled": [], "miscounted": [], "touched": []}
    assert result["fired"]
    assert result["happened"]["killed"]


@pytest.mark.timeout(120)
def test_a_storm_that_is_killed_leaves_no_process_behind(storm, tmp_path):
    process = storm()
    consumers_are_up = tmp_path / "30%" / "consumer.log"
    while not consumers_are_up.exists():
        assert process.poll() is None
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 5
    process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=SECONDS_TO_END)
    assert not alive
