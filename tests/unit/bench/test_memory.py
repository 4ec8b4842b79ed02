"""The section on memory: what it makes of its measurements, and which it makes."""

import subprocess
import sys

import pytest

from bench import lambda_process
from bench.memory import SIZES, Peak, find_missed, peaks_table, sizes

TOO_HIGH = "the producer, 25 sessions: 201 MB, of 200 at most"
GROWING = "the producer, 100,000 sessions: 10.0 MB for the second half, of 8 at most"


def make_peak(sessions=100_000, half=78, highest=80):
    return Peak("producer", sessions, 3, 50, half, highest)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({}, ()),
        ({"half": None, "highest": 200}, ()),
        ({"sessions": SIZES[0], "half": 70}, ()),
        ({"sessions": 25, "half": None, "highest": 201}, (TOO_HIGH,)),
        ({"half": 70}, (GROWING,)),
    ],
)
def test_peak_above_a_limit_is_missed(changes, messages):
    assert find_missed([make_peak(**changes)]) == messages


def test_table_has_a_row_for_each_measurement():
    assert "| producer | 100,000 | 3 | 50 MB | 80.0 MB | 2.0 MB |" in peaks_table([make_peak()])


@pytest.mark.parametrize(("volume", "expected"), [("", SIZES), ("1000000", (*SIZES, 1_000_000))])
def test_volume_variable_adds_a_size(monkeypatch, volume, expected):
    monkeypatch.setenv("VOLUME", volume)
    assert sizes() == expected


def test_peak_memory_excludes_the_parent_process():
    large = b"x" * (200 * 1024 * 1024)
    program = f"import runpy; print(runpy.run_path({lambda_process.__file__!r})['peak_mb']())"
    command = [sys.executable, "-I", "-S", "-c", program]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 2 < float(output) < 100 < len(large) / 1024 / 1024 < lambda_process.peak_mb()
