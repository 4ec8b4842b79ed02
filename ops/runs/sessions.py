"""What a run did, session by session."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ops.format.links import session_url
from ops.format.money import Money
from recon.dynamodb.records import outcome_partition
from recon.dynamodb.table import Item, Table

_SESSION = "SESSION#"


@dataclass(frozen=True)
class SessionOutcome:
    """One session in one run. `amount` is None where it is free, or where the outcome is of a version that
    did not keep it; `drift` says where the order that is there differs from Stripe."""

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
class Filter:
    """Which sessions are wanted; what is None does not matter."""

    outcome: str | None = None
    reason: str | None = None
    drift: bool = False

    def takes(self, item: Item) -> bool:
        wanted = {"outcome": self.outcome, "reason": self.reason}
        same = all(item.get(name) == value for name, value in wanted.items() if value is not None)
        return same and (not self.drift or bool(item.get("drift")))


def read_sessions(table: Table, run_id: str, wanted: Filter) -> Iterator[SessionOutcome]:
    """By session id."""
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}):
        if wanted.takes(item):
            yield session_outcome(item)


def session_outcome(item: Item) -> SessionOutcome:
    """Tolerant of what an outcome of another version lacks."""
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
    amount, currency = item.get("amount"), item.get("currency")
    return Money(currency, amount) if isinstance(amount, int) and isinstance(currency, str) else None


def recovered(sessions: Iterable[SessionOutcome]) -> list[Money]:
    """What was created is worth, the sums not made yet; see `ops.format.money.totals`."""
    return [one.amount for one in sessions if one.outcome == "created" and one.amount]
