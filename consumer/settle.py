"""One group of sessions of one run: decide, fetch what is missing, look again, commit together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from consumer.batch import Work
from consumer.decide import by_lookup, by_stripe, unexpected
from recon.config import Settings
from recon.errors import OutOfTime, Permanent, SyncError, Unfinished
from recon.ledger.orders import Orders, Users, orders_by_user
from recon.ledger.outcomes import Commit, Committed, Known, Looked, Result
from recon.ledger.records import KnownOutcome
from recon.ledger.table import Table
from recon.order import Json
from recon.reconcile import UNPAID, FoundOrder, Outcome, Reason, drift_of, user_ids, worth_of
from recon.retry import Deadline
from recon.telemetry import Telemetry, frames

if TYPE_CHECKING:
    from recon.message import SessionMessage
    from recon.stripe_source import StripeSource


COMPLETED = "checkout.session.completed"  # the type of an event whose message does not say it
NO_CHARGES = (
    "no_charges: the Stripe key may not read charges or disputes, so orders that were refunded or lost in a "
    "dispute before the run are written like all others; give the key read access to Charges, PaymentIntents "
    "and Disputes"
)


@dataclass(frozen=True)
class Tools:
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
class Settled:
    """What a group came to: committed results, and sessions that have to be tried later."""

    committed: Committed
    later: dict[str, SyncError]
    warning: str | None = None


class Settle:
    """Settles the sessions of one run, given what the table said of the batch."""

    def __init__(self, tools: Tools, run_id: str, known: Known) -> None:
        self._tools = tools
        self._run_id = run_id
        self._known = known
        self._messages: dict[str, SessionMessage] = {}
        self._charges_unknown = False

    def __call__(self, works: Sequence[Work], orders: Mapping[Users, Orders]) -> Settled:
        self._messages = {work.session_id: work.message for work in works if work.message}
        results: list[Result] = []
        failures: list[tuple[Work, SyncError]] = []
        missing: list[Work] = []
        for work in works:
            match self._decide(work, orders):
                case None:
                    missing.append(work)
                case Reason() as reason:
                    results.append(self._skip(work, reason, self._orders_of(work, orders)))
                case SyncError() as error:
                    failures.append((work, error))
        for work, answer in zip(missing, self._fetch_all(missing), strict=True):
            match answer:
                case Reason() as reason:
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
        return Settled(self._committing()(results), later, warning)

    def _decide(self, work: Work, orders: Mapping[Users, Orders]) -> Reason | SyncError | None:
        """Why to leave it alone, why it fails, or None: the order is missing."""
        if work.message is None:
            return work.problem
        return by_lookup(work.message, orders, self._tools.settings, self._tools.now())

    def _orders_of(self, work: Work, orders: Mapping[Users, Orders]) -> list[FoundOrder]:
        found = orders.get(user_ids(work.message), []) if work.message else []
        return [] if isinstance(found, SyncError) else found

    def _fetch_all(self, missing: Sequence[Work]) -> list[Json | Reason | SyncError]:
        """In parallel, each with an answer of its own."""
        if not missing:
            return []
        try:
            stripe = self._tools.stripe()
        except SyncError as error:
            return [error] * len(missing)
        return list(self._tools.pool.map(lambda work: self._fetch(stripe, work), missing))

    def _fetch(self, stripe: "StripeSource", work: Work) -> Json | Reason | SyncError:
        message = work.message
        assert message is not None  # noqa: S101 - only readable messages get here
        try:
            answer = by_stripe(stripe, message, self._tools.settings, self._tools.now)
        except Exception as error:  # noqa: BLE001 - one session's bug must not be its neighbours' failure
            self._tools.telemetry.error(
                f"Unexpected {type(error).__name__}",
                run_id=self._run_id,
                session_id=work.session_id,
                frames=frames(error),
            )
            return unexpected(error)
        if not answer.charges_known:
            self._charges_unknown = True
        return answer.became

    def _look_again(self, results: Sequence[Result]) -> Looked:
        """Right before a commit: a webhook may have written while Stripe was asked, or while the table was
        busy. What lies under our own key is left to the condition on that key: after a commit whose answer
        was lost it is our own."""
        messages = {
            result.session_id: self._messages[result.session_id] for result in results if result.order
        }
        tools = self._tools
        found = orders_by_user(tools.table, messages.values(), tools.pool, tools.deadline)
        looked = Looked([], {})
        for result in results:
            orders = found[user_ids(messages[result.session_id])] if result.order else []
            if isinstance(orders, SyncError):
                looked.failed[result.session_id] = orders
            elif any(order.is_of(result.session_id) and not _is_ours(order, result) for order in orders):
                looked.results.append(result.as_existing())
            else:
                looked.results.append(result)
        return looked

    def announce_last_attempts(self, works: Iterable[Work]) -> int:
        """Writes the errors of last attempts before they begin, so that a crash is counted too.

        Answers how many were written. Best effort: where the table cannot be written the attempt itself
        will fail and come back.
        """
        last = [work for work in works if self._is_last(work) and work.key not in self._known.outcomes]
        results = [
            self._result(work, Outcome.ERROR, error=Unfinished("the last attempt did not end"))
            for work in last
        ]
        applied = self._committing()(results).applied
        for session_id, result in applied.items():
            key = (self._run_id, session_id)
            self._known.outcomes[key] = KnownOutcome(Outcome.ERROR, Unfinished.__name__, result.message_id)
        return len(applied)

    def _committing(self) -> Commit:
        return Commit(
            self._tools.table,
            self._run_id,
            self._tools.now(),
            self._tools.deadline,
            holds_state=self._known.state_run_id == self._run_id,
            look_again=self._look_again,
        )

    def _gives_up(self, work: Work, error: SyncError) -> bool:
        """Permanent at once; transient at the last attempt, unless it never had its turn."""
        return isinstance(error, Permanent) or (self._is_last(work) and not isinstance(error, OutOfTime))

    def _is_last(self, work: Work) -> bool:
        return work.receive_count >= self._tools.settings.max_receive_count

    def _skip(self, work: Work, reason: Reason, orders: Sequence[FoundOrder] = ()) -> Result:
        """What is not paid yet is kept for the next runs; what waited for that waits no longer otherwise."""
        message = work.message
        result = self._result(work, Outcome.SKIPPED, reason=reason)
        if message is None:
            return result
        if reason is Reason.UNPAID:
            return replace(result, pending=message)
        drift = drift_of(message, orders) if reason is Reason.EXISTS else ()
        may_wait = message.pending is not None or message.payment_status == UNPAID
        return replace(result, drift=drift, ends_pending=may_wait)

    def _create(self, work: Work, order: Json) -> Result:
        """With the events that a webhook may still get marked as handled, and its wait for payment ended."""
        result = self._result(work, Outcome.CREATED, order=order)
        message = work.message
        assert message is not None  # noqa: S101 - only readable messages get here
        types = [*message.event_types, *[COMPLETED] * len(message.event_ids)]
        markers = dict(zip(message.event_ids, types, strict=False))
        return replace(result, markers=tuple(markers.items()), ends_pending=True)

    def _result(
        self,
        work: Work,
        outcome: Outcome,
        *,
        reason: Reason | None = None,
        order: Json | None = None,
        error: SyncError | None = None,
    ) -> Result:
        amount, currency = worth_of(work.message) if work.message else (None, None)
        return Result(
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


def _is_ours(order: FoundOrder, result: Result) -> bool:
    ours = result.order or {}
    return (order.pk, order.sk) == (ours.get("PK"), ours.get("SK"))
