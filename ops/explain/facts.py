"""The facts about one session. The only personal value is the user id that its orders are stored under."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ops.dlq.dead_letters import DeadLetter
from ops.format.money import Amount
from ops.runs.attention import OpenAttention
from ops.runs.prediction import PredictedOutcome
from recon.domain.order import SOURCE
from recon.dynamodb.dismissals import DismissalRecord


class Coverage(StrEnum):
    """Whether the next scheduled run processes the session.

    `PENDING` waits for its payment: every scheduled run checks it, whatever its window. `LATER` is too recent
    for the next run and in the window of the one after. `NOT_COMPLETE` is not listed by any run. `UNKNOWN`
    means that its creation time is not known.
    """

    IN_WINDOW = "in_window"
    PENDING = "pending"
    LATER = "later"
    TOO_OLD = "too_old"
    NOT_COMPLETE = "not_complete"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CurrentSession:
    """The session as Stripe returns it now.

    `refunded` is True if it was refunded in full or lost in a dispute, None if the key may not read that.
    `attention` are the words for what a person has to know of its payment, `capture_before` is when a hold
    lapses, and `payment_intent_status` is Stripe's word for the payment; None if there is none or it is not
    known. `skip_reason` is why its payment alone gives no order. `user_id` is the cleaned one that its order
    is stored under. `left_out_by` is the condition of the filter (SessionFilter) that it does not meet.
    """

    status: str
    payment_status: str
    mode: str
    livemode: bool
    created: datetime | None
    amount: Amount
    user_id: str | None
    line_items: int
    refunded: bool | None
    disputed: bool
    attention: tuple[str, ...] = ()
    capture_before: datetime | None = None
    payment_intent_status: str | None = None
    skip_reason: str | None = None
    left_out_by: str | None = None


# The source of an order or a marker that names none.
WEBHOOK = "webhook"


@dataclass(frozen=True)
class StripeProblem:
    """Why Stripe could not be read, as an error of `recon.errors`."""

    error_type: str
    message: str


@dataclass(frozen=True)
class StoredOrder:
    """An order of the session.

    `source` is `webhook` if the order has none. `nightly_sync` with a `run_id` is this sync; without one it
    is the Lambda that this system replaces, which also wrote other words, such as `stripe_fallback`.
    """

    key: str
    order_number: str | None
    source: str
    run_id: str | None
    status: str | None
    amount: Amount
    created_at: str | None
    updated_at: str | None

    @property
    def is_recovered(self) -> bool:
        """Return whether this sync wrote it."""
        return self.source == SOURCE and self.run_id is not None

    @property
    def is_of_webhook(self) -> bool:
        """Return whether the webhook wrote it."""
        return self.source == WEBHOOK


@dataclass(frozen=True)
class OutcomeInRun:
    """The outcome of the session in one run."""

    run_id: str
    outcome: str
    reason: str | None
    order_number: str | None
    error_type: str | None
    error_message: str | None
    attempts: int | None
    drift: tuple[str, ...]
    updated_at: str | None
    dismissed_by: str | None
    dismissed_because: str | None


@dataclass(frozen=True)
class PendingEntry:
    """The entry of a complete session that is checked again until `asked_until`.

    It was not paid, or the order of a shop with its own layout is missing since `missing_since`.
    """

    seen_at: str | None
    asked_until: datetime | None
    missing_since: datetime | None = None


@dataclass(frozen=True)
class EventMarker:
    """The record that an event was handled: by the webhook, or by the sync to fence off a late webhook."""

    source: str
    status: str | None
    order_created: bool | None
    at: str | None


@dataclass(frozen=True)
class EventDelivery:
    """A Stripe event of the session.

    `delivered` is True if every webhook endpoint has acknowledged it. `marker` is None if it was not handled.
    """

    id: str
    type: str
    created: datetime
    delivered: bool
    marker: EventMarker | None


@dataclass(frozen=True)
class NextRun:
    """The next scheduled run.

    `enabled` is None if the schedule could not be read; `due` is None if it is off or has no next time. A run
    with `dry_run` writes nothing. The window is that of a run at `due`, or in one day.
    """

    enabled: bool | None
    due: datetime | None
    dry_run: bool
    window_from: datetime
    window_to: datetime
    looks: Coverage


@dataclass(frozen=True)
class SessionFacts:
    """Everything known of a session. Unknown values are None or empty.

    `missing` lists what could not be read. `orders_known` is False if the user is not known, so that no
    orders could be searched. `runs` is newest first. `open_run` is the id of a run in progress that
    has the session but no outcome for it. `prospect` is what the consumer would do with the session now.
    `attention` is what a person has to look at, `dismissal` the decision that its order is never written.
    """

    session_id: str
    asked_at: datetime
    stripe: CurrentSession | None
    stripe_problem: StripeProblem | None
    session_created: datetime | None
    orders: tuple[StoredOrder, ...]
    orders_known: bool
    drift: tuple[str, ...]
    runs: tuple[OutcomeInRun, ...]
    open_run: str | None
    pending: PendingEntry | None
    events: tuple[EventDelivery, ...]
    dead_letters: tuple[DeadLetter, ...]
    next_run: NextRun
    prospect: PredictedOutcome | None
    missing: tuple[str, ...]
    attention: OpenAttention | None = None
    dismissal: DismissalRecord | None = None

    @property
    def is_known(self) -> bool:
        """Return whether Stripe, the table or the dead-letter queue knows the session."""
        known = (self.stripe, self.orders, self.runs, self.pending, self.dead_letters)
        return any(map(bool, (*known, self.attention, self.dismissal)))

    @property
    def is_at_stripe(self) -> bool | None:
        """Return whether Stripe knows the session, or None if Stripe could not be read."""
        if self.stripe:
            return True
        problem = self.stripe_problem
        return False if problem and problem.error_type == "SessionNotFound" else None

    @property
    def latest_run(self) -> OutcomeInRun | None:
        """Return the outcome in the latest run that has one."""
        return self.runs[0] if self.runs else None
