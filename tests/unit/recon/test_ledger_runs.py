"""The records of runs and the sync state while runs start, list and resume."""

from dataclasses import replace

import pytest

from recon.domain.run import Listing, Part
from recon.dynamodb.keys import WATERMARK_KEY, run_key
from recon.dynamodb.records import State
from recon.dynamodb.runs import LISTING_STALE_SECONDS, CursorConflict, Progress
from recon.errors import TableRefused, TableUnavailable
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, RUN, TABLE
from testkit.doubles.faults import cancelled, never, on
from testkit.runs import AFTER_A_MINUTE, BEGAN, LATER, OTHER, RECORD, STATE, a_run, by_hand
from testkit.world import wire

COUNTERS = ("enqueued", "processed", "created", "skipped", "errors", "drifted", "existing")
A_PAGE = Progress(NOW - 500, 7, listed=False)
PARTS = Listing((Part(100, 199), Part(200, 299, "cs_1", 250)), made=4)
IN_PARTS = Progress(None, 7, listed=False, listing=PARTS)
LATER_START = {"run_id": OTHER, "started_at": "2024-11-28T02:00:00Z"}


@pytest.mark.parametrize("began", [NOW, NOW * 1000, 99_999_999_999])
def test_start_takes_over_a_state_whose_times_are_numbers(runs, item, put, began):
    put(STATE, lastSyncRunId="before", lastSyncStartedAt=began)
    runs.start(a_run(), NOW)
    assert item(STATE)["lastSyncRunId"] == RUN


def test_start_creates_the_record_and_takes_over_the_state(runs, item):
    assert runs.start(a_run(), NOW) == runs.get(RUN) == a_run(listing_moved_at=NOW)
    assert item(RECORD) == {
        "PK": "SYSTEM",
        "SK": f"STRIPE_ORDER_SYNC#{RUN}",
        "runId": RUN,
        "trigger": "scheduled",
        "status": "running",
        "syncStartedAt": BEGAN,
        "lookbackHours": 25,
        "lookbackWindow": {"from": "2024-11-26T01:00:00Z", "to": "2024-11-27T01:50:00Z"},
        "lookbackStart": NOW - 25 * HOUR,
        "lookbackEnd": NOW - 600,
        "maxSessions": 500,
        "coversThrough": NOW - 600,
        "listed": False,
        "truncated": False,
        "dryRun": False,
        "warnings": [],
        "listingMovedAt": NOW,
        "updatedAt": BEGAN,
        "expiresAt": NOW + 90 * DAY,
    } | dict.fromkeys((*COUNTERS, "filtered"), 0)
    assert item(STATE) == {
        "PK": "SYSTEM",
        "SK": "STRIPE_ORDER_SYNC",
        "lastSyncRunId": RUN,
        "lastSyncStartedAt": BEGAN,
        "lastSyncStatus": "running",
        "lastLookbackStart": NOW - 25 * HOUR,
        "lastLookbackEnd": NOW - 600,
        "firstLookbackStart": NOW - 25 * HOUR,
        "listingUntil": NOW + 60,
        "listingRunId": RUN,
        "updatedAt": BEGAN,
    } | dict.fromkeys((f"lastSync{name.capitalize()}" for name in COUNTERS if name != "existing"), 0)


def test_absent_run_and_state_are_read_as_such(runs):
    assert runs.get(RUN) is None
    assert runs.state() == State(None, None, None, None)


def test_manual_run_stores_no_absent_attributes(runs, item):
    runs.start(by_hand(max_sessions=None), NOW)
    assert not {"maxSessions", "coversThrough"} & set(item(run_key(f"{RUN}-8f3c1d")))
    assert "firstLookbackStart" not in item(STATE)


def test_page_moves_cursor_and_counters_together(runs, item):
    run = runs.start(a_run(), NOW)
    record, state = item(RECORD), item(STATE)
    page = replace(A_PAGE, truncated=True, livemode=True, filtered=3)
    assert runs.advance(run, page, LATER) == replace(
        run,
        cursor=NOW - 500,
        enqueued=7,
        filtered=3,
        truncated=True,
        livemode=True,
        listing_moved_at=LATER,
    )
    assert item(RECORD) == record | {
        "cursor": NOW - 500,
        "enqueued": 7,
        "filtered": 3,
        "truncated": True,
        "livemode": True,
        "listingMovedAt": LATER,
        "updatedAt": AFTER_A_MINUTE,
    }
    assert item(STATE) == state | {
        "lastSyncEnqueued": 7,
        "lastLivemode": True,
        "listingUntil": LATER + 60,
        "updatedAt": AFTER_A_MINUTE,
    }


def test_next_page_keeps_earlier_values_and_adds_up(runs, item):
    page = replace(A_PAGE, truncated=True, livemode=False)
    run = runs.advance(runs.start(a_run(), NOW), page, NOW)
    end = Progress(NOW - 400, 3, listed=True, covers_through=NOW - 9000)
    assert runs.advance(run, end, LATER) == replace(
        run, cursor=NOW - 400, enqueued=10, listed=True, listing_moved_at=LATER
    )
    stored = runs.get(RUN)
    assert (stored.cursor, stored.enqueued, stored.listed, stored.truncated) == (NOW - 400, 10, True, True)
    assert (stored.livemode, stored.covers_through) == (False, NOW - 9000)
    assert (item(STATE)["lastSyncEnqueued"], item(STATE)["lastLivemode"]) == (10, False)


def test_pages_of_several_parts_are_counted_at_once(runs, item):
    """The cursor is null, so that an earlier version can neither continue the run nor count it again."""
    run = runs.advance(runs.start(a_run(), NOW), IN_PARTS, NOW)
    assert run == runs.get(RUN)
    assert (run.cursor, run.listing, run.enqueued) == (None, PARTS, 7)
    record = item(RECORD)
    assert record["listing"] == {
        "made": 4,
        "parts": [
            {"from": 100, "to": 199},
            {"from": 200, "to": 299, "after": "cs_1", "reached": 250},
        ],
    }
    assert (record["cursor"], record["enqueued"], item(STATE)["lastSyncEnqueued"]) == (None, 7, 7)
    end = runs.advance(run, Progress(NOW - 400, 3, listed=True), LATER)
    assert (end.cursor, end.listing, end.enqueued) == (NOW - 400, None, 10)
    assert end == runs.get(RUN)
    assert "listing" not in item(RECORD)


@pytest.mark.parametrize(
    "other",
    [IN_PARTS, Progress(NOW - 400, 3, listed=True), Progress(NOW - 400, 0, listed=False)],
    ids=["continued", "listed", "cursor"],
)
def test_parts_of_two_producers_are_counted_once(runs, item, other):
    run = runs.advance(runs.start(a_run(), NOW), IN_PARTS, NOW)
    runs.advance(run, other, NOW)
    counted = item(RECORD)["enqueued"]
    with pytest.raises(CursorConflict):
        runs.advance(run, IN_PARTS, NOW)
    assert item(RECORD)["enqueued"] == counted


def test_filtered_sessions_of_two_producers_are_counted_once(runs, item):
    """The filter may leave out whole pages, so that no message tells the two apart."""
    run = runs.advance(runs.start(a_run(), NOW), IN_PARTS, NOW)
    page = replace(IN_PARTS, sent=0, filtered=100)
    runs.advance(run, page, NOW)
    with pytest.raises(CursorConflict):
        runs.advance(run, page, NOW)
    assert item(RECORD)["filtered"] == 100


def test_parts_that_cannot_be_read_are_not_continued(runs, table, item):
    run = runs.advance(runs.start(a_run(), NOW), IN_PARTS, NOW)
    table.transact([table.update(RECORD, "SET listing = :odd", {":odd": {"later": 1}})], runs._deadline)
    assert runs.get(RUN) == replace(run, listing=None)
    with pytest.raises(CursorConflict):
        runs.advance(runs.get(RUN), A_PAGE, NOW)


def test_page_of_two_producers_is_counted_once(runs, item):
    run = runs.start(a_run(), NOW)
    runs.advance(run, A_PAGE, NOW)
    with pytest.raises(CursorConflict):
        runs.advance(run, A_PAGE, NOW)
    assert item(RECORD)["enqueued"] == 7


def test_page_after_the_end_of_the_listing_is_refused(runs, item):
    run = runs.advance(runs.start(a_run(), NOW), replace(A_PAGE, listed=True), NOW)
    with pytest.raises(CursorConflict):
        runs.advance(replace(run, listed=False), Progress(NOW - 400, 1, listed=True), NOW)
    assert item(RECORD)["enqueued"] == 7


@pytest.mark.parametrize(
    "reopen",
    [lambda runs, run, now: runs.advance(run, A_PAGE, now), lambda runs, run, now: runs.start(run, now)],
    ids=["page", "start"],
)
def test_failed_run_is_reopened_by_its_producer(reopen, runs, item):
    run = runs.start(a_run(), NOW)
    [failed] = runs.close_stale_runs(OTHER, NOW + LISTING_STALE_SECONDS)
    assert (failed.status, failed.completed_at) == ("failed", "2024-11-27T02:20:00Z")
    assert (item(RECORD)["status"], item(STATE)["lastSyncStatus"]) == ("failed", "failed")
    reopened = reopen(runs, run, NOW + 3000)
    assert reopened == runs.get(RUN)
    assert (reopened.status, reopened.completed_at, reopened.listing_moved_at) == (
        "running",
        None,
        NOW + 3000,
    )
    assert item(STATE)["lastSyncStatus"] == "running"
    assert "lastSyncCompletedAt" not in item(STATE)


def test_listed_run_is_resumed_unchanged(runs):
    run = runs.advance(runs.start(a_run(), NOW), replace(A_PAGE, listed=True), NOW)
    assert runs.resume(run, LATER) == run
    # The caller read the run before another invocation ended the listing.
    assert runs.resume(replace(run, listed=False), LATER) == run
    assert runs.get(RUN) == run


def test_overtaken_run_updates_its_own_record_only(runs, item):
    runs.start(a_run(**LATER_START), NOW + DAY)
    state = item(STATE)
    runs.start(a_run(), NOW)
    assert item(RECORD)["status"] == "running"
    run = runs.advance(runs.get(RUN), replace(A_PAGE, listed=True, livemode=True), NOW)
    assert run.enqueued == item(RECORD)["enqueued"] == 7
    assert item(STATE) == state


def test_overtaken_run_loses_its_cursor_between_two_tries(runs, memory, item):
    run = runs.start(a_run(), NOW)
    runs.start(a_run(**LATER_START), NOW + DAY)
    tries = []

    def move_cursor(call):
        if call.method == "transact_write_items":
            tries.append(call)
        if len(tries) == 2:
            memory.plan = never
            memory.put_item(TableName=TABLE, Item=wire(item(RECORD) | {"cursor": NOW - 500, "enqueued": 7}))

    memory.plan = move_cursor
    with pytest.raises(CursorConflict):
        runs.advance(run, A_PAGE, NOW)
    assert item(RECORD)["enqueued"] == 7


def test_first_scheduled_run_sets_the_origin_once(runs, item):
    def start(run):
        runs.start(run, NOW, runs.watermark(), "a-stack")

    start(by_hand(started_at="2024-11-28T02:00:00Z"))
    assert "firstLookbackStart" not in item(WATERMARK_KEY)
    # The state belongs to the run that started later.
    start(a_run())
    assert item(WATERMARK_KEY)["firstLookbackStart"] == NOW - 25 * HOUR
    start(a_run(run_id=OTHER, started_at="2024-11-29T02:00:00Z", lookback_start=NOW))
    assert item(WATERMARK_KEY)["firstLookbackStart"] == NOW - 25 * HOUR
    assert item(STATE)["firstLookbackStart"] == NOW - 25 * HOUR


def test_next_run_removes_the_end_of_the_last_one(runs, item):
    runs.finish(runs.advance(runs.start(a_run(), NOW), Progress(NOW, 0, listed=True), NOW), LATER)
    assert item(STATE)["lastSyncCompletedAt"] == AFTER_A_MINUTE
    runs.start(a_run(**LATER_START), NOW + DAY)
    assert (item(STATE)["lastSyncRunId"], item(STATE)["lastSyncStatus"]) == (OTHER, "running")
    assert "lastSyncCompletedAt" not in item(STATE)


def test_state_without_a_run_id_is_always_taken_over(runs, item, put):
    put(STATE, lastSyncStartedAt="9999")
    runs.start(a_run(), NOW)
    assert item(STATE)["lastSyncRunId"] == RUN


def test_start_keeps_counters_written_before_the_record(runs, put):
    put(RECORD, processed=2, created=1, skipped=1)
    runs.start(a_run(), NOW)
    assert runs.get(RUN) == a_run(listing_moved_at=NOW, processed=2, created=1, skipped=1)


@pytest.mark.parametrize("record", [{"warnings": []}, {"trigger": "scheduled"}], ids=["list", "no list"])
def test_warning_is_stored_once(record, runs, item, put):
    put(RECORD, **record)
    added = [runs.warn(RUN, text) for text in ("careful", "careful", "more careful")]
    assert added == [True, False, True]
    assert item(RECORD)["warnings"] == ["careful", "more careful"]
    assert runs.warn(OTHER, "of no run") is False
    assert item(run_key(OTHER)) is None


def test_manual_runs_are_found_by_request_and_by_time(runs, put):
    ids = ["20241127T015959Z-aaaaaa", "20241127T020000Z-bbbbbb", "20241127T020000Z-dddddd"]
    ids += ["20241127T020000Z", "20241127T030000Z-cccccc", "20241127T040000Z"]
    for run_id in ids:
        put(run_key(run_id))
    found = [runs.find_by_request(request, since=NOW) for request in ("aaaaaa", "bbbbbb", "cccccc", "ccc")]
    assert found == [None, "20241127T020000Z-bbbbbb", "20241127T030000Z-cccccc", None]
    assert runs.find_by_time(NOW) == ["20241127T020000Z-bbbbbb", "20241127T020000Z-dddddd"]
    assert runs.find_by_time(NOW + 2) == []


def test_latest_runs_come_first(runs, put):
    put(STATE, lastSyncRunId=RUN)
    manual = "20241126T090000Z-aaaaaa"
    put(run_key(manual), trigger="manual")
    for run_id in ("20241124T020000Z", "20241125T020000Z", RUN):
        put(run_key(run_id), trigger="scheduled")
    assert [run.run_id for run in runs.latest(3)] == [RUN, manual, "20241125T020000Z"]
    before = [run.run_id for run in runs.scheduled_before(RUN, 9)]
    assert before == ["20241125T020000Z", "20241124T020000Z"]
    assert [run.run_id for run in runs.scheduled_before(RUN, 1)] == ["20241125T020000Z"]


@pytest.mark.parametrize("position", [0, 1])
def test_refused_item_is_not_taken_for_a_conflict(position, runs, memory):
    memory.plan = on("transact_write_items", cancelled("ValidationError", "too large", position))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses an item of a run$"):
        runs.start(a_run(), NOW)


def test_record_that_disappears_during_the_start_is_an_error(runs, memory, put):
    put(RECORD, syncStartedAt=BEGAN)

    def delete_record(call):
        if call.method == "get_item":
            memory.plan = never
            memory.delete_item(TableName=TABLE, Key=wire({"PK": RECORD[0], "SK": RECORD[1]}))

    memory.plan = delete_record
    with pytest.raises(TableUnavailable, match=f"^the record of run {RUN} disappeared$"):
        runs.start(a_run(), NOW)
