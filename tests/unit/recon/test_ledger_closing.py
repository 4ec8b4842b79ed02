"""The end of a run in the table: done, given up, or refused, and how far the watermark moves with it."""

from dataclasses import replace

import pytest

from recon.dynamodb.runs import LISTING_STALE_SECONDS, Progress
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
