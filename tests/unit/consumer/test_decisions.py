"""One session decided: by what Stripe says of it now, in the words that are logged and stored."""

from types import SimpleNamespace

import pytest

from consumer.decisions import StripeDecision, decide_from_stripe, decide_from_table, to_unexpected
from recon.config import Settings
from recon.domain.order import SnapshotContext, build_order
from recon.domain.reconcile import ExistingOrder, SkipReason, find_drift
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from recon.errors import (
    LineItemsMissing,
    MalformedSession,
    OrderTooLarge,
    SessionNotFound,
    TableUnavailable,
)
from recon.stripe.source import FetchedSession
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, a_line, a_message, a_session

SETTINGS = Settings(table="t", queue_url="q", order_ttl_days=30, order_number_prefix="SHOP")
CS = a_session()["id"]
USER = ("ab@example.com", "a+b@example.com")


def decided(fetched, paid=(), **message):
    """What becomes of a message, given what Stripe answers: a FetchedSession, or an error."""

    def fetch(session_id):
        assert session_id == CS
        if isinstance(fetched, Exception):
            raise fetched
        return fetched

    stripe = SimpleNamespace(fetch=fetch, find_paid_after=lambda moment: set(paid) if moment == 77 else set())
    return decide_from_stripe(stripe, a_message(session_id=CS, **message), SETTINGS, lambda: NOW)


def answer(lines=None, **changes):
    return FetchedSession(a_session(**changes), [a_line()] if lines is None else lines)


def said(made):
    return (type(made.became), str(made.became), made.charges_known)


def test_a_missing_order_is_built_from_stripes_answer_and_the_settings():
    order = build_order(a_session(), [a_line()], USER[0], SnapshotContext(RUN, NOW, "SHOP", 30))
    assert decided(answer()) == StripeDecision(order)
    assert order["expiresAt"] == NOW + 30 * DAY
    assert order["syncRunId"] == RUN


def test_an_error_of_stripe_is_the_sessions():
    error = SessionNotFound("no")
    assert decided(error) == StripeDecision(error)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("changes", "lines", "kind", "text"),
    [
        ({"id": "cs_other"}, None, MalformedSession, "id is not the one that was asked for"),
        ({"status": "open"}, None, MalformedSession, "status must be complete"),
        ({}, [], LineItemsMissing, "Stripe lists no line items for a paid session"),
        ({"created": "x"}, None, MalformedSession, "created must be an integer"),
    ],
)
def test_an_answer_that_makes_no_order_says_why(known, changes, lines, kind, text):
    fetched = FetchedSession(
        a_session(**changes), [a_line()] if lines is None else lines, charges_known=known
    )
    assert said(decided(fetched)) == (kind, text, known)


def test_an_order_that_no_item_holds_says_how_large_it_is():
    kind, text, _ = said(decided(answer(lines=[a_line(description="x" * 420_000)])))
    assert kind is OrderTooLarge
    assert text.startswith("the order takes 42")
    assert text.endswith(" bytes; a DynamoDB item holds 409600")


@pytest.mark.parametrize(("over", "kind"), [(0, dict), (1, OrderTooLarge)])
def test_an_order_may_take_just_what_an_item_holds(over, kind):
    room = MAX_ITEM_BYTES - item_bytes(decided(answer(lines=[a_line(description="x")])).became)
    fits = a_line(description="x" * (1 + room + over))
    assert type(decided(answer(lines=[fits])).became) is kind


@pytest.mark.parametrize("known", [True, False])
def test_an_order_says_whether_it_is_known_what_became_of_its_payment(known):
    made = decided(FetchedSession(a_session(), [a_line()], charges_known=known))
    assert (type(made.became), made.charges_known) == (dict, known)


@pytest.mark.parametrize(
    ("fetched", "reason"),
    [
        (answer(mode="setup"), SkipReason.NOT_A_SALE),
        (answer(payment_status="unpaid"), SkipReason.UNPAID),
        (FetchedSession(a_session(), [a_line()], refunded=True), SkipReason.REFUNDED),
        (FetchedSession(a_session(), [], refunded=True), SkipReason.REFUNDED),
    ],
)
def test_what_stripe_says_by_now_counts(fetched, reason):
    assert decided(fetched) == StripeDecision(reason)


def test_what_was_paid_after_the_run_asked_is_left_to_the_next_run():
    asked = {"pending": NOW - DAY}
    assert isinstance(decided(answer(), **asked).became, dict)
    assert decided(answer(), pending=NOW - DAY - 1).became is SkipReason.UNPAID
    stripe = SimpleNamespace(
        fetch=lambda _: answer(), find_paid_after=lambda moment: {CS} if moment == NOW - 5 else set()
    )
    message = a_message(session_id=CS, pending=NOW - 5)
    assert decide_from_stripe(stripe, message, SETTINGS, lambda: NOW).became is SkipReason.UNPAID


def test_a_bug_is_told_by_its_kind():
    assert str(to_unexpected(ValueError("a secret"))) == "ValueError while the order was built"


def found(**changes):
    fields = {"pk": "USER#u", "sk": "ORDER#1", "order_id": None, "stripe_session_id": "cs_1"}
    return ExistingOrder(**fields | changes)


def test_the_table_decides_before_stripe_is_asked():
    message = a_message()
    assert decide_from_table(message, {USER: []}, SETTINGS, NOW) is None
    assert decide_from_table(message, {USER: [found()]}, SETTINGS, NOW) is SkipReason.EXISTS
    assert decide_from_table(a_message(user_id=None), {}, SETTINGS, NOW) is SkipReason.NO_USER
    assert (
        decide_from_table(a_message(created=NOW - 30 * DAY), {USER: []}, SETTINGS, NOW) is SkipReason.EXPIRED
    )
    assert decide_from_table(a_message(created=NOW - 30 * DAY + 1), {USER: []}, SETTINGS, NOW) is None
    error = TableUnavailable("busy")
    assert decide_from_table(message, {USER: error}, SETTINGS, NOW) is error


def test_what_is_unpaid_waits_also_where_its_orders_cannot_be_looked_up():
    message = a_message(payment_status="unpaid")
    assert decide_from_table(message, {USER: TableUnavailable("busy")}, SETTINGS, NOW) is SkipReason.UNPAID
    assert (
        decide_from_table(message, {USER: [found(payment_status="paid")]}, SETTINGS, NOW) is SkipReason.EXISTS
    )


def test_drift_is_told_by_field_and_by_what_either_side_says():
    order = found(amount=1, currency="USD", payment_status="unpaid")
    assert find_drift(a_message(), [order, found(stripe_session_id="cs_2", amount=2)]) == (
        "amount: the order says 1, Stripe 4999",
        "currency: the order says USD, Stripe eur",
        "payment_status: the order says unpaid, Stripe paid",
    )


def test_a_duplicate_names_both_keys_and_the_first_one_is_compared():
    second = found(pk="USER#v", stripe_session_id=None, order_id="cs_1", amount=1)
    assert find_drift(a_message(), [second, found(amount=4999)]) == (
        "duplicate: USER#u/ORDER#1, USER#v/ORDER#1",
    )


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (found(), {}),
        (found(amount=4999, currency="EUR", payment_status="paid"), {}),
        (found(amount=1, currency="usd"), {"amount_total": None, "currency": None}),
        (found(payment_status="unpaid"), {"payment_status": "no_payment_required"}),
        (found(payment_status="paid"), {"payment_status": "paid"}),
    ],
)
def test_an_order_that_says_nothing_else_does_not_drift(order, message):
    assert find_drift(a_message(**message), [order]) == ()
