"""A prediction of what the consumer would do with a session, by its own code and without writes."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from consumer.stripe_decision import OrderFacts, decide_from_stripe, to_unexpected
from ops.format.money import Amount, read_amount, to_money
from recon.config import Settings
from recon.domain.attention import Attention
from recon.domain.message import SessionMessage, dumps, loads
from recon.domain.outcome import SkipReason
from recon.domain.shape_decision import Missing, decide_from_orders
from recon.domain.table_decision import find_drift, find_own_orders, other_user_ids, user_ids
from recon.dynamodb.attention import parse_attention
from recon.dynamodb.dismissals import find_dismissal
from recon.dynamodb.keys import WATERMARK_KEY, attention_key, guard_key, pending_key
from recon.dynamodb.order_lookup import make_lookup
from recon.dynamodb.table import Table
from recon.dynamodb.user_orders import Orders, find_orders
from recon.dynamodb.watermark import parse_watermark
from recon.errors import MalformedMessage, Permanent, SyncError
from recon.retry import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from recon.stripe.source import StripeSource


# For the reads of one session.
LOOKUP_SECONDS = 20.0


class PredictedAction(StrEnum):
    """The action that the consumer would take."""

    CREATE = "create"
    SKIP = "skip"
    FAIL = "fail"
    # The order is missing in another shop's layout, where the sync writes none.
    MISSING = "missing"


@dataclass(frozen=True)
class PredictedOutcome:
    """The predicted outcome of a session.

    The amount is that of the order if one would be written, otherwise that of the message. The consumer does
    not retry a failure that is `is_permanent`. `charges_known` is False if
    the key may not read refunds and disputes, `details_known` if it may not read what an order can lack.
    `waits` is True for a skip that later runs check again. `attention` are the words for a person, and
    `attention_until` is the date that goes with them.
    """

    would: PredictedAction
    amount: Amount = None
    order_number: str | None = None
    reason: SkipReason | None = None
    drift: tuple[str, ...] = ()
    error_type: str | None = None
    error_message: str | None = None
    is_permanent: bool = False
    charges_known: bool = True
    details_known: bool = True
    waits: bool = False
    attention: tuple[str, ...] = ()
    attention_until: datetime | None = None


def predict(
    message: SessionMessage,
    table: Table,
    stripe: "Callable[[], StripeSource]",
    settings: Settings,
    now: int,
) -> PredictedOutcome:
    """Look the session up and ask Stripe if its order is missing. `now` is in epoch seconds.

    A failure of the consumer becomes `PredictedAction.FAIL` and is not raised. `stripe` is called only when
    needed. The outcome in the message's run is ignored: if it is final, the consumer drops the message.
    """
    try:
        # The consumer parses the message first, and a malformed one is never looked up.
        message = loads(dumps(message))
    except MalformedMessage as error:
        return predict_failure(error)
    amount = read_amount(message)
    try:
        is_dismissed = find_dismissal(table, message.session_id) is not None
    except SyncError as error:
        return predict_failure(error, amount)
    if is_dismissed:
        return PredictedOutcome(PredictedAction.SKIP, amount, reason=SkipReason.DISMISSED)
    orders = _find_orders(message, table, settings)
    is_guarded = table.get(guard_key(message.session_id)) is not None
    decision = decide_from_orders(
        message, orders, settings.shape, now=now, ttl_days=settings.order_ttl_days, is_guarded=is_guarded
    )
    waits = decision is SkipReason.EXPIRED and bool(table.get(pending_key(message.session_id)))
    if waits:
        decision = None
    match decision:
        case SyncError():
            return predict_failure(decision, amount)
        case SkipReason():
            drift: tuple[str, ...] = ()
            if decision is SkipReason.EXISTS and not isinstance(orders, SyncError):
                drift = find_drift(message, orders)
            return PredictedOutcome(PredictedAction.SKIP, amount, reason=decision, drift=drift)
    own = find_own_orders(message, [] if isinstance(orders, SyncError) else orders)
    knows_unpaid = bool(own) and _knows_unpaid(message.session_id, table)
    facts = OrderFacts(own, knows_unpaid, waits, lambda: _find_proof(table))
    return _predict_from_stripe(message, stripe, settings, now, facts)


def predict_failure(error: SyncError, amount: Amount = None) -> PredictedOutcome:
    """Return the outcome of a session that fails with this error."""
    return PredictedOutcome(
        PredictedAction.FAIL,
        amount,
        error_type=type(error).__name__,
        error_message=str(error),
        is_permanent=isinstance(error, Permanent),
    )


def _to_time(epoch: int | None) -> datetime | None:
    try:
        return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _find_orders(message: SessionMessage, table: Table, settings: Settings) -> Orders:
    shape, sort_key = settings.shape, settings.order_sort_key
    if shape:
        deadline = Deadline(time.monotonic() + LOOKUP_SECONDS, time.monotonic, time.sleep)
        with ThreadPoolExecutor(1) as pool:
            return make_lookup(table, pool, shape, sort_key).find([message], deadline)[message]
    try:
        find = partial(find_orders, since=message.created, sessions=(message,), sort_key=sort_key)
        return find(table, user_ids(message)) or find(table, other_user_ids(message))
    except SyncError as error:
        return error


def _knows_unpaid(session_id: str, table: Table) -> bool:
    item = table.get(attention_key(session_id))
    return parse_attention(item or {}).is_acknowledged(Attention.ORDER_SAYS_UNPAID)


def _find_proof(table: Table) -> str | None:
    item = table.get(WATERMARK_KEY)
    return parse_watermark(item).proven_by if item else None


def _predict_from_stripe(
    message: SessionMessage,
    stripe: "Callable[[], StripeSource]",
    settings: Settings,
    now: int,
    facts: OrderFacts,
) -> PredictedOutcome:
    amount = read_amount(message)
    try:
        answer = decide_from_stripe(stripe(), message, settings, lambda: now, facts)
    except SyncError as error:
        return predict_failure(error, amount)
    except Exception as error:  # noqa: BLE001 - the consumer records it as an error
        return predict_failure(to_unexpected(error), amount)
    match answer.result:
        case SyncError() as failure:
            return predict_failure(failure, amount)
        case SkipReason() as reason:
            predicted = PredictedOutcome(PredictedAction.SKIP, amount, reason=reason)
        case Missing():
            predicted = PredictedOutcome(PredictedAction.MISSING, amount)
        case order:
            predicted = PredictedOutcome(
                PredictedAction.CREATE,
                to_money(order.get("amount"), order.get("currency")) or amount,
                order_number=order["orderNumber"],
            )
    return replace(
        predicted,
        charges_known=answer.charges_known,
        details_known=answer.details_known,
        waits=answer.waits,
        attention=answer.attention,
        attention_until=_to_time(answer.attention_until),
        drift=answer.drift,
    )
