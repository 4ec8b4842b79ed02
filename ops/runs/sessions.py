"""The outcomes of a run's sessions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ops.format.links import session_url
from ops.format.money import NO_AMOUNT, Amount, Money, to_money
from ops.format.text import standard_time
from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.keys import outcome_partition
from recon.dynamodb.records import OutcomeRecord, parse_outcome
from recon.dynamodb.table import Table


@dataclass(frozen=True)
class SessionOutcome:
    """The outcome of one session in one run.

    `amount` is None if it is unknown, as for an outcome of a version that did not store it. `drift` lists how
    the existing order differs from Stripe, `attention` what a person has to look at.
    """

    session_id: str
    outcome: str
    reason: str | None
    order_number: str | None
    amount: Amount
    attempts: int | None
    error_type: str | None
    error_message: str | None
    drift: tuple[str, ...]
    updated_at: str | None
    url: str
    attention: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutcomeFilter:
    """A condition on outcomes. A field that is None matches everything."""

    outcome: str | None = None
    reason: str | None = None
    drift: bool = False

    def matches(self, record: OutcomeRecord) -> bool:
        """Return True if the outcome meets the condition."""
        return (
            self.outcome in (None, record.outcome)
            and self.reason in (None, record.reason)
            and (not self.drift or bool(record.drift))
        )


def read_sessions(table: Table, run_id: str, outcomes: OutcomeFilter) -> Iterator[SessionOutcome]:
    """Yield the matching outcomes of a run, ordered by session id."""
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}):
        record = parse_outcome(item)
        if outcomes.matches(record):
            yield _session_outcome(record)


def _session_outcome(record: OutcomeRecord) -> SessionOutcome:
    return SessionOutcome(
        session_id=record.session_id,
        outcome=record.outcome,
        reason=record.reason,
        order_number=record.order_number,
        amount=read_outcome_amount(record),
        attempts=record.attempts,
        error_type=record.error_type,
        error_message=record.error_message,
        drift=record.drift,
        updated_at=standard_time(record.updated_at),
        url=session_url(record.session_id),
        attention=record.attention,
    )


def read_outcome_amount(record: OutcomeRecord) -> Amount:
    """Return the amount of an outcome; an earlier version stored none."""
    stored = to_money(record.amount, record.currency)
    return NO_AMOUNT if stored is None and record.reason == SkipReason.NOT_A_SALE else stored


def recovered_amounts(sessions: Iterable[SessionOutcome]) -> list[Money]:
    """Return the amounts of the created orders; `ops.format.money.totals` sums them up."""
    return [one.amount for one in sessions if one.outcome == Outcome.CREATED and one.amount]
