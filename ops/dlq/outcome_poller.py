"""The outcomes of sessions after their messages were moved back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ops.dlq.dead_letters import DeadLetter, list_dead_letters
from ops.dlq.queue import DeadLetterQueue
from ops.format.money import Amount
from ops.runs.follow import INTERVAL_SECONDS, follow
from ops.runs.sessions import read_outcome_amount
from ops.stack.queue_depth import read_depth
from recon.domain.outcome import Outcome
from recon.dynamodb.outcomes import RunSession, find_outcomes
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.table import Table
from recon.errors import Unfinished
from recon.retry import Deadline


class RedriveFate(StrEnum):
    """The result of a session after its message was moved back.

    `FAILED` has a new error. `DEAD` is in the dead-letter queue again without a new outcome. `WAITING` is not
    known yet.
    """

    CREATED = "created"
    SKIPPED = "skipped"
    MISSING = "missing"
    FAILED = "error"
    DEAD = "dead"
    WAITING = "waiting"


@dataclass(frozen=True)
class SessionStatus:
    """One session and what is known of its outcome so far."""

    run_id: str
    session_id: str
    fate: RedriveFate
    reason: str | None = None
    order_number: str | None = None
    amount: Amount = None
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class SessionStatuses:
    """All followed sessions at one moment."""

    sessions: tuple[SessionStatus, ...]

    def count(self, fate: RedriveFate) -> int:
        """Return how many sessions have this fate."""
        return sum(1 for session in self.sessions if session.fate is fate)

    @property
    def is_over(self) -> bool:
        """Return whether no session is waiting any more."""
        return not self.count(RedriveFate.WAITING)


class OutcomePoller:
    """A poller for the sessions of letters that were moved back; a known fate is not read again."""

    def __init__(
        self,
        letters: Iterable[DeadLetter],
        queue: DeadLetterQueue,
        table: Table,
        deadline: Deadline,
        now: Callable[[], float],
    ) -> None:
        self._letters: dict[RunSession, list[DeadLetter]] = {}
        for letter in letters:
            if letter.run_session:
                self._letters.setdefault(letter.run_session, []).append(letter)
        self._queue = queue
        self._table = table
        self._deadline = deadline
        self._now = now
        self._statuses = {key: SessionStatus(*key, RedriveFate.WAITING) for key in self._letters}

    def poll(self) -> SessionStatuses:
        """Read the outcomes of the waiting sessions and return the status of all sessions."""
        outcomes = find_outcomes(self._table, self._list_waiting(), self._deadline)
        for key, outcome in outcomes.items():
            self._statuses[key] = _build_status(key, outcome, self._letters[key])
        for key in self._find_dead():
            self._statuses[key] = _with_outcome(key, RedriveFate.DEAD, outcomes.get(key))
        return SessionStatuses(tuple(self._statuses.values()))

    def _list_waiting(self) -> list[RunSession]:
        return [key for key, status in self._statuses.items() if status.fate is RedriveFate.WAITING]

    def _find_dead(self) -> set[RunSession]:
        """Return the waiting sessions whose message is in the dead-letter queue again under a new id.

        Reading the dead letters hides them briefly, so it is done only if the source queue is empty.
        """
        waiting = set(self._list_waiting())
        depth = read_depth(self._queue.client, self._queue.source_url) if waiting else None
        if depth is None or depth.visible or depth.hidden:
            return set()
        moved = {letter.message_id for letters in self._letters.values() for letter in letters}
        letters = list_dead_letters(self._queue, self._table, self._now(), self._deadline).letters
        new = {letter.run_session for letter in letters if letter.message_id not in moved}
        return {key for key in new if key} & waiting


def follow_outcomes(
    poller: OutcomePoller,
    *,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    interval: float = INTERVAL_SECONDS,
) -> Iterator[SessionStatuses]:
    """Yield the statuses until no session is waiting or `timeout` seconds are over.

    A session that fails for a temporary reason is retried for hours and is waiting until then.
    """
    return follow(
        poller.poll,
        lambda statuses: statuses.is_over,
        timeout=timeout,
        clock=clock,
        sleep=sleep,
        interval=interval,
    )


def _build_status(key: RunSession, outcome: OutcomeRecord, letters: list[DeadLetter]) -> SessionStatus:
    """Return the status that an outcome means.

    An error counts only if it was written for another message than the error before the move: moved messages
    get new ids. An announced last attempt (`Unfinished`) is not final.
    """
    if outcome.is_final:
        fates = {Outcome.CREATED: RedriveFate.CREATED, Outcome.MISSING: RedriveFate.MISSING}
        fate = next((fates[one] for one in fates if one == outcome.outcome), RedriveFate.SKIPPED)
        return _with_outcome(key, fate, outcome)
    before = {letter.outcome_of for letter in letters}
    if outcome.message_id in before or outcome.error_type == Unfinished.__name__:
        return SessionStatus(*key, RedriveFate.WAITING)
    return _with_outcome(key, RedriveFate.FAILED, outcome)


def _with_outcome(key: RunSession, fate: RedriveFate, outcome: OutcomeRecord | None) -> SessionStatus:
    if outcome is None:
        return SessionStatus(*key, fate)
    return SessionStatus(
        *key,
        fate,
        reason=outcome.reason,
        order_number=outcome.order_number,
        amount=read_outcome_amount(outcome),
        error_type=outcome.error_type,
        error_message=outcome.error_message,
    )
