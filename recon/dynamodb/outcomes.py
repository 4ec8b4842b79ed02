"""Committing what became of sessions: outcomes, orders and counters in one transaction per run.

A counter moves exactly when its outcome is written, and an outcome is written once per run and session:
both stand in one transaction under the condition that the outcome is still the one that was read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

from recon.domain.message import SessionMessage, dumps
from recon.domain.order import SOURCE
from recon.domain.reconcile import Outcome, SkipReason
from recon.dynamodb.counters import COUNTED, counter_actions
from recon.dynamodb.item_size import MAX_TRANSACTION_BYTES, item_bytes
from recon.dynamodb.records import (
    MARKER_DAYS,
    OUTCOME_DAYS,
    PENDING_DAYS,
    STATE_KEY,
    KnownOutcome,
    marker_key,
    outcome_key,
    outcome_partition,
    parse_known_outcome,
    pending_key,
)
from recon.dynamodb.table import MAX_ACTIONS, Action, Item, Table, TransactionCancelled
from recon.errors import SyncError, TableRefused
from recon.retry import Deadline
from recon.timestamps import DAY, to_iso

# Each transaction moves the run's counters and the sync state's.
_COUNTER_ACTIONS = 2
# Left free of the 4 MB for keys, expressions and the counters' own items.
_SPARE_BYTES = 256 * 1024


@dataclass(frozen=True)
class SessionResult:
    """What became of one session in one run; `previous` is the outcome that was read before."""

    session_id: str
    outcome: Outcome
    attempts: int
    message_id: str
    reason: SkipReason | None = None
    order: Item | None = None
    error: SyncError | None = None
    previous: KnownOutcome | None = None
    drift: tuple[str, ...] = ()
    # (event id, event type) of events that a webhook may still get: marked as handled with the order.
    markers: tuple[tuple[str, str], ...] = ()
    # The message, of a session that is not paid yet: kept for the next runs.
    pending: SessionMessage | None = None
    # The session waited for its payment, and waits no longer.
    ends_pending: bool = False
    was_pending: bool = False
    # What the message says the session is worth; an order says it better.
    amount: int | None = None
    currency: str | None = None

    @property
    def order_number(self) -> str | None:
        return self.order["orderNumber"] if self.order else None

    def to_error(self, error: SyncError) -> "SessionResult":
        return replace(
            self, outcome=Outcome.ERROR, reason=None, order=None, error=error, markers=(), ends_pending=False
        )

    def to_skipped_existing(self) -> "SessionResult":
        return replace(self, outcome=Outcome.SKIPPED, reason=SkipReason.EXISTS, order=None, markers=())

    def without_marker(self, event_id: str) -> "SessionResult":
        return replace(self, markers=tuple(m for m in self.markers if m[0] != event_id))


@dataclass
class Committed:
    """`applied`: written by this call. `settled`: final already, by another. `failed`: not written."""

    applied: dict[str, SessionResult]
    settled: dict[str, KnownOutcome]
    failed: dict[str, SyncError]


@dataclass(frozen=True)
class PriorState:
    """What the table says of a batch before it is worked on."""

    outcomes: dict[tuple[str, str], KnownOutcome]
    state_run_id: str | None


def load_prior_state(table: Table, sessions: Iterable[tuple[str, str]], deadline: Deadline) -> PriorState:
    """The outcomes of (run, session) pairs, and which run holds the sync state; one consistent batch read."""
    keys = {outcome_key(run, session): (run, session) for run, session in sessions}
    outcomes, holder = {}, None
    for item in table.get_many([*keys, STATE_KEY], deadline):
        key = (item["PK"], item["SK"])
        if key == STATE_KEY:
            holder = item.get("lastSyncRunId")
        else:
            outcomes[keys[key]] = parse_known_outcome(item)
    return PriorState(outcomes, holder)


def find_settled_pending(table: Table, run_id: str, deadline: Deadline) -> set[str]:
    """The sessions beyond its window that a run has an outcome of already."""
    items = table.query(
        "PK = :run",
        {":run": outcome_partition(run_id), ":yes": True},
        projection="SK",
        only="pending = :yes",
        deadline=deadline,
    )
    return {item["SK"].removeprefix("SESSION#") for item in items}


def find_created_orders(table: Table, run_id: str, limit: int, deadline: Deadline) -> list[str]:
    """The first order numbers that a run created."""
    items = table.query(
        "PK = :run",
        {":run": outcome_partition(run_id), ":created": Outcome.CREATED.value},
        projection="orderNumber",
        only="outcome = :created",
        deadline=deadline,
    )
    return [item["orderNumber"] for item, _ in zip(items, range(limit), strict=False)]


@dataclass(frozen=True)
class Recheck:
    """Results after another look: those that were found have become skips, those that could not be looked
    at are in `failed`."""

    results: list[SessionResult]
    failed: dict[str, SyncError]


class _RecheckFoundOrder(Exception):  # noqa: N818 - a signal within this module
    """The look before a try found something."""

    def __init__(self, looked: Recheck) -> None:
        super().__init__("what was missing is there")
        self.looked = looked


class OutcomeWriter:
    """Commits the results of one run in one batch.

    `look_again` is asked right before every single try of a transaction with orders in it, since a webhook
    writes under a key of its own that no condition of ours can see.
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

    def __call__(self, results: Sequence[SessionResult]) -> Committed:
        """Everything in one transaction where it fits, in several between sessions where it does not.

        One session's condition or size never keeps the others from being committed.
        """
        for part in _parts(results):
            self._commit_part(part)
        return self._done

    def _commit_part(self, results: list[SessionResult]) -> None:
        while results:
            try:
                actions = self._actions(results)
                self._table.transact(actions, self._deadline, check=partial(self._look, results))
            except _RecheckFoundOrder as changed:
                self._done.failed |= changed.looked.failed
                results = changed.looked.results
            except TransactionCancelled as cancelled:
                results = self._decided_again(results, actions, cancelled)
            except TableRefused as error:
                results = self._one_by_one(results, error)
            except SyncError as error:
                self._fail(results, error)
                return
            else:
                self._done.applied |= {r.session_id: r for r in results}
                return

    def _look(self, results: list[SessionResult]) -> None:
        if not any(result.order for result in results):
            return
        looked = self._look_again(results)
        if looked.results != results:
            raise _RecheckFoundOrder(looked)

    def _one_by_one(self, results: list[SessionResult], error: TableRefused) -> list[SessionResult]:
        """DynamoDB refuses something in it and does not say what: each session stands alone now."""
        if len(results) > 1:
            for result in results:
                self._commit_part([result])
            return []
        (result,) = results
        if result.order is None:
            self._fail([result], error)
            return []
        return [result.to_error(error)]

    def _decided_again(
        self, results: list[SessionResult], actions: list[Action], cancelled: TransactionCancelled
    ) -> list[SessionResult]:
        """What is left to commit, given which conditions did not hold."""
        holds_state = self._holds_state
        reasons = {action.key: reason for action, reason in zip(actions, cancelled.reasons, strict=True)}
        if STATE_KEY in reasons and reasons[STATE_KEY].failed:
            # A run that started later took the sync state; this one keeps its own record.
            self._holds_state = False
        left = []
        for result in results:
            outcome = reasons[outcome_key(self._run_id, result.session_id)]
            order = reasons.get(_order_key(result)) if result.order else None
            if outcome.failed:
                left += self._met_other_outcome(result, outcome.item)
            elif order and order.failed:
                left.append(result.to_skipped_existing())
            elif handled := [m for m, _ in result.markers if (r := reasons.get(marker_key(m))) and r.stops]:
                # The webhook has handled the event, which proves nothing about the order: it leaves a marker
                # also where its write failed. Decided again by the look before the next try.
                left.append(reduce(SessionResult.without_marker, handled, result))
            elif outcome.refused or (order and order.refused):
                left += self._one_by_one([result], TableRefused("DynamoDB refuses the item"))
            else:
                left.append(result)
        if left == results and holds_state is self._holds_state:
            self._fail(left, TableRefused("DynamoDB cancels the transaction for no session's reason"))
            return []
        return left

    def _fail(self, results: Iterable[SessionResult], error: SyncError) -> None:
        self._done.failed |= dict.fromkeys((result.session_id for result in results), error)

    def _met_other_outcome(self, result: SessionResult, item: Item | None) -> list[SessionResult]:
        now_there = parse_known_outcome(item) if item else None
        if now_there and now_there.is_final:
            self._done.settled[result.session_id] = now_there
            return []
        return [replace(result, previous=now_there)]

    def _actions(self, results: list[SessionResult]) -> list[Action]:
        outcomes = [self._outcome_action(result) for result in results]
        # An order is written only where its key is free: nothing is ever overwritten.
        orders = [self._table.put(r.order, "attribute_not_exists(PK)") for r in results if r.order]
        beside = [action for result in results for action in self._actions_beside(result)]
        counters = counter_actions(
            self._table, self._run_id, _counter_deltas(results), self._now, holds_state=self._holds_state
        )
        return outcomes + orders + beside + counters

    def _actions_beside(self, result: SessionResult) -> Iterator[Action]:
        for event_id, event_type in result.markers:
            yield self._table.put(self._marker(result, event_id, event_type), "attribute_not_exists(PK)")
        if result.pending:
            yield self._pending(result.pending)
        if result.ends_pending:
            yield self._table.delete(pending_key(result.session_id))

    def _marker(self, result: SessionResult, event_id: str, event_type: str) -> Item:
        """In the webhook's own words, so that a late delivery finds its event handled."""
        pk, sk = marker_key(event_id)
        return {
            "PK": pk,
            "SK": sk,
            "eventType": event_type,
            "sessionId": result.session_id,
            "status": "completed",
            "orderCreated": True,
            "orderNumber": result.order_number,
            "source": SOURCE,
            "processedAt": to_iso(self._now),
            "expiresAt": self._now + MARKER_DAYS * DAY,
        }

    def _pending(self, message: SessionMessage) -> Action:
        """The first one stays: its ninety days do not begin anew every night."""
        values = {
            ":message": dumps(replace(message, pending=message.created)),
            ":created": message.created,
            ":session": message.session_id,
            ":now": to_iso(self._now),
            ":expires": self._now + PENDING_DAYS * DAY,
        }
        return self._table.update(
            pending_key(message.session_id),
            "SET message = if_not_exists(message, :message), sessionId = :session, "
            "sessionCreated = :created, updatedAt = :now, expiresAt = if_not_exists(expiresAt, :expires)",
            values,
        )

    def _outcome_action(self, result: SessionResult) -> Action:
        item = self._outcome_item(result)
        if result.previous is None:
            return self._table.put(item, "attribute_not_exists(PK)")
        still_the_one_read = "outcome = :read"
        return self._table.put(item, still_the_one_read, {":read": result.previous.outcome})

    def _outcome_item(self, result: SessionResult) -> Item:
        pk, sk = outcome_key(self._run_id, result.session_id)
        worth = result.order or {"amount": result.amount, "currency": result.currency}
        fields: Item = {
            "PK": pk,
            "SK": sk,
            "outcome": result.outcome.value,
            "reason": result.reason.value if result.reason else None,
            "orderNumber": result.order_number,
            "amount": worth.get("amount"),
            "currency": worth.get("currency"),
            "errorType": type(result.error).__name__ if result.error else None,
            "errorMessage": str(result.error) if result.error else None,
            "attempts": result.attempts,
            "messageId": result.message_id,
            "drift": list(result.drift) or None,
            # Not in the run's window: whoever counts the run again would not find it there.
            "pending": True if result.was_pending else None,
            "updatedAt": to_iso(self._now),
            "expiresAt": self._now + OUTCOME_DAYS * DAY,
        }
        return {name: value for name, value in fields.items() if value is not None}


def _counter_deltas(results: Iterable[SessionResult]) -> dict[str, int]:
    """How far each counter moves: one up for the new outcome, one down for the one it replaces."""
    moves = dict.fromkeys(("processed", *COUNTED.values(), "drifted"), 0)
    for result in results:
        moves["drifted"] += bool(result.drift)
        moves[COUNTED[result.outcome]] += 1
        if result.previous:
            # Only an error is ever replaced.
            moves[COUNTED[Outcome.ERROR]] -= 1
        else:
            moves["processed"] += 1
    return moves


def _parts(results: Sequence[SessionResult]) -> Iterator[list[SessionResult]]:
    """Cut between sessions, so that each part fits one transaction."""
    part: list[SessionResult] = []
    actions = size = 0
    for result in results:
        own_actions = (
            1 + bool(result.order) + len(result.markers) + bool(result.pending) + result.ends_pending
        )
        own_size = item_bytes(result.order) if result.order else 0
        too_many = actions + own_actions + _COUNTER_ACTIONS > MAX_ACTIONS
        too_large = size + own_size > MAX_TRANSACTION_BYTES - _SPARE_BYTES
        if part and (too_many or too_large):
            yield part
            part, actions, size = [], 0, 0
        part.append(result)
        actions += own_actions
        size += own_size
    if part:
        yield part


def _order_key(result: SessionResult) -> tuple[str, str]:
    order = result.order or {}
    return (order["PK"], order["SK"])
