"""Why sessions were skipped, and why others were given up."""

from collections import Counter
from dataclasses import dataclass

from recon.errors import MalformedMessage
from recon.ledger.records import outcome_key, outcomes_of
from recon.ledger.table import Item, Table
from recon.message import loads
from recon.queue import DeadLetters, DeadMessage
from recon.reconcile import Outcome
from recon.retry import Deadline


@dataclass(frozen=True)
class DeadSession:
    """A message of the dead-letter queue and what is known of it. `sent_at` is in epoch seconds.

    Run and session are None where the message cannot be read. The reason is its outcome's; a message whose
    session has no outcome, or another by now, says so itself.
    """

    message_id: str
    sent_at: float
    run_id: str | None
    session_id: str | None
    error_type: str
    error_message: str
    attempts: int | None = None


def skip_reasons(table: Table, run_id: str) -> Counter[str]:
    """How many sessions a run skipped for which reason."""
    items = table.query(
        "PK = :run",
        {":run": outcomes_of(run_id), ":skipped": Outcome.SKIPPED.value},
        projection="reason",
        only="outcome = :skipped",
    )
    return Counter(item.get("reason", "unknown") for item in items)


def dead_sessions(letters: DeadLetters, table: Table, deadline: Deadline) -> list[DeadSession]:
    """What lies in the dead-letter queue, oldest first, each message with its reason. Moves nothing."""
    messages = sorted(letters.peek(), key=lambda message: message.sent_at)
    keys = {message.message_id: _key_of(message) for message in messages}
    wanted = list(dict.fromkeys(key for key in keys.values() if isinstance(key, tuple)))
    known = {
        (item["PK"], item["SK"]): item
        for item in table.get_many([outcome_key(*key) for key in wanted], deadline)
    }
    return [_dead_session(message, keys[message.message_id], known) for message in messages]


def _key_of(message: DeadMessage) -> tuple[str, str] | MalformedMessage:
    """Run and session, or why they cannot be read."""
    try:
        read = loads(message.body)
    except MalformedMessage as error:
        return (error.run_id, error.session_id) if error.run_id and error.session_id else error
    return read.run_id, read.session_id


def _dead_session(
    message: DeadMessage, key: tuple[str, str] | MalformedMessage, known: dict[tuple[str, str], Item]
) -> DeadSession:
    if isinstance(key, MalformedMessage):
        return DeadSession(message.message_id, message.sent_at, None, None, type(key).__name__, str(key))
    outcome = known.get(outcome_key(*key), {})
    became = outcome.get("outcome", "none yet")
    return DeadSession(
        message_id=message.message_id,
        sent_at=message.sent_at,
        run_id=key[0],
        session_id=key[1],
        error_type=outcome.get("errorType", "-"),
        error_message=outcome.get("errorMessage", f"its outcome is: {became}"),
        attempts=outcome.get("attempts"),
    )
