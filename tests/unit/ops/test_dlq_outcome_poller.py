"""The outcomes of sessions after a redrive, polled while the real pipeline works."""

import pytest

from ops.dlq.message_filter import MessageFilter
from ops.dlq.outcome_poller import OutcomePoller, RedriveFate, follow_outcomes
from ops.format.money import Money
from recon.errors import Unfinished
from testkit.builders import RUN, a_message
from testkit.dead_letters import DeadLetterTools, fail_sessions, put_dead, reject
from testkit.doubles.faults import on, service_error
from testkit.fake_stripe import Endpoint
from testkit.world import wire


@pytest.fixture(params=[True, False], ids=["task", "batches"])
def tools(world, request):
    return DeadLetterTools(world, tasks=request.param)


def make_poller(tools, letters):
    return OutcomePoller(letters, tools.queue, tools.table, tools.deadline, tools.world.clock)


@pytest.fixture
def move(tools):
    """Move everything back and return the poller of its sessions."""
    return lambda *selection: make_poller(tools, tools.move(*selection).letters)


def count(statuses):
    return {fate.value: statuses.count(fate) for fate in RedriveFate if statuses.count(fate)}


def test_session_waits_until_it_is_settled(world, move):
    ids = fail_sessions(world, 12)
    poller = move()
    assert count(poller.poll()) == {"waiting": 12}
    world.deliver(batch_size=10)
    assert count(poller.poll()) == {"created": 10, "waiting": 2}
    world.drain()
    statuses = poller.poll()
    assert count(statuses) == {"created": 12}
    assert statuses.is_over
    # Batches of ten are sent side by side, so that the second may be the first in the queue.
    assert sorted(status.session_id for status in statuses.sessions) == ids
    orders = {order["orderId"]: order for order in world.orders()}
    for status in statuses.sessions:
        order = orders[status.session_id]
        created = (order["orderNumber"], Money(order["currency"], order["amount"]))
        assert (status.order_number, status.amount) == created


def test_new_error_ends_the_wait_but_old_error_does_not(world, move):
    [failing, _] = fail_sessions(world, 2)
    world.stripe.faults.missing(session=failing)
    poller = move()
    assert count(poller.poll()) == {"waiting": 2}
    world.drain()
    statuses = poller.poll()
    assert count(statuses) == {"created": 1, "error": 1}
    [failed] = [status for status in statuses.sessions if status.fate is RedriveFate.FAILED]
    assert (failed.session_id, failed.error_type) == (failing, "SessionNotFound")
    assert statuses.is_over


def test_session_with_webhook_order_is_skipped(world, move):
    [session] = fail_sessions(world, 1)
    poller = move()
    world.webhook_writes(session, "user-0", int(world.clock()))
    world.drain()
    [status] = poller.poll().sessions
    assert (status.fate, status.reason) == (RedriveFate.SKIPPED, "exists")


def test_temporary_failure_waits_for_the_retry(world, move):
    fail_sessions(world, 1)
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    poller = move()
    world.deliver()
    assert count(poller.poll()) == {"waiting": 1}
    world.stripe.faults.clear()
    world.drain()
    assert count(poller.poll()) == {"created": 1}


def test_announced_last_attempt_is_not_final(world, move):
    [session] = fail_sessions(world, 1)
    poller = move()
    outcome = world.outcome(session) | {"messageId": "new", "errorType": Unfinished.__name__}
    world.memory.put_item(TableName=world.ledger, Item=wire(outcome))
    assert count(poller.poll()) == {"waiting": 1}


def test_message_that_dies_without_outcome_is_dead(world, tools):
    put_dead(world, a_message())
    letters = tools.letters
    world.dynamodb.plan = on("transact_write_items", service_error("InternalServerError"))
    tools.move()
    poller = make_poller(tools, letters)
    assert count(poller.poll()) == {"waiting": 1}
    world.drain()
    assert count(poller.poll()) == {"dead": 1}


def test_moved_message_that_was_not_deleted_is_not_dead(world):
    tools = DeadLetterTools(world, tasks=False)
    fail_sessions(world, 1)
    reject(world, "DeleteMessageBatch")
    poller = make_poller(tools, tools.move().letters)
    world.memory_sqs.purge_queue(QueueUrl=world.queue)
    assert count(poller.poll()) == {"waiting": 1}


def test_dead_letters_are_not_read_while_the_queue_has_messages(world, move):
    fail_sessions(world, 2)
    poller = move()
    before = world.history.count("receive_message")
    poller.poll()
    assert world.history.count("receive_message") == before


def test_nameless_message_has_no_status(world, move):
    name = put_dead(world, "not JSON")
    assert move(MessageFilter(message_ids=frozenset({name}))).poll().sessions == ()


def test_two_messages_of_a_session_have_one_status(world, tools, move):
    [session] = fail_sessions(world, 1)
    put_dead(world, tools.message)
    poller = move()
    world.drain()
    statuses = poller.poll()
    assert [(status.run_id, status.session_id) for status in statuses.sessions] == [(RUN, session)]
    assert statuses.is_over


@pytest.mark.parametrize(
    ("consumed", "last", "polls"),
    [(5, {"created": 12}, 4), (0, {"waiting": 12}, 31)],
    ids=["done", "timeout"],
)
def test_following_ends_with_last_session_or_timeout(world, move, consumed, last, polls):
    fail_sessions(world, 12)
    poller, clock = move(), world.clock

    def sleep(seconds):
        clock.sleep(seconds)
        if consumed:
            world.deliver(batch_size=consumed)

    seen = [count(f) for f in follow_outcomes(poller, timeout=60, clock=clock, sleep=sleep, interval=2)]
    assert (seen[0], seen[-1], len(seen)) == ({"waiting": 12}, last, polls)
