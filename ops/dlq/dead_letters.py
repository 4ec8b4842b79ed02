"""What lies in the dead-letter queue, each message with what the table knows of its session."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.dlq.message_batches import DeadMessage
from ops.dlq.queue import READ_LIMIT, DeadLetterQueue
from recon.domain.message import SessionMessage, loads
from recon.domain.reconcile import amount_and_currency
from recon.dynamodb.outcomes import Outcomes, RunSession, find_outcomes
from recon.dynamodb.table import Table
from recon.errors import MalformedMessage
from recon.retry import Deadline


@dataclass(frozen=True)
class DeadLetter:
    """One message, its session, and the outcome of that session in the message's run. Times are UTC.

    `expires_at`: when SQS deletes it. `problem` says why the message cannot be read, if it cannot; run and
    session are None where it does not even name these. The error is its outcome's, or else that problem.
    `outcome` and what follows from it are None where there is none yet. `is_settled`: the session has been
    created or skipped meanwhile, so nothing but the message is left. `outcome_of` is the id of the message
    that the outcome was written for.
    """

    message_id: str
    sent_at: datetime
    age_seconds: int
    expires_at: datetime
    run_id: str | None = None
    session_id: str | None = None
    created: datetime | None = None
    amount: int | None = None
    currency: str | None = None
    problem: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    outcome: str | None = None
    reason: str | None = None
    attempts: int | None = None
    outcome_of: str | None = None
    is_settled: bool = False

    @property
    def is_nameless(self) -> bool:
        """It names no session: no outcome can be kept of it."""
        return self.session_id is None

    @property
    def why(self) -> str:
        """In one line, why it lies here."""
        if self.is_settled or self.error_type is None:
            return f"its outcome is: {self.outcome or 'none yet'}"
        return f"{self.error_type}: {self.error_message}"


@dataclass(frozen=True)
class Listing:
    """What was visible, oldest first. `hidden`: messages in flight elsewhere, approximately; another command
    reads or moves them. `truncated`: there are more than one command reads.

    `messages`: those that can be read, by message id. For deciding and not for showing: a user id may be an
    e-mail address.
    """

    letters: tuple[DeadLetter, ...]
    messages: Mapping[str, SessionMessage]
    hidden: int = 0
    truncated: bool = False


def list_dead_letters(
    box: DeadLetterQueue, table: Table, now: float, deadline: Deadline, limit: int = READ_LIMIT
) -> Listing:
    """Moves nothing, loses nothing; everything is visible again at the end. `now` is in epoch seconds."""
    retention = box.retention_seconds()
    with box.held(limit) as held:
        found, hidden, truncated = held.messages, held.hidden, held.truncated
    listed = listing_of(found, retention, table, now, deadline)
    return Listing(listed.letters, listed.messages, hidden, truncated)


def listing_of(
    found: Sequence[DeadMessage], retention: int, table: Table, now: float, deadline: Deadline
) -> Listing:
    """Reads messages and the outcomes of their sessions; `retention` of the queue is in seconds."""
    read = {message.message_id: _read(message.body) for message in found}
    sessions = [session for one in read.values() if (session := _session_of(one))]
    outcomes = find_outcomes(table, sessions, deadline)
    letters = [_letter(message, read[message.message_id], outcomes, retention, now) for message in found]
    messages = {name: one for name, one in read.items() if isinstance(one, SessionMessage)}
    return Listing(tuple(letters), messages)


type _Read = SessionMessage | MalformedMessage


def _read(body: str) -> _Read:
    try:
        return loads(body)
    except MalformedMessage as error:
        return error


def _session_of(read: _Read) -> RunSession | None:
    """Run and session, where both can be read."""
    return (read.run_id, read.session_id) if read.run_id and read.session_id else None


def _letter(message: DeadMessage, read: _Read, outcomes: Outcomes, retention: int, now: float) -> DeadLetter:
    session = _session_of(read)
    outcome = outcomes.get(session) if session else None
    amount, currency = amount_and_currency(read) if isinstance(read, SessionMessage) else (None, None)
    problem = read if isinstance(read, MalformedMessage) else None
    return DeadLetter(
        message_id=message.message_id,
        sent_at=_moment(message.sent_at),
        age_seconds=max(0, int(now - message.sent_at)),
        expires_at=_moment(message.sent_at + retention),
        run_id=session[0] if session else None,
        session_id=session[1] if session else None,
        created=_created(read) if isinstance(read, SessionMessage) else None,
        amount=amount,
        currency=currency,
        problem=str(problem) if problem else None,
        error_type=(outcome and outcome.error_type) or (type(problem).__name__ if problem else None),
        error_message=(outcome and outcome.error_message) or (str(problem) if problem else None),
        outcome=outcome.outcome if outcome else None,
        reason=outcome.reason if outcome else None,
        attempts=outcome.attempts if outcome else None,
        outcome_of=outcome.message_id if outcome else None,
        is_settled=outcome is not None and outcome.is_final,
    )


def _created(message: SessionMessage) -> datetime | None:
    try:
        return _moment(message.created)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
