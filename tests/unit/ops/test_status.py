"""What of the facts needs a person."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.runs.history import past_run, sparkline, status_of
from ops.runs.status import Facts, Schedule, find_problems, last_night
from recon.dynamodb.records import Failure, Run
from recon.timestamps import parse_epoch, to_iso

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def moment(**before):
    return NOW - timedelta(**before)


RECORD = Run(
    run_id="20261123T020000Z",
    trigger="scheduled",
    started_at="2026-11-23T02:00:00Z",
    lookback_hours=25,
    lookback_start=parse_epoch("2026-11-22T01:00:00Z"),
    lookback_end=parse_epoch("2026-11-23T01:50:00Z"),
    status="done",
    completed_at="2026-11-23T02:01:00Z",
    listed=True,
    enqueued=10,
    processed=10,
    created=1,
    skipped=9,
)
RUN = past_run(RECORD, int(NOW.timestamp()))
MORNING = int(NOW.timestamp())
OPEN = replace(RECORD, status="running", completed_at=None, listed=False)


def failed_run(error_type, message, attempts=1):
    failure = Failure(error_type, message, "2026-11-23T02:00:09Z", attempts, "8f3c")
    return past_run(replace(RECORD, status="failed", failure=failure), MORNING)


GOOD = Facts(
    stack="stripe-nightly-sync",
    checked_at=NOW,
    last_run=RUN,
    last_completed_at=moment(hours=6),
    schedule=Schedule(True, "cron(0 2 * * ? *)", "UTC", NOW + timedelta(hours=18)),
    consuming=True,
    waiting=0,
    retrying=0,
    dead=0,
    pending_payments=1,
    covered_through=moment(hours=7),
)


def test_a_good_night_needs_nobody():
    assert find_problems(GOOD) == ()


def test_work_in_progress_needs_nobody():
    running = replace(RUN, status="running", completed_at=None, seconds=600)
    assert find_problems(replace(GOOD, last_run=running, waiting=7, retrying=3)) == ()


@pytest.mark.parametrize(
    ("facts", "word", "command"),
    [
        ({"dead": 2}, "dead-letter queue", "dlq list --check"),
        ({"consuming": False}, "paused", "resume"),
        ({"last_run": None, "last_completed_at": None}, "no run yet", "run --dry-run"),
        ({"last_run": replace(RUN, status="failed")}, "failed", "logs 20261123T020000Z"),
        (
            {"last_run": replace(RUN, status="running", seconds=4 * 3600 + 1)},
            "more than 4 hours",
            "logs 20261123T020000Z",
        ),
        (
            {"last_run": failed_run("KeyRejected", "Stripe: AuthenticationError (status 401)")},
            "failed: KeyRejected: Stripe: AuthenticationError (status 401); check the Stripe key",
            "doctor",
        ),
        (
            {
                "last_run": failed_run(
                    "NotAllowed", "DynamoDB: Query: denied: no permission for dynamodb:Query"
                )
            },
            "no permission for dynamodb:Query; the producer's role lacks",
            "logs 20261123T020000Z",
        ),
        (
            {"last_run": failed_run("StripeUnavailable", "Stripe: APIError (status 500)", attempts=3)},
            "failed in attempt 3: StripeUnavailable: Stripe: APIError (status 500)",
            "logs 20261123T020000Z",
        ),
        (
            {
                "last_run": past_run(
                    replace(OPEN, listing_moved_at=parse_epoch("2026-11-23T07:40:00Z")), MORNING
                )
            },
            "no progress since 2026-11-23 07:40 UTC, longer than an invocation can last",
            "logs 20261123T020000Z",
        ),
        ({"last_run": replace(RUN, errors=3)}, "3 of", "show 20261123T020000Z --outcome error"),
        ({"last_run": replace(RUN, drifted=1)}, "something else", "show 20261123T020000Z --drift"),
        ({"last_run": replace(RUN, truncated=True)}, "everything", "logs 20261123T020000Z"),
        ({"last_run": replace(RUN, warnings=("no_events: …",))}, "no_events", "logs 20261123T020000Z"),
        ({"last_completed_at": moment(hours=26, seconds=1)}, "26 hours", "run"),
        ({"last_completed_at": None}, "26 hours", "run"),
        ({"covered_through": moment(hours=49, seconds=1)}, "49 hours", "doctor"),
        ({"schedule": Schedule(False, "cron(0 2 * * ? *)", "UTC", None)}, "schedule is off", "resume"),
    ],
)
def test_each_trouble_is_one_finding_with_the_command_to_begin_with(facts, word, command):
    (finding,) = find_problems(replace(GOOD, **facts))
    assert word in finding.what
    assert finding.command == f"nightly-sync {command}"


@pytest.mark.parametrize(
    "facts",
    [
        {"last_completed_at": moment(hours=26)},
        {"covered_through": moment(hours=49)},
        {"covered_through": None},
        {"last_run": replace(RUN, status="running", completed_at=None, seconds=4 * 3600)},
    ],
)
def test_the_limits_are_still_fine(facts):
    assert find_problems(replace(GOOD, **facts)) == ()


def test_a_run_that_still_moves_needs_nobody():
    moving = past_run(replace(OPEN, listing_moved_at=parse_epoch("2026-11-23T07:40:01Z")), MORNING)
    assert find_problems(replace(GOOD, last_run=replace(moving, seconds=1200))) == ()
    assert not moving.needs_attention


def test_a_stalled_run_is_said_once_however_long_it_has_been_open():
    stalled = past_run(replace(OPEN, listing_moved_at=parse_epoch("2026-11-23T02:00:00Z")), MORNING)
    assert stalled.seconds > 4 * 3600
    assert len(find_problems(replace(GOOD, last_run=stalled))) == 1
    assert stalled.needs_attention


def by_hand(**changes):
    return replace(RUN, run_id="20261123T070000Z-abc123", trigger="manual", **changes)


def test_a_run_by_hand_for_an_hour_makes_no_bad_night_good():
    night = replace(RUN, drifted=1, warnings=("gap: …",))
    hour = by_hand(window_from=moment(hours=2), window_to=moment(hours=1))
    assert last_night([hour, night]) == night
    told = find_problems(replace(GOOD, last_run=hour, night=last_night([hour, night])))
    assert [finding.command.split()[1] for finding in told] == ["show", "logs"]


def test_a_run_by_hand_over_the_same_time_takes_its_place():
    assert last_night([by_hand(), RUN]) is None
    assert last_night([by_hand(status="failed"), RUN]) == RUN
    assert last_night([by_hand(completed_at=None, status="running"), RUN]) == RUN


def test_the_newest_run_is_told_of_anyway():
    assert last_night([RUN]) is None
    assert last_night([]) is None
    assert last_night([by_hand()]) is None


def test_a_sandbox_is_started_by_hand():
    off = Schedule(False, "cron(0 2 * * ? *)", "UTC", None)
    assert find_problems(replace(GOOD, schedule=off, is_sandbox=True)) == ()


def test_the_lag_is_how_old_the_watermark_is():
    assert GOOD.watermark_lag_seconds == 7 * 3600
    assert replace(GOOD, covered_through=None).watermark_lag_seconds is None


def test_a_done_run_with_errors_is_no_success():
    assert status_of(RECORD) == "success"
    assert status_of(replace(RECORD, errors=1)) == "completed_with_errors"
    assert status_of(replace(RECORD, status="running")) == "running"


def test_an_open_run_has_taken_as_long_as_it_is_open():
    assert RUN.seconds == 60
    assert past_run(replace(RECORD, completed_at=None), int(NOW.timestamp())).seconds == 6 * 3600
    assert past_run(replace(RECORD, started_at="", completed_at=None), 0).seconds is None


def test_a_trend_has_a_bar_for_each_number():
    assert sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert sparkline([0, 0]) == ""
    assert sparkline([]) == ""
    assert to_iso(parse_epoch(RECORD.started_at)) == RECORD.started_at
