"""Sessions of one run, reconciled together: decide, fetch missing ones, recheck, commit."""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from consumer.invocation import InvocationContext
from consumer.missing_orders import confirm_missing
from consumer.session_results import ResultBuilder
from consumer.session_tasks import SessionTask
from consumer.stripe_decision import (
    OrderFacts,
    StripeDecision,
    decide_from_stripe,
    describe_unpaid_orders,
    to_unexpected,
)
from consumer.webhook_fence import WebhookFence
from recon.domain.attention import Attention
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.shape_decision import Missing, decide_from_orders
from recon.domain.stripe_objects import UNPAID, Json
from recon.domain.table_decision import ExistingOrder, find_own_orders
from recon.dynamodb.keys import WATERMARK_KEY, pending_key
from recon.dynamodb.outcome_writer import Committed, OutcomeWriter, Recheck
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.user_orders import Orders, find_orders_by_session
from recon.dynamodb.watermark import parse_watermark
from recon.errors import OutOfTime, Permanent, SyncError, Unfinished, WebhookAtWork
from recon.stripe.bulk import select_dense
from recon.telemetry import frames

if TYPE_CHECKING:
    from concurrent.futures import Future

    from recon.domain.message import SessionMessage
    from recon.stripe.source import StripeSource


NO_CHARGES = (
    "no_charges: the Stripe key may not read charges or disputes, so orders that were refunded or lost in a "
    "dispute before the run are written like all others; give the key read access to Charges, "
    "PaymentIntents, Disputes and, for subscriptions, Invoices"
)
NO_DETAILS = (
    "no_details: the Stripe key may not read all optional objects, so orders are written without the data of "
    "those that it may not read; see docs/stripe-key.md for the permissions"
)


@dataclass(frozen=True)
class GroupResult:
    """The committed results of a group, and the errors of sessions to retry later, by session id.

    `warnings` name what the Stripe key may not read.
    """

    committed: Committed
    delayed: dict[str, SyncError]
    warnings: tuple[str, ...] = ()


class SessionGroup:
    """Sessions of one run that are committed together. `prior` is what the table holds about the batch."""

    def __init__(self, context: InvocationContext, run_id: str, prior: PriorState) -> None:
        self._context = context
        self._run_id = run_id
        self._prior = prior
        self._builder = ResultBuilder(prior, context.now)
        self._messages: dict[str, SessionMessage] = {}
        self._waiting: set[str] = set()  # sessions that a run listed although they wait
        self._committed = Committed({}, {}, {})
        self._delayed: dict[str, SyncError] = {}
        self._warnings: set[str] = set()
        self._writing: Future[None] | None = None

    def reconcile(
        self, tasks: Sequence[SessionTask], orders_by_session: "Mapping[SessionMessage, Orders]"
    ) -> GroupResult:
        """Decide each session, write the missing orders and all outcomes, and return the results.

        The outcomes of sessions with an order are written while Stripe answers about the others, and orders
        that lists bring while further pages are requested. All others are written at the end.
        """
        self._messages = {task.session_id: task.message for task in tasks if task.message}
        results: list[SessionResult] = []
        failures: list[tuple[SessionTask, SyncError]] = []
        missing: dict[str, SessionTask] = {}
        for task in tasks:
            orders = _session_orders(task, orders_by_session)
            match self._decide(task, orders):
                case None:
                    missing[task.session_id] = task
                case SkipReason() as reason:
                    results.append(self._builder.build_skipped(task, reason, orders))
                case SyncError() as error:
                    failures.append((task, error))
        found = self._find_orders(tasks, orders_by_session)
        self._fence = WebhookFence(
            self._context,
            self._run_id,
            self._prior.markers,
            [self._messages[session_id] for session_id in missing],
            {self._messages[session_id]: own for session_id, own in found.items()},
        )
        if missing and results and not self._fence.marks_found:
            self._writing, results = self._context.pool.submit(self._commit, results), []
        try:
            with closing(self._list_together(missing)) as parts:
                for listed in parts:
                    part = [missing.pop(session_id) for session_id in listed]
                    decided = self._fetch_all(part, orders_by_session, listed)
                    self._write(self._to_results(part, decided))
            rest = list(missing.values())
            decided = self._fetch_all(rest, orders_by_session, {})
            results += self._to_results(rest, decided, failures, marks_found=True)
            results = [self._mark_found(result, found.get(result.session_id, ())) for result in results]
        finally:
            self._await_writing()
        self._write(results)
        return self.result

    @property
    def result(self) -> GroupResult:
        """Return the result so far, also after an error."""
        return GroupResult(self._committed, self._delayed, tuple(sorted(self._warnings)))

    def _write(self, results: Sequence[SessionResult]) -> None:
        # Two transactions at once would only conflict on the counters.
        self._await_writing()
        self._commit(results)

    def _await_writing(self) -> None:
        writing, self._writing = self._writing, None
        try:
            if writing:
                writing.result()
        except Exception as error:  # noqa: BLE001 - its sessions return, and all others still have theirs
            self._context.telemetry.error(
                f"Unexpected {type(error).__name__} in a commit", run_id=self._run_id, frames=frames(error)
            )

    def _commit(self, results: Sequence[SessionResult]) -> None:
        writer = self._outcome_writer()
        try:
            writer.write(results)
        finally:
            self._committed.add(writer.committed)

    def _to_results(
        self,
        tasks: Sequence[SessionTask],
        decisions: Sequence[StripeDecision],
        failures: Iterable[tuple[SessionTask, SyncError]] = (),
        *,
        marks_found: bool = False,
    ) -> list[SessionResult]:
        """Return the results to write of decided sessions. Those to retry later are kept in `_delayed`."""
        self._warnings |= set(_list_warnings(decisions))
        # The lookup before the commit needs the user.
        self._messages |= {one.renewed.session_id: one.renewed for one in decisions if one.renewed}
        written = [
            (task.message, each.result)
            for task, each in zip(tasks, decisions, strict=True)
            if task.message and isinstance(each.result, dict)
        ]
        unread = self._fence.read_delivered(written, marks_found=marks_found)
        results = []
        failures = list(failures)
        for task, decision in zip(tasks, self._confirm_missing(tasks, decisions), strict=True):
            match self._to_result_by_stripe(task, decision, unread):
                case SyncError() as error:
                    failures.append((task, error))
                case result:
                    results.append(result)
        for task, error in failures:
            if self._gives_up(task, error):
                results.append(self._builder.build_error(task, error))
            else:
                self._delayed[task.session_id] = error
        return results

    def _to_result_by_stripe(
        self, task: SessionTask, decision: StripeDecision, unread: SyncError | None
    ) -> SessionResult | SyncError:
        """Return what follows from Stripe's answer.

        An order to write waits while its events could not be read (`unread`), and while the webhook works.
        """
        match decision.result:
            case SkipReason():
                return self._builder.build_skipped_by_stripe(task, decision)
            case Missing() as missing:
                return self._builder.build_missing(task, missing)
            case SyncError() as error:
                return error
        if unread:
            return unread
        assert task.message is not None  # noqa: S101 - only readable messages get here
        marks = self._fence.mark_written(task.message, decision.result)
        wait = max((mark.wait_seconds(self._context.now()) for mark in marks), default=0)
        if wait:
            return WebhookAtWork(wait)
        return self._builder.build_created(task, decision.result, marks, decision.attention)

    def _confirm_missing(
        self, tasks: Sequence[SessionTask], decisions: Sequence[StripeDecision]
    ) -> Sequence[StripeDecision]:
        """Return the decisions; those of a shop with its own layout are looked up once more."""
        if self._context.settings.shape is None:
            return decisions
        decided = {
            task.message: decision for task, decision in zip(tasks, decisions, strict=True) if task.message
        }
        confirmed = confirm_missing(self._context, decided)
        return [confirmed[task.message] for task in tasks if task.message]

    def _find_orders(
        self, tasks: Iterable[SessionTask], orders_by_session: "Mapping[SessionMessage, Orders]"
    ) -> dict[str, list[ExistingOrder]]:
        """Return the orders of each session that has any, and that nobody has dismissed."""
        found = {}
        for task in tasks:
            orders = _session_orders(task, orders_by_session)
            own = find_own_orders(task.message, orders) if task.message and isinstance(orders, list) else []
            if own and task.session_id not in self._prior.dismissed:
                found[task.session_id] = own
        return found

    def _mark_found(self, result: SessionResult, orders: Sequence[ExistingOrder]) -> SessionResult:
        if result.outcome is not Outcome.SKIPPED or not orders:
            return result
        return replace(result, marks=self._fence.mark_found(self._messages[result.session_id], orders))

    def _decide(self, task: SessionTask, orders: Orders) -> SkipReason | SyncError | None:
        if task.session_id in self._prior.dismissed:
            return SkipReason.DISMISSED
        if task.message is None:
            return task.problem
        now, ttl_days = self._context.now(), self._context.settings.order_ttl_days
        decision = decide_from_orders(
            task.message,
            orders,
            self._context.settings.shape,
            now=now,
            ttl_days=ttl_days,
            is_guarded=task.session_id in self._prior.guarded,
        )
        if decision is not SkipReason.EXPIRED:
            return decision
        try:
            # A session that waits counts from its payment, also if a run lists it again.
            if not self._context.table.get(pending_key(task.session_id), self._context.deadline):
                return decision
        except SyncError as error:
            return error
        self._waiting.add(task.session_id)
        return None

    def _list_together(self, missing: Collection[str]) -> Generator[dict[str, Json | None]]:
        """Yield those sessions in parts that lie close together, with what lists bring of each."""
        created = {session_id: message.created for session_id, message in self._messages.items()}
        wanted = select_dense(created, missing)
        if not wanted:
            return
        try:
            stripe = self._context.stripe()
        except SyncError:
            # `_fetch_all` returns it for each session.
            return
        try:
            yield from stripe.list_together(wanted, self._context.pool)
        except Exception as error:  # noqa: BLE001 - each session still has its own request
            self._context.telemetry.error(
                f"Unexpected {type(error).__name__} in a list", run_id=self._run_id, frames=frames(error)
            )

    def _fetch_all(
        self,
        missing: Sequence[SessionTask],
        orders_by_session: "Mapping[SessionMessage, Orders]",
        listed: Mapping[str, Json | None],
    ) -> list[StripeDecision]:
        """Fetch in parallel what is not listed, and return one decision per task, in their order."""
        if not missing:
            return []
        try:
            stripe = self._context.stripe()
        except SyncError as error:
            return [StripeDecision(error)] * len(missing)
        sessions = [listed.get(task.session_id) for task in missing]
        orders = [_session_orders(task, orders_by_session) for task in missing]
        return list(self._context.pool.map(partial(self._fetch, stripe), missing, sessions, orders))

    def _fetch(
        self, stripe: "StripeSource", task: SessionTask, listed: Json | None, orders: Orders
    ) -> StripeDecision:
        message = task.message
        assert message is not None  # noqa: S101 - only readable messages get here
        try:
            found = [] if isinstance(orders, SyncError) else orders
            own = find_own_orders(message, found)
            waits = task.session_id in self._waiting
            facts = OrderFacts(own, self._knows_unpaid(task.session_id), waits, self._find_proof)
            return decide_from_stripe(
                stripe, message, self._context.settings, self._context.now, facts, listed
            )
        except Exception as error:  # noqa: BLE001 - a bug in one session must not fail the others
            self._context.telemetry.error(
                f"Unexpected {type(error).__name__}",
                run_id=self._run_id,
                session_id=task.session_id,
                frames=frames(error),
            )
            return StripeDecision(to_unexpected(error))

    def _knows_unpaid(self, session_id: str) -> bool:
        """Return whether a person knows that the session's order says unpaid."""
        prior = self._prior.attention.get(session_id)
        return prior is not None and prior.is_acknowledged(Attention.ORDER_SAYS_UNPAID)

    def _find_proof(self) -> str | None:
        """Return the session that proves the account and mode of the key, if one is known."""
        item = self._context.table.get(WATERMARK_KEY, self._context.deadline)
        return parse_watermark(item).proven_by if item else None

    def _recheck_orders(self, results: Sequence[SessionResult]) -> Recheck:
        """Look up the orders again right before a commit, and skip sessions that have one by now.

        A webhook may have written one during the fetch or while the table was busy. An order under this
        consumer's own key is left to the put's condition: after a commit whose response was lost it is ours.
        """
        messages = {
            result.session_id: self._messages[result.session_id] for result in results if result.order
        }
        context = self._context
        found = find_orders_by_session(
            context.table,
            messages.values(),
            context.pool,
            context.deadline,
            sort_key=context.settings.order_sort_key,
        )
        recheck = Recheck([], {})
        for result in results:
            message = messages.get(result.session_id)
            orders = found[message] if message else []
            if isinstance(orders, SyncError):
                recheck.failed[result.session_id] = orders
                continue
            own = find_own_orders(message, orders) if message else []
            others = [order for order in own if not _is_ours(order, result)]
            recheck.results.append(self._skip_existing(result, others) if others else result)
        return recheck

    def _skip_existing(self, result: SessionResult, orders: Sequence[ExistingOrder]) -> SessionResult:
        """Return the skip of a paid session whose order another writer wrote, which may say unpaid."""
        message = self._messages[result.session_id]
        skipped = self._mark_found(result.to_skipped_existing(), orders)
        if any(order.payment_status != UNPAID for order in orders):
            return skipped
        decision = describe_unpaid_orders(
            message, orders, self._context.now(), is_acknowledged=self._knows_unpaid(result.session_id)
        )
        return replace(
            skipped,
            drift=decision.drift,
            attention=decision.attention,
            pending=message if decision.waits else None,
            ends_pending=not decision.waits,
        )

    def announce_last_attempts(self, tasks: Iterable[SessionTask]) -> int:
        """Write the errors of last attempts before these start, so that a crash is counted too.

        Return how many were written. This is best effort: if the table cannot be written, the attempt
        itself fails and its message returns.
        """
        last = [
            task for task in tasks if self._is_last_attempt(task) and task.key not in self._prior.outcomes
        ]
        results = [
            self._builder.build_error(task, Unfinished("the last attempt did not finish")) for task in last
        ]
        applied = self._outcome_writer().write(results).applied
        for session_id in applied:
            self._prior.outcomes[self._run_id, session_id] = OutcomeRecord(session_id, Outcome.ERROR)
        return len(applied)

    def _outcome_writer(self) -> OutcomeWriter:
        return OutcomeWriter(
            self._context.table,
            self._run_id,
            self._context.now(),
            self._context.deadline,
            holds_state=self._prior.state_run_id == self._run_id,
            look_again=self._recheck_orders,
        )

    def _gives_up(self, task: SessionTask, error: SyncError) -> bool:
        """Return whether the error is final.

        A permanent error always is. A retryable one is at the last attempt, unless the session had no turn or
        only waits for the webhook.
        """
        return isinstance(error, Permanent) or (
            self._is_last_attempt(task) and not isinstance(error, OutOfTime | WebhookAtWork)
        )

    def _is_last_attempt(self, task: SessionTask) -> bool:
        return task.receive_count >= self._context.settings.max_receive_count


def _list_warnings(decisions: Iterable[StripeDecision]) -> tuple[str, ...]:
    """Return what the key may not read, as far as these decisions needed it."""
    warnings = {NO_CHARGES: "charges_known", NO_DETAILS: "details_known"}
    return tuple(text for text, known in warnings.items() if not all(getattr(d, known) for d in decisions))


def _session_orders(task: SessionTask, orders_by_session: "Mapping[SessionMessage, Orders]") -> Orders:
    """Return the orders of the session, or the error of their lookup."""
    return orders_by_session[task.message] if task.message else []


def _is_ours(order: ExistingOrder, result: SessionResult) -> bool:
    ours = result.order or {}
    return (order.pk, order.sk) == (ours.get("PK"), ours.get("SK"))
