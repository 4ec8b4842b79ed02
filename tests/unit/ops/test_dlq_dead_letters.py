"""Listing the dead letters without moving, hiding or losing any."""

import random
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from ops.dlq.leases import LEASE_SECONDS, STALE_RECEIVES
from ops.format.money import Money
from recon.domain.message import dumps
from testkit.builders import NOW, RUN, a_message
from testkit.dead_letters import (
    DeadLetterTools,
    fail_sessions,
    list_visible,
    put_dead,
    put_many_dead,
    reject,
)
from testkit.doubles.faults import Killed, killed_before, on, service_error

TWO_WEEKS = 14 * 86_400
RELEASE = "ChangeMessageVisibilityBatch"


@pytest.fixture
def tools(world):
    return DeadLetterTools(world)


def test_letter_has_error_and_attempts_of_its_outcome(world, tools):
    [session] = fail_sessions(world, 1)
    for _ in range(5):
        [letter] = tools.letters
    assert (letter.run_id, letter.session_id, letter.outcome, letter.attempts) == (RUN, session, "error", 1)
    assert letter.why.startswith("SessionNotFound: ")
    assert "404" in letter.error_message
    assert not letter.is_settled


def test_letter_has_age_expiry_and_amount(world, tools):
    """The age counts from the first send, not from the move to the dead-letter queue."""
    world.memory_sqs.set_queue_attributes(
        QueueUrl=world.dlq, Attributes={"MessageRetentionPeriod": str(TWO_WEEKS)}
    )
    world.sends(a_message(amount_total=1980, currency="JPY"))
    for _ in range(world.settings.max_receive_count + 3):
        world.memory_sqs.receive_message(QueueUrl=world.queue, VisibilityTimeout=10)
        world.clock.now += 10
    [letter] = tools.letters
    assert letter.sent_at == datetime.fromtimestamp(NOW, UTC)
    assert letter.age_seconds == int(world.clock.now - NOW) > 100
    assert letter.expires_at == datetime.fromtimestamp(NOW + TWO_WEEKS, UTC)
    assert (letter.amount, letter.created.timestamp()) == (Money("jpy", 1980), NOW - 3600)
    assert (letter.outcome, letter.error_type, letter.why) == (None, None, "its outcome is: none yet")


def test_letter_of_settled_session_is_marked(world, tools):
    [session] = fail_sessions(world, 1)
    world.sends(tools.message)
    world.drain()
    [letter] = tools.letters
    assert (letter.session_id, letter.outcome, letter.is_settled) == (session, "created", True)
    assert letter.why == "its outcome is: created"


@pytest.mark.parametrize(
    ("body", "run_id", "session_id", "problem"),
    [
        ("not JSON", None, None, "the body is not JSON"),
        (dumps(a_message()).replace('"v":1', '"v":2'), RUN, "cs_1", "v must be 1"),
    ],
)
def test_letter_of_unreadable_message_has_problem(world, tools, body, run_id, session_id, problem):
    name = put_dead(world, body)
    [letter] = tools.letters
    assert (letter.message_id, letter.run_id, letter.session_id) == (name, run_id, session_id)
    assert (letter.error_type, letter.problem) == ("MalformedMessage", problem)
    assert letter.is_nameless == (session_id is None)


def test_letter_with_impossible_creation_time_is_listed(world, tools):
    put_dead(world, a_message(created=10**17))
    assert tools.letters[0].created is None


def test_letters_are_listed_once_oldest_first_and_released(world, tools):
    for n in range(250):
        put_dead(world, a_message(session_id=f"cs_{n}"))
        world.clock.now += 1
    world.memory_sqs._rng = random.Random(3)
    assert [letter.session_id for letter in tools.letters] == [f"cs_{n}" for n in range(250)]
    assert len(list_visible(world)) == 250


def test_listing_beyond_limit_is_truncated(world, tools):
    put_many_dead(world, 25)
    listing = tools.list(limit=15)
    assert (len(listing.letters), listing.truncated) == (15, True)
    assert not tools.list().truncated
    assert len(list_visible(world)) == 25


def test_listing_counts_messages_of_others_as_hidden(world, tools):
    put_many_dead(world, 25)
    with DeadLetterTools(world).lease(limit=10):
        listing = tools.list()
        assert (len(listing.letters), listing.hidden) == (15, 10)
    assert (len(tools.letters), tools.list().hidden) == (25, 0)


def test_failed_listing_releases_everything(world, tools):
    put_many_dead(world, 25)
    world.sqs.plan = on("receive_message", service_error("RequestThrottled"), nth=2)
    with pytest.raises(ClientError):
        tools.list()
    assert len(list_visible(world)) == 25


def test_killed_listing_hides_messages_for_one_lease(world, tools):
    put_many_dead(world, 25)
    world.sqs.plan = on("change_message_visibility_batch", killed_before())
    with pytest.raises(Killed):
        tools.list()
    assert list_visible(world) == []
    world.clock.now += LEASE_SECONDS + 1
    assert len(list_visible(world)) == 25


def test_rejected_release_is_visible_after_lease(world, tools):
    put_many_dead(world, 1)
    reject(world, RELEASE)
    assert len(tools.letters) == 1
    world.clock.now += LEASE_SECONDS + 1
    assert len(list_visible(world)) == 1


def test_listing_ends_if_messages_return_before_all_are_read(world, tools):
    put_many_dead(world, 3)

    def slow(call):
        if call.method == "receive_message":
            world.clock.now += 1000

    world.sqs.plan = slow
    assert len(tools.letters) == 3
    assert world.history.count("receive_message") == 1 + STALE_RECEIVES


def test_listing_uses_long_polling(world, tools):
    """A short poll may return nothing although the queue holds messages."""
    tools.list()
    waits = [c.arguments["WaitTimeSeconds"] for c in world.history.calls if c.method == "receive_message"]
    assert waits
    assert all(wait > 0 for wait in waits)
