"""The state that `status` and the report begin with."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ops.format.money import Money
from ops.runs.attention import AttentionGroup, OpenAttention
from ops.runs.history import HeldSample
from ops.runs.status import find_stopped_runs
from ops.runs.system_state import StateLevel, assess
from recon.timestamps import to_iso
from tests.unit.ops.test_status import GOOD, NOW, OFF, RUN, ago, failed_run, listing_run

HELD = replace(
    RUN,
    run_id="held",
    status="held",
    warnings=("unproven: of 9 paid sessions none has an order", "gap: 3 days"),
    sample=HeldSample(9, 9, (Money("eur", 100), Money("usd", 4500))),
)
NO_USER = OpenAttention("cs_live_1", ("no_user_paid",), Money("usd", 1500), None, None, None, "https://s/1")
GROUP = AttentionGroup("no_user_paid", 1, (Money("usd", 1500),), "nightly-sync explain cs_live_1", (NO_USER,))


def night(days, status="done", **changes):
    """Return a scheduled run that began and ended `days` nights ago."""
    start = ago(hours=6, days=days)
    fields = {"run_id": f"night-{days}", "status": "success" if status == "done" else status}
    fields |= {"started_at": to_iso(start.timestamp()), "completed_at": to_iso(start.timestamp() + 60)}
    window = {"window_from": start - timedelta(hours=25), "window_to": start - timedelta(minutes=10)}
    return replace(RUN, **fields | window | changes)


def after(latest, **changes):
    """Return the facts when these are the latest runs, newest first."""
    ended = next((run for run in latest if run.trigger == "scheduled" and run.status == "success"), None)
    due = None if ended is None else NOW - timedelta(days=int(ended.run_id[6:]) - 1, hours=6)
    facts = {
        "last_run": latest[0] if latest else None,
        "ended_night": ended,
        "next_night_due": due,
        "stopped": find_stopped_runs(latest, ended),
    }
    return replace(GOOD, **facts | changes)


def codes(facts):
    return [finding.code for finding in assess(facts).actions]


def test_state_is_fine_after_a_good_night():
    state = assess(GOOD)
    assert (state.level, state.headline, state.actions) == (StateLevel.FINE, "All is well.", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"ended_night": None},
        {"ended_night": night(1), "next_night_due": ago(hours=2, seconds=1)},
        {"ended_night": night(1), "next_night_due": None},
        {"ended_night": replace(RUN, completed_at="unreadable"), "next_night_due": None},
        {"last_run": listing_run("2026-11-23T07:40:00Z")},
        {"stopped": (listing_run("2026-11-23T07:40:00Z"),)},
        {"last_run": HELD},
        {"night": HELD},
        {"stopped": (HELD,)},
        {"stopped": (failed_run("KeyRejected", "Stripe: 401"),)},
        {"state_overwritten": True},
        {"other_owner": "other"},
        {"attention": (GROUP,)},
        {"dead": 1},
        {"missed_starts": 1},
        {"consuming": False},
        {"schedule": OFF},
        {"covered_through": ago(hours=50)},
        {"last_run": replace(RUN, errors=1)},
        {"last_run": replace(RUN, truncated=True)},
        {"last_run": replace(RUN, warnings=("nothing_found: 10 of 10",))},
    ],
)
def test_nothing_of_this_is_fine(changes):
    state = assess(replace(GOOD, **changes))
    assert state.level is not StateLevel.FINE
    assert state.headline != "All is well."
    assert state.actions


@pytest.mark.parametrize(
    ("ended", "headline"),
    [
        (night(0), "No scheduled run has ended since 02:01 UTC."),
        (night(1), "No scheduled run has ended since Sunday."),
        (night(6), "No scheduled run has ended since Tuesday."),
        (night(7), "No scheduled run has ended since 2026-11-16."),
        (None, "No scheduled run has ended yet."),
    ],
)
def test_headline_names_the_day_of_the_last_scheduled_run(ended, headline):
    late = replace(GOOD, ended_night=ended, next_night_due=ago(hours=3))
    assert (assess(late).level, assess(late).headline) == (StateLevel.NO_RUN, headline)


def test_five_nights_without_a_run_are_no_news_whatever_ran_manually():
    manual = replace(night(0), run_id="manual", trigger="manual")
    state = assess(after([manual, night(5)], last_completed_at=ago(hours=1)))
    assert (state.level, state.headline) == (StateLevel.NO_RUN, "No scheduled run has ended since Wednesday.")
    assert state.actions[0].what.endswith("(run night-5, 2026-11-18 02:01 UTC)")
    assert state.actions[0].command == "nightly-sync doctor"


def test_three_failed_nights_name_the_count_and_the_newest_cause():
    failed = [night(days, "failed") for days in range(3)]
    facts = after([*failed, night(3)])
    assert codes(facts) == ["no_scheduled_run", "run_failed"]
    missing, cause = assess(facts).actions
    assert "3 runs since then did not succeed" in missing.what
    assert missing.command == "nightly-sync runs"
    assert cause.what.startswith("run night-0 failed")


def test_failure_of_an_earlier_night_is_named_while_the_next_one_runs():
    running = night(0, "running", completed_at=None)
    assert codes(after([running, night(1, "held"), night(2)])) == ["no_scheduled_run", "run_held"]


def test_failure_that_a_later_run_covers_is_over():
    backfill = replace(night(0), run_id="manual", trigger="manual", window_from=ago(days=9))
    assert find_stopped_runs([backfill, night(0, "failed"), night(1)], night(1)) == ()
    short = replace(backfill, window_from=ago(hours=3))
    assert find_stopped_runs([short, night(0, "failed"), night(1)], night(1)) == (night(0, "failed"),)


def test_run_is_missed_two_hours_after_it_was_due():
    assert assess(replace(GOOD, next_night_due=ago(hours=2))).level is StateLevel.FINE
    assert assess(replace(GOOD, next_night_due=ago(hours=2, seconds=1))).level is StateLevel.NO_RUN


def test_run_is_missed_after_26_hours_if_the_schedule_does_not_tell():
    ended = replace(RUN, completed_at=to_iso(ago(hours=26).timestamp()))
    assert assess(replace(GOOD, ended_night=ended, next_night_due=None)).level is StateLevel.FINE
    ended = replace(RUN, completed_at=to_iso(ago(hours=26, seconds=1).timestamp()))
    assert assess(replace(GOOD, ended_night=ended, next_night_due=None)).level is StateLevel.NO_RUN


def test_weekly_schedule_is_fine_between_its_runs():
    week = {"ended_night": night(4), "next_night_due": NOW + timedelta(days=3)}
    covered = ago(days=4, hours=6, minutes=10)
    assert assess(replace(GOOD, **week, covered_through=covered)).level is StateLevel.FINE
    assert codes(replace(GOOD, **week, covered_through=ago(days=6))) == ["watermark_old"]


def test_first_night_that_is_still_to_come_says_when_it_is_due():
    (only,) = assess(after([])).actions
    assert only.what == "no scheduled run has ended yet; the next one is due 2026-11-24 02:00 UTC"
    assert only.command == "nightly-sync run --dry-run"


def test_held_run_is_one_action_with_its_money():
    hold, gap = assess(replace(GOOD, last_run=HELD)).actions
    assert (hold.code, gap.code) == ("run_held", "gap")
    assert hold.what == (
        "run held was held: unproven: of 9 paid sessions none has an order. "
        "Of 9 paid sessions that it looked up, it would have created 9 orders"
    )
    assert hold.money == (Money("eur", 100), Money("usd", 4500))


def test_action_links_to_the_session_or_the_runbook():
    facts = replace(GOOD, attention=(GROUP,), dead=1, state_overwritten=True)
    links = {one.code: one.url for one in assess(facts).actions}
    assert links == {"no_user_paid": "https://s/1", "dead_letters": None, "state_overwritten": None}
    with_runbook = replace(facts, runbook_url="https://docs/runbook.md")
    links = {one.code: one.url for one in assess(with_runbook).actions}
    assert links["dead_letters"] == "https://docs/runbook.md#dead-letters"
    assert links["no_user_paid"] == "https://s/1"
