"""Leases: messages stay hidden while a command works, and only a little longer if it is killed."""

import pytest

from ops.dlq.leases import LEASE_SECONDS
from ops.dlq.message_filter import MessageFilter
from testkit.dead_letters import DeadLetterTools, list_visible, put_many_dead, reject
from testkit.doubles.faults import Killed, killed_before

MANY = 400
RENEW = "ChangeMessageVisibilityBatch"


@pytest.fixture
def tools(world):
    return DeadLetterTools(world, tasks=False)


def delay(world, method, seconds):
    """Return a fault plan that only makes a method slow."""

    def plan(call):
        world.clock.now += seconds if call.method == method else 0

    return plan


def test_killed_move_makes_the_rest_visible_within_a_minute(world, tools):
    put_many_dead(world, MANY)
    with pytest.raises(Killed):  # noqa: PT012 - the kill comes during the move
        for progress in tools.start_move(per_second=1):
            if progress.moved == 100:
                world.sqs.plan = lambda call: killed_before()
    assert list_visible(world) == []
    world.clock.now += 60
    assert len(list_visible(world)) == MANY - 100


def test_move_longer_than_a_lease_keeps_messages_hidden(world, tools):
    put_many_dead(world, MANY)
    assert {len(list_visible(world)) for _ in tools.start_move(per_second=1)} == {0}
    assert len(world.memory_sqs.messages(world.queue)) == MANY


def test_rejected_renewal_is_repeated_in_time(world, tools):
    put_many_dead(world, 100)
    rejected = []

    def rejects(operation, entry):
        is_early = operation == RENEW and len(rejected) < 30
        rejected.extend([entry] if is_early else [])
        return is_early

    moves = tools.start_move(per_second=1)
    next(moves)
    world.memory_sqs.rejects = rejects
    *_, end = moves
    assert (end.moved, end.lapsed, len(rejected)) == (100, 0, 30)


def test_expired_lease_leaves_message_to_other_commands(world, tools):
    put_many_dead(world, 50)
    reject(world, RENEW)
    some = MessageFilter(limit=MANY)
    in_time = LEASE_SECONDS + 1  # the leases have a second more, for the reading
    moves = tools.start_move(some, per_second=1)
    assert next(progress for progress in moves if progress.moved == in_time)
    world.clock.now += 1
    assert len(list_visible(world)) == 50 - in_time
    assert DeadLetterTools(world, tasks=False).move(some).moved == 50 - in_time
    *_, end = moves
    assert (end.moved, end.lapsed, end.is_over) == (in_time, 50 - in_time, True)
    assert len(world.memory_sqs.messages(world.queue)) == 50


def test_lease_ends_at_the_maximum_of_sqs(world, tools):
    put_many_dead(world, 6)
    end = tools.move(per_second=0.0001)
    assert (end.moved, end.lapsed) == (43_200 // 10_000 + 1, 1)
    assert len(world.memory_sqs.messages(world.dlq)) == 1


def test_chosen_messages_stay_held_while_others_are_released(world, tools):
    put_many_dead(world, MANY)
    chosen = sorted(message.message_id for message in world.memory_sqs.messages(world.dlq))[:5]
    with tools.lease() as leases:
        world.sqs.plan = delay(world, "change_message_visibility_batch", 2)
        leases.keep_only(chosen)
        assert len(leases.filter_held(leases.messages)) == len(chosen)
        assert len(list_visible(world)) == MANY - len(chosen)


def test_slow_purge_holds_all_its_messages(world, tools):
    put_many_dead(world, 100)
    seen = set()

    def slow(call):
        if call.method == "transact_write_items":
            world.clock.now += 1
            seen.add(len(list_visible(world)))

    world.dynamodb.plan = slow
    report = tools.purge(*(f"cs_{n}" for n in range(100)))
    assert (len(report.purged), report.lapsed, seen) == (100, (), {0})


def test_purge_leaves_messages_with_expired_lease(world, tools):
    put_many_dead(world, 50)
    reject(world, RENEW)
    world.dynamodb.plan = delay(world, "transact_write_items", 1)
    report = tools.purge(*(f"cs_{n}" for n in range(50)))
    assert 0 < len(report.purged) < 50
    assert len(report.purged) + len(report.lapsed) == 50
    assert {message.message_id for message in world.memory_sqs.messages(world.dlq)} == set(report.lapsed)
