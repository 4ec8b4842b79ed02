"""The end of a run in the table: done, given up, or refused, and how far the watermark moves with it."""

from dataclasses import replace

import pytest

from recon.dynamodb.records import Failure, parse_run
from recon.dynamodb.runs import LISTING_STALE_SECONDS, Progress, is_stalled
from recon.errors import OutOfTime, TableRefused
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE
from testkit.doubles.faults import cancelled, never, on
from testkit.runs import AFTER_A_MINUTE, LATER, OTHER, RECORD, STATE, a_run, by_hand
from testkit.world import wire

REFUSED = "ValidationError"


def test_a_run_is_done_when_all_that_was_listed_has_an_outcome(runs, item, memory):
    run = runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 2, listed=True), NOW)
    assert runs.finish_if_complete(RUN, LATER) is None
    memory.put_item(TableName=TABLE, Item=wire(item(RECORD) | {"processed": 2}))
    record, state = item(RECORD), item(STATE)
    finished = runs.finish_if_complete(RUN, LATER)
    assert finished == replace(run, processed=2, status="done", completed_at=AFTER_A_MINUTE)
    assert item(RECORD) == record | {
        "status": "done",
        "syncCompletedAt": AFTER_A_MINUTE,
        "updatedAt": AFTER_A_MINUTE,
    }
    assert item(STATE) == state | {
        "lastSyncStatus": "done",
        "lastSyncCompletedAt": AFTER_A_MINUTE,
        "lastCoveredThrough": NOW - 600,
        "updatedAt": AFTER_A_MINUTE,
    }
    assert runs.finish_if_complete(RUN, LATER) is None
    assert runs.finish_if_complete("20241101T020000Z", LATER) is None


def test_an_overtaken_run_that_ends_moves_the_watermark_and_nothing_else_of_the_state(runs, item):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    runs.start(a_run(run_id=OTHER, started_at="2024-11-28T02:00:00Z", covers_through=None), NOW + DAY)
    state = item(STATE)
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert item(STATE) == state | {"lastCoveredThrough": NOW - 600, "updatedAt": AFTER_A_MINUTE}


def test_an_overtaken_run_without_a_watermark_leaves_the_state_alone(runs, item):
    runs.advance(runs.start(by_hand(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    runs.start(a_run(run_id=OTHER, started_at="2024-11-28T02:00:00Z"), NOW + DAY)
    state = item(STATE)
    assert runs.finish_if_complete(f"{RUN}-8f3c1d", LATER).status == "done"
    assert item(STATE) == state


def test_an_overtaken_run_whose_end_the_watermark_has_reached_leaves_the_state_alone(runs, item, put):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    put(STATE, lastSyncRunId=OTHER, lastCoveredThrough=NOW - 600)
    state = item(STATE)
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert item(STATE) == state


@pytest.mark.parametrize(("covered", "after"), [(NOW - 601, NOW - 600), (NOW - 600, NOW - 600), (NOW, NOW)])
def test_the_watermark_only_moves_forward(covered, after, runs, item, put):
    put(STATE, lastCoveredThrough=covered)
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert item(STATE)["lastCoveredThrough"] == after
    assert item(STATE)["lastSyncStatus"] == "done"


@pytest.mark.parametrize("read", [{}, {"lastCoveredThrough": NOW - 9000}])
def test_a_watermark_that_another_run_moves_meanwhile_is_not_moved_back(read, runs, item, put, memory):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    put(STATE, lastSyncRunId=RUN, **read)

    def another_run_ends(call):
        if call.method == "transact_write_items":
            memory.plan = never
            put(STATE, lastSyncRunId=RUN, lastCoveredThrough=NOW)

    memory.plan = another_run_ends
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert (item(STATE)["lastCoveredThrough"], item(STATE)["lastSyncStatus"]) == (NOW, "done")


def test_of_two_that_see_a_run_through_one_ends_it(runs, item):
    through = runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    assert runs.finish(through, LATER).completed_at == AFTER_A_MINUTE
    assert runs.finish(through, LATER + 1) is None
    assert item(RECORD)["syncCompletedAt"] == AFTER_A_MINUTE


def test_whoever_sees_that_a_run_is_not_to_be_ended_writes_nothing(runs, memory):
    running = runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 1, listed=True), NOW)
    written = memory.history.count("transact_write_items")
    assert runs.finish(running, LATER) is None
    assert runs.finish(replace(running, processed=1, status="done"), LATER) is None
    assert memory.history.count("transact_write_items") == written


def test_a_run_ends_also_where_the_state_is_gone(runs, item, memory):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    memory.delete_item(TableName=TABLE, Key=wire({"PK": STATE[0], "SK": STATE[1]}))
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert item(RECORD)["status"] == "done"
    assert item(STATE) is None


def test_other_runs_are_closed_by_what_they_are(runs):
    through = by_hand(started_at="2024-11-27T01:00:00Z")
    runs.advance(runs.start(through, NOW), Progress(NOW, 0, listed=True), NOW)
    waits = a_run(run_id="20241124T020000Z")
    runs.advance(runs.start(waits, NOW - DAY), Progress(NOW, 1, listed=True), NOW - DAY)
    dead = runs.start(a_run(run_id="20241125T020000Z"), NOW - LISTING_STALE_SECONDS)
    runs.start(a_run(run_id="20241126T020000Z"), NOW - LISTING_STALE_SECONDS + 1)
    runs.start(a_run(), NOW)
    closed = {run.run_id: run.status for run in runs.close_stale_runs(RUN, NOW)}
    assert closed == {
        through.run_id: "done",
        waits.run_id: "running",
        dead.run_id: "failed",
        "20241126T020000Z": "running",
    }
    assert {run_id: runs.get(run_id).status for run_id in closed} == closed
    assert runs.get(RUN).status == "running"
    assert runs.state().covered_through is None


def test_a_close_that_dynamodb_refuses_is_not_taken_for_a_rivals(runs, memory):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    memory.plan = on("transact_write_items", cancelled(REFUSED, "too large", 1))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses an item of a run$"):
        runs.finish_if_complete(RUN, LATER)


def test_a_state_that_moves_while_a_run_is_closed_is_read_again(runs, memory, put, item):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    seen = []

    def somebody_else_is_faster(call):
        if call.method == "transact_write_items" and not seen:
            seen.append(call)
            memory.plan = never
            put(STATE, lastSyncRunId=OTHER, lastCoveredThrough=NOW - 9000)

    memory.plan = somebody_else_is_faster
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    state = item(STATE)
    assert (state["lastSyncRunId"], state["lastCoveredThrough"]) == (OTHER, NOW - 600)
    assert "lastSyncStatus" not in state


def test_a_state_that_never_stands_still_ends_with_the_invocation(runs, memory, time):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    time.now = 60
    memory.plan = on("transact_write_items", cancelled("ConditionalCheckFailed", "moved", 1))
    with pytest.raises(OutOfTime):
        runs.finish_if_complete(RUN, LATER)


# Failed by an invocation


FAILURE = Failure("KeyRejected", "Stripe: 401", AFTER_A_MINUTE, attempts=1, request_id="8f3c-1")
KEPT = {
    "status": "failed",
    "syncCompletedAt": AFTER_A_MINUTE,
    "updatedAt": AFTER_A_MINUTE,
    "failureType": "KeyRejected",
    "failureMessage": "Stripe: 401",
    "failedAt": AFTER_A_MINUTE,
    "failedRequestId": "8f3c-1",
    "failedAttempts": 1,
}


def test_a_failure_is_kept_on_the_record_and_ends_the_run_on_the_state(runs, item):
    run = runs.start(a_run(), NOW)
    record, state = item(RECORD), item(STATE)
    assert runs.fail(run, FAILURE).status == "failed"
    assert item(RECORD) == record | KEPT
    ended = {"lastSyncStatus": "failed", "lastSyncCompletedAt": AFTER_A_MINUTE, "updatedAt": AFTER_A_MINUTE}
    assert item(STATE) == state | ended
    assert runs.get(RUN).failure == FAILURE
    # A later run neither closes it again nor takes its cause away.
    assert runs.close_stale_runs(OTHER, NOW + DAY) == []


def test_a_run_that_is_resumed_forgets_its_failure_and_counts_the_next_one_on(runs, item):
    run = runs.start(a_run(), NOW)
    runs.fail(run, FAILURE)
    again = runs.start(a_run(), LATER)
    assert again == a_run(listing_moved_at=LATER)
    assert item(RECORD)["failedAttempts"] == 1
    assert not {"failureType", "failureMessage", "failedAt", "failedRequestId"} & item(RECORD).keys()
    assert runs.fail(again, FAILURE) is not None
    assert runs.get(RUN).failure == replace(FAILURE, attempts=2)


def test_a_page_of_another_invocation_takes_a_failure_back(runs, item):
    run = runs.start(a_run(), NOW)
    runs.fail(run, FAILURE)
    runs.advance(run, Progress(NOW - 500, 7, listed=True), LATER)
    assert (item(RECORD)["status"], item(STATE)["lastSyncStatus"]) == ("running", "running")
    assert not {"failureType", "failureMessage", "failedAt", "failedRequestId"} & item(RECORD).keys()


@pytest.mark.parametrize(
    "changes",
    [{"listed": True}, {"status": "done"}, {"status": "failed"}, {"listingMovedAt": NOW + 1}],
    ids=lambda changes: next(iter(changes)) + str(next(iter(changes.values()))),
)
def test_a_run_that_is_listed_ended_or_moved_by_another_invocation_is_not_failed(runs, item, memory, changes):
    run = runs.start(a_run(), NOW)
    memory.put_item(TableName=TABLE, Item=wire(item(RECORD) | changes))
    record, state = item(RECORD), item(STATE)
    assert runs.fail(run, FAILURE) is None
    assert (item(RECORD), item(STATE)) == (record, state)


def test_a_text_that_is_too_long_is_cut(runs, item):
    runs.fail(runs.start(a_run(), NOW), replace(FAILURE, message="x" * 5000))
    assert item(RECORD)["failureMessage"] == "x" * 1000


@pytest.mark.parametrize(("status", "said"), [("running", False), ("done", False), ("failed", True)])
def test_a_failure_counts_only_while_the_run_is_failed(status, said):
    """An earlier version reopens a run and leaves the attributes in place that it does not know."""
    found = parse_run({"SK": f"STRIPE_ORDER_SYNC#{RUN}"} | KEPT | {"status": status})
    assert found.failure == (FAILURE if said else None)


def test_a_run_that_an_earlier_version_failed_has_no_cause():
    assert parse_run({"SK": f"STRIPE_ORDER_SYNC#{RUN}", "status": "failed"}).failure is None


@pytest.mark.parametrize(
    ("changes", "stalled"),
    [
        ({}, True),
        ({"listing_moved_at": NOW - LISTING_STALE_SECONDS + 1}, False),
        ({"listed": True}, False),
        ({"status": "failed"}, False),
        ({"status": "done"}, False),
    ],
)
def test_a_listing_has_stalled_when_no_invocation_can_be_at_it(changes, stalled):
    fields = {"listing_moved_at": NOW - LISTING_STALE_SECONDS, "status": "running"} | changes
    assert is_stalled(a_run(**fields), NOW) is stalled
