"""Moving dead messages back: by hand, by SQS itself, some of them, and stopped at any point."""

import contextlib
import itertools
import json
from collections import Counter

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.leases import HOLD_SECONDS
from ops.dlq.message_filter import MessageFilter
from testkit.builders import a_message
from testkit.dead_letters import EVERYTHING, Operator, dies, lies, produced, sells, visible
from testkit.doubles.faults import (
    Killed,
    at_call,
    killed_before,
    lost_response,
    never,
    on,
    service_error,
)

MANY = 23


@pytest.fixture
def operator(world):
    return Operator(world, by_hand=True)


def lying(world):
    """The session of each message that is in one of the queues."""
    return Counter(
        loaded["sessionId"]
        for url in (world.dlq, world.queue)
        for loaded in map(json.loads, world.memory_sqs.bodies(url))
    )


# By hand


def test_everything_is_moved_and_tried_again_and_the_books_are_right(world, operator):
    ids = dies(world, MANY)
    end = operator.moves()
    assert (end.moved, end.total, end.rejected, end.doubled, end.is_over) == (MANY, MANY, 0, 0, True)
    assert [letter.session_id for letter in end.letters] == ids
    assert world.memory_sqs.messages(world.dlq) == []
    world.drain()
    assert Counter(order["orderId"] for order in world.orders()) == dict.fromkeys(ids, 1)
    assert world.counters() == world.state_counters() == (MANY, MANY, MANY, 0, 0)


def test_progress_is_told_batch_by_batch(world, operator):
    dies(world, MANY)
    assert [(moving.moved, moving.total) for moving in operator.redrive()(EVERYTHING)] == [
        (0, MANY),
        (10, MANY),
        (20, MANY),
        (MANY, MANY),
    ]


def test_an_empty_queue_is_over_at_once(operator):
    [end] = list(operator.redrive()(EVERYTHING))
    assert (end.total, end.is_over) == (0, True)


@pytest.mark.parametrize(("per_second", "seconds"), [(None, 0.4), (10, 2.0), (2, 11.0)])
def test_messages_are_moved_at_the_pace_asked_for(world, operator, per_second, seconds):
    dies(world, MANY)
    began = world.clock()
    operator.moves(per_second=per_second)
    assert world.clock() - began == pytest.approx(seconds)


def test_a_batch_that_took_long_is_not_made_up_for_by_a_burst(world, operator):
    dies(world, MANY)
    times = []

    def slow(call):
        if call.method == "send_message_batch":
            times.append(world.clock())
            world.clock.now += 20 if len(times) == 1 else 0

    world.sqs.plan = slow
    operator.moves(per_second=1)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([21] + [1] * (MANY - 2))


def test_a_slow_move_holds_its_messages_for_as_long_as_it_takes(world, operator):
    """Another operator who looks in between finds nothing to move a second time."""
    dies(world, MANY)
    other = Operator(world, by_hand=True)
    seen = []
    for _ in operator.redrive(per_second=0.1)(EVERYTHING):
        world.clock.now += 1
        seen.append(len(other.letters))
    assert seen == [0] * (MANY + 1)
    assert set(lying(world).values()) == {1}


def test_messages_that_fail_at_once_and_come_back_are_not_moved_again(world, operator):
    ids = dies(world, MANY)
    for session_id in ids:
        world.stripe.faults.missing(session=session_id)
    produced = world.history.count("send_message_batch")
    for _ in operator.redrive()(EVERYTHING):
        world.drain()
    assert world.history.count("send_message_batch") - produced == len(range(0, MANY, 10))
    assert len(world.dead()) == MANY
    assert world.counters() == world.state_counters() == (MANY, MANY, 0, 0, MANY)


def test_what_sqs_rejects_stays_and_is_visible_at_once(world, operator):
    dies(world, 3)
    world.memory_sqs.rejects = lambda operation, entry: operation == "SendMessageBatch" and entry["Id"] == "1"
    end = operator.moves()
    assert (end.moved, end.rejected, end.is_over) == (2, 1, True)
    assert len(end.letters) == 2
    assert len(visible(world, world.dlq)) == 1
    assert set(lying(world).values()) == {1}


def test_what_sqs_does_not_delete_is_there_twice_and_makes_one_order(world, operator):
    ids = dies(world, 3)
    world.memory_sqs.rejects = lambda operation, entry: operation == "DeleteMessageBatch"
    assert operator.moves().doubled == 3
    world.memory_sqs.rejects = lambda operation, entry: False
    assert set(lying(world).values()) == {2}
    operator.moves()
    world.drain()
    assert Counter(order["orderId"] for order in world.orders()) == dict.fromkeys(ids, 1)
    assert world.counters() == world.state_counters() == (3, 3, 3, 0, 0)


def test_bodies_that_are_too_large_for_one_call_are_sent_in_several(world, operator):
    for _ in range(10):
        lies(world, "x" * 200_000)
    assert operator.moves().moved == 10


def test_leaving_off_stops_the_move_and_gives_the_rest_back(world, operator):
    dies(world, MANY)
    moves = operator.redrive()(EVERYTHING)
    assert [moving.moved for moving in itertools.islice(moves, 2)] == [0, 10]
    moves.close()
    assert len(visible(world, world.dlq)) == MANY - 10
    assert len(world.memory_sqs.messages(world.queue)) == 10


@pytest.mark.parametrize("method", ["send_message_batch", "delete_message_batch", "batch_get_item"])
def test_an_error_on_the_way_gives_everything_back_at_once(world, operator, method):
    dies(world, MANY)
    world.sqs.plan = world.dynamodb.plan = on(method, service_error("InternalError"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever: what counts is what is left
        operator.moves()
    assert len(visible(world, world.dlq)) == MANY


def stop(world, fault, number):
    """A redrive that meets the fault at its nth call of any kind, if it makes as many."""
    operator = Operator(world, by_hand=True)
    world.sqs.plan = world.dynamodb.plan = at_call(len(world.history.calls) + number, fault)
    with contextlib.suppress(Killed, BotoCoreError):
        operator.moves()
    world.sqs.plan = world.dynamodb.plan = never


@pytest.mark.parametrize("fault", [killed_before(), lost_response()], ids=lambda fault: fault.name)
def test_stopped_between_any_two_calls_nothing_is_lost_and_no_order_doubled(make_world, fault):
    for number in itertools.count(1):
        world = make_world()
        ids = produced(world, 12)
        stop(world, fault, number)
        assert set(lying(world)) == set(ids), f"lost at call {number}"
        # What a killed one held is free when its hold is over.
        world.clock.now += 2 * HOLD_SECONDS + 10
        Operator(world, by_hand=True).moves()
        world.drain()
        assert Counter(order["orderId"] for order in world.orders()) == dict.fromkeys(ids, 1)
        assert world.counters() == world.state_counters() == (12, 12, 12, 0, 0)
        assert world.memory_sqs.messages(world.dlq) == []
        if not world.history.faults():
            break
    assert number > 10


# Some of them


def letters_of_two_kinds(world):
    """Three that Stripe does not know, two that have been refused."""
    gone = dies(world, 3)
    refused = sells(world, 2, first=3)
    for session_id in refused:
        world.sends(a_message(session_id=session_id, mode=None))
    world.drain()
    return gone, refused


def test_named_sessions_are_moved_and_all_others_are_visible_at_once(world, operator):
    ids = dies(world, MANY)
    moves = operator.redrive()(MessageFilter(sessions=frozenset(ids[4:6])))
    next(moves)
    assert len(visible(world, world.dlq)) == MANY - 2  # before the first one is moved
    *_, end = moves
    assert [letter.session_id for letter in end.letters] == ids[4:6]
    world.drain()
    assert sorted(order["orderId"] for order in world.orders()) == ids[4:6]


def test_an_error_type_sifts_and_the_oldest_come_first(world, operator):
    gone, refused = letters_of_two_kinds(world)
    assert operator.moves(MessageFilter(error_types=frozenset({"MalformedMessage"}))).moved == len(refused)
    end = operator.moves(MessageFilter(error_types=frozenset({"SessionNotFound"}), most=2))
    assert [letter.session_id for letter in end.letters] == gone[:2]


def test_sessions_and_error_types_together_are_both_required(world, operator):
    gone, refused = letters_of_two_kinds(world)
    choice = MessageFilter(frozenset([gone[0], refused[0]]), error_types=frozenset({"SessionNotFound"}))
    assert [letter.session_id for letter in operator.moves(choice).letters] == [gone[0]]


def test_what_is_named_and_not_there_is_told(world, operator):
    [session] = dies(world, 1)
    end = operator.moves(MessageFilter(frozenset({session, "cs_nobody"})))
    assert (end.moved, end.missing) == (1, ("cs_nobody",))


@pytest.mark.parametrize(
    ("choice", "moved"),
    [
        (EVERYTHING, 2),
        (MessageFilter(most=5), 1),
        (MessageFilter(error_types=frozenset({"MalformedMessage"})), 0),
        (MessageFilter(sessions=frozenset({"cs_1"})), 1),
    ],
)
def test_a_nameless_message_goes_with_everything_only(world, operator, choice, moved):
    lies(world, a_message())
    lies(world, "not JSON")
    assert operator.moves(choice).moved == moved


def test_a_nameless_message_is_moved_by_its_id(world, operator):
    lies(world, a_message())
    name = lies(world, "not JSON")
    assert operator.moves(MessageFilter(message_ids=frozenset({name}))).moved == 1
    assert world.memory_sqs.bodies(world.queue) == ["not JSON"]


def test_a_plan_tells_what_would_be_moved_and_moves_nothing(world, operator):
    ids = dies(world, MANY)
    choice = MessageFilter(frozenset({*ids[:2], "cs_nobody"}))
    plan = operator.redrive().plan(choice)
    assert [letter.session_id for letter in plan.chosen] == ids[:2]
    assert (plan.others, plan.missing, plan.hidden, plan.truncated) == (MANY - 2, ("cs_nobody",), 0, False)
    assert len(visible(world, world.dlq)) == MANY
    assert world.memory_sqs.messages(world.queue) == []


# By SQS itself


@pytest.fixture
def native(world):
    return Operator(world)


def test_the_whole_queue_is_moved_by_sqs_and_its_sessions_are_known(world, native):
    ids = dies(world, MANY)
    end = native.moves()
    assert (end.moved, end.total, end.task.status) == (MANY, MANY, "COMPLETED")
    assert end.task.has_moved_all
    assert [letter.session_id for letter in end.letters] == ids
    assert world.history.count("send_message_batch") == 3  # the producer's own
    world.drain()
    assert world.counters() == world.state_counters() == (MANY, MANY, MANY, 0, 0)


def test_the_progress_of_sqs_is_followed(world, native):
    dies(world, MANY)
    world.memory_sqs.move_rate = 10
    seen = [(moving.moved, moving.task.status) for moving in native.redrive()(EVERYTHING)]
    assert seen == [(0, "RUNNING"), (10, "RUNNING"), (20, "RUNNING"), (MANY, "COMPLETED")]


def test_a_pace_asked_for_is_passed_on(world, native):
    dies(world, MANY)
    began = world.clock()
    native.moves(per_second=5)
    assert world.clock() - began == pytest.approx(MANY / 5, abs=1)


def test_less_than_one_a_second_is_moved_by_hand_since_sqs_takes_whole_numbers(world, native):
    dies(world, 3)
    began = world.clock()
    end = native.moves(per_second=0.5)
    assert (end.moved, end.task) == (3, None)
    assert world.clock() - began == pytest.approx(4)
    assert world.history.count("start_message_move_task") == 0


@pytest.mark.parametrize(("per_second", "asked"), [(1, 1), (1.9, 1), (7.5, 7)])
def test_sqs_is_never_asked_for_more_than_the_pace(world, native, per_second, asked):
    dies(world, 3)
    native.moves(per_second=per_second)
    [call] = [call for call in world.history.calls if call.method == "start_message_move_task"]
    assert call.arguments["MaxNumberOfMessagesPerSecond"] == asked


def test_a_task_that_runs_already_is_followed_and_no_second_one_started(world, native):
    dies(world, MANY)
    world.memory_sqs.move_rate = 10
    next(native.redrive()(EVERYTHING))
    end = Operator(world).moves()
    assert (end.moved, end.task.status, end.task.was_running) == (MANY, "COMPLETED", True)
    assert end.letters == ()
    assert world.history.count("start_message_move_task") == 1


def test_a_task_that_begins_in_between_is_followed_too(world, native):
    dies(world, MANY)
    world.memory_sqs.move_rate = 10

    def meanwhile(call):
        if call.method == "start_message_move_task":
            world.memory_sqs.start_message_move_task(**call.arguments)

    world.sqs.plan = meanwhile
    end = native.moves()
    assert (end.moved, end.task.was_running) == (MANY, True)


def test_leaving_off_does_not_end_the_task_and_cancelling_does(world, native):
    dies(world, MANY)
    world.memory_sqs.move_rate = 1
    moves = native.redrive()(EVERYTHING)
    next(moves)
    moves.close()
    world.clock.now += 5
    started = native.tasks.running()
    assert native.tasks.look(started).moved == 5
    native.tasks.cancel(started)
    assert native.tasks.running() is None
    assert native.tasks.look(started).status == "CANCELLED"
    native.tasks.cancel(started)  # of what is over: nothing
    world.clock.now += 100
    assert len(world.memory_sqs.messages(world.dlq)) == MANY - 5


def test_a_task_that_fails_says_why(world, native):
    dies(world, MANY)
    world.memory_sqs.move_rate = 10
    moves = native.redrive()(EVERYTHING)
    next(moves)
    world.memory_sqs.delete_queue(QueueUrl=world.queue)
    world.memory_sqs.add_queue("another", dead_letters=world.dlq)
    *_, end = moves
    assert (end.task.status, end.task.failure) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
    assert end.is_over
    assert not end.task.has_moved_all


def test_messages_that_were_put_there_by_hand_are_moved_as_well(world, native):
    lies(world, a_message())
    assert native.moves().moved == 1
    assert len(world.memory_sqs.messages(world.queue)) == 1


def test_the_task_of_another_day_is_not_taken_for_this_one(world, native):
    dies(world, 2)
    native.moves()
    world.clock.now += 3600
    started = native.tasks.start()
    assert native.tasks.look(started).moved == 0


def test_a_task_that_sqs_does_not_list_yet_is_starting(world, native):
    started = native.tasks.start()
    world.memory_sqs.mover.tasks.clear()
    task = native.tasks.look(started)
    assert (task.status, task.moved, task.is_over) == ("STARTING", 0, False)


def test_a_service_without_move_tasks_is_moved_by_hand(world, operator):
    dies(world, 3)
    end = operator.moves()
    assert (end.moved, end.task) == (3, None)


def test_a_refusal_that_is_about_something_else_is_raised(world, native):
    dies(world, 3)
    world.sqs.plan = on("start_message_move_task", service_error("AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        native.moves()
    assert len(visible(world, world.dlq)) == 3
