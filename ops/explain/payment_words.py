"""Sentences about a payment that is more than paid or unpaid. Pure."""

from ops.explain.facts import CurrentSession
from ops.format.text import format_utc
from recon.domain.attention import Attention
from recon.domain.payment_state import CANCELED, REQUIRES_CAPTURE

_ATTENTION = {
    Attention.PARTLY_CAPTURED: "Only a part of its payment was captured.",
    Attention.PARTLY_REFUNDED: "A part of it was refunded.",
    Attention.DISPUTED: "Its payment is disputed.",
    Attention.UNDER_REVIEW: "Stripe's review of its payment is open.",
    Attention.FRAUD_REPORTED: "Its payment was reported as fraudulent.",
}
_UNPAID = {
    "processing": "its payment is still being processed, as a bank debit is for days",
    "requires_action": "the customer has still to act, such as to transfer the money or to pay a voucher",
    "requires_confirmation": "its payment was not confirmed yet",
    "succeeded": "its payment has just succeeded, and Stripe is still updating the session",
}


def describe_attention(session: CurrentSession | None) -> str:
    """Return what a person has to know of the payment, with a space before it, or an empty string."""
    words = session.attention if session else ()
    return "".join(f" {_ATTENTION[Attention(word)]}" for word in words if word in _ATTENTION)


def describe_unpaid(session: CurrentSession | None) -> str:
    """Return why a completed session is not paid."""
    status = session.payment_intent_status if session else None
    return f"It is completed and not paid: {_UNPAID.get(status or '', 'its payment has not arrived yet')}."


def describe_hold(session: CurrentSession | None) -> str:
    """Return how long the money can be captured."""
    until = session.capture_before if session else None
    lapses = f"the hold lapses at {format_utc(until)}" if until else "a hold lapses after about seven days"
    return f"Its payment is authorised and not captured; {lapses}."


def describe_failure(session: CurrentSession | None) -> str:
    """Return how the payment failed."""
    if session and session.payment_intent_status == CANCELED:
        return (
            "Its payment was cancelled before any money was taken, as when a hold is released or lapses, "
            "so no order is written."
        )
    return (
        "Its payment failed, so nothing was taken and no order is written. The customer can pay again, and "
        "Stripe tries a subscription's payment again."
    )


def describe_open_payment(session: CurrentSession) -> str:
    """Return what Stripe says of a payment without money, for a session whose order exists."""
    match session.payment_intent_status:
        case status if status == REQUIRES_CAPTURE:
            return describe_hold(session)
        case status if status == CANCELED:
            return "At Stripe its payment was cancelled."
        case "requires_payment_method":
            return "At Stripe its payment failed."
    return "At Stripe it is not paid."
