"""What the consumer would do with a session now, by the consumer's own code, with nothing written."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from consumer.decisions import decide_from_stripe, to_unexpected
from recon.config import Settings
from recon.domain.message import SessionMessage, dumps, loads
from recon.domain.reconcile import (
    SkipReason,
    amount_and_currency,
    decide_from_table,
    find_drift,
    user_ids,
)
from recon.dynamodb.orders import Orders, find_orders
from recon.dynamodb.table import Table
from recon.errors import MalformedMessage, Permanent, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recon.domain.stripe_objects import Json
    from recon.stripe.source import StripeSource


class PredictedAction(StrEnum):
    """What the consumer would do."""

    CREATE = "create"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True)
class PredictedOutcome:
    """What would become of a session. The amount is the order's where one would be written, otherwise the
    message's, in the currency's smallest unit.

    `is_permanent`: a failure that trying again does not mend; any other the consumer repeats.
    `charges_known` is False where the key may not read whether the money went back.
    """

    would: PredictedAction
    amount: int | None = None
    currency: str | None = None
    order_number: str | None = None
    reason: SkipReason | None = None
    drift: tuple[str, ...] = ()
    error_type: str | None = None
    error_message: str | None = None
    is_permanent: bool = False
    charges_known: bool = True


def predict(
    message: SessionMessage,
    table: Table,
    stripe: "Callable[[], StripeSource]",
    settings: Settings,
    now: int,
) -> PredictedOutcome:
    """Looks the session up, and asks Stripe where its order is missing. Raises nothing of what the consumer
    would call a failure.

    The outcome in the message's run is not looked at: where that is final already, the consumer drops the
    message. `stripe` is called when first needed; `now` is in epoch seconds.
    """
    try:
        # As it comes out of the queue: what cannot be read is not even looked up.
        message = loads(dumps(message))
    except MalformedMessage as problem:
        return failing(problem)
    orders = _orders(message, table)
    found = decide_from_table(message, orders, now=now, ttl_days=settings.order_ttl_days)
    amount, currency = amount_and_currency(message)
    match found:
        case SyncError():
            return failing(found, amount, currency)
        case SkipReason():
            drift = (
                find_drift(message, orders) if found is SkipReason.EXISTS and isinstance(orders, list) else ()
            )
            return PredictedOutcome(PredictedAction.SKIP, amount, currency, reason=found, drift=drift)
    return _from_stripe(message, stripe, settings, now)


def failing(error: SyncError, amount: int | None = None, currency: str | None = None) -> PredictedOutcome:
    return PredictedOutcome(
        PredictedAction.FAIL,
        amount,
        currency,
        error_type=type(error).__name__,
        error_message=str(error),
        is_permanent=isinstance(error, Permanent),
    )


def _orders(message: SessionMessage, table: Table) -> Orders:
    try:
        return find_orders(table, user_ids(message), message.created)
    except SyncError as error:
        return error


def _from_stripe(
    message: SessionMessage, stripe: "Callable[[], StripeSource]", settings: Settings, now: int
) -> PredictedOutcome:
    amount, currency = amount_and_currency(message)
    try:
        answer = decide_from_stripe(stripe(), message, settings, lambda: now)
    except SyncError as error:
        return failing(error, amount, currency)
    except Exception as error:  # noqa: BLE001 - the consumer makes an error of it, and so does its preview
        return failing(to_unexpected(error), amount, currency)
    match answer.result:
        case SyncError() as failure:
            return failing(failure, amount, currency)
        case SkipReason() as reason:
            known = answer.charges_known
            return PredictedOutcome(
                PredictedAction.SKIP, amount, currency, reason=reason, charges_known=known
            )
        case order:
            return _creating(order, charges_known=answer.charges_known)


def _creating(order: "Json", *, charges_known: bool) -> PredictedOutcome:
    return PredictedOutcome(
        PredictedAction.CREATE,
        order.get("amount"),
        order.get("currency"),
        order_number=order["orderNumber"],
        charges_known=charges_known,
    )
