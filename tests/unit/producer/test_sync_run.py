"""A run across its invocations: what it does with other runs, when it ends, and what it warns of."""

import pytest

from producer.request import Continuation
from recon.dynamodb.records import State
from recon.dynamodb.runs import LISTING_STALE_SECONDS
from recon.dynamodb.watermark import Watermark
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, TABLE
from testkit.listings import END, HOUR, START, a_run
from testkit.world import wire


def test_stale_runs_are_closed_and_logged(harness):
    begun = {"trigger": "scheduled", "status": "running", "syncStartedAt": to_iso(NOW - HOUR)}
    stale = NOW - LISTING_STALE_SECONDS
    harness.put("SYSTEM", "STRIPE_ORDER_SYNC#20241101-dead", **begun, listed=False, listingMovedAt=stale)
    harness.put("SYSTEM", "STRIPE_ORDER_SYNC#20241102-done", **begun, listed=True, enqueued=3, processed=3)
    harness.put("SYSTEM", "STRIPE_ORDER_SYNC#20241103-open", **begun, listed=True, enqueued=3, processed=2)
    harness.put("SYSTEM", "STRIPE_ORDER_SYNC", lastSyncRunId="20241103-open")
    harness.begin()
    lines, metrics = harness.read_output()
    statuses = [harness.record(f"2024110{n}")["status"] for n in ("1-dead", "2-done", "3-open")]
    assert statuses == ["failed", "done", "running"]
    assert lines[:2] == [
        ("ERROR", "Run failed: its listing stopped before the end of its window", "20241101-dead"),
        ("INFO", "Sync completed: processed=3, created=0, skipped=0, errors=0", "20241102-done"),
    ]
    # The complete one, and this run, which had nothing to do.
    assert (metrics["RunsCompleted"], metrics["RunSeconds"]) == ([1, 1], [HOUR, 0])
    assert metrics["OpenRunSeconds"] == [HOUR]


def test_run_that_returns_late_does_not_fail_itself(harness):
    harness.put_open_run(listingMovedAt=NOW - 2 * LISTING_STALE_SECONDS)
    assert harness.begin().status == "done"
    assert [level for level, _, _ in harness.read_output()[0]] == ["INFO", "INFO"]


def test_listed_run_is_not_listed_again(harness):
    harness.put_open_run(cursor=END, listed=True, enqueued=1)
    harness.account.add_sessions(NOW - HOUR)
    assert harness.begin().enqueued == 1
    lines, metrics = harness.read_output()
    assert (harness.sent_ids(), harness.hops, lines) == ([], [], [])
    assert metrics == {"OpenRunSeconds": [HOUR]}


def test_resumed_run_records_first_that_it_is_alive(harness):
    harness.put_open_run(cursor=START)
    harness.account.on_page = lambda start: 1 / 0
    with pytest.raises(ZeroDivisionError):
        harness.sync_run().resume(Continuation(RUN, 1))
    assert harness.record()["listingMovedAt"] == NOW


def test_invocation_stops_if_another_one_lists_its_run(harness):
    harness.account.add_sessions(NOW - HOUR)

    def list_in_another_invocation(_start):
        harness.account.on_page = lambda start: None
        harness.begin()
        harness.read_output()

    harness.account.on_page = list_in_another_invocation
    assert harness.begin().enqueued == 1
    assert harness.read_output()[0] == [("INFO", "Another invocation lists this run; this one stops", RUN)]
    assert (harness.sent_ids(), harness.hops) == (["cs_0", "cs_0"], [])


def test_run_settled_during_its_listing_is_done_at_once(harness):
    harness.account.add_sessions(NOW - HOUR)

    def settle(_start):
        harness.memory.update_item(
            TableName=TABLE,
            Key=wire({"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}),
            UpdateExpression="ADD #processed :one",
            ExpressionAttributeNames={"#processed": "processed"},
            ExpressionAttributeValues={":one": {"N": "1"}},
        )

    harness.account.on_page = settle
    run = harness.begin()
    assert (run.status, run.processed, harness.record()["status"]) == ("done", 1, "done")


# Warnings


def test_warning_of_the_plan_is_recorded_and_logged(harness):
    harness.begin(a_run(warnings=("gap: a month",)))
    assert harness.record()["warnings"] == ["gap: a month"]
    assert harness.read_output()[0][0] == ("WARNING", "gap: a month", RUN)


@pytest.mark.parametrize(
    ("before", "now", "warning"),
    [
        (False, True, "this run reads live sessions, the last one read test ones; check the key"),
        (True, False, "this run reads test sessions, the last one read live ones; check the key"),
        (True, True, None),
        (False, False, None),
        (None, True, None),
    ],
)
def test_changed_mode_of_the_key_is_a_warning(harness, before, now, warning):
    harness.account.add_sessions(NOW - HOUR, livemode=now)
    harness.sync_run().begin(a_run(), State(livemode=before), Watermark(confirmed_by="tests"))
    assert harness.record()["warnings"] == ([f"livemode: {warning}"] if warning else [])
    assert harness.record()["livemode"] is now


def test_mode_is_compared_with_the_first_range_that_has_a_session(harness):
    harness.put_open_run(cursor=START - 1, sliceSeconds=HOUR)
    harness.account.add_sessions(END, livemode=True)
    harness.put("SYSTEM", "STRIPE_ORDER_SYNC", lastSyncRunId=RUN, lastLivemode=False)
    harness.sync_run().resume(Continuation(RUN, 1))
    assert len(harness.record()["warnings"]) == 1
