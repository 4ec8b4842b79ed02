"""What became of sessions after their messages were moved back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ops.dlq.dead_letters import DeadLetter, list_dead_letters
from ops.dlq.queue import DeadLetterQueue
from ops.runs.follow import INTERVAL_SECONDS, follow
from ops.stack.queue_depth import read_depth
from recon.domain.reconcile import Outcome
from recon.dynamodb.outcomes import RunSession, find_outcomes
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.table import Table
from recon.errors import Unfinished
from recon.retry import Deadline


class Fate(StrEnum):
    """`FAILED`: an error again. `DEAD`: in the dead-letter queue again, and nobody wrote why."""

    CREATED = "created"
    SKIPPED = "skipped"
    FAILED = "error"
    DEAD = "dead"
    WAITING = "waiting"


@dataclass(frozen=True)
class SessionStatus:
    """One session; what is known of its outcome by now."""

    run_id: str
    session_id: str
    fate: Fate
    reason: str | None = None
    order_number: str | None = None
    amount: int | None = None
    currency: str | None = None
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class Fates:
    """All sessions that are followed, at one moment."""

    sessions: tuple[SessionStatus, ...]

    def count(self, fate: Fate) -> int:
        return sum(1 for session in self.sessions if session.fate is fate)

    @property
    def is_over(self) -> bool:
        return not self.count(Fate.WAITING)


class OutcomePoller:
    """Looks for the sessions of letters that were moved back; whose fate is known is not asked for again."""

    def __init__(
        self,
        letters: Iterable[DeadLetter],
        box: DeadLetterQueue,
        table: Table,
        deadline: Deadline,
        now: Callable[[], float],
    ) -> None:
        self._letters: dict[RunSession, list[DeadLetter]] = {}
        for letter in letters:
            if letter.run_id and letter.session_id:
                self._letters.setdefault((letter.run_id, letter.session_id), []).append(letter)
        self._box = box
        self._table = table
        self._deadline = deadline
        self._now = now
        self._became = {session: SessionStatus(*session, Fate.WAITING) for session in self._letters}

    def __call__(self) -> Fates:
        outcomes = find_outcomes(self._table, self._waiting(), self._deadline)
        for session, outcome in outcomes.items():
            self._became[session] = _became(session, outcome, self._letters[session])
        for session in self._dead():
            self._became[session] = _with_outcome(session, Fate.DEAD, outcomes.get(session))
        return Fates(tuple(self._became.values()))

    def _waiting(self) -> list[RunSession]:
        return [session for session, became in self._became.items() if became.fate is Fate.WAITING]

    def _dead(self) -> set[RunSession]:
        """Those that wait, and whose message has died again under a new id. Reading the dead letters hides
        them for a moment, so that is done only when there is nowhere else left where they could be."""
        waiting = set(self._waiting())
        depth = read_depth(self._box.client, self._box.source_url) if waiting else None
        if depth is None or depth.visible or depth.hidden:
            return set()
        moved = {letter.message_id for letters in self._letters.values() for letter in letters}
        letters = list_dead_letters(self._box, self._table, self._now(), self._deadline).letters
        return {
            (letter.run_id, letter.session_id)
            for letter in letters
            if letter.message_id not in moved and letter.run_id and letter.session_id
        } & waiting


def follow_fates(
    looking: OutcomePoller,
    *,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    interval: float = INTERVAL_SECONDS,
) -> Iterator[Fates]:
    """Until every session has a fate, or for `timeout` seconds: the last one tells which of the two it was.

    What fails for a passing reason is tried for hours; it waits until then.
    """
    return follow(
        looking, lambda fates: fates.is_over, timeout=timeout, clock=clock, sleep=sleep, interval=interval
    )


def _became(session: RunSession, outcome: OutcomeRecord, letters: list[DeadLetter]) -> SessionStatus:
    """An error counts when it was written for another message than the one before the move: messages that are
    moved get new ids. An announced last attempt is no end yet."""
    if outcome.is_final:
        fate = Fate.CREATED if outcome.outcome == Outcome.CREATED else Fate.SKIPPED
        return _with_outcome(session, fate, outcome)
    before = {letter.outcome_of for letter in letters}
    is_new = outcome.message_id not in before and outcome.error_type != Unfinished.__name__
    return _with_outcome(session, Fate.FAILED, outcome) if is_new else SessionStatus(*session, Fate.WAITING)


def _with_outcome(session: RunSession, fate: Fate, outcome: OutcomeRecord | None) -> SessionStatus:
    if outcome is None:
        return SessionStatus(*session, fate)
    return SessionStatus(
        *session,
        fate,
        reason=outcome.reason,
        order_number=outcome.order_number,
        amount=outcome.amount,
        currency=outcome.currency,
        error_type=outcome.error_type,
        error_message=outcome.error_message,
    )
