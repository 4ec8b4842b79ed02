"""Why sessions were skipped, and what their outcomes say they were worth."""

import pytest

from ops.runs.outcomes import skip_reasons
from recon.dynamodb.table import Table
from testkit.builders import NOW, RUN, a_message
from testkit.fake_stripe import SessionSpec

FINE, GONE = "cs_test_fine0001", "cs_test_gone0001"


@pytest.fixture
def table(world):
    return Table(world.dynamodb, world.table)


def sells(world, session_id, **fields):
    fields = {"metadata": {"userId": "user-1"}} | fields
    return world.sells(SessionSpec(session_id, NOW - 3600, **fields))


def test_reasons_of_skipped_sessions_are_counted_and_created_ones_are_not(world, table):
    sells(world, FINE)
    sells(world, "cs_test_nobody01", metadata={})
    sells(world, "cs_test_nobody02", metadata={})
    sells(world, "cs_test_unpaid01", payment_status="unpaid")
    world.night()
    assert skip_reasons(table, RUN) == {"no_user": 2, "unpaid": 1}


def test_a_run_that_nobody_knows_has_skipped_nothing(table):
    assert skip_reasons(table, "20200101T000000Z") == {}


def test_an_outcome_says_what_a_created_order_is_worth(world):
    sells(world, FINE, currency="eur")
    world.night()
    order, outcome = world.orders(FINE)[0], world.outcome(FINE)
    assert (outcome["amount"], outcome["currency"]) == (order["amount"], "eur")


@pytest.mark.parametrize(("outcome", "changes"), [("skipped", {"user_id": None}), ("error", {})])
def test_an_outcome_without_an_order_says_what_the_message_says(world, outcome, changes):
    world.sends(a_message(session_id=GONE, amount_total=1980, currency="JPY", **changes))
    world.drain()
    found = world.outcome(GONE)
    assert (found["outcome"], found["amount"], found["currency"]) == (outcome, 1980, "jpy")


def test_an_outcome_of_a_session_without_amount_has_none(world):
    world.sends(a_message(session_id=GONE, amount_total=None, currency=None))
    world.drain()
    assert not {"amount", "currency"} & set(world.outcome(GONE))


def test_an_amount_that_the_table_could_not_hold_costs_no_session_its_outcome(world):
    world.sends(a_message(session_id=GONE, amount_total=10**40, currency="\ud800"))
    world.drain()
    assert world.outcome(GONE)["outcome"] == "error"
    assert not {"amount", "currency"} & set(world.outcome(GONE))
