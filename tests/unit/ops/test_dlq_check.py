"""The check of the dead letters: what each of them would come to now, in the order of the list."""

from collections import Counter

import pytest

from ops.dlq.check import check
from ops.runs.prediction import PredictedAction
from recon.domain.message import dumps
from recon.stripe.source import StripeSource
from testkit.builders import a_message
from testkit.dead_letters import Operator, dies, lies, visible
from testkit.fake_stripe import Endpoint


@pytest.fixture
def operator(world):
    return Operator(world)


def checked(world, operator):
    source = StripeSource(world.connect(), world.clock.deadline(3600), lambda: None)
    listing = operator.list()
    answers = check(listing, operator.table, lambda: source, world.settings, world.pool, int(world.clock()))
    found = list(answers)
    assert [one.letter for one in found] == list(listing.letters)
    return found


def test_each_letter_is_checked_by_what_the_consumer_then_does(world, operator):
    ids = dies(world, 12)
    for gone in ids[:3]:
        world.stripe.faults.missing(session=gone)
    found = checked(world, operator)
    assert Counter(one.prospect.would for one in found) == {
        PredictedAction.CREATE: 9,
        PredictedAction.FAIL: 3,
    }
    operator.moves()
    world.drain()
    would_create = {one.letter.session_id for one in found if one.prospect.would is PredictedAction.CREATE}
    assert {order["orderId"] for order in world.orders()} == would_create


def test_checking_leaves_queue_and_table_as_they_are(world, operator):
    dies(world, 12)
    before = world.memory.dump()
    checked(world, operator)
    assert world.memory.dump() == before
    assert len(visible(world, world.dlq)) == 12


def test_a_session_that_is_settled_needs_no_check(world, operator):
    dies(world, 1)
    world.sends(operator.list().messages[operator.letters[0].message_id])
    world.drain()
    asked = world.stripe.calls.count(Endpoint.RETRIEVE)
    [found] = checked(world, operator)
    assert found.prospect is None
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == asked


@pytest.mark.parametrize(
    ("body", "problem"),
    [("not JSON", "the body is not JSON"), (dumps(a_message()).replace('"v":1', '"v":2'), "v must be 1")],
)
def test_a_message_that_cannot_be_read_would_fail_for_good(world, operator, body, problem):
    lies(world, body)
    [found] = checked(world, operator)
    assert (found.prospect.error_type, found.prospect.error_message) == ("MalformedMessage", problem)
    assert found.prospect.is_permanent
