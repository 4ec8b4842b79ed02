"""What the table says about the orders of a batch: the orders themselves, their guards and their markers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from recon.config import FenceMode
from recon.domain.reconcile import ExistingOrder, find_own_orders, skip_reason_from_message, user_ids
from recon.dynamodb.orders import Orders, Users, find_orders_by_user
from recon.dynamodb.outcomes import PriorState, load_guards_and_markers
from recon.errors import SyncError
from recon.retry import LOOKUP_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.invocation import InvocationContext
    from recon.domain.message import SessionMessage


def load_orders(
    context: "InvocationContext", messages: "Sequence[SessionMessage]", prior: PriorState
) -> tuple[dict[Users, Orders], PriorState]:
    """Return the orders of these sessions by user, and `prior` with the guards and markers that it lacks.

    Most sessions have the order of a webhook and need neither, so these are read for the others only, in one
    request. If that fails, the users of those sessions get the error instead of orders.
    """
    table = context.table
    deadline = context.deadline.share(LOOKUP_SHARE)
    orders = find_orders_by_user(table, messages, context.pool, deadline)
    open_messages = [message for message in messages if message.session_id not in prior.dismissed]
    own = {message.session_id: _find_own(message, orders) for message in open_messages}
    guarding, fencing = [], []
    if prior.guarded is None:
        guarding = [message for message in open_messages if _needs_guard(own[message.session_id])]
    if prior.markers is None:
        mode = context.settings.webhook_fence
        fencing = [message for message in open_messages if _needs_markers(own[message.session_id], mode)]
    session_ids = dict.fromkeys(message.session_id for message in guarding)
    event_ids = dict.fromkeys(event.id for message in fencing for event in message.events)
    try:
        guarded, markers = load_guards_and_markers(table, session_ids, event_ids, context.deadline)
    except SyncError as error:
        return orders | {user_ids(message): error for message in [*guarding, *fencing]}, prior
    # A guard is put together with its order, by another run perhaps after the orders were read.
    late = [message for message in guarding if message.session_id in guarded and not own[message.session_id]]
    for ids, found in find_orders_by_user(table, late, context.pool, deadline).items():
        known = orders[ids]
        orders[ids] = [*known, *found] if isinstance(known, list) and isinstance(found, list) else found
    return orders, replace(
        prior,
        guarded=guarded if prior.guarded is None else prior.guarded,
        markers=markers if prior.markers is None else prior.markers,
    )


def _find_own(message: "SessionMessage", orders: dict[Users, Orders]) -> list[ExistingOrder] | None:
    """Return the orders of a session, or None if they are not known or none of it is written."""
    found = None if skip_reason_from_message(message) else orders[user_ids(message)]
    return find_own_orders(message.session_id, found) if isinstance(found, list) else None


def _needs_guard(own: list[ExistingOrder] | None) -> bool:
    """Return whether the session may get an order, or has one of this sync, maybe without a guard."""
    return own is not None and (not own or any(order.sync_run_id for order in own))


def _needs_markers(own: list[ExistingOrder] | None, mode: FenceMode) -> bool:
    return own is not None and mode is not FenceMode.OFF and (not own or mode is FenceMode.ALL)
