"""The outcomes of a run's sessions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ops.format.links import session_url
from ops.format.money import Money
from recon.dynamodb.records import outcome_partition
from recon.dynamodb.table import Item, Table

_SESSION = "SESSION#"


@dataclass(frozen=True)
class SessionOutcome:
    """The outcome of one session in one run.

    `amount` is None for a free session and for an outcome of a version that did not store it. `drift` lists
    how the existing order differs from Stripe.
    """

    session_id: str
    outcome: str
    reason: str | None
    order_number: str | None
    amount: Money | None
    attempts: int | None
    error_type: str | None
    error_message: str | None
    drift: tuple[str, ...]
    updated_at: str | None
    url: str


@dataclass(frozen=True)
class OutcomeFilter:
    """A condition on outcomes. A field that is None matches everything."""

    outcome: str | None = None
    reason: str | None = None
    drift: bool = False

    def matches(self, item: Item) -> bool:
        """Return True if the item of an outcome meets the condition."""
        wanted = {"outcome": self.outcome, "reason": self.reason}
        same = all(item.get(name) == value for name, value in wanted.items() if value is not None)
        return same and (not self.drift or bool(item.get("drift")))


def read_sessions(table: Table, run_id: str, outcomes: OutcomeFilter) -> Iterator[SessionOutcome]:
    """Yield the matching outcomes of a run, ordered by session id."""
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}):
        if outcomes.matches(item):
            yield session_outcome(item)


def session_outcome(item: Item) -> SessionOutcome:
    """Convert the item of an outcome; attributes that other versions did not store become None."""
    session_id = item["SK"].removeprefix(_SESSION)
    return SessionOutcome(
        session_id=session_id,
        outcome=item.get("outcome", "unknown"),
        reason=item.get("reason"),
        order_number=item.get("orderNumber"),
        amount=read_money(item),
        attempts=item.get("attempts"),
        error_type=item.get("errorType"),
        error_message=item.get("errorMessage"),
        drift=tuple(item.get("drift", ())),
        updated_at=item.get("updatedAt"),
        url=session_url(session_id),
    )


def read_money(item: Item) -> Money | None:
    """Return the amount of an item, or None if it has none."""
    amount, currency = item.get("amount"), item.get("currency")
    return Money(currency, amount) if isinstance(amount, int) and isinstance(currency, str) else None


def recovered_amounts(sessions: Iterable[SessionOutcome]) -> list[Money]:
    """Return the amounts of the created orders; `ops.format.money.totals` sums them up."""
    return [one.amount for one in sessions if one.outcome == "created" and one.amount]
