"""A small storm from end to end, and what is left when its process is killed."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.fault_injection.child_process import ROOT
from tests.proofs import PROVE_ALL

SMALL = ("--sessions", "100", "--consumers", "2", "--rates", "0.3", "--timeout", "2")
# The storm ends by the number of settled sessions, so that a slow machine sees as much of it as a fast one.
QUICK = ("--kill-seconds", "2", "--enough", "0.3", "--storm-seconds", "300")
SECONDS_TO_END = 15


@pytest.fixture
def storm(tmp_path):
    """Start a storm; it is ended with all that it started, however the test ends."""
    command = [sys.executable, "-m", "tests.fault_injection", *SMALL, *QUICK, "--home", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    yield process
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.timeout(600)
def test_storm_loses_doubles_and_miscounts_nothing(storm, tmp_path):
    output, _ = storm.communicate(timeout=580)
    assert storm.returncode == 0, output.decode()
    result = json.loads((tmp_path / "30%" / "result.json").read_text())
    assert result["verdict"] == {"lost": [], "doubled": [], "miscounted": [], "touched": []}
    assert result["faults"]
    assert result["happened"]["killed"]


@pytest.mark.skipif(not PROVE_ALL, reason="make prove")
@pytest.mark.timeout(120)
def test_killed_storm_leaves_no_process(storm, tmp_path):
    consumers_are_up = tmp_path / "30%" / "consumer.log"
    while not consumers_are_up.exists():
        assert storm.poll() is None
        time.sleep(0.1)
    family = psutil.Process(storm.pid).children(recursive=True)
    assert len(family) > 5
    storm.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=SECONDS_TO_END)
    assert not alive
