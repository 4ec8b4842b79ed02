"""Dropping dead messages: their sessions are dismissed first, then the messages are deleted.

If a purge stops in between, the message of a dismissed session is left, and running the same purge again
deletes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from ops.dlq.dead_letters import DeadLetter, build_listing
from ops.dlq.leases import MessageLeases, lease_messages
from ops.dlq.message_batches import DeadMessage
from ops.dlq.message_filter import MessageFilter
from ops.dlq.queue import DeadLetterQueue
from ops.format.masking import mask_emails, mask_keys
from producer.window import MARGIN
from recon.config import Settings
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.stripe_objects import SESSION_LIFE
from recon.dynamodb.dismissals import Dismissal, dismiss, dismiss_session
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.retry import Deadline
from recon.timestamps import DAY, HOUR, MINUTE

LONGEST_REASON = 500  # characters


class PurgeVerdict(StrEnum):
    """The effect of a purge on a message.

    `DISMISSED`: this purge dismissed the session for good. `SETTLED`: its order exists, or it was dismissed
    before, so only the message was left. `NAMELESS`: the message names no session, so only the message could
    be dropped.
    """

    DISMISSED = "dismissed"
    SETTLED = "settled"
    NAMELESS = "nameless"


@dataclass(frozen=True)
class PurgedMessage:
    """One purged message. `outcome` and `reason` are the session's after the purge.

    `is_deleted` is False if SQS did not delete the message; the same purge again will. Scheduled runs whose
    window holds a dismissed session list it, and skip it as dismissed, until about `listed_again_until`
    (UTC), or None if no run will.
    """

    message_id: str
    run_id: str | None
    session_id: str | None
    verdict: PurgeVerdict
    outcome: str | None
    reason: str | None
    is_deleted: bool
    listed_again_until: datetime | None


@dataclass(frozen=True)
class PurgeReport:
    """The result of a purge.

    `missing` are the named ids that are not in the queue. `lapsed` are the ids of messages that could not be
    held until their turn and are unchanged. `finished_runs` are the runs that this purge completed. `hidden`
    is the approximate number of messages in flight; missing ones may be among them.
    """

    purged: tuple[PurgedMessage, ...]
    missing: tuple[str, ...]
    lapsed: tuple[str, ...]
    finished_runs: tuple[str, ...]
    hidden: int


@dataclass(frozen=True)
class Purge:
    """A purge of one dead-letter queue. `now` returns epoch seconds."""

    queue: DeadLetterQueue
    table: Table
    runs: Runs
    settings: Settings
    deadline: Deadline
    now: Callable[[], int]

    def run(self, sessions: Sequence[str], message_ids: Sequence[str], by: str, because: str) -> PurgeReport:
        """Dismiss the named sessions and delete their messages and the named messages.

        `by` names the operator, for example the last part of the caller's ARN. E-mail addresses and keys are
        removed from it and from the reason before they are stored. Raises ValueError if nothing is named,
        because a whole queue is never purged.
        """
        if not sessions and not message_ids:
            raise ValueError("a purge needs session ids or message ids")
        selection = MessageFilter(frozenset(sessions), frozenset(message_ids))
        retention = self.queue.retention_seconds()
        finished: list[str] = []
        with lease_messages(self.queue, clock=self.now) as leases:
            listing = build_listing(leases.messages, retention, self.table, self.now(), self.deadline)
            chosen = selection.select(listing.letters)
            leases.keep_only(letter.message_id for letter in chosen)
            messages = {message.message_id: message for message in leases.messages}
            explanation = (mask_operator(by), mask_reason(because))
            purged = [
                one
                for letter in chosen
                if (one := self._purge(leases, letter, messages[letter.message_id], explanation, finished))
            ]
        done = {one.message_id for one in purged}
        return PurgeReport(
            purged=tuple(purged),
            missing=tuple(selection.find_missing(listing.letters)),
            lapsed=tuple(letter.message_id for letter in chosen if letter.message_id not in done),
            finished_runs=tuple(finished),
            hidden=leases.hidden,
        )

    def _purge(
        self,
        leases: MessageLeases,
        letter: DeadLetter,
        message: DeadMessage,
        explanation: tuple[str, str],
        finished: list[str],
    ) -> PurgedMessage | None:
        """Purge one message, or return None if it is not held any more."""
        leases.renew()
        if not leases.filter_held([message]):
            return None
        verdict, outcome, reason = self._dismiss(letter, explanation)
        if letter.run_id and self.runs.finish_if_complete(letter.run_id, self.now()):
            finished.append(letter.run_id)
        is_dismissed = verdict is PurgeVerdict.DISMISSED
        return PurgedMessage(
            message_id=letter.message_id,
            run_id=letter.run_id,
            session_id=letter.session_id,
            verdict=verdict,
            outcome=outcome,
            reason=reason,
            is_deleted=not leases.delete([message]),
            listed_again_until=self._find_last_listing(letter) if is_dismissed else None,
        )

    def _dismiss(
        self, letter: DeadLetter, explanation: tuple[str, str]
    ) -> tuple[PurgeVerdict, str | None, str | None]:
        """Dismiss the session if it is not settled; return the verdict, outcome and reason."""
        if letter.run_id is None or letter.session_id is None:
            return PurgeVerdict.NAMELESS, None, None
        by, because = explanation
        money = letter.amount or None
        dismissal = Dismissal(
            run_id=letter.run_id,
            session_id=letter.session_id,
            by=by,
            because=because,
            message_id=letter.message_id,
            amount=money and money.amount,
            currency=(money and money.currency) or None,
        )
        existing = dismiss(self.table, dismissal, self.now(), self.deadline)
        if existing is None:
            return PurgeVerdict.DISMISSED, Outcome.SKIPPED.value, SkipReason.DISMISSED.value
        if existing.outcome == Outcome.CREATED or existing.reason == SkipReason.EXISTS:
            return PurgeVerdict.SETTLED, existing.outcome, existing.reason
        # The outcome of its run is final, and a later run could still write its order.
        dismiss_session(self.table, letter.session_id, by, because, self.now(), self.deadline)
        is_repeat = existing.reason == SkipReason.DISMISSED
        verdict = PurgeVerdict.SETTLED if is_repeat else PurgeVerdict.DISMISSED
        return verdict, existing.outcome, existing.reason

    def _find_last_listing(self, letter: DeadLetter) -> datetime | None:
        """Return until when scheduled runs list the session, by the rules of `producer.window`.

        They do so while their window holds its creation time. After failed nights it is later.
        """
        if letter.created is None:
            return None
        latest = letter.created.timestamp() + _listing_seconds(self.settings)
        return datetime.fromtimestamp(latest, UTC) if latest > self.now() else None


def _listing_seconds(settings: Settings) -> int:
    """Return for how long after its creation a session is listed if all nightly runs succeed.

    This is the lookback, or the time until the window that starts a session's life before the watermark of
    the previous night begins after the creation.
    """
    from_watermark = SESSION_LIFE + MARGIN + settings.grace_minutes * MINUTE + DAY
    return max(settings.lookback_hours * HOUR, from_watermark)


def mask_operator(by: str) -> str:
    """Return the part before the @, since single sign-on names sessions by e-mail address, without keys."""
    return mask_keys(by.strip().partition("@")[0]) or "unknown"


def mask_reason(because: str) -> str:
    """Return the reason without e-mail addresses and keys, cut to LONGEST_REASON."""
    return mask_keys(mask_emails(because.strip()))[:LONGEST_REASON]
