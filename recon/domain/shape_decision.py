"""Pure: the decision about a session of a shop with its own layout. The sync writes no order there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recon.domain.key_template import ID, read_values
from recon.domain.message import SessionMessage
from recon.domain.reconcile import ExistingOrder, SkipReason, find_unknown_word, is_order_expired
from recon.domain.shape import Shape
from recon.domain.stripe_objects import SETUP, UNPAID, Json
from recon.errors import SyncError


@dataclass(frozen=True)
class Missing:
    """The order of a paid session is missing. `key_values` are those of the session that Stripe returned."""

    key_values: tuple[tuple[str, str], ...]


def with_key_values(message: SessionMessage, session: Json, shape: Shape) -> SessionMessage:
    """Return the message with what the key needs of the session, and without the user, which it replaces."""
    return replace(message, user_id=None, key_values=list_key_values(session, shape))


def list_key_values(session: Json, shape: Shape) -> tuple[tuple[str, str], ...]:
    """Return the values of a session at the paths of the key."""
    return tuple(read_values(session, shape.paths).items())


def knows_key(message: SessionMessage, shape: Shape) -> bool:
    """Return whether the message has a value, or none at Stripe, for each path of the key.

    One of an earlier version, or from before a change of the file, lacks some.
    """
    return set(shape.paths) <= {ID, *dict(message.key_values)}


def make_key(message: SessionMessage, shape: Shape) -> dict[str, str] | None:
    """Return the key of the session's item, or None if it cannot be made."""
    return shape.make_key({ID: message.session_id, **dict(message.key_values)})


def decide_from_shop(  # noqa: PLR0911 - one return per rule
    message: SessionMessage,
    shape: Shape,
    orders: Sequence[ExistingOrder] | SyncError,
    *,
    now: int,
    ttl_days: int,
) -> SkipReason | SyncError | None:
    """Return the reason to skip the session, an error, or None if its order is missing and Stripe decides.

    `orders` are those that the shop has done, or the error that their lookup raised. `now` is in epoch
    seconds.
    """
    if message.mode == SETUP:
        return SkipReason.NOT_A_SALE
    if not knows_key(message, shape):
        return None
    if make_key(message, shape) is None:
        return SkipReason.NO_KEY
    if isinstance(orders, SyncError):
        return orders
    if orders:
        return SkipReason.EXISTS
    unknown = find_unknown_word(message)
    if unknown or message.pending is not None or message.payment_status == UNPAID:
        return unknown
    return SkipReason.EXPIRED if is_order_expired(message, now, ttl_days) else None
