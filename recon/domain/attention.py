"""The words for what a person has to look at. They are stored on outcomes, orders and attention items."""

from enum import StrEnum


class Attention(StrEnum):
    """The reasons why a session needs a person although the sync has done all that it can."""

    PARTLY_CAPTURED = "partly_captured"
    PARTLY_REFUNDED = "partly_refunded"
    DISPUTED = "disputed"
    UNDER_REVIEW = "under_review"
    FRAUD_REPORTED = "fraud_reported"
    AWAITING_CAPTURE = "awaiting_capture"
    GAVE_UP_WAITING = "gave_up_waiting"
    GONE = "gone"
    ORDER_SAYS_UNPAID = "order_says_unpaid"
    NO_USER_PAID = "no_user_paid"
    MISSING = "missing"


# Words about a session without an order: its next outcome without the word ends it. Words about an order end
# when a person acts on them, `order_says_unpaid` also once the order says paid.
ENDED_BY_NEXT_OUTCOME = frozenset(
    {
        Attention.AWAITING_CAPTURE,
        Attention.GAVE_UP_WAITING,
        Attention.GONE,
        Attention.NO_USER_PAID,
        Attention.MISSING,
    }
)
