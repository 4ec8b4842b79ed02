"""Dismissing a session: an operator decides that no order of it is ever written, and may take that back.

`SYSTEM / DISMISSED#<session>` holds the decision. Consumers read it with the batch's other reads, and the
transaction that writes an order has the condition that there is none.
"""

from dataclasses import dataclass

from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.attribute_readers import read_text
from recon.dynamodb.counters import counter_actions
from recon.dynamodb.keys import (
    DISMISSED_PREFIX,
    SYSTEM,
    allowed_key,
    attention_key,
    dismissed_key,
    guard_key,
    outcome_key,
    pending_key,
)
from recon.dynamodb.outcomes import load_prior_state
from recon.dynamodb.records import OUTCOME_DAYS, OutcomeRecord
from recon.dynamodb.table import Action, Item, Table, TransactionCancelled
from recon.errors import TableRefused
from recon.retry import Deadline
from recon.timestamps import DAY, to_iso

ALLOWED_DAYS = 90


@dataclass(frozen=True)
class DismissalRecord:
    """The decision that no order of a session is ever written: by whom, why, and when (ISO 8601)."""

    session_id: str
    by: str | None
    because: str | None
    at: str | None


@dataclass(frozen=True)
class Allowance:
    """What `allow` took back. `removed_order` is True if the guard of an order that the sync wrote was."""

    session_id: str
    dismissal: DismissalRecord | None
    removed_order: bool


def find_dismissal(table: Table, session_id: str, deadline: Deadline | None = None) -> DismissalRecord | None:
    """Return the decision about a session by a consistent read, or None."""
    item = table.get(dismissed_key(session_id), deadline)
    return _parse_dismissal(item) if item else None


def find_dismissed_ids(table: Table, deadline: Deadline) -> set[str]:
    """Return the ids of all dismissed sessions."""
    items = table.query(
        "PK = :pk AND begins_with(SK, :prefix)",
        {":pk": SYSTEM, ":prefix": DISMISSED_PREFIX},
        projection="SK",
        deadline=deadline,
    )
    return {item["SK"].removeprefix(DISMISSED_PREFIX) for item in items}


def dismiss_session(
    table: Table, session_id: str, by: str, because: str, now: int, deadline: Deadline
) -> DismissalRecord | None:
    """Decide that no order of this session is ever written, and end its wait and its attention.

    Neither text may hold an e-mail address. Return the earlier decision if there is one; it stays as it is.
    """
    earlier = find_dismissal(table, session_id, deadline)
    try:
        table.transact(_dismissal_actions(table, session_id, by, because, now), deadline)
    except TransactionCancelled as cancelled:
        raise TableRefused("DynamoDB refuses the dismissal") from cancelled
    return earlier


def allow(
    table: Table, session_id: str, by: str, because: str, now: int, deadline: Deadline
) -> Allowance | None:
    """Take back the dismissal of a session, and the guard of an order that the sync wrote for it.

    The next run whose window holds the session writes its order if there is none. Who allowed it, and why,
    is kept for 90 days. Return None if there is nothing to take back.
    """
    keys = {dismissed_key(session_id), guard_key(session_id)}
    items = {(item["PK"], item["SK"]): item for item in table.get_many(sorted(keys), deadline)}
    if not items:
        return None
    allowed = table.update(
        allowed_key(session_id),
        "SET allowedBy = :by, allowedBecause = :because, allowedAt = :at, expiresAt = :expires",
        {":by": by, ":because": because, ":at": to_iso(now), ":expires": now + ALLOWED_DAYS * DAY},
    )
    try:
        table.transact([*(table.delete(key) for key in items), allowed], deadline)
    except TransactionCancelled as cancelled:
        raise TableRefused("DynamoDB refuses the permission to write the order") from cancelled
    dismissal = items.get(dismissed_key(session_id))
    return Allowance(
        session_id, _parse_dismissal(dismissal) if dismissal else None, guard_key(session_id) in items
    )


def _parse_dismissal(item: Item) -> DismissalRecord:
    return DismissalRecord(
        item["SK"].removeprefix(DISMISSED_PREFIX),
        read_text(item, "dismissedBy"),
        read_text(item, "dismissedBecause"),
        read_text(item, "dismissedAt"),
    )


def _dismissal_actions(table: Table, session_id: str, by: str, because: str, now: int) -> list[Action]:
    """Return an update that keeps an earlier decision, and the ends of the session's wait and attention."""
    values = {"dismissedBy": by, "dismissedBecause": because, "dismissedAt": to_iso(now)}
    decision = table.update(
        dismissed_key(session_id),
        "SET " + ", ".join(f"{name} = if_not_exists({name}, :{name})" for name in values),
        {f":{name}": value for name, value in values.items()},
    )
    return [decision, table.delete(pending_key(session_id)), table.delete(attention_key(session_id))]


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
    """Dismiss a session for good, and count it as skipped in this run, in one transaction.

    The attributes of the error stay on its outcome. Return None if this call dismissed the session. Return
    the outcome if it is final already: then nothing is written. `now` is in epoch seconds. Raises
    TableRefused if DynamoDB rejects the items, OutOfTime if the outcome changes until the deadline.
    """
    session = (dismissal.run_id, dismissal.session_id)
    decision = _dismissal_actions(table, dismissal.session_id, dismissal.by, dismissal.because, now)
    while True:
        known = load_prior_state(table, [session], deadline)
        outcome = known.outcomes.get(session)
        if outcome and outcome.is_final:
            return outcome
        deltas = {"processed": int(outcome is None), "skipped": 1, "errors": -int(outcome is not None)}
        holds_state = known.state_run_id == dismissal.run_id
        counters = counter_actions(table, dismissal.run_id, deltas, now, holds_state=holds_state)
        try:
            outcome_action = _outcome_action(table, dismissal, outcome, now)
            table.transact([outcome_action, *counters, *decision], deadline)
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
