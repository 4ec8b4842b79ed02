"""Pure: the state of a session's payment. It says whether an order is due, and what a person has to know.

Shapes of Stripe's objects: https://docs.stripe.com/api/payment_intents/object,
https://docs.stripe.com/api/charges/object, https://docs.stripe.com/api/disputes/object and, for the payment
of a subscription's first invoice, https://docs.stripe.com/api/invoice-payment/object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recon.domain.attention import Attention
from recon.domain.outcome import SkipReason
from recon.domain.stripe_objects import (
    COMPLETE,
    MODES,
    PAYMENT_STATUSES,
    SETUP,
    STATUSES,
    UNPAID,
    Json,
    require_known,
)
from recon.domain.stripe_values import (
    find_object,
    find_objects,
    read_count,
    read_currency,
    read_expanded,
    read_flag,
    read_object,
    read_text,
)
from recon.errors import MalformedSession
from recon.timestamps import HOUR

REQUIRES_CAPTURE, CANCELED = "requires_capture", "canceled"
# `status` of a charge.
FAILED = "failed"
# The state of an unpaid session by the status of its payment intent.
_UNPAID_INTENTS = {
    "processing": SkipReason.UNPAID,
    "requires_action": SkipReason.UNPAID,
    "requires_confirmation": SkipReason.UNPAID,
    # The session was read before Stripe updated it.
    "succeeded": SkipReason.UNPAID,
    # Canceled after a part of it was captured.
    CANCELED: SkipReason.UNPAID,
    # The customer can confirm it again; a subscription's payment is also retried by Stripe.
    "requires_payment_method": SkipReason.PAYMENT_FAILED,
    # The rest of it can still be captured.
    REQUIRES_CAPTURE: SkipReason.AWAITING_CAPTURE,
}
_SETTLED_DISPUTES = frozenset({"won", "warning_closed"})
_LOST = "lost"
# A hold lapses after about seven days. Earlier than this, it is no news where the order exists.
CAPTURE_NOTICE = 48 * HOUR


@dataclass(frozen=True)
class Payment:
    """What Stripe returned of a session's payment.

    `intent` and `charge` (its latest one) are None if there is none or the key may not read it. `disputes`
    are those of the charge.
    """

    intent: Json | None = None
    charge: Json | None = None
    disputes: tuple[Json, ...] = ()


@dataclass(frozen=True)
class PaymentState:
    """The conclusion from a payment: the order is due, or `skip` says why it is not.

    `waits` is True if that may change, so that later runs have to check the session again. `until` is when a
    hold lapses (epoch seconds), if it is known. `amount_captured` and `amount_refunded` are set where they
    differ from the session's amount and from 0, in the session's currency.
    """

    skip: SkipReason | None = None
    waits: bool = False
    attention: tuple[Attention, ...] = ()
    until: int | None = None
    amount_captured: int | None = None
    amount_refunded: int | None = None


@dataclass(frozen=True)
class _Amounts:
    """The amounts of a charge. `captured` is None if the key may not read the payment.

    `refunded` leaves out the part of a hold that was released. `is_returned` is True if all that was captured
    was refunded.
    """

    authorized: int | None = None
    captured: int | None = None
    refunded: int = 0
    is_returned: bool = False


def find_payment(session: Json, invoice_payments: Sequence[Json] = ()) -> Payment:
    """Return the payment of a session, without disputes.

    `invoice_payments` are those of a subscription's first invoice, whose session has no payment intent.
    """
    intent = read_expanded(session, "payment_intent")
    if intent is None and invoice_payments:
        details = read_object(_choose_invoice_payment(session, invoice_payments), "payment")
        intent = read_expanded(details, "payment_intent")
        if intent is None:
            return Payment(charge=read_expanded(details, "charge"))
    return Payment(intent, _find_charge(intent or {}))


def _find_charge(intent: Json) -> Json | None:
    """Return the latest charge. API versions before 2022-11-15 list the charges, the newest first."""
    if intent.get("latest_charge") is not None:
        return read_expanded(intent, "latest_charge")
    return next(iter(find_objects(read_object(intent, "charges", parent="payment_intent."), "data")), None)


def read_payment_state(session: Json, payment: Payment) -> PaymentState:
    """Return the state of a complete session's payment.

    Raise UnknownState if Stripe uses a word that has no meaning here, and MalformedSession that names the
    field if a value has the wrong type.
    """
    status, mode, paid = (read_text(session, name) for name in ("status", "mode", "payment_status"))
    require_known("status", status, STATUSES)
    if status != COMPLETE:
        raise MalformedSession(f"status must be {COMPLETE}")
    require_known("mode", mode, MODES)
    if mode == SETUP:
        return PaymentState(SkipReason.NOT_A_SALE)
    require_known("payment_status", paid, PAYMENT_STATUSES)
    intent = read_text(payment.intent, "status", parent="payment_intent.") if payment.intent else None
    amounts = _read_amounts(payment)
    if intent == REQUIRES_CAPTURE and not amounts.captured:
        return _await_capture(payment)
    if intent == CANCELED and not amounts.captured:
        return PaymentState(SkipReason.PAYMENT_FAILED)
    if paid == UNPAID:
        return _read_unpaid(intent, payment)
    return _read_paid(session, payment, amounts)


def attention_beside_order(state: PaymentState, now: int) -> tuple[Attention, ...]:
    """Return the words for a session whose order exists: a hold is news only when it is about to lapse."""
    if state.skip is not SkipReason.AWAITING_CAPTURE:
        return state.attention
    lapses_soon = state.until is not None and state.until - now < CAPTURE_NOTICE
    return state.attention if lapses_soon else ()


def payment_attributes(state: PaymentState) -> Json:
    """Return the attributes of an order that say what became of its payment."""
    attributes = {
        "amountCaptured": state.amount_captured,
        "amountRefunded": state.amount_refunded,
        "attention": list(state.attention) or None,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _read_unpaid(intent: str | None, payment: Payment) -> PaymentState:
    if intent is None:
        return PaymentState(SkipReason.UNPAID, waits=True)
    require_known("payment_intent.status", intent, _UNPAID_INTENTS)
    reason = _UNPAID_INTENTS[intent]
    return (
        _await_capture(payment) if reason is SkipReason.AWAITING_CAPTURE else PaymentState(reason, waits=True)
    )


def _await_capture(payment: Payment) -> PaymentState:
    until = _find_capture_before(payment.charge or {})
    return PaymentState(
        SkipReason.AWAITING_CAPTURE, waits=True, attention=(Attention.AWAITING_CAPTURE,), until=until
    )


def _find_capture_before(charge: Json) -> int | None:
    """Return when a hold lapses; it is a detail of the payment method, such as of `card`."""
    for details in read_object(charge, "payment_method_details", parent="latest_charge.").values():
        if isinstance(details, dict) and details.get("capture_before") is not None:
            return read_count(details, "capture_before", parent="payment_method_details.")
    return None


def _read_paid(session: Json, payment: Payment, amounts: _Amounts) -> PaymentState:
    lost, is_disputed = _read_disputes(payment, amounts)
    returned = amounts.refunded + lost
    if amounts.is_returned or (amounts.captured and returned >= amounts.captured):
        return PaymentState(SkipReason.REFUNDED)
    charge = payment.charge or {}
    is_partly_captured = bool(amounts.captured and amounts.captured < (amounts.authorized or 0))
    words = {
        Attention.PARTLY_CAPTURED: is_partly_captured,
        Attention.PARTLY_REFUNDED: amounts.refunded > 0,
        Attention.DISPUTED: is_disputed,
        Attention.UNDER_REVIEW: _is_under_review(payment.intent or {}),
        Attention.FRAUD_REPORTED: _is_fraud_reported(charge),
    }
    # The session's amount may be in the currency that the customer saw.
    is_comparable = _have_same_currency(charge, session)
    captured = amounts.captured if is_comparable else None
    return PaymentState(
        attention=tuple(word for word, applies in words.items() if applies),
        amount_captured=None if captured in (0, session.get("amount_total")) else captured,
        amount_refunded=(amounts.refunded or None) if is_comparable else None,
    )


def _read_amounts(payment: Payment) -> _Amounts:
    intent, charge = payment.intent, payment.charge
    received = read_count(intent or {}, "amount_received", parent="payment_intent.")
    if charge is None:
        return _Amounts(read_count(intent or {}, "amount", parent="payment_intent."), received)
    amount, captured, counted = (
        read_count(charge, name, parent="latest_charge.")
        for name in ("amount", "amount_captured", "amount_refunded")
    )
    if captured is None:
        # API versions before 2020-08-27 have only a flag.
        captured = (
            0
            if read_flag(charge, "captured", parent="latest_charge.") is False
            else amount
            if received is None
            else received
        )
    if charge.get("status") == FAILED:
        # A bank debit is captured when it is made, and may fail days later.
        captured = 0
    released = max(0, (amount or 0) - (captured or 0))
    refunded = counted or 0
    # API versions before 2025-03-31 count the released part of a hold as a refund.
    if refunded >= released:
        refunded -= released
    # Where as much was captured as released, the flag says a refund: nothing of the charge is left.
    is_only_release = bool(captured and released and counted == released != captured)
    is_returned = read_flag(charge, "refunded", parent="latest_charge.") is True and not is_only_release
    return _Amounts(amount, captured, refunded, is_returned)


def _read_disputes(payment: Payment, amounts: _Amounts) -> tuple[int, bool]:
    """Return the amount that was lost in disputes, and whether a dispute needs a person."""
    lost, is_disputed = 0, False
    for dispute in payment.disputes:
        status = read_text(dispute, "status", parent="dispute.")
        is_disputed = is_disputed or status not in _SETTLED_DISPUTES
        if status == _LOST and _have_same_currency(dispute, payment.charge or {}):
            amount = read_count(dispute, "amount", parent="dispute.")
            lost += (amounts.captured or 0) if amount is None else amount
    return lost, is_disputed


def _have_same_currency(one: Json, other: Json) -> bool:
    """Return whether amounts of both can be compared. Without a currency, it is taken to be the same."""
    currencies = {read_currency(one, "currency"), read_currency(other, "currency")} - {None}
    return len(currencies) <= 1


def _is_under_review(intent: Json) -> bool:
    """Return whether the review is open. The id alone says nothing: a closed review keeps it."""
    review = read_expanded(intent, "review")
    return review is not None and read_flag(review, "open", parent="review.") is True


def _is_fraud_reported(charge: Json) -> bool:
    return "fraudulent" in read_object(charge, "fraud_details", parent="latest_charge.").values()


def _choose_invoice_payment(session: Json, payments: Sequence[Json]) -> Json:
    """Return the payment that paid the invoice, or else the one that is still to pay it.

    The payment of an invoice that was paid outside of Stripe or with credit is canceled, and says nothing. Of
    several that paid it, one that was refunded in full stands for all only if the others were, too.
    """
    ranked = ("paid",) if session.get("payment_status") != UNPAID else ("paid", "open", "canceled")
    for status in ranked:
        chosen = [each for each in payments if each.get("status") == status]
        if chosen:
            return min(chosen, key=lambda each: (_is_returned(each), each.get("is_default") is not True))
    return {}


def _is_returned(invoice_payment: Json) -> bool:
    details = find_object(invoice_payment, "payment")
    of_intent = find_object(find_object(details, "payment_intent"), "latest_charge")
    return any(charge.get("refunded") is True for charge in (of_intent, find_object(details, "charge")))
