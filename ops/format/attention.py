"""The sentence for each word of attention, the same on every screen and in the report."""

from typing import assert_never

from recon.domain.attention import Attention


def describe_attention(word: Attention) -> str:  # noqa: C901, PLR0911 - one case per word
    """Return what a person has to look at, as a clause such as `a dispute is open`."""
    match word:
        case Attention.PARTLY_CAPTURED:
            return "less was captured than the order's amount"
        case Attention.PARTLY_REFUNDED:
            return "a part was refunded before the order was written"
        case Attention.DISPUTED:
            return "the customer disputes the payment"
        case Attention.UNDER_REVIEW:
            return "Stripe holds the payment for review"
        case Attention.FRAUD_REPORTED:
            return "the payment is reported as fraud"
        case Attention.AWAITING_CAPTURE:
            return "the payment is authorised and not captured"
        case Attention.GAVE_UP_WAITING:
            return "it was not paid in 400 days and is not checked any more"
        case Attention.GONE:
            return "Stripe no longer finds it"
        case Attention.ORDER_SAYS_UNPAID:
            return "Stripe says that it is paid, its order says unpaid"
        case Attention.NO_USER_PAID:
            return "it is paid and has no user id, so no order was written"
        case Attention.MISSING:
            return "it is paid, and the shop has not done its order"
    assert_never(word)


def describe_stored_attention(word: str) -> str:
    """Return `describe_attention` for a stored word, or the word itself if another version wrote it."""
    try:
        return describe_attention(Attention(word))
    except ValueError:
        return word
