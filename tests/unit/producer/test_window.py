"""The rules of the window: where a run starts, where it ends, and how far it moves the watermark."""

import pytest

from producer.request import Request
from producer.window import Plan, Window, plan
from recon.config import Settings
from recon.domain.run import Trigger
from recon.dynamodb.watermark import Watermark
from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import NOW as S

SCHEDULED, MANUAL = Trigger
NIGHTLY = Request(SCHEDULED, at=S)
GRACE = 10 * MINUTE
THROUGH = S - GRACE
JANUARY = (S - 330 * DAY, S - 300 * DAY)


def plan_run(request=NIGHTLY, covered=None, *, first=None, started=S + 30, grace_minutes=10):
    settings = Settings("t", "q", grace_minutes=grace_minutes)
    return plan(request, settings, started, Watermark(covered, first))


@pytest.mark.parametrize(
    ("covered", "first", "start"),
    [
        # At first a session's life and the margin before the lookback.
        (None, None, S - 49 * HOUR - 10 * MINUTE),
        # Before the first scheduled run is done, each starts where that one did.
        (None, S - 3 * DAY, S - 3 * DAY),
        # A session's life and the margin before the watermark, or the lookback if it is longer.
        (S - DAY - GRACE, None, S - 2 * DAY - 2 * GRACE),
        (S - 30 * MINUTE, None, S - 25 * HOUR),
        (S - 5 * DAY, None, S - 6 * DAY - GRACE),
        (S - 29 * DAY + 10 * MINUTE, None, S - 30 * DAY),
    ],
)
def test_scheduled_run_starts_at_its_lookback_or_before_the_watermark(covered, first, start):
    assert plan_run(covered=covered, first=first) == Plan(Window(start, THROUGH), THROUGH, THROUGH)


def test_outage_of_more_than_thirty_days_is_a_gap():
    late = plan_run(covered=S - 40 * DAY)
    assert (late.window.start, late.covers_through) == (S - 30 * DAY, THROUGH)
    [gap] = late.warnings
    assert gap.startswith("gap: no run has covered the time since 2024-10-17T01:50:00Z")
    assert '{"from": "2024-10-17T01:50:00Z", "to": "2024-10-28T02:00:00Z"}' in gap


@pytest.mark.parametrize("minutes", [0, 10, 60])
def test_grace_is_a_setting(minutes):
    assert plan_run(grace_minutes=minutes).window.end == S - minutes * MINUTE


@pytest.mark.parametrize(
    ("request_", "covers"),
    [
        (Request(MANUAL, lookback_hours=1), None),
        (Request(MANUAL, period=JANUARY), None),
        (Request(MANUAL, lookback_hours=49), None),
        (Request(MANUAL, lookback_hours=50), THROUGH),
    ],
)
def test_first_manual_run_sets_the_watermark_if_it_reaches_far_enough(request_, covers):
    assert plan_run(request_, started=S).covers_through == covers


@pytest.mark.parametrize(
    ("request_", "window", "covers", "defers"),
    [
        (Request(SCHEDULED, at=S, lookback_hours=1), (S - HOUR, THROUGH), None, THROUGH),
        (Request(SCHEDULED, at=S, lookback_hours=49), (S - 49 * HOUR, THROUGH), THROUGH, THROUGH),
        (Request(MANUAL, lookback_hours=1), (S - HOUR, S), None, None),
        (Request(MANUAL, lookback_hours=72), (S - 72 * HOUR, S), THROUGH, None),
        # A manual run covers its window except for the grace period, and never the future.
        (
            Request(MANUAL, at=S - HOUR, lookback_hours=100),
            (S - 101 * HOUR, S - HOUR),
            THROUGH - HOUR,
            None,
        ),
        (Request(MANUAL, at=S + DAY, lookback_hours=100), (S - 76 * HOUR, S + DAY), THROUGH, None),
        # The watermark only moves forward, so this leaves it.
        (Request(MANUAL, period=JANUARY), JANUARY, JANUARY[1] - GRACE, None),
    ],
)
def test_explicit_window_is_used_exactly(request_, window, covers, defers):
    planned = plan_run(request_, covered=S - DAY, started=S)
    assert planned == Plan(Window(*window), covers, defers)


@pytest.mark.parametrize(
    ("confirms", "hours", "start"),
    [(False, None, S + 30 - 25 * HOUR), (True, None, S + 30 - 5 * DAY), (True, 1, S + 30 - HOUR)],
)
def test_run_that_confirms_a_table_does_what_was_held_unless_it_names_a_window(confirms, hours, start):
    request = Request(MANUAL, lookback_hours=hours, confirm_empty=confirms)
    covered = S + 30 - 4 * DAY + 10 * MINUTE
    assert plan_run(request, covered=covered).window.start == start


def test_gap_and_first_window_reach_back_to_the_very_second():
    assert plan_run(covered=S - 29 * DAY + GRACE).warnings == ()
    [gap] = plan_run(covered=S - 29 * DAY + GRACE - 1).warnings
    assert gap == (
        "gap: no run has covered the time since 2024-10-28T01:59:59Z, and a scheduled run looks back at most "
        '30 days; start a manual run with {"from": "2024-10-28T01:59:59Z", "to": "2024-10-28T02:00:00Z"}'
    )


def test_run_after_a_hold_reaches_further_back_and_only_an_old_watermark_asks_for_one():
    def start(covered, *answers):
        held = iter(answers)
        return plan(NIGHTLY, Settings("t", "q"), S + 30, Watermark(covered), lambda: next(held)).window.start

    assert start(S - 40 * DAY, True) == S - 41 * DAY - GRACE
    assert start(S - 40 * DAY, False) == S - 30 * DAY
    assert start(S - 29 * DAY + GRACE) == S - 30 * DAY


def test_manual_run_of_the_longest_first_window_sets_the_watermark():
    month = Settings("t", "q", lookback_hours=720)
    assert plan(Request(MANUAL, lookback_hours=720), month, S, Watermark()).covers_through == THROUGH
