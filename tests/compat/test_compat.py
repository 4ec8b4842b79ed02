"""Queues and tables of earlier versions are understood, and those of later versions too.

A deployment finds messages, open runs and outcomes of the version before it; a roll-back finds those of the
version after it. So a version only ever adds fields: see "Compatibility" in CHANGELOG.md.
"""

import json

import pytest

from recon.domain.message import loads
from recon.domain.outcome import Outcome
from recon.dynamodb.attribute_readers import read_integer
from recon.dynamodb.records import parse_outcome, parse_run, parse_state
from recon.timestamps import HOUR
from testkit.builders import NOW, RUN, TABLE
from testkit.fake_stripe import SessionSpec
from testkit.world import SCHEDULED, wire

NEXT_NIGHT = SCHEDULED | {"scheduledTime": "2024-11-28T02:00:00Z"}
# All that the single-function system before this one stored of its last night.
SINGLE_FUNCTION_STATE = {
    "PK": "SYSTEM",
    "SK": "STRIPE_ORDER_SYNC",
    "lastSyncStartedAt": "2024-11-26T02:00:00Z",
    "lastSyncCompletedAt": "2024-11-26T02:03:10Z",
    "lastSyncProcessed": 40,
    "lastSyncCreated": 2,
    "lastSyncSkipped": 37,
    "lastSyncErrors": 1,
    "lastLookbackStart": NOW - 49 * HOUR,
    "lastLookbackEnd": NOW - 24 * HOUR,
    "updatedAt": "2024-11-26T02:03:10Z",
}
# The sessions that the consumer has to fetch, as Stripe has them.
SOLD = {
    "created": {"metadata": {"userId": "u1"}, "email": "a@shop.test"},
    "fenced": {"metadata": {"userId": "u2"}},
    "refunded": {"metadata": {"userId": "u7"}, "amount_refunded": 1500},
    "free": {"metadata": {"userId": "u10"}, "currency": None},
    "error": {"metadata": {"userId": "u9"}},
}


def store(world, items):
    for item in items:
        world.memory.put_item(TableName=TABLE, Item=wire(item))


def sell(world, name, **changes):
    world.sells(SessionSpec(f"cs_test_{name}", NOW - HOUR, **SOLD.get(name, {}) | changes))


def records(sample, **where):
    return [item for item in sample["items"] if where.items() <= item.items()]


def outcomes_by_session(items):
    return {item["SK"].partition("#")[2]: item for item in items if item["PK"] == f"SYNC_RUN#{RUN}"}


def test_every_message_is_read(sample):
    read = {message.session_id: message for message in map(loads, sample["messages"] + sample["dead"])}
    assert len(read) == 11
    created = read["cs_test_created"]
    assert (created.run_id, created.user_id, created.created) == (RUN, "u1", NOW - HOUR)
    assert (created.amount_total, created.currency, created.mode) == (1500, "usd", "payment")
    assert (created.event_ids, created.pending) == ((), None)
    assert read["cs_test_fenced"].event_types == ("checkout.session.completed",)
    assert read["cs_test_fenced"].event_ids[0].startswith("evt_")
    assert read["cs_test_unpaid"].pending == NOW + 48 * HOUR - 60
    assert read["cs_test_no_user"].user_id is None
    assert {(one.raw_user_id, one.other_user_ids) for one in read.values()} == {(None, ())}
    assert (read["cs_test_free"].amount_total, read["cs_test_free"].currency) == (None, None)


def test_every_run_and_the_state_are_read(sample):
    [done] = records(sample, SK=f"STRIPE_ORDER_SYNC#{RUN}")
    [_, running] = sample["open"]
    read = [parse_run(item) for item in (done, running, sample["failed"], sample["truncated"])]
    assert [run.status for run in read] == ["done", "running", "failed", "running"]
    assert [run.listed for run in read] == [True, False, False, True]
    assert [run.truncated for run in read] == [False, False, False, True]
    first = read[0]
    assert (first.run_id, first.trigger, first.drifted) == (RUN, "scheduled", 1)
    assert (first.enqueued, first.processed, first.created, first.skipped, first.errors) == (11, 11, 3, 7, 1)
    assert read[1].cursor == running["cursor"]
    assert read[3].max_sessions == 1
    assert read[3].warnings[0].startswith("truncated: ")
    [state] = map(parse_state, records(sample, SK="STRIPE_ORDER_SYNC"))
    assert (state.run_id, state.covered_through, state.livemode) == (RUN, NOW - 600, False)
    assert state.first_lookback_start == NOW - 25 * HOUR


def test_every_outcome_is_read(sample):
    outcomes = {name: parse_outcome(item) for name, item in outcomes_by_session(sample["items"]).items()}
    assert len(outcomes) == 11
    assert {outcome.outcome for outcome in outcomes.values()} <= set(Outcome)
    [error] = [outcome for outcome in outcomes.values() if not outcome.is_final]
    assert (error.session_id, error.error_type) == ("cs_test_error", "SessionNotFound")
    assert error.message_id


def test_outcome_with_words_of_a_later_version_is_final(world, sample):
    later = {"outcome": "skipped", "reason": "given_away", "givenBy": "ops", "amount": 1500}
    dismissed = outcomes_by_session(sample["items"])["cs_test_error"] | later
    store(world, [*sample["items"], dismissed])
    sell(world, "error")
    world.sends(sample["dead"][0])
    world.drain()
    assert world.outcome("cs_test_error") == dismissed
    assert not world.orders("cs_test_error")


def test_redrive_corrects_the_counters_of_an_earlier_run(world, sample):
    store(world, sample["items"])
    sell(world, "error")
    world.sends(sample["dead"][0])
    world.drain()
    assert world.counters() == world.state_counters() == (11, 11, 4, 7, 0)
    assert world.run()["status"] == "done"
    assert len(world.orders("cs_test_error")) == 1
    world.check_books()


def test_late_messages_change_no_settled_session(world, sample):
    store(world, sample["items"])
    before = sorted(world.items(), key=str)
    for body in sample["messages"]:
        if json.loads(body)["sessionId"] not in {"cs_test_error", "cs_test_unpaid"}:
            world.sends(body)
    world.drain()
    assert sorted(world.items(), key=str) == before


def test_unprocessed_messages_get_the_outcomes_of_their_version(make_world, sample):
    world = make_world(ORDER_TTL_DAYS="1")
    webhooks = [
        item
        for item in sample["items"]
        if item["SK"].startswith("ORDER#") and item.get("source") != "nightly_sync"
    ]
    [state] = records(sample, SK="STRIPE_ORDER_SYNC")
    [run] = records(sample, SK=f"STRIPE_ORDER_SYNC#{RUN}")
    # As they were after the last message was sent and before the first one was received.
    counters = ("processed", "created", "skipped", "errors", "drifted")
    state |= {f"lastSync{name.capitalize()}": 0 for name in counters} | {"lastSyncStatus": "running"}
    run |= dict.fromkeys(counters, 0) | {"status": "running"}
    store(world, [*webhooks, state, run])
    for name in SOLD.keys() - {"error"}:
        sell(world, name)
    sell(world, "unpaid", metadata={"userId": "u5"}, payment_status="unpaid")
    world.sells(SessionSpec("cs_test_expired", NOW - 25 * HOUR + 60, metadata={"userId": "u8"}))
    for body in sample["messages"]:
        if json.loads(body)["runId"] == RUN:
            world.sends(body)
    world.drain()
    outcomes, expected = (
        {name: item["outcome"] for name, item in outcomes_by_session(items).items()}
        for items in (world.items(), sample["items"])
    )
    assert len(outcomes) == 11
    assert outcomes == {name: expected[name] for name in outcomes}
    world.check_books()


def test_open_run_is_continued_from_its_cursor(world, sample):
    store(world, sample["open"])
    before = world.run()
    for n, created in enumerate([before["cursor"] - 10, before["cursor"] + 10, NOW - HOUR]):
        world.sells(SessionSpec(f"cs_test_rest{n}", int(created), metadata={"userId": "u"}))
    world.body(sample["hop"])
    sent = [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]
    assert sent == ["cs_test_rest1", "cs_test_rest2"]
    assert world.run()["listed"]
    assert world.run()["enqueued"] == before["enqueued"] + 2
    assert world.state()["lastSyncRunId"] == RUN


def list_in_parts(make_world, count=250):
    """Return the world of a run with open parts, whose next invocation Lambda has not begun."""
    world = make_world(SYNC_MAX_SESSIONS="100")
    for n in range(count):
        created = NOW - HOUR - n * 100
        world.sells(SessionSpec(f"cs_test_{n:03}", created, metadata={"userId": f"u{n % 7}"}))
    world.produce(SCHEDULED)
    return world


def test_earlier_version_cannot_continue_a_listing_in_parts(make_world):
    """It reads no cursor, so it moves one only if there is none: it stops, and counts no session twice."""
    world = list_in_parts(make_world)
    record = world.run()
    assert record["listing"]["parts"]
    assert read_integer(record, "cursor") is None
    with pytest.raises(world.memory.exceptions.ConditionalCheckFailedException):
        world.memory.update_item(
            TableName=TABLE,
            Key=wire({name: record[name] for name in ("PK", "SK")}),
            UpdateExpression="SET #cursor = :cursor",
            ConditionExpression="attribute_not_exists(#cursor) AND #listed = :no",
            ExpressionAttributeNames={"#cursor": "cursor", "#listed": "listed"},
            ExpressionAttributeValues=wire({":cursor": NOW, ":no": False}),
        )
    assert (record["enqueued"], record["listed"]) == (100, False)


def test_listing_in_parts_that_was_given_up_loses_no_session(make_world):
    world = list_in_parts(make_world)
    world.hops.clear()
    world.drain()
    world.clock.now += 24 * HOUR
    world.body(NEXT_NIGHT)
    world.hop_all()
    world.drain()
    assert world.run()["status"] == "failed"
    assert world.run("20241128T020000Z")["status"] == "done"
    assert sorted(order["orderId"] for order in world.orders()) == [f"cs_test_{n:03}" for n in range(250)]
    world.check_books()


def test_open_run_is_closed_by_the_next_night(world, sample):
    store(world, sample["open"])
    world.clock.now += 24 * HOUR
    world.body(NEXT_NIGHT)
    assert world.run()["status"] == "failed"
    assert world.state()["lastSyncRunId"] == "20241128T020000Z"


def test_pending_session_is_checked_again(world, sample):
    store(world, sample["items"])
    sell(world, "unpaid", metadata={"userId": "u5"}, async_paid_at=NOW + HOUR)
    for night in (28, 29):
        world.clock.now += 24 * HOUR
        world.night(SCHEDULED | {"scheduledTime": f"2024-11-{night}T02:00:00Z"})
    assert len(world.orders("cs_test_unpaid")) == 1
    assert world.item("SYSTEM", "PENDING#cs_test_unpaid") is None


@pytest.mark.parametrize("name", ["created", "fenced", "free", "exists"])
def test_existing_order_is_not_written_again(world, sample, name):
    session = f"cs_test_{name}"
    [order] = records(sample, orderId=session)
    store(world, [order])
    sell(world, name, metadata={"userId": order["userId"]})
    world.night()
    assert world.orders(session) == [order]
    assert world.outcome(session)["reason"] == "exists"


def test_marker_does_not_stop_a_missing_order(world, sample):
    [marker] = [item for item in sample["items"] if item["PK"].startswith("EVENT#")]
    store(world, [marker])
    sell(world, "fenced", event_delivered=False)
    world.night()
    assert len(world.orders("cs_test_fenced")) == 1
    assert world.item(marker["PK"], marker["SK"]) == marker


def test_next_night_starts_from_the_watermark(world, sample):
    store(world, sample["items"])
    world.clock.now += 24 * HOUR
    body = world.body(NEXT_NIGHT)
    # A version that stored a watermark item replaces the test's own, which confirms the table.
    is_confirmed = not any(item["SK"] == "STRIPE_SYNC_WATERMARK" for item in sample["items"])
    expected = [] if is_confirmed else ["no_sessions"]
    assert [warning.partition(":")[0] for warning in body["warnings"]] == expected
    assert world.run("20241128T020000Z")["lookbackStart"] == NOW - 600 - 24 * HOUR - 600


def test_state_of_the_single_function_system_is_taken_over(world):
    store(world, [SINGLE_FUNCTION_STATE])
    sell(world, "created")
    world.night()
    assert world.state_counters() == (1, 1, 1, 0, 0)
    state = world.state()
    assert (state["lastSyncRunId"], state["lastSyncStatus"]) == (RUN, "done")
    assert state["lastCoveredThrough"] == NOW - 600
