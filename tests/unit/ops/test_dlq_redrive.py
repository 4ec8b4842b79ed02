"""Moving dead messages back: in batches, with an SQS task, a selection, and stopped at any point."""

import contextlib
import itertools
import json
from collections import Counter

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.leases import LEASE_SECONDS
from ops.dlq.message_filter import MessageFilter
from testkit.builders import a_message
from testkit.dead_letters import (
    EVERYTHING,
    DeadLetterTools,
    fail_before_consumer,
    fail_sessions,
    list_visible,
    put_dead,
    reject,
    sell_sessions,
)
from testkit.doubles.faults import (
    Killed,
    at_call,
    killed_before,
    lost_response,
    never,
    on,
    service_error,
)
from tests.proofs import PROVE_ALL

MANY = 23


def count_messages(world):
    """Count the messages of each session in both queues."""
    bodies = [body for url in (world.dlq, world.queue) for body in world.memory_sqs.bodies(url)]
    return Counter(json.loads(body)["sessionId"] for body in bodies)


def check_orders(world, ids):
    """Check that each session has one order and that the counters say so."""
    number = len(ids)
    assert Counter(order["orderId"] for order in world.orders()) == dict.fromkeys(ids, 1)
    assert world.counters() == world.state_counters() == (number, number, number, 0, 0)


# In batches


@pytest.fixture
def tools(world):
    return DeadLetterTools(world, tasks=False)


def test_redrive_moves_everything_in_batches(world, tools):
    ids = fail_sessions(world, MANY)
    *progress, end = tools.start_move()
    assert [(one.moved, one.total) for one in progress] == [(0, MANY), (10, MANY), (20, MANY)]
    assert (end.moved, end.total, end.rejected, end.doubled, end.is_over) == (MANY, MANY, 0, 0, True)
    # Batches of ten are sent side by side, so that the second may be the first in the queue.
    assert (sorted(letter.session_id for letter in end.letters), end.task) == (ids, None)
    assert world.memory_sqs.messages(world.dlq) == []
    world.drain()
    check_orders(world, ids)


def test_redrive_of_empty_queue_is_over_at_once(tools):
    [end] = list(tools.start_move())
    assert (end.total, end.is_over) == (0, True)


@pytest.mark.parametrize(("per_second", "seconds"), [(None, 0.4), (10, 2.0), (2, 11.0)])
def test_batches_keep_the_pace(world, tools, per_second, seconds):
    fail_sessions(world, MANY)
    began = world.clock()
    tools.move(per_second=per_second)
    assert world.clock() - began == pytest.approx(seconds)


def test_slow_batch_is_not_followed_by_a_burst(world, tools):
    fail_sessions(world, MANY)
    times = []

    def slow(call):
        if call.method == "send_message_batch":
            times.append(world.clock())
            world.clock.now += 20 if len(times) == 1 else 0

    world.sqs.plan = slow
    tools.move(per_second=1)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([21] + [1] * (MANY - 2))


def test_message_that_fails_again_is_not_moved_twice(world, tools):
    ids = fail_sessions(world, MANY)
    for session_id in ids:
        world.stripe.faults.missing(session=session_id)
    before = world.history.count("send_message_batch")
    for _ in tools.start_move():
        world.drain()
    assert world.history.count("send_message_batch") - before == len(range(0, MANY, 10))
    assert len(world.dead()) == MANY
    assert world.counters() == world.state_counters() == (MANY, MANY, 0, 0, MANY)


def test_rejected_message_stays_and_is_released(world, tools):
    fail_sessions(world, 3)
    world.memory_sqs.rejects = lambda operation, entry: operation == "SendMessageBatch" and entry["Id"] == "1"
    end = tools.move()
    assert (end.moved, end.rejected, end.is_over) == (2, 1, True)
    assert len(end.letters) == 2
    assert len(list_visible(world)) == 1
    assert set(count_messages(world).values()) == {1}


def test_doubled_message_makes_one_order(world, tools):
    ids = fail_sessions(world, 3)
    reject(world, "DeleteMessageBatch")
    assert tools.move().doubled == 3
    reject(world)
    assert set(count_messages(world).values()) == {2}
    tools.move()
    world.drain()
    check_orders(world, ids)


def test_large_bodies_are_sent_in_several_calls(world, tools):
    for _ in range(10):
        put_dead(world, "x" * 200_000)
    assert tools.move().moved == 10


def test_closed_redrive_stops_and_releases_the_rest(world, tools):
    fail_sessions(world, MANY)
    moves = tools.start_move()
    assert [progress.moved for progress in itertools.islice(moves, 2)] == [0, 10]
    moves.close()
    assert len(list_visible(world)) == MANY - 10
    assert len(world.memory_sqs.messages(world.queue)) == 10


@pytest.mark.parametrize("method", ["send_message_batch", "delete_message_batch", "batch_get_item"])
def test_failed_redrive_releases_everything(world, tools, method):
    fail_sessions(world, MANY)
    world.sqs.plan = world.dynamodb.plan = on(method, service_error("InternalError"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - any error: what counts is the queue afterwards
        tools.move()
    assert len(list_visible(world)) == MANY


@pytest.mark.slow
@pytest.mark.parametrize("fault", [killed_before(), lost_response()], ids=lambda fault: fault.name)
def test_redrive_interrupted_at_any_call_loses_and_doubles_nothing(make_world, fault):
    for number in itertools.count(1, 1 if PROVE_ALL else 6):
        world = make_world()
        ids = fail_before_consumer(world, 12)
        tools = DeadLetterTools(world, tasks=False)
        world.sqs.plan = world.dynamodb.plan = at_call(len(world.history.calls) + number, fault)
        with contextlib.suppress(Killed, BotoCoreError):
            tools.move()
        world.sqs.plan = world.dynamodb.plan = never
        assert set(count_messages(world)) == set(ids), f"lost at call {number}"
        world.clock.now += 2 * LEASE_SECONDS + 10
        tools.move()
        world.drain()
        check_orders(world, ids)
        assert world.memory_sqs.messages(world.dlq) == []
        if not world.history.faults():
            break
    assert number > 10


# A selection


@pytest.fixture
def errors(world):
    """Three sessions that Stripe does not know and two with malformed messages."""
    unknown = fail_sessions(world, 3)
    malformed = sell_sessions(world, 2, first=3)
    for session_id in malformed:
        world.sends(a_message(session_id=session_id, mode=None))
    world.drain()
    return unknown, malformed


def test_named_sessions_are_moved_and_others_released_first(world, tools):
    ids = fail_sessions(world, MANY)
    moves = tools.start_move(MessageFilter(sessions=frozenset({*ids[4:6], "cs_nobody"})))
    next(moves)
    assert len(list_visible(world)) == MANY - 2
    *_, end = moves
    assert ([letter.session_id for letter in end.letters], end.missing) == (ids[4:6], ("cs_nobody",))
    world.drain()
    assert sorted(order["orderId"] for order in world.orders()) == ids[4:6]


def test_error_type_and_limit_select_the_oldest(tools, errors):
    unknown, malformed = errors
    assert tools.move(MessageFilter(error_types=frozenset({"MalformedMessage"}))).moved == len(malformed)
    end = tools.move(MessageFilter(error_types=frozenset({"SessionNotFound"}), limit=2))
    assert [letter.session_id for letter in end.letters] == unknown[:2]


def test_session_and_error_type_must_both_match(tools, errors):
    unknown, malformed = errors
    named = frozenset([unknown[0], malformed[0]])
    end = tools.move(MessageFilter(named, error_types=frozenset({"SessionNotFound"})))
    assert [letter.session_id for letter in end.letters] == [unknown[0]]


@pytest.mark.parametrize(
    ("selection", "moved"),
    [
        (EVERYTHING, 2),
        (MessageFilter(limit=5), 1),
        (MessageFilter(error_types=frozenset({"MalformedMessage"})), 0),
        (MessageFilter(sessions=frozenset({"cs_1"})), 1),
    ],
)
def test_nameless_message_is_moved_only_with_everything(world, tools, selection, moved):
    put_dead(world, a_message())
    put_dead(world, "not JSON")
    assert tools.move(selection).moved == moved


def test_nameless_message_is_moved_by_id(world, tools):
    put_dead(world, a_message())
    name = put_dead(world, "not JSON")
    assert tools.move(MessageFilter(message_ids=frozenset({name}))).moved == 1
    assert world.memory_sqs.bodies(world.queue) == ["not JSON"]


def test_plan_moves_nothing(world, tools):
    ids = fail_sessions(world, MANY)
    plan = tools.redrive().plan(MessageFilter(frozenset({*ids[:2], "cs_nobody"})))
    assert [letter.session_id for letter in plan.chosen] == ids[:2]
    assert (plan.others, plan.missing, plan.hidden, plan.truncated) == (MANY - 2, ("cs_nobody",), 0, False)
    assert len(list_visible(world)) == MANY
    assert world.memory_sqs.messages(world.queue) == []


# With an SQS task


@pytest.fixture
def task_tools(world):
    return DeadLetterTools(world)


def test_task_moves_everything(world, task_tools):
    ids = fail_sessions(world, MANY)
    world.memory_sqs.move_rate = 10
    *progress, end = task_tools.start_move()
    assert [(one.moved, one.task.status) for one in progress] == [(n, "RUNNING") for n in (0, 10, 20)]
    assert (end.moved, end.total, end.task.status) == (MANY, MANY, "COMPLETED")
    assert sorted(letter.session_id for letter in end.letters) == ids
    assert world.history.count("send_message_batch") == 3  # the producer's
    world.drain()
    check_orders(world, ids)


@pytest.mark.parametrize(("per_second", "rates"), [(1, [1]), (1.9, [1]), (7.5, [7]), (0.5, [])], ids=str)
def test_task_rate_is_a_whole_number_not_above_the_pace(world, task_tools, per_second, rates):
    fail_sessions(world, 3)
    began = world.clock()
    end = task_tools.move(per_second=per_second)
    calls = [call for call in world.history.calls if call.method == "start_message_move_task"]
    assert [call.arguments["MaxNumberOfMessagesPerSecond"] for call in calls] == rates
    assert (end.moved, end.task is None) == (3, not rates)
    assert world.clock() - began >= 2 / per_second


def test_running_task_is_followed(world, task_tools):
    fail_sessions(world, MANY)
    world.memory_sqs.move_rate = 10
    abandoned = task_tools.start_move()
    next(abandoned)
    abandoned.close()
    end = DeadLetterTools(world).move()
    assert (end.moved, end.task.status, end.task.was_running) == (MANY, "COMPLETED", True)
    assert end.letters == ()
    assert world.history.count("start_message_move_task") == 1


def test_task_started_by_another_command_in_between_is_followed(world, task_tools):
    fail_sessions(world, MANY)
    world.memory_sqs.move_rate = 10

    def start(call):
        if call.method == "start_message_move_task":
            world.memory_sqs.start_message_move_task(**call.arguments)

    world.sqs.plan = start
    end = task_tools.move()
    assert (end.moved, end.task.was_running) == (MANY, True)


def test_failed_task_has_a_reason(world, task_tools):
    fail_sessions(world, MANY)
    world.memory_sqs.move_rate = 10
    moves = task_tools.start_move()
    next(moves)
    world.memory_sqs.delete_queue(QueueUrl=world.queue)
    world.memory_sqs.add_queue("another", dead_letters=world.dlq)
    *_, end = moves
    assert (end.task.status, end.task.failure) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
    assert end.is_over


def test_task_moves_messages_that_were_sent_to_the_queue(world, task_tools):
    put_dead(world, a_message())
    assert task_tools.move().moved == 1
    assert len(world.memory_sqs.messages(world.queue)) == 1


def test_earlier_and_later_tasks_are_distinguished(world, task_tools):
    fail_sessions(world, 2)
    tasks = task_tools.tasks
    first = tasks.start()
    world.clock.now += 3600
    second = tasks.start()
    assert [tasks.read(task).moved for task in (first, second)] == [2, 0]


def test_task_that_is_not_listed_yet_is_starting(world, task_tools):
    started = task_tools.tasks.start()
    world.memory_sqs.mover.tasks.clear()
    status = task_tools.tasks.read(started)
    assert (status.status, status.moved, status.is_over) == ("STARTING", 0, False)


@pytest.mark.parametrize("method", ["start_message_move_task", "list_message_move_tasks"])
def test_denied_task_is_an_error(world, task_tools, method):
    fail_sessions(world, 3)
    world.sqs.plan = on(method, service_error("AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        task_tools.move()
    assert len(list_visible(world)) == 3
