"""What is known of one session. Nothing of the customer but the user id that orders lie under."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ops.dlq.dead_letters import DeadLetter
from ops.format.money import Money
from ops.runs.prediction import PredictedOutcome
from recon.domain.order import SOURCE


class Look(StrEnum):
    """Whether the next scheduled run looks at the session."""

    IN_WINDOW = "in_window"
    PENDING = "pending"  # it waits for its payment: every scheduled run asks, whatever its window
    LATER = "later"  # it is too young for the next run, and lies in the window of the one after
    TOO_OLD = "too_old"
    NOT_COMPLETE = "not_complete"  # runs list completed sessions only
    UNKNOWN = "unknown"  # nobody here knows when it was created


@dataclass(frozen=True)
class AtStripe:
    """The session as Stripe says it is now. `refunded`: in full, or lost in a dispute; None where the key may
    not read that. `user_id` is the cleaned one that its order lies under."""

    status: str
    payment_status: str
    mode: str
    livemode: bool
    created: datetime | None
    amount: Money | None
    user_id: str | None
    line_items: int
    refunded: bool | None
    disputed: bool


@dataclass(frozen=True)
class Problem:
    """Why somebody could not be asked, in the words of the error tree."""

    error_type: str
    message: str


@dataclass(frozen=True)
class OrderThere:
    """An order of the session. `source` is `nightly_sync` or `webhook`."""

    key: str
    order_number: str | None
    source: str
    run_id: str | None
    status: str | None
    amount: Money | None
    created_at: str | None
    updated_at: str | None

    @property
    def is_recovered(self) -> bool:
        return self.source == SOURCE


@dataclass(frozen=True)
class InRun:
    """What became of it in one run."""

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
class Pending:
    """It is complete, was not paid when it was last seen, and is asked about until it is given up."""

    seen_at: str | None
    asked_until: datetime | None


@dataclass(frozen=True)
class Marker:
    """The record that an event was handled: the webhook's own, or the sync's, to fence off a late webhook."""

    source: str
    status: str | None
    order_created: bool | None
    at: str | None


@dataclass(frozen=True)
class EventThere:
    """`delivered`: all webhooks that want it have acknowledged it. `marker`: None where nobody handled it."""

    id: str
    type: str
    created: datetime
    delivered: bool
    marker: Marker | None


@dataclass(frozen=True)
class NextRun:
    """The next scheduled run. `due` is None where the schedule is off or says no time, `enabled` where it
    could not be asked. `dry_run`: it only previews. The window is that of a run due then, or in a day."""

    enabled: bool | None
    due: datetime | None
    dry_run: bool
    window_from: datetime
    window_to: datetime
    looks: Look


@dataclass(frozen=True)
class Facts:
    """What is not known is None or empty, and `missing` says who could not be asked.

    `orders_known` is False where nobody knows whose orders to look through. `runs` has the newest first.
    `open_run` is going on, holds the session and has no outcome of it. `prospect`: what the consumer would do
    with the session now."""

    session_id: str
    asked_at: datetime
    stripe: AtStripe | None
    stripe_problem: Problem | None
    session_created: datetime | None
    orders: tuple[OrderThere, ...]
    orders_known: bool
    drift: tuple[str, ...]
    runs: tuple[InRun, ...]
    open_run: str | None
    pending: Pending | None
    events: tuple[EventThere, ...]
    dead_letters: tuple[DeadLetter, ...]
    next_run: NextRun
    prospect: PredictedOutcome | None
    missing: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Somebody has heard of the session."""
        return bool(self.stripe or self.orders or self.runs or self.pending or self.dead_letters)

    @property
    def is_at_stripe(self) -> bool | None:
        """False: Stripe does not know it. None: Stripe could not be asked."""
        if self.stripe:
            return True
        problem = self.stripe_problem
        return False if problem and problem.error_type == "SessionNotFound" else None
