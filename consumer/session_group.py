"""One group of sessions of one run: decide, fetch what is missing, look again, commit together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from consumer.batch import SessionTask
from consumer.decisions import decide_from_stripe, decide_from_table, to_unexpected
from recon.config import Settings
from recon.domain.reconcile import (
    ExistingOrder,
    Outcome,
    SkipReason,
    amount_and_currency,
    find_drift,
    user_ids,
)
from recon.domain.stripe_objects import CHECKOUT_COMPLETED, UNPAID, Json
from recon.dynamodb.orders import Orders, Users, find_orders_by_user
from recon.dynamodb.outcome_writer import Committed, OutcomeWriter, Recheck
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import Table
from recon.errors import OutOfTime, Permanent, SyncError, Unfinished
from recon.retry import Deadline
from recon.telemetry import Telemetry, frames

if TYPE_CHECKING:
    from recon.domain.message import SessionMessage
    from recon.stripe.source import StripeSource


NO_CHARGES = (
    "no_charges: the Stripe key may not read charges or disputes, so orders that were refunded or lost in a "
    "dispute before the run are written like all others; give the key read access to Charges, PaymentIntents "
    "and Disputes"
)


@dataclass(frozen=True)
class InvocationContext:
    """What an invocation works with. `now` is in epoch seconds; `stripe` is called when first needed,
    since it imports the library."""

    settings: Settings
    table: Table
    stripe: "Callable[[], StripeSource]"
    pool: Executor
    deadline: Deadline
    now: Callable[[], int]
    telemetry: Telemetry


@dataclass(frozen=True)
class GroupResult:
    """What a group came to: committed results, and sessions that have to be tried later."""

    committed: Committed
    later: dict[str, SyncError]
    warning: str | None = None


class SessionGroup:
    """Settles the sessions of one run, given what the table said of the batch."""

    def __init__(self, tools: InvocationContext, run_id: str, known: PriorState) -> None:
        self._tools = tools
        self._run_id = run_id
        self._known = known
        self._messages: dict[str, SessionMessage] = {}
        self._charges_unknown = False

    def __call__(self, works: Sequence[SessionTask], orders: Mapping[Users, Orders]) -> GroupResult:
        self._messages = {work.session_id: work.message for work in works if work.message}
        results: list[SessionResult] = []
        failures: list[tuple[SessionTask, SyncError]] = []
        missing: list[SessionTask] = []
        for work in works:
            match self._decide(work, orders):
                case None:
                    missing.append(work)
                case SkipReason() as reason:
                    results.append(self._skip(work, reason, self._orders_of(work, orders)))
                case SyncError() as error:
                    failures.append((work, error))
        for work, answer in zip(missing, self._fetch_all(missing), strict=True):
            match answer:
                case SkipReason() as reason:
                    results.append(self._skip(work, reason))
                case SyncError() as error:
                    failures.append((work, error))
                case order:
                    results.append(self._create(work, order))
        later = {}
        for work, error in failures:
            if self._gives_up(work, error):
                results.append(self._result(work, Outcome.ERROR, error=error))
            else:
                later[work.session_id] = error
        warning = NO_CHARGES if self._charges_unknown else None
        return GroupResult(self._committing().write(results), later, warning)

    def _decide(self, work: SessionTask, orders: Mapping[Users, Orders]) -> SkipReason | SyncError | None:
        """Why to leave it alone, why it fails, or None: the order is missing."""
        if work.message is None:
            return work.problem
        return decide_from_table(work.message, orders, self._tools.settings, self._tools.now())

    def _orders_of(self, work: SessionTask, orders: Mapping[Users, Orders]) -> list[ExistingOrder]:
        found = orders.get(user_ids(work.message), []) if work.message else []
        return [] if isinstance(found, SyncError) else found

    def _fetch_all(self, missing: Sequence[SessionTask]) -> list[Json | SkipReason | SyncError]:
        """In parallel, each with an answer of its own."""
        if not missing:
            return []
        try:
            stripe = self._tools.stripe()
        except SyncError as error:
            return [error] * len(missing)
        return list(self._tools.pool.map(lambda work: self._fetch(stripe, work), missing))

    def _fetch(self, stripe: "StripeSource", work: SessionTask) -> Json | SkipReason | SyncError:
        message = work.message
        assert message is not None  # noqa: S101 - only readable messages get here
        try:
            answer = decide_from_stripe(stripe, message, self._tools.settings, self._tools.now)
        except Exception as error:  # noqa: BLE001 - one session's bug must not be its neighbours' failure
            self._tools.telemetry.error(
                f"Unexpected {type(error).__name__}",
                run_id=self._run_id,
                session_id=work.session_id,
                frames=frames(error),
            )
            return to_unexpected(error)
        if not answer.charges_known:
            self._charges_unknown = True
        return answer.became

    def _look_again(self, results: Sequence[SessionResult]) -> Recheck:
        """Right before a commit: a webhook may have written while Stripe was asked, or while the table was
        busy. What lies under our own key is left to the condition on that key: after a commit whose answer
        was lost it is our own."""
        messages = {
            result.session_id: self._messages[result.session_id] for result in results if result.order
        }
        tools = self._tools
        found = find_orders_by_user(tools.table, messages.values(), tools.pool, tools.deadline)
        looked = Recheck([], {})
        for result in results:
            orders = found[user_ids(messages[result.session_id])] if result.order else []
            if isinstance(orders, SyncError):
                looked.failed[result.session_id] = orders
            elif any(order.is_of(result.session_id) and not _is_ours(order, result) for order in orders):
                looked.results.append(result.to_skipped_existing())
            else:
                looked.results.append(result)
        return looked

    def announce_last_attempts(self, works: Iterable[SessionTask]) -> int:
        """Writes the errors of last attempts before they begin, so that a crash is counted too.

        Answers how many were written. Best effort: where the table cannot be written the attempt itself
        will fail and come back.
        """
        last = [work for work in works if self._is_last(work) and work.key not in self._known.outcomes]
        results = [
            self._result(work, Outcome.ERROR, error=Unfinished("the last attempt did not end"))
            for work in last
        ]
        applied = self._committing().write(results).applied
        for session_id, result in applied.items():
            self._known.outcomes[self._run_id, session_id] = OutcomeRecord(
                session_id, Outcome.ERROR, error_type=Unfinished.__name__, message_id=result.message_id
            )
        return len(applied)

    def _committing(self) -> OutcomeWriter:
        return OutcomeWriter(
            self._tools.table,
            self._run_id,
            self._tools.now(),
            self._tools.deadline,
            holds_state=self._known.state_run_id == self._run_id,
            look_again=self._look_again,
        )

    def _gives_up(self, work: SessionTask, error: SyncError) -> bool:
        """Permanent at once; transient at the last attempt, unless it never had its turn."""
        return isinstance(error, Permanent) or (self._is_last(work) and not isinstance(error, OutOfTime))

    def _is_last(self, work: SessionTask) -> bool:
        return work.receive_count >= self._tools.settings.max_receive_count

    def _skip(
        self, work: SessionTask, reason: SkipReason, orders: Sequence[ExistingOrder] = ()
    ) -> SessionResult:
        """What is not paid yet is kept for the next runs; what waited for that waits no longer otherwise."""
        message = work.message
        result = self._result(work, Outcome.SKIPPED, reason=reason)
        if message is None:
            return result
        if reason is SkipReason.UNPAID:
            return replace(result, pending=message)
        drift = find_drift(message, orders) if reason is SkipReason.EXISTS else ()
        may_wait = message.pending is not None or message.payment_status == UNPAID
        return replace(result, drift=drift, ends_pending=may_wait)

    def _create(self, work: SessionTask, order: Json) -> SessionResult:
        """With the events that a webhook may still get marked as handled, and its wait for payment ended."""
        result = self._result(work, Outcome.CREATED, order=order)
        message = work.message
        assert message is not None  # noqa: S101 - only readable messages get here
        types = [*message.event_types, *[CHECKOUT_COMPLETED] * len(message.event_ids)]
        markers = dict(zip(message.event_ids, types, strict=False))
        return replace(result, markers=tuple(markers.items()), ends_pending=True)

    def _result(
        self,
        work: SessionTask,
        outcome: Outcome,
        *,
        reason: SkipReason | None = None,
        order: Json | None = None,
        error: SyncError | None = None,
    ) -> SessionResult:
        amount, currency = amount_and_currency(work.message) if work.message else (None, None)
        return SessionResult(
            session_id=work.session_id,
            outcome=outcome,
            attempts=work.receive_count,
            message_id=work.message_id,
            reason=reason,
            order=order,
            error=error,
            previous=self._known.outcomes.get(work.key),
            was_pending=work.message is not None and work.message.pending is not None,
            amount=amount,
            currency=currency,
        )


def _is_ours(order: ExistingOrder, result: SessionResult) -> bool:
    ours = result.order or {}
    return (order.pk, order.sk) == (ours.get("PK"), ours.get("SK"))
