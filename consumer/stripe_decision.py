"""The decision about a session whose order is missing: fetch it from Stripe and build the order.

It writes nothing, so that the consumer and the operator's prediction share it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recon.config import Settings
from recon.domain.attention import Attention
from recon.domain.message import with_user
from recon.domain.order import SnapshotContext, build_order, without_item_metadata
from recon.domain.order_details import find_paid_at
from recon.domain.outcome import SkipReason
from recon.domain.payment_state import (
    PaymentState,
    attention_beside_order,
    payment_attributes,
    read_payment_state,
)
from recon.domain.shape_decision import Missing, is_made_with_shape
from recon.domain.stripe_objects import PAID, UNPAID, Json
from recon.domain.table_decision import ExistingOrder, find_drift, user_ids
from recon.domain.waiting import is_wait_over, may_wait
from recon.dynamodb.item_size import MAX_ITEM_BYTES, item_bytes
from recon.errors import (
    KeyUnproven,
    LineItemsMissing,
    MalformedSession,
    OrderTooLarge,
    Permanent,
    SessionNotFound,
    SyncError,
    Unexpected,
)
from recon.timestamps import DAY, parse_epoch

if TYPE_CHECKING:
    from recon.domain.message import SessionMessage
    from recon.stripe.source import FetchedSession, StripeSource


@dataclass(frozen=True)
class StripeDecision:
    """The order to write, the reason to write none, the error of the attempt, or that the order is missing.

    `waits` is True for a skip that may become an order, so that later runs have to check the session again.
    `attention` are the words for a person, and `attention_until` is the date (epoch seconds) that goes with
    them, if there is one. `drift` are the differences between existing orders and Stripe. `charges_known` is
    False if the key may not read all of the payment, `details_known` if it may not read what an order can
    lack. `renewed` is the message with the user of Stripe's session, in place of one without.
    """

    result: Json | SkipReason | SyncError | Missing
    waits: bool = False
    attention: tuple[Attention, ...] = ()
    attention_until: int | None = None
    drift: tuple[str, ...] = ()
    charges_known: bool = True
    details_known: bool = True
    renewed: "SessionMessage | None" = None


@dataclass(frozen=True)
class OrderFacts:
    """The table's facts about a session that Stripe decides about.

    `orders` are its own, all of them unpaid, and `is_acknowledged` is True if a person knows that they are.
    `waits` is True if it is known to wait, although a run listed it. `find_proof` returns the session that
    proves the key's account and mode, if one is known.
    """

    orders: Sequence[ExistingOrder] = ()
    is_acknowledged: bool = False
    waits: bool = False
    find_proof: Callable[[], str | None] = lambda: None


_NOTHING_KNOWN = OrderFacts()


def decide_from_stripe(
    stripe: "StripeSource",
    message: "SessionMessage",
    settings: Settings,
    now: Callable[[], int],
    facts: OrderFacts = _NOTHING_KNOWN,
    listed: Json | None = None,
) -> StripeDecision:
    """Fetch a session without a paid order and build its order if it has none. `now` is in epoch seconds.

    `listed` is the session if `StripeSource.list_together` has brought it.
    """
    try:
        fetched = stripe.fetch(message.session_id, listed)
    except SessionNotFound as error:
        return _decide_about_missing(stripe, message, error, now(), facts)
    except SyncError as error:
        return _give_up_if_permanent(error, message, now())
    try:
        decision = _decide(stripe, fetched, message, settings, now, facts)
    except SyncError as error:
        decision = _give_up_if_permanent(error, message, now())
    return replace(decision, charges_known=fetched.charges_known, details_known=fetched.details_known)


def to_unexpected(error: Exception) -> Unexpected:
    """Return a retryable error that names the exception's class only: its text may hold personal data."""
    return Unexpected(f"{type(error).__name__} while the order was built")


def _decide(  # noqa: PLR0911 - one return per rule
    stripe: "StripeSource",
    fetched: "FetchedSession",
    message: "SessionMessage",
    settings: Settings,
    now: Callable[[], int],
    facts: OrderFacts,
) -> StripeDecision:
    if fetched.session.get("id") != message.session_id:
        raise MalformedSession("id differs from the requested session")
    if not settings.session_filter.passes(fetched.session):
        # A setting that changed while the session waited, or while its message did. The change may be a
        # mistake, and no run lists the session again.
        return StripeDecision(SkipReason.FILTERED, waits=not is_wait_over(message.created, now()))
    state = read_payment_state(fetched.session, fetched.payment)
    if reason := state.skip:
        if facts.orders:
            state = replace(state, attention=attention_beside_order(state, now()))
        return _skip(reason, state, message, now())
    if _must_wait_for_next_run(stripe, fetched, message, now()):
        return StripeDecision(SkipReason.UNPAID, waits=True)
    if facts.orders:
        return describe_unpaid_orders(message, facts.orders, now(), is_acknowledged=facts.is_acknowledged)
    if _is_expired(fetched, message, settings, now(), waits=facts.waits):
        return StripeDecision(SkipReason.EXPIRED)
    if settings.shape:
        return StripeDecision(Missing(settings.shape.read_values(fetched.session)))
    if is_made_with_shape(message):
        return _decide_with_user(fetched, state, message, settings, now())
    order = _build_order(fetched, state, message, settings, now())
    return StripeDecision(order, attention=state.attention)


def _decide_with_user(
    fetched: "FetchedSession", state: PaymentState, message: "SessionMessage", settings: Settings, now: int
) -> StripeDecision:
    """Build the order for a message from before shape.toml was removed, which does not name the user."""
    renewed = with_user(message, fetched.session, settings.user_ids)
    if not user_ids(renewed):
        is_sale = bool(message.amount_total)
        return StripeDecision(SkipReason.NO_USER, attention=(Attention.NO_USER_PAID,) if is_sale else ())
    order = _build_order(fetched, state, renewed, settings, now)
    return StripeDecision(order, attention=state.attention, renewed=renewed)


def describe_unpaid_orders(
    message: "SessionMessage", orders: Sequence[ExistingOrder], now: int, *, is_acknowledged: bool
) -> StripeDecision:
    """Return the skip of a session that Stripe says is paid, while its orders in the table are unpaid.

    It waits until an order says paid, so that a later run finds that out, or until a person acknowledges it.
    Then the payment is no drift any more, which would ring an alarm every night.
    """
    compared_with = UNPAID if is_acknowledged else PAID
    return StripeDecision(
        SkipReason.EXISTS,
        waits=not is_acknowledged and not is_wait_over(message.created, now),
        attention=(Attention.ORDER_SAYS_UNPAID,),
        drift=find_drift(replace(message, payment_status=compared_with), orders),
    )


def _skip(reason: SkipReason, state: PaymentState, message: "SessionMessage", now: int) -> StripeDecision:
    if not state.waits or may_wait(reason, message.created, now):
        return StripeDecision(reason, state.waits, state.attention, state.until)
    return StripeDecision(reason) if reason is SkipReason.PAYMENT_FAILED else _give_up(message)


def _give_up(message: "SessionMessage") -> StripeDecision:
    """Return the end of a wait, which needs a person only if the session has waited for a run before."""
    waited = message.pending is not None
    return StripeDecision(SkipReason.UNPAID, attention=(Attention.GAVE_UP_WAITING,) if waited else ())


def _give_up_if_permanent(error: SyncError, message: "SessionMessage", now: int) -> StripeDecision:
    """Return the error, or the end of the wait if the session is too old and no retry can help."""
    if isinstance(error, Permanent) and message.pending is not None and is_wait_over(message.created, now):
        return _give_up(message)
    return StripeDecision(error)


def _decide_about_missing(
    stripe: "StripeSource", message: "SessionMessage", error: SessionNotFound, now: int, facts: OrderFacts
) -> StripeDecision:
    """Decide about a session that Stripe does not find.

    A process may have the key of another account from before the parameter was corrected: then the next
    attempt uses the new one. Otherwise one that was just listed is an error. One that waited is gone, but
    only if the key finds another session of the same account and mode: with a wrong key, all of them would
    seem to be gone.
    """
    if stripe.has_newer_key():
        return StripeDecision(
            KeyUnproven("Stripe does not find the session, and the next attempt uses a newer key")
        )
    if message.pending is None:
        return StripeDecision(error)
    try:
        proof = facts.find_proof()
        if proof is not None and stripe.is_gone(message.session_id, proof):
            return StripeDecision(SkipReason.GONE, attention=(Attention.GONE,))
    except SyncError as failure:
        return StripeDecision(failure)
    if is_wait_over(message.created, now):
        return _give_up(message)
    return StripeDecision(
        KeyUnproven("Stripe does not find the session, and the key is not proven to be of its account")
    )


def _is_expired(
    fetched: "FetchedSession", message: "SessionMessage", settings: Settings, now: int, *, waits: bool
) -> bool:
    """Return whether an order that the webhook wrote at the payment would have expired by now.

    If the time of the payment is unknown, the payment of a session that waited has just settled.
    """
    known = find_paid_at(fetched.payment.charge or {})
    assumed = now if waits or message.pending is not None else message.created
    paid_at = parse_epoch(known) if known else assumed
    return bool(settings.order_ttl_days) and paid_at + settings.order_ttl_days * DAY <= now


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
        raw_user_id=message.raw_user_id or message.user_id,
        charge=fetched.payment.charge,
    )
    order |= payment_attributes(state)
    if item_bytes(order) > MAX_ITEM_BYTES:
        # An order without these notes can be shipped, and no order cannot.
        order = without_item_metadata(order)
        if (size := item_bytes(order)) > MAX_ITEM_BYTES:
            raise OrderTooLarge(f"the order takes {size} bytes; a DynamoDB item holds {MAX_ITEM_BYTES}")
    return order


def _must_wait_for_next_run(
    stripe: "StripeSource", fetched: "FetchedSession", message: "SessionMessage", now: int
) -> bool:
    """Return whether the session was paid after the run listed its sessions and events.

    The webhook may still be processing such a payment, and only the next run knows its event. A message
    older than a day always waits for the next run.
    """
    if message.pending is None:
        return message.payment_status == UNPAID
    return now - message.pending > DAY or stripe.is_paid_after(message.pending, fetched)
