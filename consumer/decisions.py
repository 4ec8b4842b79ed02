"""The decision about a session whose order is missing: fetch it from Stripe and build the order.

It writes nothing, so that the consumer and the operator's prediction share it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon.config import Settings
from recon.domain.order import SnapshotContext, build_order, without_item_metadata
from recon.domain.reconcile import SkipReason, user_ids
from recon.domain.stripe_objects import UNPAID, Json
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from recon.errors import LineItemsMissing, MalformedSession, OrderTooLarge, SyncError, Unexpected
from recon.timestamps import DAY

if TYPE_CHECKING:
    from recon.domain.message import SessionMessage
    from recon.stripe.source import FetchedSession, StripeSource


@dataclass(frozen=True)
class StripeDecision:
    """The order to write, the reason to write none, or the error of the attempt.

    `charges_known` is False if the key may not read whether the payment was refunded or disputed.
    """

    result: Json | SkipReason | SyncError
    charges_known: bool = True


def decide_from_stripe(
    stripe: "StripeSource", message: "SessionMessage", settings: Settings, now: Callable[[], int]
) -> StripeDecision:
    """Fetch a session whose order is missing and build the order. `now` returns epoch seconds."""
    try:
        fetched = stripe.fetch(message.session_id)
    except SyncError as error:
        return StripeDecision(error)
    try:
        result = _build_order_or_skip(stripe, fetched, message, settings, now)
    except SyncError as error:
        return StripeDecision(error, fetched.charges_known)
    return StripeDecision(result, fetched.charges_known)


def to_unexpected(error: Exception) -> Unexpected:
    """Return a retryable error that names the exception's class only: its text may hold personal data."""
    return Unexpected(f"{type(error).__name__} while the order was built")


def _build_order_or_skip(
    stripe: "StripeSource",
    fetched: "FetchedSession",
    message: "SessionMessage",
    settings: Settings,
    now: Callable[[], int],
) -> Json | SkipReason:
    if fetched.session.get("id") != message.session_id:
        raise MalformedSession("id differs from the requested session")
    if reason := _current_skip_reason(fetched):
        return reason
    if message.pending is not None and _must_wait_for_next_run(stripe, message, now()):
        return SkipReason.UNPAID
    if not fetched.line_items:
        raise LineItemsMissing("Stripe lists no line items for a paid session")
    context = SnapshotContext(message.run_id, now(), settings.order_number_prefix, settings.order_ttl_days)
    order = build_order(
        fetched.session,
        fetched.line_items,
        user_ids(message)[0],
        context,
        raw_user_id=message.user_id,
    )
    if item_bytes(order) > MAX_ITEM_BYTES:
        # An order without these notes can be shipped, and no order cannot.
        order = without_item_metadata(order)
    if (size := item_bytes(order)) > MAX_ITEM_BYTES:
        raise OrderTooLarge(f"the order takes {size} bytes; a DynamoDB item holds {MAX_ITEM_BYTES}")
    return order


def _must_wait_for_next_run(stripe: "StripeSource", message: "SessionMessage", now: int) -> bool:
    """Return whether the session was paid after the run listed the events.

    The webhook may still be processing such a payment, and only the next run knows its event. A message
    older than a day always waits for the next run.
    """
    listed_until = message.pending or 0
    return now - listed_until > DAY or message.session_id in stripe.find_paid_after(listed_until)


def _current_skip_reason(fetched: "FetchedSession") -> SkipReason | None:
    """Return why the session needs no order now; it may have changed since it was listed."""
    session = fetched.session
    if session.get("status") != "complete":
        raise MalformedSession("status must be complete")
    if session.get("mode") == "setup":
        return SkipReason.NOT_A_SALE
    if session.get("payment_status") == UNPAID:
        return SkipReason.UNPAID
    # The customer got the money back, so nothing must be shipped.
    return SkipReason.REFUNDED if fetched.refunded else None
