"""The missing orders of a shop with its own layout: looked up once more before they are reported."""

from dataclasses import replace
from typing import TYPE_CHECKING

from consumer.stripe_decision import StripeDecision
from recon.domain.outcome import SkipReason
from recon.domain.shape_decision import Missing, decide_from_orders
from recon.domain.table_decision import find_drift
from recon.dynamodb.order_lookup import make_lookup
from recon.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.invocation import InvocationContext
    from recon.domain.message import SessionMessage
    from recon.dynamodb.user_orders import Orders


def confirm_missing(
    context: "InvocationContext", decided: "Mapping[SessionMessage, StripeDecision]"
) -> "dict[SessionMessage, StripeDecision]":
    """Return the decisions, with skips of the sessions whose order the shop has done by now.

    The shop's webhook may have worked during the requests to Stripe. A message from before a change of the
    file has its key only now, from the session that Stripe returned.
    """
    renewed = {
        message: replace(message, key_values=decision.result.key_values)
        for message, decision in decided.items()
        if isinstance(decision.result, Missing)
    }
    if not renewed:
        return dict(decided)
    settings = context.settings
    lookup = make_lookup(context.table, context.pool, settings.shape, settings.order_sort_key)
    found = lookup.find(renewed.values(), context.deadline)
    return dict(decided) | {
        message: _decide_again(context, now_known, found[now_known], decided[message])
        for message, now_known in renewed.items()
    }


def _decide_again(
    context: "InvocationContext", message: "SessionMessage", orders: "Orders", decision: StripeDecision
) -> StripeDecision:
    # Stripe's own time of the payment has decided whether the order has expired.
    match decide_from_orders(message, orders, context.settings.shape, now=context.now(), ttl_days=0):
        case None:
            return decision
        case SkipReason.EXISTS if not isinstance(orders, SyncError):
            return replace(decision, result=SkipReason.EXISTS, drift=find_drift(message, orders))
        case result:
            return replace(decision, result=result)
