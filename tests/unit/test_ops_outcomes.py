"""Why sessions were skipped, and why others lie in the dead-letter queue."""

import pytest

from ops.outcomes import dead_sessions, skip_reasons
from recon.ledger.table import Table
from recon.message import dumps
from recon.queue import DeadLetters
from sandbox.fake_stripe import SessionSpec
from tests.builders import NOW, RUN, a_message

FINE, GONE = "cs_test_fine0001", "cs_test_gone0001"


@pytest.fixture
def table(world):
    return Table(world.dynamodb, world.table)


@pytest.fixture
def look(world, table):
    letters = DeadLetters(world.sqs, world.dlq, world.queue)
    return lambda: dead_sessions(letters, table, world.clock.deadline(3600))


def sells(world, session_id, **fields):
    fields = {"metadata": {"userId": "user-1"}} | fields
    return world.sells(SessionSpec(session_id, NOW - 3600, **fields))


def dies(world, body):
    world.memory_sqs.send_message(QueueUrl=world.dlq, MessageBody=body)


def test_reasons_of_skipped_sessions_are_counted_and_created_ones_are_not(world, table):
    sells(world, FINE)
    sells(world, "cs_test_nobody01", metadata={})
    sells(world, "cs_test_nobody02", metadata={})
    sells(world, "cs_test_unpaid01", payment_status="unpaid")
    world.night()
    assert skip_reasons(table, RUN) == {"no_user": 2, "unpaid": 1}


def test_a_run_that_nobody_knows_has_skipped_nothing(table):
    assert skip_reasons(table, "20200101T000000Z") == {}


def test_a_dead_session_is_shown_with_the_reason_of_its_outcome(world, look):
    sells(world, FINE)
    sells(world, GONE)
    world.stripe.faults.missing(session=GONE)
    world.night()
    [dead] = look()
    assert (dead.run_id, dead.session_id, dead.error_type, dead.attempts) == (RUN, GONE, "SessionNotFound", 1)
    assert "404" in dead.error_message


def test_looking_leaves_the_dead_letters_where_they_are(world, look):
    dies(world, dumps(a_message()))
    assert look() == look()
    assert len(world.memory_sqs.messages(world.dlq)) == 1


def test_two_messages_of_one_session_are_two_dead_letters(world, look):
    dies(world, dumps(a_message()))
    dies(world, dumps(a_message()))
    assert [dead.session_id for dead in look()] == ["cs_1", "cs_1"]


def test_a_dead_session_without_an_outcome_says_so(world, look):
    dies(world, dumps(a_message()))
    [dead] = look()
    assert (dead.session_id, dead.error_type, dead.error_message) == ("cs_1", "-", "its outcome is: none yet")


def test_a_message_that_cannot_be_read_says_why(world, look):
    dies(world, "not JSON")
    [dead] = look()
    assert (dead.run_id, dead.session_id) == (None, None)
    assert (dead.error_type, dead.error_message) == ("MalformedMessage", "the body is not JSON")


def test_a_message_of_another_version_is_known_by_its_run_and_session(world, look):
    dies(world, dumps(a_message()).replace('"v":1', '"v":2'))
    [dead] = look()
    assert (dead.run_id, dead.session_id) == (RUN, "cs_1")


def test_more_dead_letters_than_one_read_takes_are_all_there(world, look):
    for n in range(120):
        dies(world, dumps(a_message(session_id=f"cs_{n}")))
    assert {dead.session_id for dead in look()} == {f"cs_{n}" for n in range(120)}
