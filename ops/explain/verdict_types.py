"""The verdict on a session and the rows of the decision table."""

from dataclasses import dataclass
from enum import StrEnum


class VerdictCase(StrEnum):
    """One row of the decision table."""

    # Its order exists.
    DUPLICATE = "duplicate"
    DRIFT = "drift"
    LEFT_OVER = "left_over"  # together with a dead message
    UNPAID_ORDER = "unpaid_order"
    REFUNDED_ORDER = "refunded_order"
    RECOVERED = "recovered"
    WEBHOOK = "webhook"
    OTHER_PROGRAM = "other_program"
    # Its order does not exist.
    OPEN = "open"
    ABANDONED = "abandoned"
    DEAD = "dead"
    DISMISSED = "dismissed"
    NOT_AT_STRIPE = "not_at_stripe"
    STRIPE_UNKNOWN = "stripe_unknown"
    NOT_A_SALE = "not_a_sale"
    NO_USER = "no_user"
    FILTERED = "filtered"
    UNPAID = "unpaid"
    UNPAID_UNSEEN = "unpaid_unseen"
    REFUNDED = "refunded"
    PAYMENT_FAILED = "payment_failed"
    AWAITING_CAPTURE = "awaiting_capture"
    REMOVED = "removed"
    EXPIRED = "expired"
    NO_KEY = "no_key"
    MISSING = "missing"
    GONE = "gone"
    IN_PROGRESS = "in_progress"
    RETRYING = "retrying"
    FAILING = "failing"
    WRITTEN_NEXT = "written_next"
    OVERLOOKED = "overlooked"


@dataclass(frozen=True)
class SessionVerdict:
    """Sentences for an operator. `to_do` is None if there is nothing to do."""

    case: VerdictCase
    why: str
    next: str
    to_do: str | None = None

    @property
    def needs_attention(self) -> bool:
        """Return whether an operator has something to do."""
        return self.to_do is not None
