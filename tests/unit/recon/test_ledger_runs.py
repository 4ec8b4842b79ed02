"""The life of a run in the table, item by item: what stands there after each step, and who may take it."""

from dataclasses import replace

import pytest

from recon.dynamodb.records import Run, State, parse_run, parse_state
from recon.dynamodb.runs import LISTING_STALE_SECONDS, CursorConflict, Progress
from recon.errors import TableRefused, TableUnavailable
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, RUN, TABLE
from testkit.doubles.faults import cancelled, never, on
from testkit.runs import AFTER_A_MINUTE, BEGAN, LATER, OTHER, RECORD, STATE, a_run, by_hand
from testkit.world import wire


def test_a_run_begins_with_a_whole_record_and_takes_the_state_over(runs, item):
    began = runs.start(a_run(), NOW)
    assert began == a_run(listing_moved_at=NOW)
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
        "enqueued": 0,
        "processed": 0,
        "created": 0,
        "skipped": 0,
        "errors": 0,
        "drifted": 0,
    }
    assert item(STATE) == {
        "PK": "SYSTEM",
        "SK": "STRIPE_ORDER_SYNC",
        "lastSyncRunId": RUN,
        "lastSyncStartedAt": BEGAN,
        "lastSyncStatus": "running",
        "lastLookbackStart": NOW - 25 * HOUR,
        "lastLookbackEnd": NOW - 600,
        "lastSyncEnqueued": 0,
        "lastSyncProcessed": 0,
        "lastSyncCreated": 0,
        "lastSyncSkipped": 0,
        "lastSyncErrors": 0,
        "lastSyncDrifted": 0,
        "firstLookbackStart": NOW - 25 * HOUR,
        "updatedAt": BEGAN,
    }


def test_a_run_by_hand_is_no_origin_and_what_is_absent_is_not_written(runs, item):
    runs.start(by_hand(max_sessions=None), NOW)
    record = item(("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}-8f3c1d"))
    assert "maxSessions" not in record
    assert "coversThrough" not in record
    assert "firstLookbackStart" not in item(STATE)


def test_a_record_is_read_as_it_was_written(runs):
    runs.start(a_run(), NOW)
    assert runs.get(RUN) == a_run(listing_moved_at=NOW)
    assert runs.get("20241101T020000Z") is None
    assert runs.state() == State(RUN, None, None, NOW - 25 * HOUR)


def test_every_field_of_a_record_is_read():
    item = {
        "SK": f"STRIPE_ORDER_SYNC#{RUN}",
        "trigger": "manual",
        "syncStartedAt": BEGAN,
        "syncCompletedAt": AFTER_A_MINUTE,
        "lookbackHours": 1,
        "lookbackStart": 2,
        "lookbackEnd": 3,
        "maxSessions": 4,
        "coversThrough": 5,
        "drifted": 6,
        "sliceSeconds": 7,
        "livemode": True,
        "status": "done",
        "enqueued": 8,
        "processed": 9,
        "created": 10,
        "skipped": 11,
        "errors": 12,
        "listed": True,
        "truncated": True,
        "cursor": 13,
        "listingMovedAt": 14,
        "warnings": ["careful"],
    }
    assert parse_run(item) == Run(
        run_id=RUN,
        trigger="manual",
        started_at=BEGAN,
        completed_at=AFTER_A_MINUTE,
        lookback_hours=1,
        lookback_start=2,
        lookback_end=3,
        max_sessions=4,
        covers_through=5,
        drifted=6,
        slice_seconds=7,
        livemode=True,
        status="done",
        enqueued=8,
        processed=9,
        created=10,
        skipped=11,
        errors=12,
        listed=True,
        truncated=True,
        cursor=13,
        listing_moved_at=14,
        warnings=("careful",),
    )


def test_the_state_is_read_as_its_last_run_left_it(runs, item):
    run = runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True, livemode=True), NOW)
    runs.finish(run, LATER)
    assert runs.state() == State(RUN, NOW - 600, livemode=True, first_lookback_start=NOW - 25 * HOUR)


def test_a_run_has_been_going_on_since_it_was_started():
    assert a_run().seconds(LATER) == 60


def test_a_record_of_another_version_lacks_everything_but_its_key():
    bare = Run(
        run_id=RUN, trigger="", started_at="", lookback_hours=0, lookback_start=0, lookback_end=0, warnings=()
    )
    assert parse_run({"SK": f"STRIPE_ORDER_SYNC#{RUN}"}) == bare
    assert bare.seconds(NOW) == 0
    assert parse_state(None) == State(None, None, None, None)


def test_a_page_moves_cursor_and_counters_of_record_and_state_together(runs, item):
    run = runs.start(a_run(), NOW)
    before, state = item(RECORD), item(STATE)
    moved = runs.advance(
        run, Progress(NOW - 500, 7, listed=False, truncated=True, slice_seconds=90, livemode=True), LATER
    )
    assert moved == replace(
        run,
        cursor=NOW - 500,
        enqueued=7,
        truncated=True,
        slice_seconds=90,
        livemode=True,
        listing_moved_at=LATER,
    )
    assert item(RECORD) == before | {
        "cursor": NOW - 500,
        "enqueued": 7,
        "truncated": True,
        "sliceSeconds": 90,
        "livemode": True,
        "listingMovedAt": LATER,
        "updatedAt": AFTER_A_MINUTE,
    }
    assert item(STATE) == state | {
        "lastSyncEnqueued": 7,
        "lastLivemode": True,
        "updatedAt": AFTER_A_MINUTE,
    }


def test_the_next_page_keeps_what_it_says_nothing_of_and_counts_on(runs, item):
    run = runs.start(a_run(), NOW)
    run = runs.advance(
        run, Progress(NOW - 500, 7, listed=False, truncated=True, slice_seconds=90, livemode=False), NOW
    )
    moved = runs.advance(run, Progress(NOW - 400, 3, listed=True, covers_through=NOW - 9000), LATER)
    assert (moved.cursor, moved.enqueued, moved.listed, moved.truncated) == (NOW - 400, 10, True, True)
    assert (moved.slice_seconds, moved.livemode) == (90, False)
    record = item(RECORD)
    assert (record["cursor"], record["enqueued"], record["listed"], record["truncated"]) == (
        NOW - 400,
        10,
        True,
        True,
    )
    assert (record["sliceSeconds"], record["livemode"]) == (90, False)
    assert record["coversThrough"] == NOW - 9000
    assert (item(STATE)["lastSyncEnqueued"], item(STATE)["lastLivemode"]) == (10, False)


def test_two_producers_of_one_page_move_it_once(runs, item):
    run = runs.start(a_run(), NOW)
    runs.advance(run, Progress(NOW - 500, 7, listed=False), NOW)
    with pytest.raises(CursorConflict):
        runs.advance(run, Progress(NOW - 500, 7, listed=False), NOW)
    assert item(RECORD)["enqueued"] == 7


def test_no_page_is_added_to_a_run_that_is_listed(runs, item):
    run = runs.advance(runs.start(a_run(), NOW), Progress(NOW - 500, 7, listed=True), NOW)
    with pytest.raises(CursorConflict):
        runs.advance(replace(run, listed=False), Progress(NOW - 400, 1, listed=True), NOW)
    assert item(RECORD)["enqueued"] == 7


def test_a_page_brings_a_run_back_that_was_given_up(runs, item):
    run = runs.start(a_run(), NOW)
    runs.close_stale_runs(OTHER, NOW + LISTING_STALE_SECONDS)
    assert (item(RECORD)["status"], item(STATE)["lastSyncStatus"]) == ("failed", "failed")
    runs.advance(run, Progress(NOW - 500, 7, listed=False), LATER)
    assert (item(RECORD)["status"], item(STATE)["lastSyncStatus"]) == ("running", "running")
    assert "syncCompletedAt" not in item(RECORD)
    assert "lastSyncCompletedAt" not in item(STATE)


def test_a_producer_that_comes_back_resumes_a_run_that_was_given_up(runs, item):
    runs.start(a_run(), NOW)
    [failed] = runs.close_stale_runs(OTHER, NOW + LISTING_STALE_SECONDS)
    assert (failed.status, failed.completed_at) == ("failed", "2024-11-27T02:20:00Z")
    at = NOW + 3000
    assert runs.start(a_run(), at) == a_run(listing_moved_at=at)
    record, state = item(RECORD), item(STATE)
    assert (record["status"], record["listingMovedAt"]) == ("running", at)
    assert "syncCompletedAt" not in record
    assert state["lastSyncStatus"] == "running"
    assert "lastSyncCompletedAt" not in state


def test_a_listed_run_is_resumed_as_it_is(runs):
    run = runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 7, listed=True), NOW)
    assert runs.resume(run, LATER) == run
    # One that another invocation has listed meanwhile, too.
    assert runs.resume(replace(run, listed=False), LATER).listed is True
    assert runs.get(RUN).listing_moved_at == NOW


def test_a_run_that_started_earlier_keeps_its_own_record_only(runs, item):
    runs.start(a_run(run_id=OTHER, started_at="2024-11-28T02:00:00Z"), NOW + DAY)
    runs.start(a_run(), NOW)
    assert item(RECORD)["status"] == "running"
    assert (item(STATE)["lastSyncRunId"], item(STATE)["lastSyncStartedAt"]) == (OTHER, "2024-11-28T02:00:00Z")
    run = runs.advance(runs.get(RUN), Progress(NOW - 500, 7, listed=True, livemode=True), NOW)
    assert run.enqueued == item(RECORD)["enqueued"] == 7
    assert item(STATE)["lastSyncEnqueued"] == 0
    assert "lastLivemode" not in item(STATE)


def test_a_page_that_a_rival_moves_between_the_two_tries_of_an_overtaken_run_is_taken(runs, memory, item):
    run = runs.start(a_run(), NOW)
    runs.start(a_run(run_id=OTHER, started_at="2024-11-28T02:00:00Z"), NOW + DAY)
    tries = []

    def rival(call):
        if call.method == "transact_write_items":
            tries.append(call)
        if len(tries) == 2:
            memory.plan = never
            memory.put_item(TableName=TABLE, Item=wire(item(RECORD) | {"cursor": NOW - 500, "enqueued": 7}))

    memory.plan = rival
    with pytest.raises(CursorConflict):
        runs.advance(run, Progress(NOW - 500, 7, listed=False), NOW)
    assert item(RECORD)["enqueued"] == 7


def test_the_first_scheduled_run_is_the_origin_also_while_another_run_holds_the_state(runs, item):
    runs.start(by_hand(started_at="2024-11-28T02:00:00Z"), NOW + DAY)
    assert "firstLookbackStart" not in item(STATE)
    runs.start(a_run(), NOW)
    assert item(STATE)["firstLookbackStart"] == NOW - 25 * HOUR
    runs.start(a_run(run_id=OTHER, started_at="2024-11-29T02:00:00Z", lookback_start=NOW), NOW)
    assert item(STATE)["firstLookbackStart"] == NOW - 25 * HOUR


def test_a_run_that_takes_the_state_over_has_not_ended(runs, item):
    runs.advance(runs.start(a_run(), NOW), Progress(NOW - 600, 0, listed=True), NOW)
    runs.finish_if_complete(RUN, LATER)
    assert item(STATE)["lastSyncCompletedAt"] == AFTER_A_MINUTE
    runs.start(a_run(run_id=OTHER, started_at="2024-11-28T02:00:00Z"), NOW + DAY)
    assert (item(STATE)["lastSyncRunId"], item(STATE)["lastSyncStatus"]) == (OTHER, "running")
    assert "lastSyncCompletedAt" not in item(STATE)


def test_a_state_without_a_run_is_taken_whatever_its_times_look_like(runs, item, put):
    put(STATE, lastSyncStartedAt="9999")
    runs.start(a_run(), NOW)
    assert item(STATE)["lastSyncRunId"] == RUN


def test_counters_that_came_before_their_run_stay(runs, item, put):
    put(RECORD, processed=2, created=1, skipped=1)
    runs.start(a_run(), NOW)
    record = item(RECORD)
    assert [record[name] for name in ("enqueued", "processed", "created", "skipped", "errors")] == [
        0,
        2,
        1,
        1,
        0,
    ]


def test_a_warning_is_kept_once(runs, item):
    runs.start(a_run(), NOW)
    assert runs.warn(RUN, "careful") is True
    assert runs.warn(RUN, "careful") is False
    assert runs.warn(RUN, "twice as careful") is True
    assert item(RECORD)["warnings"] == ["careful", "twice as careful"]
    assert runs.warn(OTHER, "of no run") is False
    assert item(("SYSTEM", f"STRIPE_ORDER_SYNC#{OTHER}")) is None


def test_a_warning_on_a_record_of_another_version_begins_the_list(runs, item, put):
    put(RECORD, trigger="scheduled")
    assert runs.warn(RUN, "careful") is True
    assert item(RECORD)["warnings"] == ["careful"]


def test_what_waits_for_its_payment_is_found_and_nothing_else(runs, put):
    put(("SYSTEM", "PENDING#cs_1"), sessionId="cs_1")
    put(("SYSTEM", "PENDING#cs_2"), sessionId="cs_2")
    put(("SYSTEM", "QUEUED#cs_3"), sessionId="cs_3")
    runs.start(a_run(), NOW)
    assert [entry["sessionId"] for entry in runs.pending()] == ["cs_1", "cs_2"]


def test_of_the_pending_those_are_settled_that_have_an_outcome_of_this_run(runs, put):
    put((f"SYNC_RUN#{RUN}", "SESSION#cs_1"), pending=True)
    put((f"SYNC_RUN#{RUN}", "SESSION#cs_2"))
    put((f"SYNC_RUN#{OTHER}", "SESSION#cs_3"), pending=True)
    assert runs.find_settled_pending(RUN) == {"cs_1"}


def hand_run(moment, request):
    return ("SYSTEM", f"STRIPE_ORDER_SYNC#{moment}-{request}")


def test_a_run_by_hand_is_found_by_its_request_among_those_begun_since(runs, put):
    put(hand_run("20241127T015959Z", "aaaaaa"))
    put(hand_run("20241127T020000Z", "bbbbbb"))
    put(hand_run("20241127T030000Z", "cccccc"))
    put(("SYSTEM", "STRIPE_ORDER_SYNC#20241127T040000Z"))
    assert runs.find_by_request("aaaaaa", since=NOW) is None
    assert runs.find_by_request("bbbbbb", since=NOW) == "20241127T020000Z-bbbbbb"
    assert runs.find_by_request("cccccc", since=NOW) == "20241127T030000Z-cccccc"
    assert runs.find_by_request("ccc", since=NOW) is None


def test_runs_by_hand_of_one_second_are_found_by_that_second(runs, put):
    put(hand_run("20241127T020000Z", "aaaaaa"))
    put(hand_run("20241127T020000Z", "bbbbbb"))
    put(hand_run("20241127T020001Z", "cccccc"))
    put(("SYSTEM", "STRIPE_ORDER_SYNC#20241127T020000Z"))
    assert runs.find_by_time(NOW) == ["20241127T020000Z-aaaaaa", "20241127T020000Z-bbbbbb"]
    assert runs.find_by_time(NOW + 2) == []


def test_the_latest_runs_come_first(runs, put):
    put(STATE, lastSyncRunId=RUN)
    put(("SYSTEM", "PENDING#cs_1"))
    put(("SYSTEM", "STRIPE_ORDER_SYNC#20241125T020000Z"), trigger="scheduled")
    put(hand_run("20241126T090000Z", "aaaaaa"), trigger="manual")
    put(RECORD, trigger="scheduled")
    assert [run.run_id for run in runs.latest(9)] == [RUN, "20241126T090000Z-aaaaaa", "20241125T020000Z"]
    assert [run.run_id for run in runs.latest(2)] == [RUN, "20241126T090000Z-aaaaaa"]
    put(("SYSTEM", "STRIPE_ORDER_SYNC#20241124T020000Z"), trigger="scheduled")
    assert [run.run_id for run in runs.scheduled_before(RUN, 9)] == ["20241125T020000Z", "20241124T020000Z"]
    assert [run.run_id for run in runs.scheduled_before(RUN, 1)] == ["20241125T020000Z"]


REFUSED = "ValidationError"


@pytest.mark.parametrize("position", [0, 1])
def test_an_item_that_dynamodb_refuses_is_not_taken_for_a_rivals(position, runs, memory):
    memory.plan = on("transact_write_items", cancelled(REFUSED, "too large", position))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses an item of a run$"):
        runs.start(a_run(), NOW)


def test_a_record_that_is_there_and_is_not_is_said(runs, memory, put):
    put(RECORD, syncStartedAt=BEGAN)

    def vanishes(call):
        if call.method == "get_item":
            memory.plan = never
            memory.delete_item(TableName=TABLE, Key=wire({"PK": RECORD[0], "SK": RECORD[1]}))

    memory.plan = vanishes
    with pytest.raises(TableUnavailable, match=f"^the record of run {RUN} disappeared$"):
        runs.start(a_run(), NOW)


def test_a_page_that_met_a_conflict_is_tried_again(runs, memory, item):
    run = runs.start(a_run(), NOW)
    memory.plan = on("transact_write_items", cancelled("TransactionConflict", "busy", 0), nth=2)
    assert runs.advance(run, Progress(NOW - 500, 7, listed=False), NOW).enqueued == 7
    assert item(RECORD)["enqueued"] == 7
