"""The outcomes of a run: skip reasons, amounts and the filter of `show`."""

import pytest

from ops.format.money import Money
from ops.runs.outcomes import skip_reasons
from ops.runs.sessions import OutcomeFilter, read_sessions
from testkit.builders import NOW, RUN, a_message
from testkit.fake_stripe import SessionSpec

FINE, GONE = "cs_test_fine0001", "cs_test_gone0001"


@pytest.fixture
def table(world):
    return world.open_table()


def sell(world, session_id, **fields):
    fields = {"metadata": {"userId": "user-1"}} | fields
    return world.sells(SessionSpec(session_id, NOW - 3600, **fields))


def test_skip_reasons_counts_skipped_sessions_only(world, table):
    sell(world, FINE, currency="eur")
    sell(world, "cs_test_nobody01", metadata={})
    sell(world, "cs_test_nobody02", metadata={})
    sell(world, "cs_test_unpaid01", payment_status="unpaid")
    world.night()
    assert skip_reasons(table, RUN) == {"no_user": 2, "unpaid": 1}
    assert skip_reasons(table, "20200101T000000Z") == {}
    [created] = read_sessions(table, RUN, OutcomeFilter("created"))
    [order] = world.orders(FINE)
    assert (created.session_id, created.amount) == (FINE, Money("eur", order["amount"]))
    assert len(list(read_sessions(table, RUN, OutcomeFilter(reason="no_user")))) == 2
    assert list(read_sessions(table, RUN, OutcomeFilter(drift=True))) == []


@pytest.mark.parametrize(
    ("message", "outcome", "amount"),
    [
        ({"amount_total": 1980, "currency": "JPY", "user_id": None}, "skipped", Money("jpy", 1980)),
        ({"amount_total": 1980, "currency": "JPY"}, "error", Money("jpy", 1980)),
        ({"amount_total": None, "currency": None}, "error", None),
        # More digits than a DynamoDB number has, and a lone surrogate
        ({"amount_total": 10**40, "currency": "\ud800"}, "error", None),
    ],
)
def test_outcome_without_an_order_has_the_amount_of_the_message(world, table, message, outcome, amount):
    world.sends(a_message(session_id=GONE, **message))
    world.drain()
    [session] = read_sessions(table, a_message().run_id, OutcomeFilter())
    assert (session.outcome, session.amount) == (outcome, amount)
    assert {"amount", "currency"} & set(world.outcome(GONE)) == (
        set() if amount is None else {"amount", "currency"}
    )
