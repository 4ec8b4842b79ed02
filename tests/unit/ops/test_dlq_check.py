"""`dlq list --check`: the predicted outcome of each dead letter."""

from collections import Counter
from dataclasses import replace

import pytest

from ops.dlq.check import check_letters
from ops.runs.prediction import PredictedAction
from recon.domain.message import dumps
from recon.stripe.source import StripeSource
from testkit.builders import a_message
from testkit.dead_letters import DeadLetterTools, fail_sessions, list_visible, put_dead
from testkit.fake_stripe import Endpoint


@pytest.fixture
def tools(world):
    return DeadLetterTools(world)


@pytest.fixture
def check(world, tools):
    def check():
        source = StripeSource(world.connect(), world.clock.deadline(3600), lambda: None)
        listing, now = tools.list(), int(world.clock())
        checked = list(check_letters(listing, tools.table, lambda: source, world.settings, world.pool, now))
        assert [replace(one, prospect=None) for one in checked] == list(listing.letters)
        return checked

    return check


def test_check_predicts_what_the_consumer_then_does(world, tools, check):
    ids = fail_sessions(world, 12)
    for session_id in ids[:3]:
        world.stripe.faults.missing(session=session_id)
    before = world.memory.dump()
    checked = check()
    assert world.memory.dump() == before
    assert len(list_visible(world)) == 12
    assert Counter(one.prospect.would for one in checked) == {
        PredictedAction.CREATE: 9,
        PredictedAction.FAIL: 3,
    }
    tools.move()
    world.drain()
    created = {one.session_id for one in checked if one.prospect.would is PredictedAction.CREATE}
    assert {order["orderId"] for order in world.orders()} == created


def test_check_skips_settled_session(world, tools, check):
    fail_sessions(world, 1)
    world.sends(tools.message)
    world.drain()
    asked = world.stripe.calls.count(Endpoint.RETRIEVE)
    [checked] = check()
    assert checked.prospect is None
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == asked


@pytest.mark.parametrize(
    ("body", "problem"),
    [("not JSON", "the body is not JSON"), (dumps(a_message()).replace('"v":1', '"v":2'), "v must be 1")],
)
def test_check_predicts_permanent_failure_of_unreadable_message(world, check, body, problem):
    put_dead(world, body)
    [checked] = check()
    assert (checked.prospect.error_type, checked.prospect.error_message) == ("MalformedMessage", problem)
    assert checked.prospect.is_permanent
