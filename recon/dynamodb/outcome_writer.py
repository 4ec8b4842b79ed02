"""Committing session results: outcomes, orders and counters in one transaction per run.

A counter moves exactly when its outcome is written, and an outcome is written once per run and session: both
are in one transaction, on the condition that the stored outcome is still the one that was read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import batched

from recon.domain.fence import EventMark
from recon.dynamodb.attention import parse_attention
from recon.dynamodb.counters import counter_actions, counter_deltas
from recon.dynamodb.item_size import MAX_TRANSACTION_BYTES
from recon.dynamodb.keys import (
    STATE_KEY,
    attention_key,
    guard_key,
    marker_key,
    outcome_key,
)
from recon.dynamodb.markers import is_completed, marker_action
from recon.dynamodb.order_write import order_actions, resolve_order
from recon.dynamodb.records import OutcomeRecord, parse_outcome
from recon.dynamodb.session_result import SessionResult, outcome_action, side_record_actions
from recon.dynamodb.table import (
    MAX_ACTIONS,
    Action,
    CancellationReason,
    Item,
    Key,
    Table,
    TransactionCancelled,
)
from recon.errors import SyncError, TableRefused, WebhookAtWork
from recon.retry import Deadline

# Each transaction moves the run's counters and the sync state's, beside the actions of its sessions.
_COUNTER_ACTIONS = 2
_MOST_ACTIONS = MAX_ACTIONS - _COUNTER_ACTIONS
# The part of the 4 MB that is left free for keys, expressions and the items with the counters.
_SPARE_BYTES = 256 * 1024


@dataclass
class Committed:
    """The end of a commit, by session id.

    `applied` was written by this call. `settled` had a final outcome of another writer. `failed` was not
    written. `unmarked` was written without all of its many marks.
    """

    applied: dict[str, SessionResult]
    settled: dict[str, OutcomeRecord]
    failed: dict[str, SyncError]
    unmarked: dict[str, SyncError] = field(default_factory=dict)

    def add(self, other: "Committed") -> None:
        """Add the end of the commit of other sessions."""
        self.applied |= other.applied
        self.settled |= other.settled
        self.failed |= other.failed
        self.unmarked |= other.unmarked


@dataclass(frozen=True)
class Recheck:
    """Results after a new lookup of their orders.

    A result whose order was found is a skip now. A session whose lookup failed is in `failed`.
    """

    results: list[SessionResult]
    failed: dict[str, SyncError]


class _RecheckFoundOrder(Exception):  # noqa: N818 - a signal within this module
    """The lookup right before a try changed the results."""

    def __init__(self, recheck: Recheck) -> None:
        super().__init__()
        self.recheck = recheck


class OutcomeWriter:
    """Commits the results of one run in one batch.

    `look_again` runs before every try of a transaction that contains an order: a webhook writes under
    another key, which no condition of the transaction can cover.
    """

    def __init__(
        self,
        table: Table,
        run_id: str,
        now: int,
        deadline: Deadline,
        *,
        holds_state: bool,
        look_again: Callable[[Sequence[SessionResult]], Recheck],
    ) -> None:
        self._look_again = look_again
        self._table = table
        self._run_id = run_id
        self._now = now
        self._deadline = deadline
        self._holds_state = holds_state
        self._done = Committed({}, {}, {})

    @property
    def committed(self) -> Committed:
        """Return the end of the commit so far, also after an error."""
        return self._done

    def write(self, results: Sequence[SessionResult]) -> Committed:
        """Write all results in one transaction, or in several split between sessions if it is too large.

        The condition or the size of one session never prevents the commit of the others.
        """
        self._commit_part(list(results))
        return self._done

    def _commit_part(self, results: list[SessionResult]) -> None:
        """Commit results. A conflict may change their number of actions, so each try fits them anew."""
        while results:
            first, *others = _split(results)
            if others:
                for part in (first, *others):
                    self._commit_part(part)
                return
            try:
                # A session with very many events marks the others after its outcome.
                actions = self._actions([result.split_marks(_MOST_ACTIONS)[0] for result in results])
                self._table.transact(actions, self._deadline, check=partial(self._recheck, results))
            except _RecheckFoundOrder as changed:
                self._done.failed |= changed.recheck.failed
                results = changed.recheck.results
            except TransactionCancelled as cancelled:
                results = self._resolve_cancellation(results, actions, cancelled)
            except TableRefused as error:
                results = self._retry_individually(results, error)
            except SyncError as error:
                self._fail(results, error)
                return
            else:
                self._done.applied |= {r.session_id: r for r in results}
                for result in results:
                    self._put_rest(result.session_id, result.split_marks(_MOST_ACTIONS)[1].marks)
                return

    def _put_rest(self, session_id: str, marks: Sequence[EventMark]) -> None:
        """Put the marks that did not fit into one transaction with the outcome.

        If a transaction of many is cancelled, put each alone.
        """
        try:
            for part in batched(marks, MAX_ACTIONS):
                if not self._mark(session_id, part):
                    for mark in part:
                        self._mark(session_id, [mark])
        except SyncError as error:
            self._done.unmarked[session_id] = error

    def _mark(self, session_id: str, marks: Sequence[EventMark]) -> bool:
        """Return False if the marker of any of the events has changed; then none is put."""
        try:
            self._table.transact(
                [marker_action(self._table, session_id, mark, self._now) for mark in marks], self._deadline
            )
        except TransactionCancelled:
            return False
        return True

    def _recheck(self, results: list[SessionResult]) -> None:
        if not any(result.order for result in results):
            return
        recheck = self._look_again(results)
        if recheck.results != results:
            raise _RecheckFoundOrder(recheck)

    def _retry_individually(self, results: list[SessionResult], error: TableRefused) -> list[SessionResult]:
        """Commit each session alone, since DynamoDB refused the transaction without naming an item.

        Return what is left to commit: the error in place of a single result whose order was refused.
        """
        if len(results) > 1:
            for result in results:
                self._commit_part([result])
            return []
        (result,) = results
        if result.order is None:
            self._fail([result], error)
            return []
        return [result.to_error(error)]

    def _resolve_cancellation(
        self, results: list[SessionResult], actions: list[Action], cancelled: TransactionCancelled
    ) -> list[SessionResult]:
        """Return the results that are left to commit after some conditions failed."""
        holds_state = self._holds_state
        reasons = {action.key: reason for action, reason in zip(actions, cancelled.reasons, strict=True)}
        if STATE_KEY in reasons and reasons[STATE_KEY].failed:
            # A run that started later took over the sync state; this one updates its own record only.
            self._holds_state = False
        left = [remaining for result in results for remaining in self._resolve(result, reasons)]
        if left == results and holds_state is self._holds_state:
            self._fail(left, TableRefused("DynamoDB cancels the transaction for no session's reason"))
            return []
        return left

    def _resolve(self, result: SessionResult, reasons: dict[Key, CancellationReason]) -> list[SessionResult]:
        outcome = reasons[outcome_key(self._run_id, result.session_id)]
        order = reasons[result.order_key] if result.order_key else None
        if outcome.failed:
            return self._resolve_outcome_conflict(result, outcome.item)
        guard = reasons.get(guard_key(result.session_id))
        if skipped := resolve_order(result, reasons):
            return [skipped]
        attention = reasons.get(attention_key(result.session_id))
        if attention and attention.failed:
            # Another run or a person changed the item after it was read: decide again from its new content.
            result = replace(result, prior_attention=parse_attention(attention.item or {}))
        if guard and guard.stops and result.unguarded:
            result = replace(result, unguarded=None)
        # A marker of the webhook does not prove that the order exists: the webhook writes one even if its
        # write of the order failed. The recheck before the next try decides.
        if any(key in reasons and reasons[key].stops for key in _marker_keys(result)):
            return self._resolve_marks(result, reasons)
        if outcome.refused or (order and order.refused) or (guard and guard.refused):
            return self._retry_individually([result], TableRefused("DynamoDB refuses the item"))
        return [result]

    def _resolve_marks(
        self, result: SessionResult, reasons: dict[Key, CancellationReason]
    ) -> list[SessionResult]:
        """Return the result with the marks that are left, or none if the webhook has just begun to work."""
        marks = []
        for mark in result.marks:
            reason = reasons.get(marker_key(mark.event_id))
            if reason is None or not reason.stops:
                marks.append(mark)
            elif reason.failed and not (reason.item and is_completed(reason.item)):
                marks.append(replace(mark, is_claimed=reason.item is not None))
        wait = max((mark.wait_seconds(self._now) for mark in marks), default=0)
        if wait:
            self._fail([result], WebhookAtWork(wait))
            return []
        return [replace(result, marks=tuple(marks))]

    def _resolve_outcome_conflict(self, result: SessionResult, item: Item | None) -> list[SessionResult]:
        stored = parse_outcome(item) if item else None
        if stored and stored.is_final:
            self._done.settled[result.session_id] = stored
            return []
        return [replace(result, previous=stored)]

    def _fail(self, results: Iterable[SessionResult], error: SyncError) -> None:
        self._done.failed |= dict.fromkeys((result.session_id for result in results), error)

    def _actions(self, results: list[SessionResult]) -> list[Action]:
        table, now = self._table, self._now
        outcomes = [outcome_action(table, self._run_id, result, now) for result in results]
        orders = [action for result in results for action in order_actions(table, self._run_id, result, now)]
        side_records = [action for result in results for action in side_record_actions(table, result, now)]
        deltas = counter_deltas(results)
        counters = counter_actions(table, self._run_id, deltas, now, holds_state=self._holds_state)
        return outcomes + orders + side_records + counters


def _marker_keys(result: SessionResult) -> list[Key]:
    return [marker_key(mark.event_id) for mark in result.marks]


def _split(results: Iterable[SessionResult]) -> Iterator[list[SessionResult]]:
    """Yield parts, split between sessions, that each fit into one transaction."""
    part: list[SessionResult] = []
    actions = size = 0
    for result in results:
        count = min(result.action_count, _MOST_ACTIONS)
        too_many = actions + count > _MOST_ACTIONS
        too_large = size + result.order_bytes > MAX_TRANSACTION_BYTES - _SPARE_BYTES
        if part and (too_many or too_large):
            yield part
            part, actions, size = [], 0, 0
        part.append(result)
        actions += count
        size += result.order_bytes
    if part:
        yield part
