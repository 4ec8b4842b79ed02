"""Pure: what becomes of a session, given what the table holds. Used by the consumer and by the dry run."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from recon.domain.message import SessionMessage
from recon.domain.order import clean_user_id
from recon.domain.stripe_objects import MAX_NUMBER, PAID, UNPAID
from recon.timestamps import DAY

# No amount is larger; DynamoDB refuses a number of more than 38 digits.
_CURRENCY = re.compile(r"[A-Za-z]{3,8}")


class Outcome(StrEnum):
    CREATED = "created"
    SKIPPED = "skipped"
    ERROR = "error"


class SkipReason(StrEnum):
    """Why a session was skipped."""

    EXISTS = "exists"
    NO_USER = "no_user"
    UNPAID = "unpaid"
    NOT_A_SALE = "not_a_sale"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    DISMISSED = "dismissed"  # by an operator, see ledger/dismissals.py


@dataclass(frozen=True)
class ExistingOrder:
    """What the table says of one order of a user."""

    pk: str
    sk: str
    order_id: str | None
    stripe_session_id: str | None
    amount: int | None = None
    currency: str | None = None
    payment_status: str | None = None

    def belongs_to(self, session_id: str) -> bool:
        return session_id in (self.stripe_session_id, self.order_id)


def skip_reason_from_message(message: SessionMessage) -> SkipReason | None:
    """The skips that neither the table nor Stripe has to be asked for."""
    if message.mode == "setup":
        return SkipReason.NOT_A_SALE
    if not user_ids(message):
        return SkipReason.NO_USER
    if message.payment_status == UNPAID and message.pending is None:
        return SkipReason.UNPAID
    return None


def skip_reason(
    message: SessionMessage, orders: Iterable[ExistingOrder], *, now: int, ttl_days: int
) -> SkipReason | None:
    """Why the session is left alone, or None: its order is missing and has to be written.

    `orders` are those of the session's user under every id of `user_ids`; `now` is in epoch seconds.
    """
    orders = list(orders)
    if reason := skip_reason_from_message(message):
        return SkipReason.EXISTS if reason is SkipReason.UNPAID and _paid_since(message, orders) else reason
    if any(order.belongs_to(message.session_id) for order in orders):
        return SkipReason.EXISTS
    # The webhook's order may have lived its days and gone. Writing it now would raise it from the dead.
    if ttl_days and message.created + ttl_days * DAY <= now:
        return SkipReason.EXPIRED
    return None


def _paid_since(message: SessionMessage, orders: Iterable[ExistingOrder]) -> bool:
    """Whether a session that was listed as unpaid has the order of a paid one by now. An order that a webhook
    writes of an unpaid session says so, and the session goes on waiting."""
    return any(order.belongs_to(message.session_id) and order.payment_status == PAID for order in orders)


def find_drift(message: SessionMessage, orders: Iterable[ExistingOrder]) -> tuple[str, ...]:
    """Where the order that is there says something else than Stripe; nothing is changed for it.

    An order that says nothing of a field does not contradict it. A duplicate names both keys.
    """
    own = sorted((o for o in orders if o.belongs_to(message.session_id)), key=lambda o: (o.pk, o.sk))
    drift = []
    if len(own) > 1:
        drift.append("duplicate: " + ", ".join(f"{order.pk}/{order.sk}" for order in own))
    for order in own[:1]:
        if None not in (order.amount, message.amount_total) and order.amount != message.amount_total:
            drift.append(f"amount: the order says {order.amount}, Stripe {message.amount_total}")
        if order.currency and message.currency and order.currency.lower() != message.currency.lower():
            drift.append(f"currency: the order says {order.currency}, Stripe {message.currency}")
        if order.payment_status == UNPAID and message.payment_status == PAID:
            drift.append("payment_status: the order says unpaid, Stripe paid")
    return tuple(drift)


def user_ids(message: SessionMessage) -> tuple[str, ...]:
    """The ids under which the user's orders may lie: the cleaned one first, the raw one where it differs."""
    if message.user_id is None or not (clean := clean_user_id(message.user_id)):
        return ()
    return (clean,) if clean == message.user_id else (clean, message.user_id)


def amount_and_currency(message: SessionMessage) -> tuple[int | None, str | None]:
    """Amount and lower-case currency as an outcome keeps them; None for what is absent, or could not be
    stored: nobody has checked the values of a message."""
    amount, currency = message.amount_total, message.currency
    return (
        amount if amount is not None and abs(amount) < MAX_NUMBER else None,
        currency.lower() if currency and _CURRENCY.fullmatch(currency) else None,
    )
