"""What a command holds: hidden for as long as it works, and not much longer, whatever ends it."""

import pytest

from ops.dlq.leases import HOLD_SECONDS
from ops.dlq.message_filter import MessageFilter
from testkit.builders import a_message
from testkit.dead_letters import EVERYTHING, Operator, lies, visible
from testkit.doubles.faults import Killed, killed_before

MANY = 400


@pytest.fixture
def operator(world):
    return Operator(world, by_hand=True)


def lie(world, number):
    for n in range(number):
        lies(world, a_message(session_id=f"cs_{n}"))


def test_whatever_kills_a_slow_move_the_rest_is_visible_again_within_a_minute(world, operator):
    lie(world, MANY)
    with pytest.raises(Killed):  # noqa: PT012 - the kill comes at some time of the move
        for moving in operator.redrive(per_second=1)(EVERYTHING):
            if moving.moved == 100:
                world.sqs.plan = lambda call: killed_before()
    assert visible(world, world.dlq) == []
    world.clock.now += 60
    assert len(visible(world, world.dlq)) == MANY - 100


def test_nobody_else_sees_anything_while_a_move_takes_ten_times_its_hold(world, operator):
    lie(world, MANY)
    seen = {len(visible(world, world.dlq)) for _ in operator.redrive(per_second=1)(EVERYTHING)}
    assert seen == {0}
    assert len(world.memory_sqs.messages(world.queue)) == MANY


def test_a_renewal_that_is_refused_once_is_asked_for_again(world, operator):
    lie(world, 100)
    refused = []

    def rejects(operation, entry):
        first = operation == "ChangeMessageVisibilityBatch" and len(refused) < 30
        refused.extend([entry] if first else [])
        return first

    moves = operator.redrive(per_second=1)(EVERYTHING)
    next(moves)
    world.memory_sqs.rejects = rejects
    *_, end = moves
    assert (end.moved, end.lapsed, len(refused)) == (100, 0, 30)


def test_what_cannot_be_held_until_its_turn_stays_and_is_told(world, operator):
    lie(world, 100)
    world.memory_sqs.rejects = lambda operation, entry: operation == "ChangeMessageVisibilityBatch"
    *_, end = operator.redrive(per_second=1)(MessageFilter(most=MANY))
    assert end.moved == HOLD_SECONDS + 1  # all were received with a second more, for the reading
    assert (end.lapsed, end.is_over) == (100 - end.moved, True)
    assert len(visible(world, world.dlq)) == end.lapsed
    assert len(world.memory_sqs.messages(world.queue)) == end.moved


def test_a_message_that_another_command_took_after_its_hold_is_left_to_it(world, operator):
    lie(world, 50)
    world.memory_sqs.rejects = lambda operation, entry: operation == "ChangeMessageVisibilityBatch"
    moves = operator.redrive(per_second=1)(MessageFilter(most=MANY))
    assert next(moving for moving in moves if moving.moved == HOLD_SECONDS + 1)
    world.clock.now += 1
    assert Operator(world, by_hand=True).moves(MessageFilter(most=MANY)).moved == 50 - HOLD_SECONDS - 1
    *_, end = moves
    assert end.lapsed == 50 - HOLD_SECONDS - 1
    assert len(world.memory_sqs.messages(world.queue)) == 50


def test_nothing_is_held_for_longer_than_sqs_allows(world, operator):
    lie(world, 6)
    *_, end = operator.redrive(per_second=0.0001)(EVERYTHING)
    assert (end.moved, end.lapsed) == (43_200 // 10_000 + 1, 1)
    assert len(world.memory_sqs.messages(world.dlq)) == 1


def test_the_chosen_ones_stay_held_while_many_others_are_given_back_slowly(world, operator):
    lie(world, MANY)
    chosen = sorted(message.message_id for message in world.memory_sqs.messages(world.dlq))[:5]

    def slow(call):
        world.clock.now += 2 if call.method == "change_message_visibility_batch" else 0

    with operator.box.held(clock=world.clock) as held:
        world.sqs.plan = slow
        held.keep_only(chosen)
        assert len(held.still(held.messages)) == len(chosen)
        assert len(visible(world, world.dlq)) == MANY - len(chosen)


def test_a_session_waits_for_its_purge_as_long_as_the_others_take(world, operator):
    lie(world, 100)
    seen = set()

    def slow(call):
        if call.method == "transact_write_items":
            world.clock.now += 1
            seen.add(len(visible(world, world.dlq)))

    world.dynamodb.plan = slow
    report = operator.purge(*(f"cs_{n}" for n in range(100)))
    assert (len(report.purged), report.lapsed) == (100, ())
    assert seen == {0}


def test_a_purge_leaves_alone_what_it_could_not_hold(world, operator):
    lie(world, 50)
    world.memory_sqs.rejects = lambda operation, entry: operation == "ChangeMessageVisibilityBatch"

    def slow(call):
        world.clock.now += 1 if call.method == "transact_write_items" else 0

    world.dynamodb.plan = slow
    report = operator.purge(*(f"cs_{n}" for n in range(50)))
    assert 0 < len(report.purged) < 50
    assert len(report.purged) + len(report.lapsed) == 50
    assert {message.message_id for message in world.memory_sqs.messages(world.dlq)} == set(report.lapsed)
