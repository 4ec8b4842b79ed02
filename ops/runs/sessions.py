"""What a run did, session by session."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ops.format.links import session_url
from ops.format.money import Money
from recon.domain.reconcile import Outcome
from recon.dynamodb.records import OutcomeRecord, outcome_partition, parse_outcome
from recon.dynamodb.table import Table


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

    def takes(self, record: OutcomeRecord) -> bool:
        return (
            self.outcome in (None, record.outcome)
            and self.reason in (None, record.reason)
            and (not self.drift or bool(record.drift))
        )


def read_sessions(table: Table, run_id: str, wanted: Filter) -> Iterator[SessionOutcome]:
    """By session id."""
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}):
        record = parse_outcome(item)
        if wanted.takes(record):
            yield _session_outcome(record)


def _session_outcome(record: OutcomeRecord) -> SessionOutcome:
    return SessionOutcome(
        session_id=record.session_id,
        outcome=record.outcome,
        reason=record.reason,
        order_number=record.order_number,
        amount=to_money(record.amount, record.currency),
        attempts=record.attempts,
        error_type=record.error_type,
        error_message=record.error_message,
        drift=record.drift,
        updated_at=record.updated_at,
        url=session_url(record.session_id),
    )


def to_money(amount: object, currency: object) -> Money | None:
    """Return the amount with its currency, or None if either is missing."""
    return Money(currency, amount) if isinstance(amount, int) and isinstance(currency, str) else None


def recovered(sessions: Iterable[SessionOutcome]) -> list[Money]:
    """What was created is worth, the sums not made yet; see `ops.format.money.totals`."""
    return [one.amount for one in sessions if one.outcome == Outcome.CREATED and one.amount]
