"""The stored orders of a batch, with their guards and their markers."""

from typing import TYPE_CHECKING

from recon.config import FenceMode
from recon.domain.outcome import SkipReason
from recon.domain.table_decision import ExistingOrder, skip_reason_from_message
from recon.dynamodb.keys import guard_key, marker_key
from recon.dynamodb.order_lookup import make_lookup
from recon.dynamodb.outcomes import PriorState, load_unread
from recon.dynamodb.table import Key
from recon.dynamodb.user_orders import Orders
from recon.errors import SyncError
from recon.retry import LOOKUP_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.invocation import InvocationContext
    from recon.domain.message import SessionMessage


def load_orders(
    context: "InvocationContext", messages: "Sequence[SessionMessage]", prior: PriorState
) -> "tuple[dict[SessionMessage, Orders], PriorState]":
    """Return the orders of each session, and `prior` with the guards and markers that it lacks.

    Most sessions have the order of a webhook and need neither, so these are read for the others only, up to
    100 in a request. If that fails, those sessions get the error instead of orders.
    """
    table = context.table
    deadline = context.deadline.share(LOOKUP_SHARE)
    settings = context.settings
    lookup = make_lookup(table, context.pool, settings.shape, settings.order_sort_key)
    orders = lookup.find(messages, deadline)
    open_messages = [message for message in messages if message.session_id not in prior.dismissed]
    own = {message.session_id: _find_own(message, orders[message]) for message in open_messages}
    wanted = {
        message.session_id: keys
        for message in open_messages
        if (
            keys := _list_keys(message, own[message.session_id], context.settings.webhook_fence)
            & prior.unread
        )
    }
    try:
        loaded = load_unread(table, prior, frozenset[Key]().union(*wanted.values()), context.deadline)
    except SyncError as error:
        failed = [message for message in open_messages if message.session_id in wanted]
        return orders | dict.fromkeys(failed, error), prior
    # A guard is put together with its order, by another run perhaps after the orders were read.
    new = loaded.guarded - prior.guarded
    late = [message for message in open_messages if message.session_id in new and not own[message.session_id]]
    return orders | lookup.find(late, deadline), loaded


def _find_own(message: "SessionMessage", orders: Orders) -> list[ExistingOrder] | None:
    """Return the orders of a session, or None if they are not known or it sells nothing."""
    is_sale = skip_reason_from_message(message) is not SkipReason.NOT_A_SALE
    return orders if is_sale and isinstance(orders, list) else None


def _list_keys(message: "SessionMessage", own: list[ExistingOrder] | None, mode: FenceMode) -> frozenset[Key]:
    """Return the keys of the guard and the markers that decide about a session with these orders.

    A guard matters if an order may be written, or if an order of this sync may lack it.
    """
    if own is None:
        return frozenset()
    keys = []
    if not own or any(order.sync_run_id for order in own):
        keys.append(guard_key(message.session_id))
    if mode is FenceMode.ALL or (mode is FenceMode.WRITTEN and not own):
        keys += [marker_key(event.id) for event in message.events]
    return frozenset(keys)
