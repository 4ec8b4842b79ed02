"""Dropping dead messages on purpose: the session is dismissed, the books stay right, the race is fair."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import BotoCoreError

from ops.dlq.purge import Verdict, person, printable
from recon.errors import SyncError
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, a_message
from testkit.dead_letters import Operator, dies, lies, produced, visible
from testkit.doubles.faults import Killed, at_call, killed_after, killed_before, lost_response, never
from testkit.world import wire


@pytest.fixture
def operator(world):
    return Operator(world)


def test_a_dismissed_session_counts_as_skipped_and_says_by_whom_and_why(world, operator):
    [session] = dies(world, 1)
    before = world.outcome(session)
    [purged] = operator.purge(session, by="jane", because="test order").purged
    assert (purged.verdict, purged.outcome, purged.is_deleted) == (Verdict.DISMISSED, "skipped", True)
    assert world.memory_sqs.messages(world.dlq) == []
    outcome = world.outcome(session)
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", "dismissed")
    assert (outcome["dismissedBy"], outcome["dismissedBecause"]) == ("jane", "test order")
    assert outcome["dismissedAt"] == to_iso(world.clock())
    kept = ("errorType", "errorMessage", "attempts", "messageId", "amount", "currency")
    assert {name: outcome[name] for name in kept} == {name: before[name] for name in kept}
    assert world.counters() == world.state_counters() == (1, 1, 0, 1, 0)


def test_all_others_stay_and_are_visible_at_once(world, operator):
    ids = dies(world, 12)
    operator.purge(*ids[3:5])
    assert sorted(message["sessionId"] for message in world.dead()) == ids[:3] + ids[5:]
    assert len(visible(world, world.dlq)) == 10
    assert world.counters() == world.state_counters() == (12, 12, 0, 2, 10)
    world.check_books()


def test_all_others_are_visible_while_the_purge_is_still_at_work(world, operator):
    ids = dies(world, 12)
    seen = []
    world.dynamodb.plan = lambda call: seen.append((call.method, len(visible(world, world.dlq))))
    operator.purge(*ids[:2])
    assert {count for method, count in seen if method == "transact_write_items"} == {10}


def test_a_session_without_an_outcome_gets_one_and_ends_its_run(world, operator):
    ids = produced(world, 2)
    report = operator.purge(ids[0])
    assert report.finished_runs == ()
    assert world.counters() == world.state_counters() == (2, 1, 0, 1, 0)
    report = operator.purge(ids[1])
    assert report.finished_runs == (RUN,)
    assert (world.run()["status"], world.state()["lastSyncStatus"]) == ("done", "done")
    assert world.counters() == world.state_counters() == (2, 2, 0, 2, 0)
    assert {"amount", "currency", "messageId"} <= set(world.outcome(ids[0]))


def test_the_state_is_left_alone_where_another_run_holds_it(world, operator):
    [session] = dies(world, 1)
    world.clock.now += 86_400
    world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + 86_400)})
    before = world.state_counters()
    operator.purge(session)
    assert world.counters() == (1, 1, 0, 1, 0)
    assert world.state_counters() == before


def test_a_session_that_is_settled_keeps_its_outcome_and_loses_its_message(world, operator):
    [session] = dies(world, 1)
    world.sends(operator.list().messages[operator.letters[0].message_id])
    world.drain()
    before = world.outcome(session)
    [purged] = operator.purge(session).purged
    assert (purged.verdict, purged.outcome, purged.is_deleted) == (Verdict.SETTLED, "created", True)
    assert purged.listed_again_until is None
    assert world.outcome(session) == before
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)


def test_all_messages_of_a_session_are_dropped_and_it_is_counted_once(world, operator):
    [session] = dies(world, 1)
    lies(world, operator.list().messages[operator.letters[0].message_id])
    verdicts = [purged.verdict for purged in operator.purge(session).purged]
    assert verdicts == [Verdict.DISMISSED, Verdict.SETTLED]
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.counters() == world.state_counters() == (1, 1, 0, 1, 0)


def test_a_nameless_message_is_dropped_by_its_id_alone(world, operator):
    name = lies(world, "not JSON")
    items = world.items()
    [purged] = operator.purge(message_ids=[name]).purged
    assert (purged.verdict, purged.outcome, purged.is_deleted) == (Verdict.NAMELESS, None, True)
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.items() == items


def test_what_is_not_there_is_told_and_changes_nothing(world, operator):
    """Its error stands: the message is on its way back, or expired."""
    [session] = dies(world, 1)
    operator.moves()
    before = world.items()
    report = operator.purge(session, "cs_nobody")
    assert (report.purged, report.missing) == ((), ("cs_nobody", session))
    assert world.items() == before


def test_a_purge_without_a_name_is_refused(world, operator):
    lies(world, a_message())
    with pytest.raises(ValueError, match="names sessions or messages"):
        operator.purge()
    assert len(visible(world, world.dlq)) == 1


def test_a_message_that_sqs_does_not_delete_is_told_and_the_same_purge_again_drops_it(world, operator):
    [session] = dies(world, 1)
    world.memory_sqs.rejects = lambda operation, entry: operation == "DeleteMessageBatch"
    assert not operator.purge(session).purged[0].is_deleted
    world.memory_sqs.rejects = lambda operation, entry: False
    [purged] = operator.purge(session, by="other").purged
    assert (purged.verdict, purged.reason, purged.is_deleted) == (Verdict.SETTLED, "dismissed", True)
    assert world.outcome(session)["dismissedBy"] == "jane"
    assert world.counters() == world.state_counters() == (1, 1, 0, 1, 0)


@pytest.mark.parametrize("fault", [killed_before(), killed_after(), lost_response()], ids=lambda f: f.name)
def test_stopped_at_any_call_the_same_purge_again_ends_with_exact_books(make_world, fault):
    for number in itertools.count(1):
        world = make_world()
        sessions = produced(world, 2)
        operator = Operator(world)
        world.sqs.plan = world.dynamodb.plan = at_call(len(world.history.calls) + number, fault)
        try:
            operator.purge(*sessions)
        except (Killed, BotoCoreError, SyncError):
            dead = {message["sessionId"] for message in world.dead()}
            dismissed = {session for session in sessions if world.outcome(session)}
            assert dead | dismissed == set(sessions), "a message is gone and nothing says why"
        world.sqs.plan = world.dynamodb.plan = never
        world.clock.now += 100
        operator.purge(*sessions)
        assert world.memory_sqs.messages(world.dlq) == []
        assert world.counters() == world.state_counters() == (2, 2, 0, 2, 0)
        assert world.run()["status"] == "done"
        if not world.history.faults():
            break
    assert number > 10


# Races


def test_a_consumer_that_is_faster_wins(world, operator):
    """A copy of the message is on its way and settled between the purge's read and its transaction."""
    [session] = dies(world, 1)
    message = operator.list().messages[operator.letters[0].message_id]

    def meanwhile(call):
        world.dynamodb.plan = before
        if call.method == "transact_write_items":
            world.sends(message)
            world.drain()
        else:
            world.dynamodb.plan = meanwhile

    before, world.dynamodb.plan = world.dynamodb.plan, meanwhile
    [purged] = operator.purge(session).purged
    assert (purged.verdict, purged.outcome) == (Verdict.SETTLED, "created")
    assert world.outcome(session)["outcome"] == "created"
    assert len(world.orders(session)) == 1
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)


def test_a_consumer_that_fails_again_in_between_does_not_keep_the_session_from_being_dismissed(
    world, operator
):
    [session] = produced(world, 1)
    world.stripe.faults.missing(session=session)
    message = operator.list().messages[operator.letters[0].message_id]

    def meanwhile(call):
        if call.method == "transact_write_items":
            world.dynamodb.plan = never
            world.sends(message)
            world.deliver()

    world.dynamodb.plan = meanwhile
    assert operator.purge(session).purged[0].verdict is Verdict.DISMISSED
    assert world.outcome(session)["errorType"] == "SessionNotFound"
    assert world.counters() == world.state_counters() == (1, 1, 0, 1, 0)


def test_a_purge_that_is_faster_wins_and_no_order_is_written(world, operator):
    """The consumer has fetched the session and is about to commit its order."""
    [session] = dies(world, 1)
    world.sends(operator.list().messages[operator.letters[0].message_id])

    def meanwhile(call):
        if call.method == "transact_write_items":
            world.dynamodb.plan = never
            operator.purge(session)

    world.dynamodb.plan = meanwhile
    world.drain()
    assert world.outcome(session)["reason"] == "dismissed"
    assert world.orders(session) == []
    assert world.counters() == world.state_counters() == (1, 1, 0, 1, 0)
    assert world.memory_sqs.messages(world.queue) == []


def test_a_consumer_that_meets_a_dismissal_drops_the_message(world, operator):
    [session] = dies(world, 1)
    message = operator.list().messages[operator.letters[0].message_id]
    operator.purge(session)
    world.sends(message)
    world.drain()
    assert world.orders(session) == []
    assert world.memory_sqs.messages(world.dlq) == []
    assert world.counters() == world.state_counters() == (1, 1, 0, 1, 0)


def test_the_state_moves_on_to_another_run_while_a_session_is_dismissed(world, operator):
    [session] = dies(world, 1)

    def meanwhile(call):
        if call.method == "transact_write_items":
            world.dynamodb.plan = never
            world.clock.now += 86_400
            world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + 86_400)})

    world.dynamodb.plan = meanwhile
    operator.purge(session)
    assert world.counters() == (1, 1, 0, 1, 0)
    assert world.state_counters() == (1, 0, 0, 0, 0)  # the new run's


# What comes after


def test_a_dismissed_session_is_listed_by_later_runs_up_to_the_time_that_is_told(world, operator):
    [session] = dies(world, 1)
    [purged] = operator.purge(session).purged
    until = purged.listed_again_until
    nights = []
    for day in range(1, 5):
        at = NOW + day * 86_400
        world.clock.now = at
        run_id = world.night({"trigger": "scheduled", "scheduledTime": to_iso(at)})["runId"]
        if world.outcome(session, run_id):
            nights.append(datetime.fromtimestamp(at, UTC))
    assert nights
    assert max(nights) <= until < max(nights) + timedelta(days=1)


def test_a_dismissed_session_that_waits_for_its_payment_is_listed_as_long_as_it_waits(world, operator):
    message = a_message(created=NOW - 60 * 86_400, pending=NOW)
    lies(world, message)
    entry = {"PK": "SYSTEM", "SK": f"PENDING#{message.session_id}", "expiresAt": NOW + 30 * 86_400}
    world.memory.put_item(TableName=world.table, Item=wire(entry))
    [purged] = operator.purge(message.session_id).purged
    assert purged.listed_again_until.timestamp() == NOW + 30 * 86_400


def test_an_old_session_is_listed_by_none(world, operator):
    lies(world, a_message(created=NOW - 10 * 86_400))
    assert operator.purge("cs_1").purged[0].listed_again_until is None


# Nothing personal


@pytest.mark.parametrize(
    ("caller", "kept"),
    [
        ("jane", "jane"),
        ("jane.doe@example.com", "jane.doe"),
        ("@example.com", "unknown"),
        ("  ", "unknown"),
    ],
)
def test_of_a_caller_no_address_is_kept(caller, kept):
    assert person(caller) == kept


def test_of_a_reason_no_address_and_no_key_is_kept(world, operator):
    [session] = dies(world, 1)
    because = "asked by bob@example.com, key sk_live_abcdef123456 " + "x" * 1000
    operator.purge(session, by="jane.doe@example.com", because=because)
    said = json.dumps(world.outcome(session), default=str)
    assert "@example" not in said
    assert "abcdef" not in said
    assert len(printable(because)) == 500
