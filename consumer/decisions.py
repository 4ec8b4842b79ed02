"""What becomes of one session: by what the table holds, and where its order is missing by what Stripe says.

Nothing is written here: the consumer commits what it hears, and whoever asks what the consumer would do
hears the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon.config import Settings
from recon.domain.order import SnapshotContext, build_order
from recon.domain.reconcile import SkipReason, skip_reason, skip_reason_from_message, user_ids
from recon.domain.stripe_objects import UNPAID, Json
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from recon.dynamodb.orders import Orders, Users
from recon.errors import LineItemsMissing, MalformedSession, OrderTooLarge, SyncError, Unexpected
from recon.timestamps import DAY

if TYPE_CHECKING:
    from recon.domain.message import SessionMessage
    from recon.stripe.source import FetchedSession, StripeSource


@dataclass(frozen=True)
class StripeDecision:
    """What Stripe's answer comes to: the order to write, why there is none to write, or why it failed.

    `charges_known` is False where the key may not read what became of the payment.
    """

    became: Json | SkipReason | SyncError
    charges_known: bool = True


def decide_from_table(
    message: "SessionMessage", orders: Mapping[Users, Orders], settings: Settings, now: int
) -> SkipReason | SyncError | None:
    """Why to leave it alone, why it fails, or None: the order is missing.

    `orders` holds those of the session's user, or why they could not be looked up; `now` is in epoch seconds.
    """
    reason = skip_reason_from_message(message)
    if reason and reason is not SkipReason.UNPAID:
        return reason
    found = orders[user_ids(message)]
    if isinstance(found, SyncError):
        # What is unpaid can wait without having been looked up.
        return reason or found
    return skip_reason(message, found, now=now, ttl_days=settings.order_ttl_days)


def decide_from_stripe(
    stripe: "StripeSource", message: "SessionMessage", settings: Settings, now: Callable[[], int]
) -> StripeDecision:
    """Fetches a session whose order is missing and builds the order. `now` gives epoch seconds."""
    try:
        fetched = stripe.fetch(message.session_id)
    except SyncError as error:
        return StripeDecision(error)
    try:
        became = _order_or_reason(stripe, fetched, message, settings, now)
    except SyncError as error:
        return StripeDecision(error, fetched.charges_known)
    return StripeDecision(became, fetched.charges_known)


def to_unexpected(error: Exception) -> Unexpected:
    """For what nobody thought of while an order was built: its kind alone, its text may hold anything."""
    return Unexpected(f"{type(error).__name__} while the order was built")


def _order_or_reason(
    stripe: "StripeSource",
    fetched: "FetchedSession",
    message: "SessionMessage",
    settings: Settings,
    now: Callable[[], int],
) -> Json | SkipReason:
    if fetched.session.get("id") != message.session_id:
        raise MalformedSession("id is not the one that was asked for")
    if reason := _reason_by_now(fetched):
        return reason
    if message.pending is not None and _is_for_the_next_run(stripe, message, now()):
        return SkipReason.UNPAID
    if not fetched.line_items:
        raise LineItemsMissing("Stripe lists no line items for a paid session")
    writing = SnapshotContext(message.run_id, now(), settings.order_number_prefix, settings.order_ttl_days)
    order = build_order(fetched.session, fetched.line_items, user_ids(message)[0], writing)
    if (size := item_bytes(order)) > MAX_ITEM_BYTES:
        raise OrderTooLarge(f"the order takes {size} bytes; a DynamoDB item holds {MAX_ITEM_BYTES}")
    return order


def _is_for_the_next_run(stripe: "StripeSource", message: "SessionMessage", now: int) -> bool:
    """Paid since the run asked for events: a webhook may be at work, and only the next run knows its
    event. A message that is older than a day is left to it anyway."""
    asked = message.pending or 0
    return now - asked > DAY or message.session_id in stripe.find_paid_after(asked)


def _reason_by_now(fetched: "FetchedSession") -> SkipReason | None:
    """The session may have changed since it was listed; what Stripe says now counts."""
    session = fetched.session
    if session.get("status") != "complete":
        raise MalformedSession("status must be complete")
    if session.get("mode") == "setup":
        return SkipReason.NOT_A_SALE
    if session.get("payment_status") == UNPAID:
        return SkipReason.UNPAID
    # The money went back: nothing is to be shipped.
    return SkipReason.REFUNDED if fetched.refunded else None
