"""The rules of the window: where a run begins, where it ends, and how far it moves the watermark."""

import pytest

from producer.request import Request
from producer.window import Window, plan
from recon.config import Settings
from recon.domain.run import Trigger
from recon.dynamodb.records import State
from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import NOW

SCHEDULED, MANUAL = Trigger

SETTINGS = Settings("t", "q")
GRACE = 10 * MINUTE
S = NOW


def planned(request=None, covered=None, *, first=None, started=S + 30, settings=SETTINGS):
    state = State(covered_through=covered, first_lookback_start=first)
    return plan(request or Request(SCHEDULED, at=S), settings, started, state)


def test_the_first_scheduled_run_looks_back_as_the_settings_say_and_covers_up_to_the_grace():
    first = planned()
    assert first.window == Window(S - 25 * HOUR, S - GRACE)
    assert (first.covers_through, first.leaves_after, first.warnings) == (S - GRACE, S - GRACE, ())


def test_the_next_one_begins_a_sessions_life_and_a_margin_before_the_watermark():
    assert planned(covered=S - DAY - GRACE).window.start == S - 2 * DAY - 2 * GRACE
    assert planned(covered=S - 30 * MINUTE).window.start == S - 25 * HOUR


def test_after_five_nights_of_outage_the_next_run_covers_all_five():
    late = planned(covered=S - 5 * DAY)
    assert late.window.start == S - 6 * DAY - GRACE
    assert late.covers_through == S - GRACE
    assert late.warnings == ()


def test_after_more_than_thirty_days_it_says_what_nobody_has_covered():
    late = planned(covered=S - 40 * DAY)
    assert late.window.start == S - 30 * DAY
    assert late.covers_through == S - GRACE
    assert "gap" in late.warnings[0]
    assert '"from": "2024-10-17T01:50:00Z", "to": "2024-10-28T02:00:00Z"' in late.warnings[0]


def test_exactly_thirty_days_leave_no_gap():
    late = planned(covered=S - 29 * DAY + 10 * MINUTE)
    assert (late.window.start, late.warnings) == (S - 30 * DAY, ())


def test_until_a_scheduled_run_has_ended_all_go_back_to_where_the_first_began():
    again = planned(first=S - 3 * DAY)
    assert again.window.start == S - 3 * DAY
    assert again.covers_through == S - GRACE


@pytest.mark.parametrize(
    ("request_", "covers"),
    [
        (Request(MANUAL, lookback_hours=1), None),
        (Request(MANUAL, period=(S - 330 * DAY, S - 300 * DAY)), None),
        (Request(MANUAL), S - GRACE),
        (Request(MANUAL, lookback_hours=168), S - GRACE),
    ],
)
def test_a_first_run_by_hand_begins_the_watermark_only_where_a_scheduled_one_could(request_, covers):
    assert planned(request_, started=S).covers_through == covers


def test_an_explicit_lookback_is_taken_exactly_and_covers_nothing_it_did_not_see():
    request = Request(SCHEDULED, at=S, lookback_hours=1)
    explicit = planned(request, covered=S - DAY)
    assert explicit.window.start == S - HOUR
    assert explicit.covers_through is None
    assert planned(Request(SCHEDULED, at=S, lookback_hours=49), covered=S - DAY).covers_through == S - GRACE


def test_a_run_by_hand_takes_its_window_exactly_and_leaves_nothing_to_others():
    by_hand = planned(Request(MANUAL, lookback_hours=1), covered=S - DAY, started=S)
    assert by_hand.window == Window(S - HOUR, S)
    assert (by_hand.covers_through, by_hand.leaves_after) == (None, None)
    assert planned(Request(MANUAL, lookback_hours=72), covered=S - DAY, started=S).covers_through == S - GRACE


def test_a_backfill_of_january_leaves_the_watermark_where_it_is():
    january = (S - 330 * DAY, S - 300 * DAY)
    backfill = planned(Request(MANUAL, period=january), covered=S - DAY)
    assert backfill.window == Window(*january)
    assert backfill.covers_through < S - DAY  # and it moves only forward


def test_nothing_is_covered_that_lies_in_the_future():
    ahead = planned(Request(MANUAL, at=S + DAY, lookback_hours=100), covered=S - DAY, started=S)
    assert ahead.covers_through == S - GRACE


def test_a_run_by_hand_covers_its_window_but_for_the_grace():
    earlier = planned(Request(MANUAL, at=S - HOUR, lookback_hours=100), covered=S - DAY, started=S)
    assert earlier.window.end == S - HOUR
    assert earlier.covers_through == S - HOUR - GRACE


@pytest.mark.parametrize("minutes", [0, 10, 60])
def test_the_grace_is_a_setting(minutes):
    settings = Settings("t", "q", grace_minutes=minutes)
    assert planned(settings=settings).window.end == S - minutes * MINUTE
