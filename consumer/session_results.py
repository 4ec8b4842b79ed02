"""The results to write of decided sessions: the outcome, and what changes in the records beside it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from consumer.session_tasks import SessionTask
from consumer.stripe_decision import StripeDecision
from recon.domain.attention import Attention
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.shape_decision import Missing
from recon.domain.stripe_objects import PAID, UNPAID, Json
from recon.domain.table_decision import ExistingOrder, amount_and_currency, find_drift, find_own_orders
from recon.domain.waiting import is_wait_over
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.user_orders import Orders
from recon.errors import SyncError

if TYPE_CHECKING:
    from recon.domain.fence import EventMark
    from recon.domain.message import SessionMessage


class ResultBuilder:
    """Builds results. `prior` is what the table holds about the batch, and `now` returns epoch seconds."""

    def __init__(self, prior: PriorState, now: Callable[[], int]) -> None:
        self._prior = prior
        self._now = now

    def build_error(self, task: SessionTask, error: SyncError) -> SessionResult:
        """Return the result of a session whose attempts have failed for good."""
        return self._build(task, Outcome.ERROR, error=error)

    def build_skipped(self, task: SessionTask, reason: SkipReason, orders: Orders) -> SessionResult:
        """Return a skip that also updates the session's pending entry.

        If the session is unpaid, store the entry so that later runs check the session again. For any other
        reason, delete the entry.
        """
        message = task.message
        result = self._build(task, Outcome.SKIPPED, reason=reason)
        if message is None:
            return result
        if reason is SkipReason.UNPAID:
            is_over = is_wait_over(message.created, self._now())
            return replace(result, pending=None if is_over else message)
        if (
            reason is SkipReason.NO_USER
            and message.payment_status == PAID
            and (message.amount_total or 0) > 0
        ):
            result = replace(result, attention=(Attention.NO_USER_PAID,))
        if reason is SkipReason.EXISTS and isinstance(orders, list):
            own = find_own_orders(message, orders)
            result = replace(
                result,
                order_says_paid=any(order.payment_status == PAID for order in own),
                drift=find_drift(message, orders),
                unguarded=self._find_unguarded(message, orders),
            )
        may_be_pending = message.pending is not None or message.payment_status == UNPAID
        if prior := self._prior.attention.get(task.session_id):
            may_be_pending |= Attention.MISSING in prior.words
        return replace(result, ends_pending=may_be_pending)

    def _find_unguarded(
        self, message: "SessionMessage", orders: Sequence[ExistingOrder]
    ) -> ExistingOrder | None:
        """Return the session's order that this sync wrote without a guard, as earlier versions did."""
        if message.session_id in self._prior.guarded:
            return None
        own = (order for order in orders if order.belongs_to(message) and order.sync_run_id)
        return next(own, None)

    def build_skipped_by_stripe(self, task: SessionTask, decision: StripeDecision) -> SessionResult:
        """Return a skip that stores the pending entry if Stripe's state may change, and else deletes it.

        An earlier run may have stored the entry of a hold, whatever its message says about the payment.
        """
        assert isinstance(decision.result, SkipReason)  # noqa: S101 - the caller has checked it
        return replace(
            self._build(task, Outcome.SKIPPED, reason=decision.result),
            attention=decision.attention,
            attention_until=decision.attention_until,
            drift=decision.drift,
            pending=task.message if decision.waits else None,
            ends_pending=not decision.waits,
        )

    def build_missing(self, task: SessionTask, missing: Missing) -> SessionResult:
        """Return that an order is missing, with an entry so that later runs look for it."""
        assert task.message is not None  # noqa: S101 - only readable messages get here
        return replace(
            self._build(task, Outcome.MISSING),
            attention=(Attention.MISSING,),
            pending=replace(task.message, key_values=missing.key_values),
        )

    def build_created(
        self,
        task: SessionTask,
        order: Json,
        marks: "tuple[EventMark, ...]",
        attention: tuple[Attention, ...],
    ) -> SessionResult:
        """Return a created order that marks the session's events as handled and deletes the pending entry."""
        result = self._build(task, Outcome.CREATED, order=order)
        return replace(result, marks=marks, attention=attention, ends_pending=True)

    def _build(
        self,
        task: SessionTask,
        outcome: Outcome,
        *,
        reason: SkipReason | None = None,
        order: Json | None = None,
        error: SyncError | None = None,
    ) -> SessionResult:
        amount, currency = amount_and_currency(task.message) if task.message else (None, None)
        return SessionResult(
            session_id=task.session_id,
            outcome=outcome,
            attempts=task.receive_count,
            message_id=task.message_id,
            reason=reason,
            order=order,
            error=error,
            previous=self._prior.outcomes.get(task.key),
            prior_attention=self._prior.attention.get(task.session_id),
            was_pending=task.message is not None and task.message.pending is not None,
            amount=amount,
            currency=currency,
        )
