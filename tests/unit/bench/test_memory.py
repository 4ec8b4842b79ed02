"""The section on memory: what it makes of its measurements, and which it makes."""

import subprocess
import sys

import pytest

from bench import lambda_process
from bench.memory import SIZES, Peak, missed, peaks_table, sizes


def a_peak(**changes):
    facts = {"what": "producer", "sessions": 100_000, "invocations": 3, "made": 50, "half": 78, "highest": 80}
    return Peak(**facts | changes)


def test_a_flat_run_below_the_limit_misses_nothing():
    assert missed([a_peak(), a_peak(half=None, highest=200)]) == ()


def test_too_much_is_missed_at_any_size():
    [sentence] = missed([a_peak(sessions=25, half=None, highest=201)])
    assert sentence == "the producer, 25 sessions: 201 MB, of 200 at most"


def test_growing_to_the_end_is_missed():
    [sentence] = missed([a_peak(half=70)])
    assert sentence == "the producer, 100,000 sessions: 10.0 MB for the second half, of 8 at most"


def test_the_smallest_size_may_still_grow():
    assert missed([a_peak(sessions=SIZES[0], half=70)]) == ()


def test_each_measurement_is_a_row():
    assert "| producer | 100,000 | 3 | 50 MB | 80.0 MB | 2.0 MB |" in peaks_table([a_peak()])


@pytest.mark.parametrize(("volume", "asked"), [(None, SIZES), ("1000000", (*SIZES, 1_000_000))])
def test_a_volume_is_measured_on_demand(monkeypatch, volume, asked):
    monkeypatch.delenv("VOLUME", raising=False)
    if volume:
        monkeypatch.setenv("VOLUME", volume)
    assert sizes() == asked


def test_peak_memory_is_the_processes_own_and_not_that_of_the_one_that_started_it():
    large = b"x" * (200 * 1024 * 1024)
    program = f"import runpy; print(runpy.run_path({lambda_process.__file__!r})['peak_mb']())"
    command = [sys.executable, "-I", "-S", "-c", program]
    its_own = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 2 < float(its_own) < 100 < len(large) / 1024 / 1024 < lambda_process.peak_mb()
