"""Rules for sessions whose order exists. Pure."""

from ops.explain.facts import CurrentSession, SessionFacts, StoredOrder
from ops.explain.next_run import describe_next
from ops.explain.payment_words import describe_attention, describe_open_payment
from ops.explain.verdict_types import SessionVerdict, VerdictCase
from ops.explain.webhook_diagnosis import diagnose_webhook
from ops.format.text import format_stored_time
from recon.domain.order import SOURCE
from recon.domain.outcome import SkipReason
from recon.domain.stripe_objects import UNPAID

_NOT_CHANGED = "No run changes or deletes an order."


def _explain_duplicate(facts: SessionFacts) -> SessionVerdict | None:
    if len(facts.orders) <= 1:
        return None
    keys = ", ".join(order.key for order in facts.orders)
    ours = [order.key for order in facts.orders if order.is_recovered]
    others = [order.key for order in facts.orders if not order.is_of_webhook]
    surplus = "the one that is not in use"
    if added := ours or others:
        surplus = f"usually {'the sync' if ours else 'the other program'}'s, {added[0]}"
    return SessionVerdict(
        VerdictCase.DUPLICATE,
        f"It has {len(facts.orders)} orders: {keys}.",
        _NOT_CHANGED,
        f"Check which of them was shipped, and delete the other from the table: {surplus}.",
    )


def _explain_drift(facts: SessionFacts) -> SessionVerdict | None:
    if not facts.orders or not facts.drift:
        return None
    return SessionVerdict(
        VerdictCase.DRIFT,
        f"{_describe_origin(facts.orders[0])} It differs from Stripe: {'; '.join(facts.drift)}.",
        _NOT_CHANGED,
        "Compare the two, and correct the order manually if Stripe is right.",
    )


def _explain_left_over(facts: SessionFacts) -> SessionVerdict | None:
    if not facts.orders or not facts.dead_letters:
        return None
    return SessionVerdict(
        VerdictCase.LEFT_OVER,
        f"{_describe_origin(facts.orders[0])} The dead-letter queue still holds a message of it.",
        "If the message is moved back, it is dropped or counted as skipped, since the order exists.",
        f"Move it back to drop it: nightly-sync dlq redrive --session {facts.session_id}",
    )


def _explain_unpaid(facts: SessionFacts) -> SessionVerdict | None:
    if not facts.orders or not facts.stripe or not _has_open_payment(facts.stripe):
        return None
    return SessionVerdict(
        VerdictCase.UNPAID_ORDER,
        f"{_describe_origin(facts.orders[0])} {describe_open_payment(facts.stripe)}",
        describe_next(facts),
        "Do not ship it before it is paid; check the payment in Stripe's Dashboard.",
    )


def _has_open_payment(session: CurrentSession) -> bool:
    without_money = (SkipReason.AWAITING_CAPTURE, SkipReason.PAYMENT_FAILED)
    return session.payment_status == UNPAID or session.skip_reason in without_money


def _explain_order(facts: SessionFacts) -> SessionVerdict | None:
    if not facts.orders:
        return None
    (order,) = facts.orders
    case, since = VerdictCase.WEBHOOK, ""
    if order.is_recovered:
        case, since = VerdictCase.RECOVERED, diagnose_webhook(facts)
    elif not order.is_of_webhook:
        case = VerdictCase.OTHER_PROGRAM
    if facts.stripe and facts.stripe.refunded:
        case, since = VerdictCase.REFUNDED_ORDER, " It was refunded in full or lost in a dispute since."
    since += describe_attention(facts.stripe)
    return SessionVerdict(case, _describe_origin(order) + since, describe_next(facts))


def _describe_origin(order: StoredOrder) -> str:
    number = order.order_number or order.key
    at = _describe_time(order.updated_at)
    if order.is_recovered:
        return f"Run {order.run_id} wrote its order {number}{at}, because the webhook's was missing."
    changed = f"; it was last changed{at}" if at else ""
    if order.is_of_webhook:
        return f"The webhook wrote its order {number}{changed}."
    writer = "The sync before this system" if order.source == SOURCE else "Another program"
    return f"{writer} (source {order.source}) wrote its order {number}{changed}."


def _describe_time(stored: str | None) -> str:
    """Return a stored time as ` at ...`, or an empty string if it cannot be parsed."""
    at = format_stored_time(stored)
    return f" at {at} UTC" if at else ""


RULES = (_explain_duplicate, _explain_drift, _explain_left_over, _explain_unpaid, _explain_order)
