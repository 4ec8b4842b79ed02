"""The decision about a missing order by Stripe's current response."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from consumer.stripe_decision import OrderFacts, StripeDecision, decide_from_stripe, to_unexpected
from recon.config import Settings
from recon.domain.attention import Attention
from recon.domain.message import with_user
from recon.domain.order import SnapshotContext, build_order, without_item_metadata
from recon.domain.outcome import SkipReason
from recon.domain.payment_state import Payment
from recon.domain.shape import parse_shape
from recon.domain.shape_decision import Missing
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from recon.errors import (
    KeyUnproven,
    LineItemsMissing,
    MalformedSession,
    OrderTooLarge,
    SessionNotFound,
    TableUnavailable,
)
from recon.stripe.source import FetchedSession
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN, a_detailed_line, a_line, a_message, a_session

SETTINGS = Settings(table="t", queue_url="q", order_ttl_days=30, order_number_prefix="SHOP")
CS = a_session()["id"]
PAID_SINCE = NOW - 5
NO_FACTS = OrderFacts()


def decide(response, settings=SETTINGS, facts=NO_FACTS, has_newer_key=False, **message):
    """Return the decision for a message. `response` is a FetchedSession or an error."""

    def fetch(session_id, _listed=None):
        assert session_id == CS
        if isinstance(response, Exception):
            raise response
        return response

    stripe = SimpleNamespace(
        fetch=fetch,
        is_paid_after=lambda moment, fetched: fetched is response and moment == PAID_SINCE,
        has_newer_key=lambda: has_newer_key,
        is_gone=lambda session_id, proof: (session_id, proof) == (CS, "cs_proof"),
    )
    return decide_from_stripe(stripe, a_message(session_id=CS, **message), settings, lambda: NOW, facts)


def a_response(lines=None, *, payment=None, charges_known=True, details_known=True, **changes):
    lines = [a_line()] if lines is None else lines
    return FetchedSession(a_session(**changes), lines, payment or Payment(), charges_known, details_known)


def a_payment(status="succeeded", **charge):
    captured = {"id": "ch_1", "amount": 4999, "amount_captured": 4999, "amount_refunded": 0}
    return Payment({"status": status}, captured | charge)


REFUNDED = a_payment(amount_refunded=4999)
HELD = a_payment(
    "requires_capture", amount_captured=0, payment_method_details={"card": {"capture_before": NOW + DAY}}
)


@pytest.mark.parametrize("known", [(True, True), (True, False), (False, True)])
def test_missing_order_is_built_from_response_and_settings(known):
    charges, details = known
    context = SnapshotContext(RUN, NOW, "SHOP", 30)
    order = build_order(a_session(), [a_line()], "ab@example.com", context, raw_user_id="a+b@example.com")
    decision = decide(a_response(charges_known=charges, details_known=details))
    assert decision == StripeDecision(order, charges_known=charges, details_known=details)
    assert order["expiresAt"] == NOW + 30 * DAY
    assert order["rawUserId"] == "a+b@example.com"
    assert order["syncRunId"] == RUN


def test_stripe_error_is_the_decision():
    error = SessionNotFound("no")
    assert decide(error) == StripeDecision(error)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"id": "cs_other"}, MalformedSession, "id differs from the requested session"),
        ({"status": "open"}, MalformedSession, "status must be complete"),
        ({"lines": []}, LineItemsMissing, "Stripe lists no line items for a paid session"),
        ({"created": "x"}, MalformedSession, "created must be an integer"),
    ],
)
def test_unusable_response_is_an_error_with_its_reason(known, changes, kind, text):
    decision = decide(a_response(**changes, charges_known=known))
    assert (type(decision.result), str(decision.result), decision.charges_known) == (kind, text, known)


def test_order_up_to_the_item_limit_is_accepted():
    free = MAX_ITEM_BYTES - item_bytes(decide(a_response([a_line(description="x")])).result)
    assert isinstance(decide(a_response([a_line(description="x" * (1 + free))])).result, dict)
    error = decide(a_response([a_line(description="x" * (2 + free))])).result
    assert type(error) is OrderTooLarge
    assert str(error) == "the order takes 409601 bytes; a DynamoDB item holds 409600"


def test_notes_of_items_go_only_if_the_order_would_not_fit():
    def order(length):
        return decide(a_response([a_detailed_line(description="x" * length)])).result

    size, small = item_bytes(order(1)), item_bytes(without_item_metadata(order(1)))
    longest, shortened = MAX_ITEM_BYTES - size + 1, MAX_ITEM_BYTES - small + 1
    assert "metadata" in order(longest)["items"][0]
    for length in (longest + 1, shortened):
        assert "metadata" not in order(length)["items"][0]
    assert type(order(shortened + 1)) is OrderTooLarge


def test_order_is_paid_when_the_charge_was_made_whatever_the_session_has():
    order = decide(a_response(payment=a_payment(created=NOW - 60), payment_intent=None)).result
    assert order["paidAt"] == to_iso(NOW - 60)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (a_response(mode="setup"), StripeDecision(SkipReason.NOT_A_SALE)),
        (a_response(payment_status="unpaid"), StripeDecision(SkipReason.UNPAID, waits=True)),
        (a_response(payment=REFUNDED), StripeDecision(SkipReason.REFUNDED)),
        (a_response([], payment=REFUNDED), StripeDecision(SkipReason.REFUNDED)),
        (
            a_response(payment=HELD),
            StripeDecision(
                SkipReason.AWAITING_CAPTURE,
                waits=True,
                attention=(Attention.AWAITING_CAPTURE,),
                attention_until=NOW + DAY,
            ),
        ),
    ],
)
def test_current_state_at_stripe_decides_about_a_skip(response, expected):
    assert decide(response) == expected


def test_order_says_what_was_captured_and_refunded_and_what_needs_a_person():
    payment = a_payment(
        amount_captured=3000, amount_refunded=500, fraud_details={"user_report": "fraudulent"}
    )
    decision = decide(a_response(payment=payment))
    words = ("partly_captured", "partly_refunded", "fraud_reported")
    assert decision.attention == words
    assert (decision.result["amountCaptured"], decision.result["amountRefunded"]) == (3000, 500)
    assert decision.result["attention"] == list(words)


def test_order_of_a_plain_payment_says_nothing_about_it():
    order = decide(a_response(payment=a_payment())).result
    assert not {"amountCaptured", "amountRefunded", "attention"} & order.keys()


def test_session_paid_since_it_was_listed_waits_for_the_next_run():
    assert decide(a_response(), payment_status="unpaid") == StripeDecision(SkipReason.UNPAID, waits=True)


@pytest.mark.parametrize(
    ("pending", "waits"), [(NOW - DAY, False), (NOW - DAY - 1, True), (PAID_SINCE, True)]
)
def test_session_paid_after_the_listing_waits_for_the_next_run(pending, waits):
    result = decide(a_response(), pending=pending).result
    assert result is SkipReason.UNPAID if waits else isinstance(result, dict)


@pytest.mark.parametrize(
    ("message", "charge", "expired"),
    [
        ({}, {}, True),
        ({"pending": NOW - 60}, {}, False),
        ({"pending": NOW - 60}, {"created": NOW - 30 * DAY}, True),
        ({}, {"created": NOW - 30 * DAY + 1}, False),
    ],
)
def test_order_expires_from_the_payment_or_from_when_that_was_noticed(message, charge, expired):
    result = decide(a_response(payment=a_payment(**charge)), created=NOW - 40 * DAY, **message).result
    assert result is SkipReason.EXPIRED if expired else isinstance(result, dict)


def test_order_of_another_layout_is_missing_under_the_values_that_stripe_has():
    settings = replace(SETTINGS, shape=parse_shape('[find]\nkey = { id = "{metadata.orderId}" }'))
    decision = decide(
        a_response(metadata={"orderId": "o-2"}), settings, key_values=(("metadata.orderId", "o-1"),)
    )
    assert decision == StripeDecision(Missing((("metadata.orderId", "o-2"),)))


KEYED = {"user_id": None, "key_values": (("metadata.orderId", "o-1"),)}


def test_message_with_a_key_alone_gets_its_user_from_stripe():
    response = a_response(payment=a_payment(fraud_details={"user_report": "fraudulent"}))
    decision = decide(response, **KEYED)
    assert decision.renewed == with_user(
        a_message(session_id=CS, **KEYED), response.session, SETTINGS.user_ids
    )
    order = decide(response, user_id=decision.renewed.user_id).result
    assert (decision.result, decision.attention) == (order, ("fraud_reported",))


@pytest.mark.parametrize(("amount", "words"), [(1, (Attention.NO_USER_PAID,)), (0, ())])
def test_message_with_a_key_alone_and_no_user_needs_a_person_if_it_is_a_sale(amount, words):
    decision = decide(a_response(metadata={}, customer_details=None), amount_total=amount, **KEYED)
    assert decision == StripeDecision(SkipReason.NO_USER, attention=words)


BUSY = TableUnavailable("busy")


def fail():
    raise BUSY


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"has_newer_key": True},
            KeyUnproven("Stripe does not find the session, and the next attempt uses a newer key"),
        ),
        (
            {"pending": 1, "facts": OrderFacts(find_proof=lambda: "cs_other")},
            KeyUnproven("Stripe does not find the session, and the key is not proven to be of its account"),
        ),
        ({"pending": 1, "facts": OrderFacts(find_proof=fail)}, BUSY),
    ],
)
def test_session_that_stripe_does_not_find_is_tried_again(options, expected):
    error = decide(SessionNotFound("no"), **options).result
    assert (type(error), str(error)) == (type(expected), str(expected))


def test_session_that_stripe_does_not_find_beside_the_proof_is_gone():
    decision = decide(SessionNotFound("no"), pending=1, facts=OrderFacts(find_proof=lambda: "cs_proof"))
    assert decision == StripeDecision(SkipReason.GONE, attention=(Attention.GONE,))


def test_unexpected_error_names_only_the_exception_class():
    assert str(to_unexpected(ValueError("a secret"))) == "ValueError while the order was built"
