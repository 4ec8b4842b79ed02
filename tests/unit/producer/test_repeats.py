"""Producers that are repeated, race, die or meet the records of other runs: each session is counted once."""

import contextlib
import json

import pytest

from recon.errors import QueueUnavailable, StripeUnavailable
from recon.stripe.connection import StripeConnection
from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import (
    Killed,
    connection_closed,
    killed_after,
    killed_before,
    lost_response,
    on,
    throttled,
)
from testkit.world import wire
from tests.proofs import PROVE_ALL
from tests.unit.producer.nights import at_first_listing, run_id, scheduled, sell

pytestmark = pytest.mark.slow

COUNT = 130


def assert_done(world, count=COUNT):
    world.drain()
    assert world.counters() == world.state_counters() == (count, count, count, 0, 0)
    assert world.run()["status"] == "done"


def kill_producer(world):
    """Kill the producer after it started its run."""
    world.sqs.plan = on("send_message_batch", killed_before(), nth=1)
    with pytest.raises(Killed):
        world.produce()
    world.sqs.plan = lambda call: None


def test_repeated_schedule_counts_once(world):
    sell(world, 30)
    world.body()
    assert world.body()["enqueued"] == 30
    assert_done(world, 30)
    third = world.body()
    assert (third["status"], third["created"], len(third["createdOrders"])) == ("success", 30, 20)
    assert_done(world, 30)


def test_concurrent_producers_of_one_run_count_once(world):
    sell(world, COUNT)
    raced = at_first_listing(world, world.body)
    assert world.body()["enqueued"] == COUNT
    assert raced
    assert_done(world)
    assert len(world.orders()) == COUNT


KILLED = [killed_before(), killed_after()]
FAULTS = [
    *(("sqs", "send_message_batch", fault, nth) for fault in KILLED for nth in (1, 8, 13)),
    *(("dynamodb", "transact_write_items", fault, nth) for fault in KILLED for nth in (1, 2, 3)),
    # Without the transaction's token, a repeat would meet its own change of the cursor and stop listing.
    *(("dynamodb", "transact_write_items", lost_response(), nth) for nth in (1, 2, 3)),
    *(("dynamodb", "transact_write_items", fault, 1) for fault in (throttled(), connection_closed())),
]


@pytest.mark.parametrize(("client", "method", "fault", "nth"), FAULTS if PROVE_ALL else FAULTS[::4])
def test_producer_that_dies_or_loses_a_response_counts_once(world, client, method, fault, nth):
    sell(world, COUNT)
    getattr(world, client).plan = on(method, fault, nth=nth)
    with contextlib.suppress(Killed):
        world.body()
        assert world.run()["listed"] is True
    assert world.history.faults().total() == 1
    getattr(world, client).plan = lambda call: None
    assert world.body()["enqueued"] == COUNT
    assert_done(world)


def test_rejected_queue_entries_are_sent_again_alone(world):
    sell(world, 10)
    rejected = []

    def reject_three_once(operation, entry):
        if operation == "SendMessageBatch" and len(rejected) < 3 and entry["Id"] in "147":
            rejected.append(entry["Id"])
            return True
        return False

    world.memory_sqs.rejects = reject_three_once
    world.body()
    assert rejected == ["1", "4", "7"]
    sent = [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]
    assert len(sent) == len(set(sent)) == 10


def test_queue_that_keeps_rejecting_fails_the_run_until_the_retry(world):
    sell(world, COUNT)
    world.memory_sqs.rejects = lambda operation, entry: "cs_test_00020" in entry.get("MessageBody", "")
    with pytest.raises(QueueUnavailable):
        world.produce()
    assert world.counters()[0] == 0
    assert not world.run()["listed"]
    world.memory_sqs.rejects = lambda operation, entry: False
    world.body()
    assert_done(world)


def test_empty_page_with_more_behind_it_does_not_end_the_listing(world, monkeypatch):
    sell(world, 350)
    get = StripeConnection.get

    def empty_second_page(self, path, params, key):
        return {"data": [], "has_more": True} if "starting_after" in params else get(self, path, params, key)

    monkeypatch.setattr(StripeConnection, "get", empty_second_page)
    with pytest.raises(StripeUnavailable):
        world.produce()
    monkeypatch.undo()
    assert not world.run()["listed"]
    assert world.body()["enqueued"] == 350


def test_repeated_run_keeps_its_maximum(world):
    sell(world, 30)
    kill_producer(world)
    body = world.body(scheduled(maxSessions=10))
    assert (body["enqueued"], body["truncated"]) == (30, False)


# Records of other runs


def test_run_of_a_dead_producer_is_failed_by_the_next_run(world):
    sell(world, 3)
    kill_producer(world)
    world.clock.now += 2 * DAY
    world.body(scheduled(2))
    assert world.run(RUN)["status"] == "failed"
    assert world.counters(run_id(2))[0] == 3
    assert (world.state()["lastSyncRunId"], world.state()["lastSyncStatus"]) == (run_id(2), "running")


def test_failed_run_continues_when_its_producer_returns(world):
    sell(world, 3)
    kill_producer(world)
    for minutes, status in ((19, "running"), (11, "failed")):
        world.clock.now += minutes * MINUTE
        world.body({"lookbackHours": 1})
        assert world.run(RUN)["status"] == status
    world.body()
    world.drain()
    assert world.run(RUN)["status"] == "done"
    assert world.counters(RUN)[:2] == (3, 3)


def test_run_marked_as_failed_while_listing_is_reopened(world):
    sell(world, 3)

    def mark_failed():
        world.memory.update_item(
            TableName="commerce",
            Key=wire({"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}),
            UpdateExpression="SET #s = :failed, syncCompletedAt = :at",
            ExpressionAttributeNames={"#s": "status"},
            ExpressionAttributeValues=wire({":failed": "failed", ":at": "2024-11-27T02:00:01Z"}),
        )

    raced = at_first_listing(world, mark_failed)
    assert world.body()["status"] == "running"
    assert raced
    assert "syncCompletedAt" not in world.run(RUN)
    assert_done(world, 3)


def test_record_with_counters_only_becomes_a_run(world):
    sell(world, 3)
    world.sends(a_message(session_id="cs_stray", user_id=None))
    world.drain()
    assert world.counters() == (0, 1, 0, 1, 0)
    assert world.run()["expiresAt"] > NOW
    body = world.body()
    assert (body["enqueued"], body["lookbackWindow"]["to"]) == (3, "2024-11-27T01:50:00Z")
    world.drain()
    assert world.run()["status"] == "done"
    assert world.counters() == (3, 4, 3, 1, 0)


def test_complete_run_of_a_dead_consumer_is_marked_done(world):
    sell(world, 3)
    world.body()
    world.dynamodb.plan = on("get_item", killed_before())
    world.deliver()
    world.dynamodb.plan = lambda call: None
    assert world.run()["status"] == "running"
    world.clock.now += DAY
    world.body(scheduled(1))
    assert world.run(RUN)["status"] == "done"


def test_earlier_run_does_not_take_the_state_from_a_later_one(world):
    world.clock.now += 600
    later = world.body({"lookbackHours": 1})["runId"]
    world.clock.now -= 600
    earlier = world.body()["runId"]
    assert world.state()["lastSyncRunId"] == later
    assert world.run(earlier)["status"] == "done"


def test_state_of_the_previous_system_is_replaced(world):
    state = {"lastSyncStartedAt": 99999999999, "lastSyncProcessed": 41}
    world.memory.put_item(
        TableName="commerce", Item=wire({"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC"} | state)
    )
    sell(world, 2)
    world.night()
    assert world.state_counters() == (2, 2, 2, 0, 0)


def test_manual_run_with_its_moment_is_repeated_as_one_run(world):
    event = {"requestedAt": "2024-11-27T03:00:00Z"}
    first = world.body({})["runId"]
    world.clock.now += HOUR
    assert world.body(event)["runId"] == "20241127T030000Z-8f3c1d"
    assert (world.body(event)["runId"], world.body({})["runId"]) == ("20241127T030000Z-8f3c1d", first)
