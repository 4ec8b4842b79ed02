"""The decision about a session whose order is missing: fetch it from Stripe and build the order.

It writes nothing, so that the consumer and the operator's prediction share it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recon.config import Settings
from recon.domain.attention import Attention
from recon.domain.order import SnapshotContext, build_order, without_item_metadata
from recon.domain.payment_state import PaymentState, payment_attributes, read_payment_state
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

    `waits` is True for a skip that may become an order, so that later runs have to check the session again.
    `attention` are the words for a person, and `attention_until` is the date (epoch seconds) that goes with
    them, if there is one. `charges_known` is False if the key may not read all of the payment,
    `details_known` if it may not read what an order can lack.
    """

    result: Json | SkipReason | SyncError
    waits: bool = False
    attention: tuple[Attention, ...] = ()
    attention_until: int | None = None
    charges_known: bool = True
    details_known: bool = True


def decide_from_stripe(
    stripe: "StripeSource", message: "SessionMessage", settings: Settings, now: Callable[[], int]
) -> StripeDecision:
    """Fetch a session whose order is missing and build the order. `now` returns epoch seconds."""
    try:
        fetched = stripe.fetch(message.session_id)
    except SyncError as error:
        return StripeDecision(error)
    try:
        decision = _decide(stripe, fetched, message, settings, now)
    except SyncError as error:
        decision = StripeDecision(error)
    return replace(decision, charges_known=fetched.charges_known, details_known=fetched.details_known)


def to_unexpected(error: Exception) -> Unexpected:
    """Return a retryable error that names the exception's class only: its text may hold personal data."""
    return Unexpected(f"{type(error).__name__} while the order was built")


def _decide(
    stripe: "StripeSource",
    fetched: "FetchedSession",
    message: "SessionMessage",
    settings: Settings,
    now: Callable[[], int],
) -> StripeDecision:
    if fetched.session.get("id") != message.session_id:
        raise MalformedSession("id differs from the requested session")
    state = read_payment_state(fetched.session, fetched.payment)
    if state.skip:
        return StripeDecision(state.skip, state.waits, state.attention, state.until)
    if _must_wait_for_next_run(stripe, message, now()):
        return StripeDecision(SkipReason.UNPAID, waits=True)
    order = _build_order(fetched, state, message, settings, now())
    return StripeDecision(order, attention=state.attention)


def _build_order(
    fetched: "FetchedSession", state: PaymentState, message: "SessionMessage", settings: Settings, now: int
) -> Json:
    if not fetched.line_items:
        raise LineItemsMissing("Stripe lists no line items for a paid session")
    context = SnapshotContext(message.run_id, now, settings.order_number_prefix, settings.order_ttl_days)
    order = build_order(
        fetched.session,
        fetched.line_items,
        user_ids(message)[0],
        context,
        raw_user_id=message.user_id,
        charge=fetched.payment.charge,
    )
    order |= payment_attributes(state)
    if item_bytes(order) > MAX_ITEM_BYTES:
        # An order without these notes can be shipped, and no order cannot.
        order = without_item_metadata(order)
    if (size := item_bytes(order)) > MAX_ITEM_BYTES:
        raise OrderTooLarge(f"the order takes {size} bytes; a DynamoDB item holds {MAX_ITEM_BYTES}")
    return order


def _must_wait_for_next_run(stripe: "StripeSource", message: "SessionMessage", now: int) -> bool:
    """Return whether the session was paid after the run listed its sessions and events.

    The webhook may still be processing such a payment, and only the next run knows its event. A message
    older than a day always waits for the next run.
    """
    if message.pending is None:
        return message.payment_status == UNPAID
    return now - message.pending > DAY or message.session_id in stripe.find_paid_after(message.pending)
