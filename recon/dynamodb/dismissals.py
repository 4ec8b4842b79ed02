"""Dismissing a session: an operator decides that its failure is to stand, and it counts as skipped."""

from dataclasses import dataclass

from recon.domain.reconcile import Outcome, SkipReason
from recon.dynamodb.counters import counter_actions
from recon.dynamodb.records import OUTCOME_DAYS, STATE_KEY, outcome_key, parse_known_outcome
from recon.dynamodb.table import Action, Item, Table, TransactionCancelled
from recon.errors import TableRefused
from recon.retry import Deadline
from recon.timestamps import DAY, to_iso


@dataclass(frozen=True)
class Dismissal:
    """One session of one run, and who dismisses it why; neither of the two may hold an e-mail address.

    `message_id`, `amount` and `currency` are for an outcome that is not there yet: the dead message's.
    """

    run_id: str
    session_id: str
    by: str
    because: str
    message_id: str
    amount: int | None = None
    currency: str | None = None


def dismiss(table: Table, dismissal: Dismissal, now: int, deadline: Deadline) -> Item | None:
    """Makes the outcome `skipped`, reason `dismissed`, and moves the counters, in one transaction. What is
    known of the error stays.

    Returns None when this call did it. A final outcome is left as it is and returned: a consumer was faster,
    or it was dismissed before. `now` is in epoch seconds.
    """
    key = outcome_key(dismissal.run_id, dismissal.session_id)
    while True:
        found = {(item["PK"], item["SK"]): item for item in table.get_many([key, STATE_KEY], deadline)}
        outcome = found.get(key)
        if outcome and parse_known_outcome(outcome).is_final:
            return outcome
        moves = {"processed": int(outcome is None), "skipped": 1, "errors": -int(outcome is not None)}
        holds_state = found.get(STATE_KEY, {}).get("lastSyncRunId") == dismissal.run_id
        counters = counter_actions(table, dismissal.run_id, moves, now, holds_state=holds_state)
        try:
            table.transact([_outcome(table, dismissal, outcome, now), *counters], deadline)
        except TransactionCancelled as cancelled:
            if not any(reason.failed for reason in cancelled.reasons):
                raise TableRefused("DynamoDB refuses the dismissal") from cancelled
            # The outcome or the state moved since they were read: decided again by what they say now.
            deadline.check()
        else:
            return None


def _outcome(table: Table, dismissal: Dismissal, read: Item | None, now: int) -> Action:
    """An update and not a put: what the error was stays to be read."""
    always = {
        "outcome": Outcome.SKIPPED.value,
        "reason": SkipReason.DISMISSED.value,
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
    still_the_one_read = "attribute_not_exists(PK)"
    if read is not None:
        still_the_one_read = "#outcome = :read"
        values[":read"] = read["outcome"]
    return table.update(
        outcome_key(dismissal.run_id, dismissal.session_id),
        "SET " + ", ".join(sets),
        values,
        condition=still_the_one_read,
        names={f"#{name}": name for name in (*always, *if_absent)},
    )
