"""Pure: the outcomes of a session in a run, and the reasons to skip it."""

from enum import StrEnum


class Outcome(StrEnum):
    """The result of a session in a run. Only `error` may change later."""

    CREATED = "created"
    SKIPPED = "skipped"
    # The order of another shop's own layout is missing. The sync writes none of these.
    MISSING = "missing"
    ERROR = "error"


class SkipReason(StrEnum):
    """Why a session was skipped.

    `table_decision.py` decides by the orders in the table, `payment_state.py` by what Stripe says of the
    payment, such as that it was refunded.
    """

    EXISTS = "exists"
    NO_USER = "no_user"
    UNPAID = "unpaid"
    NOT_A_SALE = "not_a_sale"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    PAYMENT_FAILED = "payment_failed"
    AWAITING_CAPTURE = "awaiting_capture"
    GONE = "gone"
    REMOVED = "removed"
    NO_KEY = "no_key"  # the session lacks what the key in shape.toml needs
    FILTERED = "filtered"  # it or its message waited, and the filter leaves it out by now
    DISMISSED = "dismissed"  # by an operator, see recon/dynamodb/dismissals.py
