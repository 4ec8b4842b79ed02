"""The balance transaction of a session's charge, with every field of its type."""

from typing import Final

from testkit.fake_stripe.specs import SessionSpec, stable_id
from testkit.shapes import JsonObject

_DAYS_TO_AVAILABLE: Final = 2
_DAY_SECONDS: Final = 24 * 3600

_BALANCE_TRANSACTION: Final[JsonObject] = {
    "balance_type": "payments",
    "description": None,
    "exchange_rate": None,
    "fee": 0,
    "fee_details": [],
    "object": "balance_transaction",
    "reporting_category": "charge",
    "status": "available",
    "type": "charge",
}


def balance_transaction_id(spec: SessionSpec) -> str:
    return stable_id("txn", spec.id)


def balance_transaction_object(spec: SessionSpec) -> JsonObject:
    """Return the `balance_transaction` of a charge, made when the money moved."""
    amount = spec.amount_total or 0
    moved = spec.async_paid_at or spec.completion or spec.created
    return {
        **_BALANCE_TRANSACTION,
        "id": balance_transaction_id(spec),
        "amount": amount,
        "available_on": moved + _DAYS_TO_AVAILABLE * _DAY_SECONDS,
        "created": moved,
        "currency": spec.line_currency,
        "net": amount,
        "source": spec.charge,
    }
