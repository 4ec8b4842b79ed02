"""What lies in the dead-letter queue: read without moving, hiding or losing anything."""

import random
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from ops.dlq.leases import HOLD_SECONDS, STALE_RECEIVES
from recon.domain.message import dumps
from testkit.builders import NOW, RUN, a_message
from testkit.dead_letters import Operator, dies, lies, visible
from testkit.doubles.faults import Killed, killed_before, on, service_error

WEEK = 7 * 86_400


@pytest.fixture
def operator(world):
    return Operator(world)


def test_a_dead_session_is_listed_with_the_reason_of_its_outcome(world, operator):
    [session] = dies(world, 1)
    [letter] = operator.letters
    assert (letter.run_id, letter.session_id, letter.outcome, letter.attempts) == (RUN, session, "error", 1)
    assert letter.why.startswith("SessionNotFound: ")
    assert "404" in letter.error_message
    assert not letter.is_settled


def test_attempts_are_those_of_the_consumer_and_not_those_of_reading(world, operator):
    dies(world, 1)
    for _ in range(5):
        [letter] = operator.letters
    assert letter.attempts == 1


def test_a_letter_says_how_old_it_is_and_when_sqs_deletes_it(world, operator):
    world.memory_sqs.set_queue_attributes(
        QueueUrl=world.dlq, Attributes={"MessageRetentionPeriod": str(2 * WEEK)}
    )
    lies(world, a_message())
    world.clock.now += 3600
    [letter] = operator.letters
    assert letter.sent_at == datetime.fromtimestamp(NOW, UTC)
    assert letter.age_seconds == 3600
    assert letter.expires_at == datetime.fromtimestamp(NOW + 2 * WEEK, UTC)


def test_a_message_keeps_the_age_it_was_first_sent_with(world, operator):
    world.sends(a_message())
    for _ in range(world.settings.max_receive_count + 3):
        world.memory_sqs.receive_message(QueueUrl=world.queue, VisibilityTimeout=10)
        world.clock.now += 10
    [letter] = operator.letters
    assert letter.sent_at.timestamp() == NOW
    assert letter.age_seconds > 100


def test_a_letter_says_what_its_session_is_worth(world, operator):
    lies(world, a_message(amount_total=1980, currency="JPY"))
    [letter] = operator.letters
    assert (letter.amount, letter.currency, letter.created.timestamp()) == (1980, "jpy", NOW - 3600)


def test_a_session_without_an_outcome_says_so(world, operator):
    lies(world, a_message())
    [letter] = operator.letters
    assert (letter.outcome, letter.error_type, letter.why) == (None, None, "its outcome is: none yet")


def test_a_session_that_was_settled_meanwhile_is_marked(world, operator):
    [session] = dies(world, 1)
    world.sends(operator.list().messages[operator.letters[0].message_id])
    world.drain()
    [letter] = operator.letters
    assert (letter.session_id, letter.outcome, letter.is_settled) == (session, "created", True)
    assert letter.why == "its outcome is: created"


def test_a_message_that_cannot_be_read_says_why(world, operator):
    name = lies(world, "not JSON")
    [letter] = operator.letters
    assert (letter.message_id, letter.run_id, letter.session_id) == (name, None, None)
    assert (letter.error_type, letter.problem) == ("MalformedMessage", "the body is not JSON")
    assert letter.is_nameless


def test_a_message_of_another_version_is_known_by_its_run_and_session(world, operator):
    lies(world, dumps(a_message()).replace('"v":1', '"v":2'))
    [letter] = operator.letters
    assert (letter.run_id, letter.session_id, letter.problem) == (RUN, "cs_1", "v must be 1")
    assert not letter.is_nameless


def test_a_creation_that_is_no_time_costs_no_listing(world, operator):
    lies(world, a_message(created=10**30))
    assert operator.letters[0].created is None


def test_two_messages_of_one_session_are_two_letters(world, operator):
    lies(world, a_message())
    lies(world, a_message())
    assert [letter.session_id for letter in operator.letters] == ["cs_1", "cs_1"]


def test_letters_are_listed_oldest_first(world, operator):
    for n in range(25):
        lies(world, a_message(session_id=f"cs_{n}"))
        world.clock.now += 1
    world.memory_sqs._rng = random.Random(3)
    assert [letter.session_id for letter in operator.letters] == [f"cs_{n}" for n in range(25)]


def test_thousands_are_listed_each_once_and_are_visible_again_at_once(world, operator):
    for n in range(2500):
        lies(world, a_message(session_id=f"cs_{n}"))
    assert {letter.session_id for letter in operator.letters} == {f"cs_{n}" for n in range(2500)}
    assert len(visible(world, world.dlq)) == 2500
    assert len(operator.letters) == 2500


def test_more_than_one_command_reads_is_said(world, operator):
    for n in range(25):
        lies(world, a_message(session_id=f"cs_{n}"))
    listing = operator.list(limit=15)
    assert (len(listing.letters), listing.truncated) == (15, True)
    assert not operator.list().truncated
    assert len(visible(world, world.dlq)) == 25


def test_what_another_operator_holds_is_counted_as_hidden(world, operator):
    for n in range(25):
        lies(world, a_message(session_id=f"cs_{n}"))
    with Operator(world).box.held(limit=10):
        listing = operator.list()
        assert (len(listing.letters), listing.hidden) == (15, 10)
    assert (len(operator.letters), operator.list().hidden) == (25, 0)


def test_an_error_half_way_gives_everything_back_at_once(world, operator):
    for n in range(25):
        lies(world, a_message(session_id=f"cs_{n}"))
    world.sqs.plan = on("receive_message", service_error("RequestThrottled"), nth=2)
    with pytest.raises(ClientError):
        operator.list()
    assert len(visible(world, world.dlq)) == 25


def test_a_reader_that_is_killed_hides_messages_for_its_hold_and_no_longer(world, operator):
    for n in range(25):
        lies(world, a_message(session_id=f"cs_{n}"))
    world.sqs.plan = on("change_message_visibility_batch", killed_before())
    with pytest.raises(Killed):
        operator.list()
    assert visible(world, world.dlq) == []
    world.clock.now += HOLD_SECONDS + 1
    assert len(visible(world, world.dlq)) == 25


def test_an_entry_that_sqs_does_not_give_back_comes_back_after_the_hold(world, operator):
    lies(world, a_message())
    world.memory_sqs.rejects = lambda operation, entry: operation == "ChangeMessageVisibilityBatch"
    assert len(operator.letters) == 1
    world.clock.now += HOLD_SECONDS + 1
    assert len(visible(world, world.dlq)) == 1


def test_reading_ends_where_messages_come_back_faster_than_they_are_read(world, operator):
    """A queue so slow that the first are visible again before the last is read."""
    for n in range(3):
        lies(world, a_message(session_id=f"cs_{n}"))

    def slow(call):
        if call.method == "receive_message":
            world.clock.now += 1000

    world.sqs.plan = slow
    assert len(operator.letters) == 3
    assert world.history.count("receive_message") == 1 + STALE_RECEIVES


def test_reading_asks_all_servers_of_sqs(world, operator):
    """A short poll may call a queue empty that is not."""
    lies(world, a_message())
    operator.list()
    waits = [c.arguments["WaitTimeSeconds"] for c in world.history.calls if c.method == "receive_message"]
    assert waits
    assert all(wait > 0 for wait in waits)
