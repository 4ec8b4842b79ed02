"""Purging dead messages: sessions are dismissed, counters stay exact, races have one winner."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import BotoCoreError

from ops.dlq.purge import LONGEST_REASON, PurgeVerdict, mask_operator
from recon.errors import SyncError
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, a_message
from testkit.dead_letters import (
    DeadLetterTools,
    fail_before_consumer,
    fail_sessions,
    list_visible,
    put_dead,
    reject,
)
from testkit.doubles.faults import Killed, at_call, killed_after, killed_before, lost_response, never
from testkit.fake_stripe import SessionSpec
from testkit.world import wire

DAY = 86_400
DISMISSED_ONE = (1, 1, 0, 1, 0)  # enqueued, processed, created, skipped, errors
CREATED_ONE = (1, 1, 1, 0, 0)


@pytest.fixture
def tools(world):
    return DeadLetterTools(world)


def start_next_night(world):
    world.clock.now += DAY
    world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY)})


def interleave(world, action):
    """Run an action right before the first transaction."""

    def plan(call):
        if call.method == "transact_write_items":
            world.dynamodb.plan = never
            action()

    world.dynamodb.plan = plan


def test_dismissed_session_is_skipped_with_operator_and_reason(world, tools):
    [session] = fail_sessions(world, 1)
    before = world.outcome(session)
    [purged] = tools.purge(session, by="jane", because="test order").purged
    assert (purged.verdict, purged.outcome, purged.is_deleted) == (PurgeVerdict.DISMISSED, "skipped", True)
    assert world.memory_sqs.messages(world.dlq) == []
    outcome = world.outcome(session)
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", "dismissed")
    assert (outcome["dismissedBy"], outcome["dismissedBecause"]) == ("jane", "test order")
    assert outcome["dismissedAt"] == to_iso(world.clock())
    kept = ("errorType", "errorMessage", "attempts", "messageId", "amount", "currency")
    assert {name: outcome[name] for name in kept} == {name: before[name] for name in kept}
    assert world.counters() == world.state_counters() == DISMISSED_ONE


def test_other_messages_stay_and_are_released_first(world, tools):
    ids = fail_sessions(world, 12)
    seen = []
    world.dynamodb.plan = lambda call: seen.append((call.method, len(list_visible(world))))
    tools.purge(*ids[3:5])
    assert {number for method, number in seen if method == "transact_write_items"} == {10}
    assert sorted(message["sessionId"] for message in world.dead()) == ids[:3] + ids[5:]
    assert len(list_visible(world)) == 10
    assert world.counters() == world.state_counters() == (12, 12, 0, 2, 10)
    world.check_books()


def test_purge_of_sessions_without_outcome_completes_the_run(world, tools):
    ids = fail_before_consumer(world, 2)
    assert tools.purge(ids[0]).finished_runs == ()
    assert world.counters() == world.state_counters() == (2, 1, 0, 1, 0)
    assert tools.purge(ids[1]).finished_runs == (RUN,)
    assert (world.run()["status"], world.state()["lastSyncStatus"]) == ("done", "done")
    assert world.counters() == world.state_counters() == (2, 2, 0, 2, 0)
    assert {"amount", "currency", "messageId"} <= set(world.outcome(ids[0]))


def test_state_of_another_run_is_unchanged(world, tools):
    [session] = fail_sessions(world, 1)
    start_next_night(world)
    before = world.state_counters()
    tools.purge(session)
    assert world.counters() == DISMISSED_ONE
    assert world.state_counters() == before


def test_settled_session_keeps_its_outcome(world, tools):
    [session] = fail_sessions(world, 1)
    world.sends(tools.message)
    world.drain()
    before = world.outcome(session)
    [purged] = tools.purge(session).purged
    assert (purged.verdict, purged.outcome, purged.is_deleted) == (PurgeVerdict.SETTLED, "created", True)
    assert purged.listed_again_until is None
    assert world.outcome(session) == before
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.counters() == world.state_counters() == CREATED_ONE


def test_session_with_two_messages_is_counted_once(world, tools):
    [session] = fail_sessions(world, 1)
    put_dead(world, tools.message)
    verdicts = [purged.verdict for purged in tools.purge(session).purged]
    assert verdicts == [PurgeVerdict.DISMISSED, PurgeVerdict.SETTLED]
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.counters() == world.state_counters() == DISMISSED_ONE


def test_nameless_message_is_deleted_by_id(world, tools):
    name = put_dead(world, "not JSON")
    items = world.items()
    [purged] = tools.purge(message_ids=[name]).purged
    assert (purged.verdict, purged.outcome, purged.is_deleted) == (PurgeVerdict.NAMELESS, None, True)
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.items() == items


def test_missing_session_is_reported_and_unchanged(world, tools):
    """The session has an error, but its message was moved back."""
    [session] = fail_sessions(world, 1)
    tools.move()
    before = world.items()
    report = tools.purge(session, "cs_nobody")
    assert (report.purged, report.missing) == ((), ("cs_nobody", session))
    assert world.items() == before


def test_purge_without_ids_is_refused(world, tools):
    put_dead(world, a_message())
    with pytest.raises(ValueError, match="needs session ids or message ids"):
        tools.purge()
    assert len(list_visible(world)) == 1


def test_message_that_was_not_deleted_is_deleted_by_the_next_purge(world, tools):
    [session] = fail_sessions(world, 1)
    reject(world, "DeleteMessageBatch")
    assert not tools.purge(session).purged[0].is_deleted
    reject(world)
    [purged] = tools.purge(session, by="other").purged
    assert (purged.verdict, purged.reason, purged.is_deleted) == (PurgeVerdict.SETTLED, "dismissed", True)
    assert world.outcome(session)["dismissedBy"] == "jane"
    assert world.counters() == world.state_counters() == DISMISSED_ONE


@pytest.mark.parametrize("fault", [killed_before(), killed_after(), lost_response()], ids=lambda f: f.name)
def test_purge_interrupted_at_any_call_can_be_repeated(make_world, fault):
    for number in itertools.count(1):
        world = make_world()
        sessions = fail_before_consumer(world, 2)
        tools = DeadLetterTools(world)
        world.sqs.plan = world.dynamodb.plan = at_call(len(world.history.calls) + number, fault)
        try:
            tools.purge(*sessions)
        except (Killed, BotoCoreError, SyncError):
            dead = {message["sessionId"] for message in world.dead()}
            dismissed = {session for session in sessions if world.outcome(session)}
            assert dead | dismissed == set(sessions), "a message was lost without an outcome"
        world.sqs.plan = world.dynamodb.plan = never
        world.clock.now += 100
        tools.purge(*sessions)
        assert world.memory_sqs.messages(world.dlq) == []
        assert world.counters() == world.state_counters() == (2, 2, 0, 2, 0)
        assert world.run()["status"] == "done"
        if not world.history.faults():
            break
    assert number > 10


# Races


def test_consumer_that_commits_first_wins(world, tools):
    """A copy of the message is settled between the read of the purge and its transaction."""
    [session] = fail_sessions(world, 1)
    message = tools.message
    interleave(world, lambda: (world.sends(message), world.drain()))
    [purged] = tools.purge(session).purged
    assert (purged.verdict, purged.outcome) == (PurgeVerdict.SETTLED, "created")
    assert world.outcome(session)["outcome"] == "created"
    assert len(world.orders(session)) == 1
    assert world.counters() == world.state_counters() == CREATED_ONE


def test_consumer_that_fails_in_between_does_not_prevent_dismissal(world, tools):
    [session] = fail_before_consumer(world, 1)
    world.stripe.faults.missing(session=session)
    message = tools.message
    interleave(world, lambda: (world.sends(message), world.deliver()))
    assert tools.purge(session).purged[0].verdict is PurgeVerdict.DISMISSED
    assert world.outcome(session)["errorType"] == "SessionNotFound"
    assert world.counters() == world.state_counters() == DISMISSED_ONE


@pytest.mark.parametrize("in_between", [True, False], ids=["before the commit", "before the receive"])
def test_purge_that_commits_first_prevents_the_order(world, tools, in_between):
    [session] = fail_sessions(world, 1)
    message = tools.message
    if in_between:
        interleave(world, lambda: tools.purge(session))
    else:
        tools.purge(session)
    world.sends(message)
    world.drain()
    assert world.outcome(session)["reason"] == "dismissed"
    assert world.orders(session) == []
    assert world.counters() == world.state_counters() == DISMISSED_ONE
    assert world.memory_sqs.messages(world.queue) == world.memory_sqs.messages(world.dlq) == []


def test_run_that_takes_the_state_in_between_keeps_its_counters(world, tools):
    [session] = fail_sessions(world, 1)
    interleave(world, lambda: start_next_night(world))
    tools.purge(session)
    assert world.counters() == DISMISSED_ONE
    assert world.state_counters() == (1, 0, 0, 0, 0)  # the new run's


# Later runs


@pytest.mark.parametrize("age", [3600, 900])
def test_dismissed_session_is_listed_until_the_reported_time(world, tools, age):
    session = world.sells(SessionSpec("cs_test_1", NOW - age, metadata={"userId": "user-1"})).id
    world.stripe.faults.missing(session=session)
    world.night()
    world.stripe.faults.clear()
    until = tools.purge(session).purged[0].listed_again_until
    nights = []
    for day in range(1, 5):
        world.clock.now = at = NOW + day * DAY
        run_id = world.night({"trigger": "scheduled", "scheduledTime": to_iso(at)})["runId"]
        if world.outcome(session, run_id):
            nights.append(datetime.fromtimestamp(at, UTC))
    assert nights
    assert max(nights) <= until < max(nights) + timedelta(days=1)


def test_dismissed_session_does_not_wait_any_more(world, tools):
    message = a_message(created=NOW - 60 * DAY, pending=NOW)
    put_dead(world, message)
    world.memory.put_item(
        TableName=world.ledger, Item=wire({"PK": "SYSTEM", "SK": f"PENDING#{message.session_id}"})
    )
    [purged] = tools.purge(message.session_id).purged
    assert purged.listed_again_until is None
    assert world.item("SYSTEM", f"PENDING#{message.session_id}") is None


@pytest.mark.parametrize(
    ("outcome", "verdict", "is_dismissed"),
    [
        ({"outcome": "created"}, PurgeVerdict.SETTLED, False),
        ({"outcome": "skipped", "reason": "exists"}, PurgeVerdict.SETTLED, False),
        ({"outcome": "skipped", "reason": "unpaid"}, PurgeVerdict.DISMISSED, True),
        ({"outcome": "skipped", "reason": "dismissed"}, PurgeVerdict.SETTLED, True),
    ],
)
def test_purge_gives_up_for_good_what_has_no_order(outcome, verdict, is_dismissed, world, tools):
    message = a_message()
    put_dead(world, message)
    key = {"PK": f"SYNC_RUN#{message.run_id}", "SK": f"SESSION#{message.session_id}"}
    world.memory.put_item(TableName=world.ledger, Item=wire(key | outcome))
    [purged] = tools.purge(message.session_id).purged
    assert (purged.verdict, purged.outcome) == (verdict, outcome["outcome"])
    assert (world.item("SYSTEM", f"DISMISSED#{message.session_id}") is not None) is is_dismissed


def test_dismissed_old_session_is_not_listed_again(world, tools):
    put_dead(world, a_message(created=NOW - 10 * DAY))
    assert tools.purge("cs_1").purged[0].listed_again_until is None


# Personal data


@pytest.mark.parametrize(
    ("caller", "stored"),
    [
        ("jane", "jane"),
        ("jane.doe@example.com", "jane.doe"),
        ("@example.com", "unknown"),
        ("  ", "unknown"),
    ],
)
def test_operator_is_stored_without_mail_domain(caller, stored):
    assert mask_operator(caller) == stored


def test_reason_is_stored_without_address_and_key_and_is_cut(world, tools):
    [session] = fail_sessions(world, 1)
    because = "asked by bob@example.com, key sk_live_abcdef123456 " + "x" * 1000
    tools.purge(session, by="jane.doe@example.com", because=because)
    outcome = world.outcome(session)
    stored = json.dumps(outcome, default=str)
    assert "@example" not in stored
    assert "abcdef" not in stored
    assert len(outcome["dismissedBecause"]) == LONGEST_REASON == 500
