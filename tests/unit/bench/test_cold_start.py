"""The section on cold starts: what it makes of its measurements."""

import pytest

from bench.cold_start import BARE, CONSUMER, PRODUCER, ROUNDS, ColdStart, find_missed, run_round, times_table
from bench.functions import ProcessReport


def report(cpu=1.0, peak_mb=100.0, wall=2.0):
    return ProcessReport(wall=wall, cpu=cpu, peak_mb=peak_mb, modules=[], answer=None)


def rounds(**changes):
    starts = {
        BARE: ColdStart(report()),
        PRODUCER: ColdStart(report(), report()),
        CONSUMER: ColdStart(report(0.5, 50), report(0.1, 60)),
    }
    return [starts | changes] * ROUNDS


@pytest.mark.parametrize(
    ("kind", "cpu", "peak_mb", "message"),
    [
        (PRODUCER, 1.4, 100, "the producer's CPU time at a cold start is 1.4"),
        (PRODUCER, 1.0, 140, "the producer's peak memory at a cold start is 1.40"),
        (CONSUMER, 0.96, 60, "the consumer's CPU time at a cold start is 0.96"),
        (CONSUMER, 0.5, 96, "the consumer's peak memory at a cold start is 0.9"),
    ],
)
def test_figure_above_its_limit_is_missed(kind, cpu, peak_mb, message):
    """The peak memory is that after the first event."""
    [sentence] = find_missed(rounds(**{kind: ColdStart(report(cpu, 50), report(peak_mb=peak_mb))}))
    assert sentence.startswith(message)


def test_figures_at_their_limits_are_not_missed():
    assert find_missed(rounds(producer=ColdStart(report(1.35), report(peak_mb=135)))) == ()


def test_few_slow_starts_are_not_missed():
    assert find_missed(rounds(consumer=ColdStart(report(9.0), report()))[:5] + rounds()[5:]) == ()


def test_wall_clock_time_is_shown_without_a_limit():
    slow = rounds(consumer=ColdStart(report(0.5, 50, wall=8.0), report(peak_mb=60)))
    assert find_missed(slow) == ()
    assert "| 8000 ms | 4.00 (4.00 to 4.00) |" in times_table(slow)


def test_every_other_round_is_reversed():
    order = []
    for number in range(4):
        run_round(order.append, number)
    forward = [BARE, PRODUCER, CONSUMER]
    assert order == [*forward[::-1], *forward] * 2
