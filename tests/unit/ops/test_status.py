"""The problems that `status` finds, and the form in which it shows runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ops.cli.commands import runs as runs_command
from ops.cli.commands.status import Status, show
from ops.cli.screen import CommandResult
from ops.format.money import Money
from ops.runs.history import display_status, past_run, sparkline
from ops.runs.problems import find_problems
from ops.runs.status import Schedule, StatusFacts, find_uncovered_night
from ops.runs.system_state import assess
from recon.dynamodb.records import Failure, Run, Sample
from recon.dynamodb.watermark import FilterPeriod
from recon.timestamps import DAY, parse_epoch

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
NOW_SECONDS = int(NOW.timestamp())
OFF = Schedule(False, "cron(0 2 * * ? *)", "UTC", None)


def ago(**before):
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
MANUAL = replace(RUN, run_id="20261123T070000Z-abc123", trigger="manual")
ONE_HOUR = replace(MANUAL, window_from=ago(hours=2), window_to=ago(hours=1))
OPEN = replace(RUN, status="running", completed_at=None)


def failed_run(error_type, message, attempts=1):
    failure = Failure(error_type, message, "2026-11-23T02:00:09Z", attempts, "8f3c")
    return replace(RUN, status="failed", failure=failure)


def held_run(**amounts):
    record = replace(RECORD, status="held", sample=Sample(7, 2, amounts))
    return past_run(record, int(NOW.timestamp()))


def listing_run(moved_at):
    record = replace(RECORD, status="running", completed_at=None, listed=False)
    return past_run(replace(record, listing_moved_at=parse_epoch(moved_at)), int(NOW.timestamp()))


GOOD = StatusFacts(
    stack="stripe-nightly-sync",
    checked_at=NOW,
    last_run=RUN,
    last_completed_at=ago(hours=6),
    schedule=Schedule(True, "cron(0 2 * * ? *)", "UTC", NOW + timedelta(hours=18)),
    consuming=True,
    waiting=0,
    retrying=0,
    dead=0,
    pending_payments=1,
    covered_through=ago(hours=7),
    ended_night=RUN,
    next_night_due=NOW + timedelta(hours=18),
)


@pytest.mark.parametrize(
    ("changes", "text", "command"),
    [
        ({"dead": 2}, "2 in the dead-letter queue", "dlq list --check"),
        ({"consuming": False}, "paused", "resume"),
        ({"state_overwritten": True}, "another program has overwritten the sync state", "doctor"),
        ({"other_owner": "other"}, "belongs to stack other: every run of this stack", "doctor"),
        (
            {"former_filter": FilterPeriod("a", NOW_SECONDS - 2 * DAY, NOW_SECONDS)},
            "the filter was changed: sessions up to 2026-11-23 08:00 UTC were listed with the earlier one",
            "run --from 2026-11-21T08:00:00Z --to 2026-11-23T08:00:00Z",
        ),
        ({"last_run": replace(RUN, status="failed")}, "failed: its listing stopped", "logs RUN"),
        (
            {"last_run": failed_run("KeyRejected", "Stripe: 401")},
            "run RUN failed: KeyRejected: Stripe: 401; check the Stripe key",
            "doctor",
        ),
        (
            {"last_run": failed_run("NotAllowed", "no permission for dynamodb:Query")},
            "no permission for dynamodb:Query; the producer's role lacks",
            "logs RUN",
        ),
        (
            {"last_run": failed_run("StripeUnavailable", "Stripe: 500", attempts=3)},
            "failed in attempt 3: StripeUnavailable: Stripe: 500",
            "logs RUN",
        ),
        (
            {"last_run": held_run(jpy=700, eur=1250)},
            "Of 7 paid sessions that it looked up, it would have created 2 orders, 12.50 EUR, 700 JPY",
            "doctor",
        ),
        # Open for six hours, which is no second finding
        (
            {"last_run": listing_run("2026-11-23T07:40:00Z")},
            "no progress since 2026-11-23 07:40 UTC, longer than an invocation can last",
            "logs RUN",
        ),
        ({"last_run": replace(OPEN, seconds=4 * 3600 + 1)}, "more than 4 hours", "logs RUN"),
        ({"last_run": replace(RUN, errors=3)}, "3 sessions in run", "show RUN --outcome error"),
        ({"last_run": replace(RUN, drifted=1)}, "1 order in run RUN differs from Stripe", "show RUN --drift"),
        ({"last_run": replace(RUN, drifted=2)}, "2 orders in run RUN differ from Stripe", "show RUN --drift"),
        ({"last_run": replace(RUN, truncated=True)}, "everything", "logs RUN"),
        ({"last_run": replace(RUN, warnings=("no_events: …",))}, "no_events", "logs RUN"),
        ({"missed_starts": 1}, "1 start of the producer failed for good", "runs"),
        ({"covered_through": ago(hours=49, seconds=1)}, "49 hours", "doctor"),
        ({"schedule": OFF}, "schedule is off", "resume"),
        ({"schedule": replace(OFF, deployed_off=True)}, "off (ScheduleState=DISABLED)", "doctor"),
    ],
)
def test_each_problem_is_one_finding_with_a_command(changes, text, command):
    (finding,) = find_problems(replace(GOOD, **changes))
    assert text.replace("RUN", RUN.run_id) in finding.line
    assert finding.command == f"nightly-sync {command.replace('RUN', RUN.run_id)}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"last_run": replace(OPEN, seconds=600), "waiting": 7, "retrying": 3},
        {"last_run": replace(OPEN, seconds=4 * 3600)},
        {"last_run": replace(listing_run("2026-11-23T07:40:01Z"), seconds=1200)},
        {"last_completed_at": None},
        {"covered_through": ago(hours=49)},
        {"covered_through": None},
        {"schedule": OFF, "is_sandbox": True},
    ],
)
def test_normal_operation_has_no_finding(changes):
    assert find_problems(replace(GOOD, **changes)) == ()


def test_short_manual_run_does_not_hide_the_night():
    night = replace(RUN, drifted=1, warnings=("gap: …",))
    assert find_uncovered_night([ONE_HOUR, night]) == night
    findings = find_problems(replace(GOOD, last_run=ONE_HOUR, night=night))
    assert [finding.command.split()[1] for finding in findings] == ["show", "logs"]


@pytest.mark.parametrize(
    ("newest_first", "night"),
    [
        ([MANUAL, RUN], None),
        ([replace(MANUAL, status="failed"), RUN], RUN),
        ([replace(MANUAL, window_from=ago(hours=30)), RUN], RUN),
        ([replace(MANUAL, window_to=ago(hours=7)), RUN], RUN),
        ([replace(MANUAL, completed_at=None, status="running"), RUN], RUN),
        ([RUN], None),
        ([MANUAL], None),
        ([], None),
    ],
)
def test_night_is_covered_by_a_completed_run_of_its_window(newest_first, night):
    assert find_uncovered_night(newest_first) == night


def show_status(context, facts):
    result = CommandResult(None, lambda screen: show(screen, Status(facts, assess(facts))))
    return [" ".join(line.split()) for line in context.show(result).splitlines()]


NIGHT = replace(GOOD, last_night=RUN, recovered=(Money("usd", 1500),), ended_night=RUN)


def test_status_begins_with_the_state_and_what_needs_action(context):
    assert show_status(context, replace(NIGHT, retrying=3, dead=1)) == [
        "Action needed.",
        "1 in the dead-letter queue: paid sessions that were given up",
        "nightly-sync dlq list --check",
        "",
        "stack stripe-nightly-sync",
        "last night 20261123T020000Z success, 5 h 59 min ago, took 1 min",
        "window 10 sessions from 2026-11-22 01:00 to 2026-11-23 01:50 UTC",
        "recovered 1 order, 15.00 USD",
        "skipped 9",
        "errors 0",
        "drift 0",
        "queue 0 waiting, 3 in flight",
        "dead letters 1",
        "awaiting payment 1",
        "covered up to 2026-11-23 01:00 UTC, 7 h ago",
        "next run due in 18 h, 2026-11-24 02:00 UTC (cron(0 2 * * ? *) UTC)",
    ]


def test_status_is_about_the_last_scheduled_run_whatever_ran_since(context):
    manual = replace(ONE_HOUR, completed_at="2026-11-23T07:50:00Z", created=0)
    lines = show_status(context, replace(NIGHT, last_run=manual))
    assert lines[0] == "All is well."
    assert [line for line in lines if "20261123T020000Z" in line or "recovered" in line] == [
        "last night 20261123T020000Z success, 5 h 59 min ago, took 1 min",
        "recovered 1 order, 15.00 USD",
        "since then 20261123T070000Z-abc123 success, 10 min ago, took 1 min; manual, 0 orders recovered",
    ]


def test_status_without_a_scheduled_run_says_so(context):
    lines = show_status(context, replace(GOOD, last_run=MANUAL, last_night=None, ended_night=None))
    assert "last night no scheduled run yet" in lines
    assert any(line.startswith("since then 20261123T070000Z-abc123") for line in lines)


@pytest.mark.parametrize(
    ("money", "unknown", "text"),
    [
        ((), 2, "recovered 2 orders, 2 unknown"),
        ((Money("", 0),), 0, "recovered 2 orders, free"),
        ((Money("usd", 500),), 1, "recovered 2 orders, 5.00 USD, 1 unknown"),
    ],
)
def test_status_tells_free_from_unknown_amounts(context, money, unknown, text):
    night = replace(RUN, created=2)
    facts = replace(NIGHT, last_night=night, recovered=money, recovered_unknown=unknown)
    assert text in show_status(context, facts)


def test_past_run_has_the_status_and_duration_of_its_record():
    statuses = [RECORD, replace(RECORD, errors=1), replace(RECORD, status="running")]
    assert [display_status(run) for run in statuses] == ["success", "completed_with_errors", "running"]
    assert (RUN.seconds, GOOD.watermark_lag_seconds) == (60, 7 * 3600)
    assert past_run(replace(RECORD, completed_at=None), int(NOW.timestamp())).seconds == 6 * 3600
    assert past_run(replace(RECORD, started_at="", completed_at=None), 0).seconds is None


def test_runs_command_shows_one_row_per_run_and_the_trend(context):
    history = runs_command.RunHistory("s", (replace(RUN, created=4), replace(RUN, run_id="older", errors=2)))
    result = CommandResult(None, lambda screen: runs_command.show(screen, history))
    lines = context.show(result).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [RUN.run_id, "older"]
    assert lines[3] == "created  ▃█  oldest to newest, at most 4"
    assert lines[4] == "errors   █▁  oldest to newest, at most 2"


def test_sparkline_scales_to_the_largest_number():
    assert [sparkline(numbers) for numbers in ([0, 1, 2, 7], [0, 0], [])] == ["▁▂▃█", "", ""]
