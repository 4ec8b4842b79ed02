"""The messages of the dead-letter queue, each with what the table knows of its session."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.dlq.leases import READ_LIMIT, lease_messages
from ops.dlq.message_batches import DeadMessage
from ops.dlq.queue import DeadLetterQueue
from ops.format.money import Amount, read_amount
from ops.runs.prediction import PredictedOutcome
from recon.domain.message import SessionMessage, loads
from recon.dynamodb.outcomes import Outcomes, RunSession, find_outcomes
from recon.dynamodb.table import Table
from recon.errors import MalformedMessage
from recon.retry import Deadline

type _ParsedBody = SessionMessage | MalformedMessage


@dataclass(frozen=True)
class DeadLetter:
    """One message, its session, and the outcome of that session in the message's run. Times are UTC.

    `expires_at` is when SQS deletes the message. `problem` says why the message cannot be read; `run_id` and
    `session_id` are None if it does not even name these. `error_type` and `error_message` are the outcome's
    if it has an error, otherwise the problem's. `outcome`, `reason`, `attempts` and `outcome_of` (the id of
    the message that the outcome was written for) are None if there is no outcome yet. `is_settled` is True if
    the session was created or skipped since, so that only the message is left over. `prospect` is what the
    consumer would do with it now; None if that was not asked, or if the consumer would drop it. `has_order`
    is True if the session has an order by now, which may have a number, and None if that is not known.
    """

    message_id: str
    sent_at: datetime
    age_seconds: int
    expires_at: datetime
    run_id: str | None = None
    session_id: str | None = None
    created: datetime | None = None
    amount: Amount = None
    problem: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    outcome: str | None = None
    reason: str | None = None
    attempts: int | None = None
    outcome_of: str | None = None
    is_settled: bool = False
    prospect: PredictedOutcome | None = None
    has_order: bool | None = None
    order_number: str | None = None

    @property
    def is_nameless(self) -> bool:
        """Return whether the message names no session, so that no outcome can be stored for it."""
        return self.session_id is None

    @property
    def run_session(self) -> RunSession | None:
        """Run id and session id, or None if the message names no session."""
        return (self.run_id, self.session_id) if self.run_id and self.session_id else None

    @property
    def why(self) -> str:
        """Return the error in one line, or the outcome if there is no error."""
        if self.is_settled or self.error_type is None:
            return f"its outcome is: {self.outcome or 'none yet'}"
        return f"{self.error_type}: {self.error_message}"


@dataclass(frozen=True)
class DeadLetterListing:
    """All visible dead letters, oldest first.

    `messages` holds the readable messages by message id. They are for decisions and not for display, because
    a user id may be an e-mail address. `hidden` is the approximate number of messages in flight, which
    another command reads or moves. `truncated` is True if the queue may hold more than one command reads.
    """

    letters: tuple[DeadLetter, ...]
    messages: Mapping[str, SessionMessage]
    hidden: int = 0
    truncated: bool = False


def list_dead_letters(
    queue: DeadLetterQueue, table: Table, now: float, deadline: Deadline, limit: int = READ_LIMIT
) -> DeadLetterListing:
    """Read the dead letters without moving any; all of them are visible again at the end.

    `now` is in epoch seconds.
    """
    retention = queue.retention_seconds()
    with lease_messages(queue, limit) as leases:
        messages, hidden, truncated = leases.messages, leases.hidden, leases.truncated
    listing = build_listing(messages, retention, table, now, deadline)
    return DeadLetterListing(listing.letters, listing.messages, hidden, truncated)


def build_listing(
    received: Sequence[DeadMessage], retention: int, table: Table, now: float, deadline: Deadline
) -> DeadLetterListing:
    """Parse messages and load the outcomes of their sessions; `retention` is in seconds."""
    parsed = {message.message_id: _parse_body(message.body) for message in received}
    sessions = [session for one in parsed.values() if (session := _run_session(one))]
    outcomes = find_outcomes(table, sessions, deadline)
    letters = [
        _build_letter(message, parsed[message.message_id], outcomes, retention, now) for message in received
    ]
    messages = {name: one for name, one in parsed.items() if isinstance(one, SessionMessage)}
    return DeadLetterListing(tuple(letters), messages)


def _parse_body(body: str) -> _ParsedBody:
    try:
        return loads(body)
    except MalformedMessage as error:
        return error


def _run_session(parsed: _ParsedBody) -> RunSession | None:
    return (parsed.run_id, parsed.session_id) if parsed.run_id and parsed.session_id else None


def _build_letter(
    message: DeadMessage,
    parsed: _ParsedBody,
    outcomes: Outcomes,
    retention: int,
    now: float,
) -> DeadLetter:
    session = _run_session(parsed)
    outcome = outcomes.get(session) if session else None
    problem = parsed if isinstance(parsed, MalformedMessage) else None
    return DeadLetter(
        message_id=message.message_id,
        sent_at=_to_datetime(message.sent_at),
        age_seconds=max(0, int(now - message.sent_at)),
        expires_at=_to_datetime(message.sent_at + retention),
        run_id=session[0] if session else None,
        session_id=session[1] if session else None,
        created=_parse_created(parsed) if isinstance(parsed, SessionMessage) else None,
        amount=read_amount(parsed) if isinstance(parsed, SessionMessage) else None,
        problem=str(problem) if problem else None,
        error_type=(outcome and outcome.error_type) or (type(problem).__name__ if problem else None),
        error_message=(outcome and outcome.error_message) or (str(problem) if problem else None),
        outcome=outcome.outcome if outcome else None,
        reason=outcome.reason if outcome else None,
        attempts=outcome.attempts if outcome else None,
        outcome_of=outcome.message_id if outcome else None,
        is_settled=outcome is not None and outcome.is_final,
    )


def _parse_created(message: SessionMessage) -> datetime | None:
    try:
        return _to_datetime(message.created)
    except (ValueError, OverflowError, OSError):
        return None


def _to_datetime(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
