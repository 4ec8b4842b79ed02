"""The end of a run: done, failed or refused, and how far it moves the watermark."""

from dataclasses import replace

import pytest

from recon.dynamodb.records import Failure
from recon.dynamodb.runs import LISTING_STALE_SECONDS, Progress, is_stalled
from recon.errors import OutOfTime, TableRefused
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE
from testkit.doubles.faults import cancelled, never, on
from testkit.runs import AFTER_A_MINUTE, LATER, OTHER, RECORD, STATE, a_run, by_hand
from testkit.world import wire


@pytest.fixture
def list_run(runs):
    """Start a run and end its listing after `sent` sessions."""

    def start_and_list(run=None, sent=0, now=NOW):
        return runs.advance(runs.start(run or a_run(), now), Progress(NOW - 600, sent, listed=True), now)

    return start_and_list


def test_run_is_done_when_every_session_has_an_outcome(runs, item, memory, list_run):
    run = list_run(sent=2)
    assert runs.finish_if_complete(RUN, LATER) is None
    memory.put_item(TableName=TABLE, Item=wire(item(RECORD) | {"processed": 2}))
    record, state = item(RECORD), item(STATE)
    finished = runs.finish_if_complete(RUN, LATER)
    assert finished == replace(run, processed=2, status="done", completed_at=AFTER_A_MINUTE, unreported=True)
    end = {"status": "done", "syncCompletedAt": AFTER_A_MINUTE, "updatedAt": AFTER_A_MINUTE}
    end |= {"unreported": True}
    assert item(RECORD) == record | end
    assert item(STATE) == state | {
        "lastSyncStatus": "done",
        "lastSyncCompletedAt": AFTER_A_MINUTE,
        "lastCoveredThrough": NOW - 600,
        "updatedAt": AFTER_A_MINUTE,
    }
    assert runs.state().covered_through == NOW - 600
    assert runs.finish_if_complete(RUN, LATER) is None
    assert runs.finish_if_complete("20241101T020000Z", LATER) is None


@pytest.mark.parametrize(
    ("run", "state", "change"),
    [
        (a_run(), {}, {"lastCoveredThrough": NOW - 600, "updatedAt": AFTER_A_MINUTE}),
        (by_hand(), {}, {}),
        (a_run(), {"lastCoveredThrough": NOW - 600}, {}),
    ],
    ids=["scheduled", "manual", "covered already"],
)
def test_overtaken_run_changes_only_the_watermark(run, state, change, runs, item, put, list_run):
    list_run(run)
    put(STATE, lastSyncRunId=OTHER, lastSyncStatus="running", **state)
    before = item(STATE)
    assert runs.finish_if_complete(run.run_id, LATER).status == "done"
    assert item(STATE) == before | change


@pytest.mark.parametrize(("covered", "after"), [(NOW - 601, NOW - 600), (NOW - 600, NOW - 600), (NOW, NOW)])
def test_watermark_moves_only_forward(covered, after, runs, item, put, list_run):
    put(STATE, lastCoveredThrough=covered)
    list_run()
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert (item(STATE)["lastCoveredThrough"], item(STATE)["lastSyncStatus"]) == (after, "done")


@pytest.mark.parametrize(
    "states",
    [
        ({}, {"lastSyncRunId": RUN, "lastCoveredThrough": NOW}, (RUN, NOW, "done")),
        (
            {"lastCoveredThrough": NOW - 9000},
            {"lastSyncRunId": RUN, "lastCoveredThrough": NOW},
            (RUN, NOW, "done"),
        ),
        ({}, {"lastSyncRunId": OTHER, "lastCoveredThrough": NOW - 9000}, (OTHER, NOW - 600, None)),
    ],
    ids=["first watermark", "later watermark", "taken over"],
)
def test_state_changed_during_the_close_is_read_again(states, runs, item, put, memory, list_run):
    read, written, after = states
    list_run()
    put(STATE, lastSyncRunId=RUN, **read)

    def change_state(call):
        if call.method == "transact_write_items":
            memory.plan = never
            put(STATE, **written)

    memory.plan = change_state
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    state = item(STATE)
    assert (state["lastSyncRunId"], state["lastCoveredThrough"], state.get("lastSyncStatus")) == after


def test_run_is_finished_by_one_of_two_callers(runs, item, list_run):
    complete = list_run()
    assert runs.finish(complete, LATER).completed_at == AFTER_A_MINUTE
    assert runs.finish(complete, LATER + 1) is None
    assert item(RECORD)["syncCompletedAt"] == AFTER_A_MINUTE


def test_finish_of_an_incomplete_or_closed_run_writes_nothing(runs, memory, list_run):
    running = list_run(sent=1)
    written = memory.history.count("transact_write_items")
    assert runs.finish(running, LATER) is None
    assert runs.finish(replace(running, processed=1, status="done"), LATER) is None
    assert memory.history.count("transact_write_items") == written


def test_run_is_finished_without_a_state(runs, item, memory, list_run):
    list_run()
    memory.delete_item(TableName=TABLE, Key=wire({"PK": STATE[0], "SK": STATE[1]}))
    assert runs.finish_if_complete(RUN, LATER).status == "done"
    assert item(RECORD)["status"] == "done"
    assert item(STATE) is None


def test_other_open_runs_are_closed_by_their_progress(runs, list_run):
    complete = list_run(by_hand(started_at="2024-11-27T01:00:00Z"))
    incomplete = list_run(a_run(run_id="20241124T020000Z"), sent=1, now=NOW - DAY)
    dead = runs.start(a_run(run_id="20241125T020000Z"), NOW - LISTING_STALE_SECONDS)
    alive = runs.start(a_run(run_id="20241126T020000Z"), NOW - LISTING_STALE_SECONDS + 1)
    runs.start(a_run(), NOW)
    closed = {run.run_id: run.status for run in runs.close_stale_runs(RUN, NOW)}
    assert closed == {
        complete.run_id: "done",
        incomplete.run_id: "running",
        dead.run_id: "failed",
        alive.run_id: "running",
    }
    assert {run_id: runs.get(run_id).status for run_id in closed} == closed
    assert runs.get(RUN).status == "running"
    assert runs.state().covered_through is None


def test_refused_close_is_not_taken_for_a_conflict(runs, memory, list_run):
    list_run()
    memory.plan = on("transact_write_items", cancelled("ValidationError", "too large", 1))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses an item of a run$"):
        runs.finish_if_complete(RUN, LATER)


def test_close_gives_up_at_the_deadline(runs, memory, time, list_run):
    list_run()
    time.now = 60
    memory.plan = on("transact_write_items", cancelled("ConditionalCheckFailed", "moved", 1))
    with pytest.raises(OutOfTime):
        runs.finish_if_complete(RUN, LATER)


FAILURE = Failure("KeyRejected", "Stripe: 401", AFTER_A_MINUTE, attempts=1, request_id="8f3c-1")
CAUSE = {
    "failureType": "KeyRejected",
    "failureMessage": "Stripe: 401",
    "failedAt": AFTER_A_MINUTE,
    "failedRequestId": "8f3c-1",
}


def test_failure_is_stored_on_the_record_and_ends_the_run(runs, item):
    run = runs.start(a_run(), NOW)
    record, state = item(RECORD), item(STATE)
    assert runs.fail(run, FAILURE).status == "failed"
    end = {"status": "failed", "syncCompletedAt": AFTER_A_MINUTE, "updatedAt": AFTER_A_MINUTE}
    assert item(RECORD) == record | end | CAUSE | {"failedAttempts": 1}
    end = {"lastSyncStatus": "failed", "lastSyncCompletedAt": AFTER_A_MINUTE, "updatedAt": AFTER_A_MINUTE}
    assert item(STATE) == state | end
    assert runs.get(RUN).failure == FAILURE
    # A later run does not close the run again, so the cause stays.
    assert runs.close_stale_runs(OTHER, NOW + DAY) == []


def test_resumed_run_drops_its_failure_and_counts_the_next(runs, item):
    runs.fail(runs.start(a_run(), NOW), FAILURE)
    resumed = runs.start(a_run(), LATER)
    assert resumed == a_run(listing_moved_at=LATER)
    assert item(RECORD)["failedAttempts"] == 1
    assert not CAUSE.keys() & item(RECORD).keys()
    assert runs.fail(resumed, FAILURE) is not None
    assert runs.get(RUN).failure == replace(FAILURE, attempts=2)


def test_page_of_another_invocation_drops_a_failure(runs, item):
    run = runs.start(a_run(), NOW)
    runs.fail(run, FAILURE)
    runs.advance(run, Progress(NOW - 500, 7, listed=True), LATER)
    assert (item(RECORD)["status"], item(STATE)["lastSyncStatus"]) == ("running", "running")
    assert not CAUSE.keys() & item(RECORD).keys()


@pytest.mark.parametrize(
    "changes",
    [{"listed": True}, {"status": "done"}, {"status": "failed"}, {"listingMovedAt": NOW + 1}],
    ids=["listed", "done", "failed", "moved"],
)
def test_run_changed_by_another_invocation_is_not_failed(changes, runs, item, put):
    run = runs.start(a_run(), NOW)
    put(RECORD, **item(RECORD) | changes)
    record, state = item(RECORD), item(STATE)
    assert runs.fail(run, FAILURE) is None
    assert (item(RECORD), item(STATE)) == (record, state)


def test_long_text_of_a_failure_is_cut(runs, item):
    runs.fail(runs.start(a_run(), NOW), replace(FAILURE, message="x" * 5000))
    assert item(RECORD)["failureMessage"] == "x" * 1000


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
def test_listing_is_stalled_when_no_invocation_can_last(changes, stalled):
    fields = {"listing_moved_at": NOW - LISTING_STALE_SECONDS, "status": "running"} | changes
    assert is_stalled(a_run(**fields), NOW) is stalled
