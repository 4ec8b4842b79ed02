"""Pure: the decision about a session by the orders found, in this system's layout or another shop's.

The sync writes no order into another shop's layout. It only finds out which are missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recon.domain.key_template import ID
from recon.domain.message import SessionMessage
from recon.domain.outcome import SkipReason
from recon.domain.shape import Shape
from recon.domain.stripe_objects import SETUP, UNPAID
from recon.domain.table_decision import (
    ExistingOrder,
    decide_from_table,
    find_unknown_word,
    is_order_expired,
    skip_reason_from_message,
)
from recon.errors import SyncError


@dataclass(frozen=True)
class Missing:
    """The order of a paid session is missing. `key_values` are those of the session that Stripe returned."""

    key_values: tuple[tuple[str, str], ...]


def knows_key(message: SessionMessage, shape: Shape) -> bool:
    """Return whether the message has what Stripe has at each path of the key.

    A message of an earlier version, or from before a change of the file, lacks some.
    """
    return set(shape.paths) <= {ID, *dict(message.key_values)}


def is_made_with_shape(message: SessionMessage) -> bool:
    """Return whether the message has a key and no user, whom only Stripe's session names."""
    return bool(message.key_values)


def make_key(message: SessionMessage, shape: Shape) -> dict[str, str] | None:
    """Return the key of the session's item, or None if it cannot be made."""
    return shape.make_key({ID: message.session_id, **dict(message.key_values)})


def find_skip_reason(message: SessionMessage, shape: Shape | None) -> SkipReason | None:
    """Return the reason to skip the session that the message alone gives, if any."""
    if shape is None:
        return skip_reason_from_message(message)
    if message.mode == SETUP:
        return SkipReason.NOT_A_SALE
    is_keyless = knows_key(message, shape) and make_key(message, shape) is None
    return SkipReason.NO_KEY if is_keyless else None


def decide_from_orders(
    message: SessionMessage,
    orders: Sequence[ExistingOrder] | SyncError,
    shape: Shape | None,
    *,
    now: int,
    ttl_days: int,
    is_guarded: bool = False,
) -> SkipReason | SyncError | None:
    """Return the reason to skip the session, an error, or None if its order is missing and Stripe decides.

    `orders` are those that were found, or the error that their lookup raised. `now` is in epoch seconds.
    """
    if shape is None:
        reason = decide_from_table(message, orders, now=now, ttl_days=ttl_days, is_guarded=is_guarded)
        return None if reason is SkipReason.NO_USER and is_made_with_shape(message) else reason
    if reason := find_skip_reason(message, shape):
        return reason
    if isinstance(orders, SyncError):
        return orders
    if orders:
        return SkipReason.EXISTS
    unknown = find_unknown_word(message)
    if unknown or message.pending is not None or message.payment_status == UNPAID:
        return unknown
    return SkipReason.EXPIRED if is_order_expired(message, now, ttl_days) else None
