"""Dropping dead messages on purpose: their sessions are dismissed, then the messages deleted.

The outcome comes first. A purge that is stopped in between leaves a message of a session that is dismissed,
and the same purge again deletes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from ops.dlq.dead_letters import DeadLetter, listing_of
from ops.dlq.leases import MessageLeases
from ops.dlq.message_batches import DeadMessage
from ops.dlq.message_filter import MessageFilter
from ops.dlq.queue import DeadLetterQueue
from ops.format.masking import mask_emails, mask_keys
from producer.window import MARGIN, SESSION_LIFE
from recon.config import Settings
from recon.domain.reconcile import SkipReason
from recon.dynamodb.dismissals import Dismissal, dismiss
from recon.dynamodb.records import pending_key
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.retry import Deadline
from recon.timestamps import DAY, HOUR, MINUTE

LONGEST_REASON = 500  # characters
# What an operator's identity is cut at: the rest of an address says only where it is delivered.
_AT = "@"


class Verdict(StrEnum):
    """`DISMISSED`: by this purge. `SETTLED`: created or skipped before, so only the message was left to drop.
    `NAMELESS`: a message that names no session, so only the message could be dropped."""

    DISMISSED = "dismissed"
    SETTLED = "settled"
    NAMELESS = "nameless"


@dataclass(frozen=True)
class Purged:
    """One message. `outcome` and `reason` are the session's by now. `is_deleted` is False where SQS did not
    delete the message: the same purge again will.

    `listed_again_until`: a dismissal is of this session in this run. The next scheduled runs whose window
    holds the session look at it again like at any other, until about then; None: none does. UTC.
    """

    message_id: str
    run_id: str | None
    session_id: str | None
    verdict: Verdict
    outcome: str | None
    reason: str | None
    is_deleted: bool
    listed_again_until: datetime | None


@dataclass(frozen=True)
class Report:
    """`missing`: named and not in the queue. `lapsed`: the messages that could not be held until their turn;
    nothing was done to them. `finished_runs`: done now, since this was the last of them. `hidden`: messages
    in flight elsewhere, approximately; what is missing may be among them."""

    purged: tuple[Purged, ...]
    missing: tuple[str, ...]
    lapsed: tuple[str, ...]
    finished_runs: tuple[str, ...]
    hidden: int


@dataclass(frozen=True)
class Purge:
    """Everything a purge needs. `now` gives epoch seconds."""

    box: DeadLetterQueue
    table: Table
    runs: Runs
    settings: Settings
    deadline: Deadline
    now: Callable[[], int]

    def __call__(self, sessions: Sequence[str], message_ids: Sequence[str], by: str, because: str) -> Report:
        """Drops the messages of these sessions, and those of these ids. `by`: who does it, such as the last
        part of the caller's ARN. Neither an e-mail address nor a key is kept of it or of the reason.

        Raises ValueError where nothing is named: a whole queue is never dropped.
        """
        if not sessions and not message_ids:
            raise ValueError("a purge names sessions or messages")
        choice = MessageFilter(frozenset(sessions), frozenset(message_ids))
        retention = self.box.retention_seconds()
        finished: list[str] = []
        with self.box.held(clock=self.now) as held:
            listing = listing_of(held.messages, retention, self.table, self.now(), self.deadline)
            chosen = choice.of(listing.letters)
            held.keep_only(letter.message_id for letter in chosen)
            messages = {message.message_id: message for message in held.messages}
            said = (person(by), printable(because))
            purged = [
                one
                for letter in chosen
                if (one := self._purge(held, letter, messages[letter.message_id], said, finished))
            ]
        done = {one.message_id for one in purged}
        return Report(
            purged=tuple(purged),
            missing=tuple(choice.missing(listing.letters)),
            lapsed=tuple(letter.message_id for letter in chosen if letter.message_id not in done),
            finished_runs=tuple(finished),
            hidden=held.hidden,
        )

    def _purge(
        self,
        held: MessageLeases,
        letter: DeadLetter,
        message: DeadMessage,
        said: tuple[str, str],
        finished: list[str],
    ) -> Purged | None:
        """None: it is not held any more."""
        held.renew()
        if not held.still([message]):
            return None
        verdict, outcome, reason = self._dismissed(letter, said)
        if letter.run_id and self.runs.finish_if_complete(letter.run_id, self.now()):
            finished.append(letter.run_id)
        return Purged(
            message_id=letter.message_id,
            run_id=letter.run_id,
            session_id=letter.session_id,
            verdict=verdict,
            outcome=outcome,
            reason=reason,
            is_deleted=not held.delete([message]),
            listed_again_until=self._listed_again_until(letter) if verdict is Verdict.DISMISSED else None,
        )

    def _dismissed(self, letter: DeadLetter, said: tuple[str, str]) -> tuple[Verdict, str | None, str | None]:
        """With the outcome and the reason that stand there then."""
        if letter.run_id is None or letter.session_id is None:
            return Verdict.NAMELESS, None, None
        by, because = said
        dismissal = Dismissal(
            run_id=letter.run_id,
            session_id=letter.session_id,
            by=by,
            because=because,
            message_id=letter.message_id,
            amount=letter.amount,
            currency=letter.currency,
        )
        stands = dismiss(self.table, dismissal, self.now(), self.deadline)
        if stands is None:
            return Verdict.DISMISSED, "skipped", SkipReason.DISMISSED.value
        return Verdict.SETTLED, stands.get("outcome"), stands.get("reason")

    def _listed_again_until(self, letter: DeadLetter) -> datetime | None:
        """By the rules of `producer.window`: while a scheduled run begins before the session was created, or
        waits for its payment. After nights that failed it is later."""
        pending = self.table.get(pending_key(letter.session_id or "")) or {}
        ends = [pending["expiresAt"]] if "expiresAt" in pending else []
        if letter.created:
            ends.append(letter.created.timestamp() + _reach(self.settings))
        latest = max(ends, default=0)
        return datetime.fromtimestamp(latest, UTC) if latest > self.now() else None


def _reach(settings: Settings) -> int:
    """How long after its creation a session is listed by nightly runs that all succeed: their lookback, or up
    to the last run that begins a session's life before the watermark of the night before."""
    from_watermark = SESSION_LIFE + MARGIN + settings.grace_minutes * MINUTE + DAY
    return max(settings.lookback_hours * HOUR, from_watermark)


def person(by: str) -> str:
    """Single sign-on names sessions by e-mail address: what stands before the @ tells colleagues apart."""
    return mask_keys(by.strip().partition(_AT)[0]) or "unknown"


def printable(because: str) -> str:
    return mask_keys(mask_emails(because.strip()))[:LONGEST_REASON]
