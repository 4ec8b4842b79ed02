"""Pure: a session whose order is there."""

from datetime import UTC, datetime

from ops.explain.facts import Facts, OrderThere
from ops.explain.next_run import utc, what_comes
from ops.explain.verdict_types import Case, Verdict
from ops.explain.webhook_diagnosis import cause
from recon.domain.stripe_objects import UNPAID
from recon.timestamps import parse_epoch

_LEFT_ALONE = "No run changes or deletes an order."


def _duplicate(facts: Facts) -> Verdict | None:
    if len(facts.orders) <= 1:
        return None
    keys = ", ".join(order.key for order in facts.orders)
    recovered = [order.key for order in facts.orders if order.is_recovered]
    surplus = f"usually the sync's, {recovered[0]}" if recovered else "the one that nobody works with"
    return Verdict(
        Case.DUPLICATE,
        f"It has {len(facts.orders)} orders: {keys}.",
        _LEFT_ALONE,
        f"See which of them was shipped, and delete the other from the table: {surplus}.",
    )


def _drift(facts: Facts) -> Verdict | None:
    if not facts.orders or not facts.drift:
        return None
    return Verdict(
        Case.DRIFT,
        f"{_origin(facts.orders[0])} It says something else than Stripe: {'; '.join(facts.drift)}.",
        _LEFT_ALONE,
        "Compare the two, and correct the order by hand where Stripe is right.",
    )


def _left_over(facts: Facts) -> Verdict | None:
    if not facts.orders or not facts.dead_letters:
        return None
    return Verdict(
        Case.LEFT_OVER,
        f"{_origin(facts.orders[0])} A message of it still lies in the dead-letter queue.",
        "Moved back, the message is dropped or counts as skipped, since the order is there.",
        f"Have it dropped: nightly-sync dlq redrive --session {facts.session_id}",
    )


def _unpaid(facts: Facts) -> Verdict | None:
    if not facts.orders or not facts.stripe or facts.stripe.payment_status != UNPAID:
        return None
    return Verdict(
        Case.UNPAID_ORDER,
        f"{_origin(facts.orders[0])} Stripe says that it is not paid.",
        what_comes(facts),
        "Ship nothing before it is paid; look at the payment in Stripe's Dashboard.",
    )


def _there(facts: Facts) -> Verdict | None:
    if not facts.orders:
        return None
    (order,) = facts.orders
    case, since = (Case.RECOVERED, cause(facts)) if order.is_recovered else (Case.WEBHOOK, "")
    if facts.stripe and facts.stripe.refunded:
        case, since = Case.REFUNDED_ORDER, " Its money went back since, in full or by a lost dispute."
    return Verdict(case, _origin(order) + since, what_comes(facts))


def _origin(order: OrderThere) -> str:
    number = order.order_number or order.key
    at = _at(order.updated_at)
    if order.is_recovered:
        run = f"Run {order.run_id}" if order.run_id else "The sync"
        return f"{run} wrote its order {number}{at}, since the webhook's was missing."
    changed = f"; it was changed last{at}" if at else ""
    return f"The webhook wrote its order {number}{changed}."


def _at(moment: str | None) -> str:
    """Of a time as the table holds it, which another program may have written."""
    try:
        return f" at {utc(datetime.fromtimestamp(parse_epoch(moment), UTC))}" if moment else ""
    except ValueError:
        return ""


RULES = (_duplicate, _drift, _left_over, _unpaid, _there)
