"""The payment intent and the charge of a session, with every field of their types."""

from typing import Final

from testkit.fake_stripe.balance import balance_transaction_id, balance_transaction_object
from testkit.fake_stripe.expansion import NOTHING, Expansion
from testkit.fake_stripe.specs import SessionSpec, stable_id
from testkit.shapes import JsonObject

_RISK_SCORE: Final = 12

_PAYMENT_INTENT: Final[JsonObject] = {
    "allowed_payment_method_types": None,
    "amount_capturable": 0,
    "amount_details": {"tip": {"amount": 0}},
    "application": None,
    "application_fee_amount": None,
    "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
    "canceled_at": None,
    "cancellation_reason": None,
    "capture_method": "automatic_async",
    "confirmation_method": "automatic",
    "customer_account": None,
    "description": None,
    "excluded_payment_method_types": None,
    "hooks": {"inputs": {}},
    "last_payment_error": None,
    "livemode": False,
    "managed_payments": {"enabled": False},
    "metadata": {},
    "next_action": None,
    "object": "payment_intent",
    "on_behalf_of": None,
    "payment_details": {"customer_reference": None, "order_reference": None},
    "payment_method_configuration_details": {"id": "pmc_1FakeStripeSandbox", "parent": None},
    "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
    "payment_method_types": ["card"],
    "payment_record": None,
    "processing": None,
    "receipt_email": None,
    "review": None,
    "setup_future_usage": None,
    "shipping": None,
    "source": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "transfer_data": None,
    "transfer_group": None,
}

_CHARGE: Final[JsonObject] = {
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "authorization_code": None,
    "calculated_statement_descriptor": "EXAMPLE SHOP",
    "captured": True,
    "description": None,
    "failure_balance_transaction": None,
    "failure_code": None,
    "failure_message": None,
    "fraud_details": {},
    "level3": None,
    "livemode": False,
    "metadata": {},
    "object": "charge",
    "on_behalf_of": None,
    "outcome": {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "risk_score": _RISK_SCORE,
        "rule": None,
        "seller_message": "Payment complete.",
        "type": "authorized",
    },
    "paid": True,
    "payment_method_details": {"type": "card"},
    "radar_options": {},
    "receipt_email": None,
    "receipt_number": None,
    "receipt_url": None,
    "refunds": None,
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": "succeeded",
    "transfer": None,
    "transfer_data": None,
    "transfer_group": None,
}

_NO_ADDRESS: Final[JsonObject] = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def presentment_details(spec: SessionSpec) -> JsonObject:
    """Return the `presentment_details` of an object, which has them if the customer saw another currency."""
    if spec.details.presented is None:
        return {}
    amount, currency = spec.details.presented
    return {"presentment_details": {"presentment_amount": amount, "presentment_currency": currency}}


def payment_intent_object(spec: SessionSpec, expand: Expansion) -> JsonObject:
    """Return the `payment_intent` of a session; its latest charge is an id unless expanded."""
    paid = spec.payment_status == "paid"
    intent_id = spec.payment_intent
    charge: str | JsonObject | None = spec.charge
    if charge is not None and "latest_charge" in expand:
        charge = charge_object(spec, expand["latest_charge"])
    return {
        **_PAYMENT_INTENT,
        "id": intent_id,
        "amount": spec.amount_total or 0,
        "amount_received": (spec.amount_total or 0) if paid else 0,
        "client_secret": f"{intent_id}_secret_sandbox",
        "created": spec.created,
        "currency": spec.line_currency,
        "customer": spec.customer,
        "latest_charge": charge,
        "payment_method": stable_id("pm", spec.id) if paid else None,
        **presentment_details(spec),
        "status": "succeeded" if paid else "processing",
    }


def charge_object(spec: SessionSpec, expand: Expansion = NOTHING) -> JsonObject:
    """Return the `charge` that paid a session. `refunded` is true only after a full refund."""
    amount = spec.amount_total or 0
    transaction: str | JsonObject = balance_transaction_id(spec)
    if "balance_transaction" in expand:
        transaction = balance_transaction_object(spec)
    return {
        **_CHARGE,
        "id": spec.charge,
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": spec.amount_refunded,
        "balance_transaction": transaction,
        "billing_details": {
            "address": _NO_ADDRESS,
            "email": spec.email,
            "name": spec.name,
            "phone": spec.phone,
            "tax_id": None,
        },
        "created": spec.completion or spec.created,
        "currency": spec.line_currency,
        "customer": spec.customer,
        "disputed": spec.disputed,
        "payment_intent": spec.payment_intent,
        "payment_method": stable_id("pm", spec.id),
        **presentment_details(spec),
        "refunded": amount > 0 and spec.amount_refunded >= amount,
    }
