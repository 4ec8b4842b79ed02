"""The section on cold starts: what it makes of its measurements."""

import pytest

from bench.cold import ROUNDS, missed, one_round, times
from bench.cold_start import BARE, CONSUMER, PRODUCER, Start
from bench.functions import ProcessReport


def told(cpu=1.0, peak_mb=100.0, wall=2.0):
    return ProcessReport(wall=wall, cpu=cpu, peak_mb=peak_mb, modules=[], answer=None)


def a_round(**changes):
    starts = {
        BARE: Start(told()),
        PRODUCER: Start(told(), told()),
        CONSUMER: Start(told(0.5, 50), told(0.1, 60)),
    }
    return starts | changes


def rounds(**changes):
    return [a_round(**changes) for _ in range(ROUNDS)]


def test_nothing_is_missed_at_the_limit():
    assert missed(rounds(producer=Start(told(1.35), told(peak_mb=135)))) == ()


@pytest.mark.parametrize(
    ("kind", "start", "what"),
    [
        (PRODUCER, Start(told(1.4), told()), "the producer's CPU time at a cold start is 1.4"),
        (PRODUCER, Start(told(), told(peak_mb=140)), "the producer's peak memory at a cold start is 1.40"),
        (CONSUMER, Start(told(0.96), told(peak_mb=60)), "the consumer's CPU time at a cold start is 0.96"),
        (
            CONSUMER,
            Start(told(0.5, 50), told(peak_mb=96)),
            "the consumer's peak memory at a cold start is 0.9",
        ),
    ],
)
def test_what_is_above_its_limit_is_missed_with_the_first_event_in_the_memory(kind, start, what):
    [sentence] = missed(rounds(**{kind: start}))
    assert sentence.startswith(what)


def test_a_few_slow_starts_are_no_miss():
    some = rounds(consumer=Start(told(9.0), told()))[:5] + rounds()[5:]
    assert missed(some) == ()


def test_the_time_by_the_clock_is_told_and_not_judged():
    slow = rounds(consumer=Start(told(0.5, 50, wall=8.0), told(peak_mb=60)))
    assert missed(slow) == ()
    assert "| 8000 ms | 4.00 (4.00 to 4.00) |" in times(slow)


def test_every_other_round_goes_backwards():
    order = []
    for number in range(4):
        one_round(order.append, number)
    there = [BARE, PRODUCER, CONSUMER]
    assert order == [*there[::-1], *there, *there[::-1], *there]
