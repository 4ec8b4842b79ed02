"""What became of sessions after a redrive, followed over the real pipeline."""

import pytest

from ops.dlq.message_filter import MessageFilter
from ops.dlq.outcome_poller import Fate, OutcomePoller, follow_fates
from recon.errors import Unfinished
from testkit.builders import RUN, a_message
from testkit.dead_letters import Operator, dies, lies
from testkit.doubles.faults import on, service_error
from testkit.fake_stripe import Endpoint
from testkit.world import wire


@pytest.fixture(params=[True, False], ids=["by hand", "by SQS"])
def operator(world, request):
    return Operator(world, by_hand=request.param)


def looking(operator, letters):
    return OutcomePoller(letters, operator.box, operator.table, operator.deadline, operator.world.clock)


def counts(fates):
    return {fate.value: fates.count(fate) for fate in Fate if fates.count(fate)}


def test_sessions_wait_until_the_consumer_has_settled_them(world, operator):
    ids = dies(world, 12)
    look = looking(operator, operator.moves().letters)
    assert counts(look()) == {"waiting": 12}
    world.deliver(batch_size=10)
    assert counts(look()) == {"created": 10, "waiting": 2}
    world.drain()
    fates = look()
    assert counts(fates) == {"created": 12}
    assert fates.is_over
    assert [session.session_id for session in fates.sessions] == ids


def test_a_created_session_names_its_order_and_amount(world, operator):
    dies(world, 1)
    look = looking(operator, operator.moves().letters)
    world.drain()
    [became] = look().sessions
    [order] = world.orders()
    assert (became.order_number, became.amount, became.currency) == (
        order["orderNumber"],
        order["amount"],
        order["currency"],
    )


def test_a_session_that_fails_again_is_told_from_one_that_still_waits(world, operator):
    [gone, _] = dies(world, 2)
    world.stripe.faults.missing(session=gone)
    letters = operator.moves().letters
    look = looking(operator, letters)
    assert counts(look()) == {"waiting": 2}  # the errors of the night are there, and are not news
    world.drain()
    fates = look()
    assert counts(fates) == {"created": 1, "error": 1}
    [failed] = [session for session in fates.sessions if session.fate is Fate.FAILED]
    assert (failed.session_id, failed.error_type) == (gone, "SessionNotFound")
    assert fates.is_over


def test_a_session_whose_order_the_webhook_has_written_meanwhile_is_skipped(world, operator):
    [session] = dies(world, 1)
    look = looking(operator, operator.moves().letters)
    world.webhook_writes(session, "user-0", int(world.clock()))
    world.drain()
    [became] = look().sessions
    assert (became.fate, became.reason) == (Fate.SKIPPED, "exists")


def test_a_session_that_was_settled_before_the_move_is_settled(world, operator):
    dies(world, 1)
    world.sends(operator.list().messages[operator.letters[0].message_id])
    world.drain()
    look = looking(operator, operator.moves().letters)
    assert counts(look()) == {"created": 1}


def test_a_passing_failure_waits_for_its_next_try(world, operator):
    dies(world, 1)
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    look = looking(operator, operator.moves().letters)
    world.deliver()
    assert counts(look()) == {"waiting": 1}
    world.stripe.faults.clear()
    world.drain()
    assert counts(look()) == {"created": 1}


def test_an_announced_last_attempt_is_no_end_yet(world, operator):
    [session] = dies(world, 1)
    look = looking(operator, operator.moves().letters)
    outcome = world.outcome(session) | {"messageId": "new", "errorType": Unfinished.__name__}
    world.memory.put_item(TableName=world.table, Item=wire(outcome))
    assert counts(look()) == {"waiting": 1}


def test_a_message_that_died_again_without_a_word_is_found_in_the_dead_letters(world, operator):
    """The table takes no outcome at all: nobody can write why."""
    lies(world, a_message())
    letters = operator.list().letters
    world.dynamodb.plan = on("transact_write_items", service_error("InternalServerError"))
    operator.moves()
    look = looking(operator, letters)
    assert counts(look()) == {"waiting": 1}
    world.drain()
    assert counts(look()) == {"dead": 1}


def test_a_message_that_was_not_deleted_after_its_move_does_not_count_as_dead_again(world):
    operator = Operator(world, by_hand=True)
    dies(world, 1)
    world.memory_sqs.rejects = lambda operation, entry: operation == "DeleteMessageBatch"
    letters = operator.moves().letters
    look = looking(operator, letters)
    world.memory_sqs.purge_queue(QueueUrl=world.queue)
    assert counts(look()) == {"waiting": 1}


def test_the_dead_letters_are_left_alone_while_there_is_something_in_the_queue(world, operator):
    dies(world, 2)
    look = looking(operator, operator.moves().letters)
    before = world.history.count("receive_message")
    look()
    assert world.history.count("receive_message") == before


def test_nameless_messages_have_no_fate(world, operator):
    name = lies(world, "not JSON")
    letters = operator.moves(MessageFilter(message_ids=frozenset({name}))).letters
    assert looking(operator, letters)().sessions == ()


def test_two_messages_of_one_session_are_one_fate(world, operator):
    [session] = dies(world, 1)
    lies(world, operator.list().messages[operator.letters[0].message_id])
    look = looking(operator, operator.moves().letters)
    world.drain()
    assert [(b.run_id, b.session_id) for b in look().sessions] == [(RUN, session)]
    assert look().is_over


def test_following_ends_with_the_last_fate(world, operator):
    dies(world, 12)
    look = looking(operator, operator.moves().letters)
    clock = world.clock

    def sleep(seconds):
        clock.sleep(seconds)
        world.deliver(batch_size=5)

    seen = [counts(f) for f in follow_fates(look, timeout=60, clock=clock, sleep=sleep, interval=2)]
    assert seen[0] == {"waiting": 12}
    assert seen[-1] == {"created": 12}
    assert len(seen) == 4


def test_following_gives_up_in_time_and_says_what_still_waits(world, operator):
    dies(world, 2)
    look = looking(operator, operator.moves().letters)
    clock = world.clock
    began = clock()
    *_, last = follow_fates(look, timeout=60, clock=clock, sleep=clock.sleep)
    assert counts(last) == {"waiting": 2}
    assert clock() - began == 60
