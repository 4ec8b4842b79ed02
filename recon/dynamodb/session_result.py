"""The result of one session in one run, and the items that store it besides its order and the counters."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from recon.domain.attention import Attention
from recon.domain.fence import EventMark
from recon.domain.message import SessionMessage, dumps
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.table_decision import ExistingOrder
from recon.domain.waiting import ENTRY_LIFE, LONGEST_MISSING
from recon.dynamodb.attention import AttentionRecord, attention_action, concerns_attention, update_attention
from recon.dynamodb.item_size import item_bytes
from recon.dynamodb.keys import outcome_key, pending_key
from recon.dynamodb.markers import marker_action
from recon.dynamodb.records import OUTCOME_DAYS, OutcomeRecord
from recon.dynamodb.table import Action, Item, Key, Table
from recon.errors import SyncError
from recon.timestamps import DAY, to_iso

# More copies of one session than any redrive or repeated listing makes.
MAX_FAILED_MESSAGES = 20


@dataclass(frozen=True)
class SessionResult:
    """The result of one session in one run.

    `previous` is the outcome that was read before. `marks` are the events that a webhook may still receive:
    the transaction of the outcome marks them as handled. `pending` is the message of an unpaid
    session, or of one whose order is missing, which is stored for later runs. `ends_pending` deletes the
    session's pending entry. `unguarded` is an order of this sync that was found without its guard.
    `was_pending` is True for a session from before the run's window. `attention` are the words for a person,
    and `attention_until` is the date (epoch seconds) that goes with `awaiting_capture`, if it is known.
    `prior_attention` is what a person had to look at before, and `order_says_paid` is True if the existing
    order says that it is paid. `amount` and `currency` are the message's; those of an order take precedence.
    """

    session_id: str
    outcome: Outcome
    attempts: int
    message_id: str
    reason: SkipReason | None = None
    order: Item | None = None
    error: SyncError | None = None
    previous: OutcomeRecord | None = None
    drift: tuple[str, ...] = ()
    marks: tuple[EventMark, ...] = ()
    pending: SessionMessage | None = None
    unguarded: ExistingOrder | None = None
    ends_pending: bool = False
    was_pending: bool = False
    attention: tuple[Attention, ...] = ()
    attention_until: int | None = None
    prior_attention: AttentionRecord | None = None
    order_says_paid: bool = False
    amount: int | None = None
    currency: str | None = None

    @property
    def order_number(self) -> str | None:
        """Return the number of the order to write, if there is one."""
        return self.order["orderNumber"] if self.order else None

    @property
    def order_key(self) -> Key | None:
        """Return the key of the order to write, if there is one."""
        return (self.order["PK"], self.order["SK"]) if self.order else None

    @cached_property
    def order_bytes(self) -> int:
        """Return the size of the order to write."""
        return item_bytes(self.order) if self.order else 0

    @property
    def action_count(self) -> int:
        """Return the number of actions that storing the result takes, without the counters."""
        # With an order go its guard and the check that nobody has dismissed its session.
        orders = 3 * bool(self.order) + bool(self.unguarded)
        actions = 1 + orders + len(self.marks) + bool(self.pending) + self.ends_pending
        return actions + self._concerns_attention

    @property
    def _concerns_attention(self) -> bool:
        """Return whether the transaction has an action on the attention item. An error leaves it as it is."""
        after = self.next_attention(0)
        return self.outcome is not Outcome.ERROR and concerns_attention(self.prior_attention, after)

    @property
    def worth(self) -> Item:
        """Return amount and currency of the order, or of the message if the order has none."""
        order = self.order or {}
        return {"amount": order.get("amount", self.amount), "currency": order.get("currency", self.currency)}

    def next_attention(self, now: int) -> AttentionRecord | None:
        """Return what a person has to look at after this result, or None. `now` is in epoch seconds."""
        if self.outcome is Outcome.ERROR or (self.prior_attention is None and not self.attention):
            return self.prior_attention
        if self.reason is SkipReason.DISMISSED:
            return None
        said = AttentionRecord(
            self.session_id, self.attention, **self.worth, since=to_iso(now), until=self.attention_until
        )
        return update_attention(self.prior_attention, said, order_says_paid=self.order_says_paid)

    def to_error(self, error: SyncError) -> "SessionResult":
        """Return an error in place of this result, without its order and marks."""
        return replace(
            self,
            outcome=Outcome.ERROR,
            reason=None,
            order=None,
            error=error,
            marks=(),
            ends_pending=False,
            attention=(),
        )

    def to_skipped_existing(self) -> "SessionResult":
        """Return a skip with reason `exists` in place of this result."""
        return replace(
            self, outcome=Outcome.SKIPPED, reason=SkipReason.EXISTS, order=None, marks=(), attention=()
        )

    def to_dismissed(self) -> "SessionResult":
        """Return a skip with reason `dismissed` in place of this result."""
        return replace(self.to_skipped_existing(), reason=SkipReason.DISMISSED)

    def to_removed(self) -> "SessionResult":
        """Return a skip with reason `removed` in place of this result."""
        return replace(self.to_skipped_existing(), reason=SkipReason.REMOVED)

    def split_marks(self, most: int) -> "tuple[SessionResult, SessionResult]":
        """Return this result with as many marks as fit into `most` actions, and with the other marks."""
        if not self.marks:
            return self, self
        first = len(self.marks) - max(0, self.action_count - most)
        return replace(self, marks=self.marks[:first]), replace(self, marks=self.marks[first:])


def outcome_action(table: Table, run_id: str, result: SessionResult, now: int) -> Action:
    """Return the action that puts the outcome if the stored one is still `result.previous`."""
    item = _outcome_item(run_id, result, now)
    if result.previous is None:
        return table.put(item, "attribute_not_exists(PK)")
    return table.put(item, "outcome = :read", {":read": result.previous.outcome})


def side_record_actions(table: Table, result: SessionResult, now: int) -> Iterator[Action]:
    """Yield the actions on event markers, on the pending entry and on the attention item of a session."""
    for mark in result.marks:
        yield marker_action(table, result.session_id, mark, now)
    if result.pending and result.outcome is Outcome.MISSING:
        yield _missing_action(table, result.pending, now)
    elif result.pending:
        yield _pending_action(table, result.pending, now)
    if result.ends_pending:
        yield table.delete(pending_key(result.session_id))
    if result.outcome is Outcome.ERROR:
        return
    if action := attention_action(table, result.prior_attention, result.next_attention(now)):
        yield action


def _outcome_item(run_id: str, result: SessionResult, now: int) -> Item:
    pk, sk = outcome_key(run_id, result.session_id)
    fields: Item = {
        "PK": pk,
        "SK": sk,
        "outcome": result.outcome,
        "reason": result.reason,
        "orderNumber": result.order_number,
        **result.worth,
        "errorType": type(result.error).__name__ if result.error else None,
        "errorMessage": str(result.error) if result.error else None,
        "attempts": result.attempts,
        "messageId": result.message_id,
        "failedMessages": _list_failed_messages(result) or None,
        "drift": list(result.drift) or None,
        "attention": list(result.attention) or None,
        # The session is outside the run's window: a recount of the window would not find it.
        "pending": True if result.was_pending else None,
        "updatedAt": to_iso(now),
        "expiresAt": now + OUTCOME_DAYS * DAY,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _list_failed_messages(result: SessionResult) -> list[str]:
    """Return the other messages under which the session has failed, so that each copy is tried once only."""
    previous = result.previous
    if previous is None or result.outcome is not Outcome.ERROR:
        return []
    ids = [*previous.failed_messages, *([previous.message_id] if previous.message_id else [])]
    failed = [name for name in ids if previous.has_failed_under(name) and name != result.message_id]
    return failed[-MAX_FAILED_MESSAGES:]


def _pending_action(table: Table, message: SessionMessage, now: int) -> Action:
    """Return the action that stores a pending session; an existing entry keeps its message.

    `updatedAt` is when a run last checked it. The entry outlives the longest wait, also one that an earlier
    version stored for a shorter time.
    """
    return _put_entry(table, message, now, message.created + ENTRY_LIFE)


def _missing_action(table: Table, message: SessionMessage, now: int) -> Action:
    """Return the action that stores a session with a missing order; an existing entry keeps its date."""
    since = now if message.missing_since is None else message.missing_since
    return _put_entry(
        table,
        message,
        now,
        since + LONGEST_MISSING,
        ", missingSince = if_not_exists(missingSince, :since)",
        {":since": since},
    )


def _put_entry(
    table: Table,
    message: SessionMessage,
    now: int,
    expires_at: int,
    sets: str = "",
    further: Item | None = None,
) -> Action:
    values = {
        ":message": dumps(replace(message, pending=message.created, missing_since=None)),
        ":created": message.created,
        ":session": message.session_id,
        ":now": to_iso(now),
        ":expires": expires_at,
    }
    return table.update(
        pending_key(message.session_id),
        "SET message = if_not_exists(message, :message), sessionId = :session, "
        f"sessionCreated = :created, updatedAt = :now, expiresAt = :expires{sets}",
        values | (further or {}),
    )
