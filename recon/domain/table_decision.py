"""Pure: the decision about a session by the orders in the table. The consumer, the dry run and ops use it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from recon.domain.message import SessionMessage
from recon.domain.outcome import SkipReason
from recon.domain.stripe_objects import (
    FREE,
    MAX_NUMBER,
    MODES,
    PAID,
    PAYMENT_STATUSES,
    SETUP,
    UNPAID,
    require_known,
)
from recon.domain.user_ids import find_usable_id, spellings
from recon.errors import SyncError, UnknownState
from recon.timestamps import DAY, MINUTE

# A session stays open for 24 hours; the clocks of Stripe and Lambda may differ.
_LONGEST_CHECKOUT = DAY + 10 * MINUTE
_CURRENCY = re.compile(r"[A-Za-z]{3,8}")


@dataclass(frozen=True)
class ExistingOrder:
    """One order in the table. Its values are None if the item lacks them.

    Only an order that this sync wrote has `sync_run_id`. `expires_at` is in epoch seconds. `foreign_word` is
    the attribute of another shop's order whose value is in neither list of its shape.
    """

    pk: str
    sk: str
    order_id: str | None
    stripe_session_id: str | None
    amount: int | Decimal | None = None
    currency: str | None = None
    payment_status: str | None = None
    order_number: str | None = None
    sync_run_id: str | None = None
    expires_at: int | None = None
    payment_intent: str | None = None
    foreign_word: str | None = None

    def belongs_to(self, message: SessionMessage) -> bool:
        """Return whether this is the session's order: it has the session's id, or only its payment intent."""
        if message.session_id in (self.stripe_session_id, self.order_id):
            return True
        if self.stripe_session_id is not None or message.payment_intent is None:
            return False
        return self.payment_intent == message.payment_intent


def decide_from_table(  # noqa: PLR0911 - one return per rule
    message: SessionMessage,
    orders: Sequence[ExistingOrder] | SyncError,
    *,
    now: int,
    ttl_days: int,
    is_guarded: bool = False,
) -> SkipReason | SyncError | None:
    """Return the reason to skip the session, an error, or None if its order is missing and Stripe decides.

    `orders` are those found under the session's ids, or the error that their lookup raised. `now` is in epoch
    seconds. A word of the message without a meaning here is the error UnknownState. `is_guarded` is True if
    this sync has written the order once.
    """
    no_order_due = skip_reason_from_message(message)
    if no_order_due and not is_guarded and not other_user_ids(message):
        return no_order_due
    if isinstance(orders, SyncError):
        return orders
    own = find_own_orders(message, orders)
    if any(order.payment_status != UNPAID for order in own):
        return SkipReason.EXISTS
    waits = message.pending is not None
    if own:
        # The webhook wrote the order of an unpaid session, which does not end the wait. In the nights after
        # its window, Stripe is asked whether it is paid by now.
        return SkipReason.UNPAID if message.payment_status == UNPAID and not waits else None
    # The webhook's order may have expired, and an expired order must not be written again. Before that, the
    # time of the payment decides, which only Stripe knows.
    is_expired = is_order_expired(message, now, ttl_days)
    if is_guarded:
        return SkipReason.EXPIRED if is_expired else SkipReason.REMOVED
    if no_order_due:
        return no_order_due
    unknown = find_unknown_word(message)
    if unknown or waits or message.payment_status == UNPAID:
        return unknown
    return SkipReason.EXPIRED if is_expired else None


def find_own_orders(message: SessionMessage, orders: Iterable[ExistingOrder]) -> list[ExistingOrder]:
    """Return the orders of the session among those of its user."""
    return [order for order in orders if order.belongs_to(message)]


def skip_reason_from_message(message: SessionMessage) -> SkipReason | None:
    """Return the reason to skip the session that the message alone gives, if any."""
    if message.mode == SETUP:
        return SkipReason.NOT_A_SALE
    return None if user_ids(message) else SkipReason.NO_USER


def is_order_expired(message: SessionMessage, now: int, ttl_days: int) -> bool:
    """Return whether the webhook's order has expired for certain, whenever the session was paid."""
    return bool(ttl_days) and message.created + _LONGEST_CHECKOUT + ttl_days * DAY <= now


def find_unknown_word(message: SessionMessage) -> UnknownState | None:
    """Return the error for a word of the message that has no meaning here, or None."""
    try:
        require_known("mode", message.mode, MODES)
        require_known("payment_status", message.payment_status, PAYMENT_STATUSES)
    except UnknownState as error:
        return error
    return None


def find_drift(message: SessionMessage, orders: Iterable[ExistingOrder]) -> tuple[str, ...]:
    """Return the differences between the session's order and Stripe, as `field: explanation`.

    A field that the order lacks is no difference. A duplicate order is one, and names both keys.
    """
    own = sorted((o for o in orders if o.belongs_to(message)), key=lambda o: (o.pk, o.sk))
    drift = []
    if len(own) > 1:
        drift.append("duplicate: " + ", ".join(f"{order.pk}/{order.sk}" for order in own))
    for order in own[:1]:
        if None not in (order.amount, message.amount_total) and order.amount != message.amount_total:
            drift.append(f"amount: the order says {order.amount}, Stripe {message.amount_total}")
        if order.currency and message.currency and order.currency.lower() != message.currency.lower():
            drift.append(f"currency: the order says {order.currency}, Stripe {message.currency}")
        if order.foreign_word:
            drift.append(f"status: {order.foreign_word} has a value that shape.toml names nowhere")
        if order.payment_status == UNPAID and message.payment_status == PAID:
            drift.append("payment_status: the order says unpaid, Stripe paid")
    return tuple(drift)


def user_ids(message: SessionMessage) -> tuple[str, ...]:
    """Return the ids to look under first: the one to write under, then its raw form if that differs.

    Without a usable id there is none.
    """
    if message.user_id is None or not (clean := find_usable_id(message.user_id)):
        return ()
    return (clean,) if clean == message.user_id else (clean, message.user_id)


def other_user_ids(message: SessionMessage) -> tuple[str, ...]:
    """Return the ids that may hold the session's order if those of `user_ids` do not.

    A session that sells nothing has none.
    """
    if message.mode == SETUP:
        return ()
    raw = (message.user_id, message.raw_user_id, *message.other_user_ids)
    first = user_ids(message)
    ids = dict.fromkeys(spellings(candidate for candidate in raw if candidate))
    return tuple(one for one in ids if one not in first)


def amount_and_currency(message: SessionMessage) -> tuple[int | None, str | None]:
    """Return amount and lower-case currency for an outcome.

    Either is None if it is absent or cannot be stored: a message's values are not validated. A sale that
    needs no payment has the amount 0, since Stripe may state none.
    """
    amount, currency = message.amount_total, message.currency
    if amount is None and message.payment_status == FREE and message.mode != SETUP:
        amount = 0
    return (
        amount if amount is not None and abs(amount) < MAX_NUMBER else None,
        currency.lower() if currency and _CURRENCY.fullmatch(currency) else None,
    )
