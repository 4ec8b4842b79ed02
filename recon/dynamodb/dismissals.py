"""Dismissing a session: an operator accepts its failure, and it counts as skipped."""

from dataclasses import dataclass

from recon.domain.reconcile import Outcome, SkipReason
from recon.dynamodb.counters import counter_actions
from recon.dynamodb.keys import outcome_key
from recon.dynamodb.outcomes import load_prior_state
from recon.dynamodb.records import OUTCOME_DAYS, OutcomeRecord
from recon.dynamodb.table import Action, Item, Table, TransactionCancelled
from recon.errors import TableRefused
from recon.retry import Deadline
from recon.timestamps import DAY, to_iso


@dataclass(frozen=True)
class Dismissal:
    """A session of a run to dismiss, the operator and the reason. Neither text may hold an e-mail address.

    `message_id`, `amount` and `currency` are those of the dead message; they are stored only if the session
    has no outcome yet.
    """

    run_id: str
    session_id: str
    by: str
    because: str
    message_id: str
    amount: int | None = None
    currency: str | None = None


def dismiss(table: Table, dismissal: Dismissal, now: int, deadline: Deadline) -> OutcomeRecord | None:
    """Set the outcome to `skipped`, reason `dismissed`, and move the counters, in one transaction.

    The attributes of the error stay. Return None if this call dismissed the session. Return the outcome if
    it is final already: it is left as it is. `now` is in epoch seconds. Raises TableRefused if DynamoDB
    rejects the items, OutOfTime if the outcome changes until the deadline.
    """
    session = (dismissal.run_id, dismissal.session_id)
    while True:
        known = load_prior_state(table, [session], deadline)
        outcome = known.outcomes.get(session)
        if outcome and outcome.is_final:
            return outcome
        deltas = {"processed": int(outcome is None), "skipped": 1, "errors": -int(outcome is not None)}
        holds_state = known.state_run_id == dismissal.run_id
        counters = counter_actions(table, dismissal.run_id, deltas, now, holds_state=holds_state)
        try:
            table.transact([_outcome_action(table, dismissal, outcome, now), *counters], deadline)
        except TransactionCancelled as cancelled:
            if not any(reason.failed for reason in cancelled.reasons):
                raise TableRefused("DynamoDB refuses the dismissal") from cancelled
            # The outcome or the state changed after they were read: decide again from their new content.
            deadline.check()
        else:
            return None


def _outcome_action(table: Table, dismissal: Dismissal, read: OutcomeRecord | None, now: int) -> Action:
    """Return an update, not a put, so that the attributes of the error stay."""
    always: Item = {
        "outcome": Outcome.SKIPPED,
        "reason": SkipReason.DISMISSED,
        "dismissedBy": dismissal.by,
        "dismissedBecause": dismissal.because,
        "dismissedAt": to_iso(now),
        "updatedAt": to_iso(now),
        "expiresAt": now + OUTCOME_DAYS * DAY,
    }
    if_absent = {
        "messageId": dismissal.message_id,
        "attempts": 0,
        "amount": dismissal.amount,
        "currency": dismissal.currency,
    }
    if_absent = {name: value for name, value in if_absent.items() if value is not None}
    sets = [f"#{name} = :{name}" for name in always]
    sets += [f"#{name} = if_not_exists(#{name}, :{name})" for name in if_absent]
    values: Item = {f":{name}": value for name, value in (always | if_absent).items()}
    condition = "attribute_not_exists(PK)"
    if read is not None:
        condition = "#outcome = :read"
        values[":read"] = read.outcome
    return table.update(
        outcome_key(dismissal.run_id, dismissal.session_id),
        "SET " + ", ".join(sets),
        values,
        condition=condition,
        names={f"#{name}": name for name in (*always, *if_absent)},
    )
