"""The payment intent and the charge of a session, with every field of their types."""

from typing import Final

from testkit.fake_stripe.expansion import NOTHING, ExpandedFields
from testkit.fake_stripe.overrides import merge
from testkit.fake_stripe.specs import SessionSpec, stable_id
from testkit.shapes import JsonObject

_RISK_SCORE: Final = 12
_PAYOUT_SECONDS: Final = 7 * 24 * 3600

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


def payment_intent_object(spec: SessionSpec, expand: ExpandedFields) -> JsonObject:
    """Return the `payment_intent` of a session; its latest charge and review are ids unless expanded."""
    amount, captured = spec.amount_total or 0, spec.captured
    charge: str | JsonObject | None = spec.charge
    if charge is not None and "latest_charge" in expand:
        charge = charge_object(spec, expand["latest_charge"])
    review: str | JsonObject | None = None if spec.review is None else stable_id("prv", spec.id)
    if review is not None and "review" in expand:
        review = review_object(spec)
    is_held = spec.intent_state == "requires_capture"
    is_manual = is_held or captured < amount or spec.capture_before is not None
    is_canceled = spec.intent_state == "canceled"
    return merge(
        {
            **_PAYMENT_INTENT,
            "id": spec.intent_id,
            "amount": amount,
            "amount_capturable": amount - captured if is_held else 0,
            "amount_received": captured,
            "canceled_at": spec.created if is_canceled else None,
            "capture_method": "manual" if spec.charge and is_manual else "automatic_async",
            "client_secret": f"{spec.intent_id}_secret_sandbox",
            "created": spec.created,
            "currency": spec.line_currency,
            "customer": spec.customer,
            "latest_charge": charge,
            "payment_method": stable_id("pm", spec.id) if spec.charge else None,
            **presentment_details(spec),
            "review": review,
            "status": spec.intent_state,
        },
        spec.objects.get("payment_intent"),
    )


def charge_object(spec: SessionSpec, expand: ExpandedFields = NOTHING) -> JsonObject:
    """Return the latest `charge` of a session. `refunded` is true only after a full refund."""
    amount, captured = spec.amount_total or 0, spec.captured
    has_failed = spec.intent_state == "requires_payment_method"
    balance: str | JsonObject | None = stable_id("txn", spec.id) if captured else None
    if balance is not None and "balance_transaction" in expand:
        balance = balance_transaction_object(spec)
    card = {"capture_before": spec.capture_before} if spec.capture_before is not None else {}
    return merge(
        {
            **_CHARGE,
            "id": spec.charge,
            "amount": amount,
            "amount_captured": captured,
            "amount_refunded": spec.amount_refunded,
            "balance_transaction": balance,
            "billing_details": {
                "address": _NO_ADDRESS,
                "email": spec.email,
                "name": spec.name,
                "phone": spec.phone,
                "tax_id": None,
            },
            "captured": captured > 0,
            "created": spec.completion or spec.created,
            "currency": spec.line_currency,
            "customer": spec.customer,
            "disputed": spec.disputed,
            "fraud_details": {"stripe_report": "fraudulent"} if spec.is_fraud_reported else {},
            "paid": not has_failed,
            "payment_intent": spec.intent_id,
            "payment_method": stable_id("pm", spec.id),
            "payment_method_details": {"type": "card", "card": card} if card else {"type": "card"},
            **presentment_details(spec),
            "refunded": captured > 0 and spec.amount_refunded >= captured,
            "status": "failed" if has_failed else "succeeded",
        },
        spec.objects.get("charge"),
    )


def review_object(spec: SessionSpec) -> JsonObject:
    """Return the `review` of a payment. A closed one still belongs to it."""
    is_open = spec.review == "open"
    return {
        "id": stable_id("prv", spec.id),
        "billing_zip": None,
        "charge": spec.charge,
        "closed_reason": None if is_open else spec.review,
        "created": spec.completion or spec.created,
        "ip_address": None,
        "ip_address_location": None,
        "livemode": False,
        "object": "review",
        "open": is_open,
        "opened_reason": "rule",
        "payment_intent": spec.intent_id,
        "reason": "rule" if is_open else spec.review,
        "session": None,
    }


def balance_transaction_object(spec: SessionSpec) -> JsonObject:
    """Return the `balance_transaction` of a charge, made when the money moved."""
    moved = spec.async_paid_at or spec.completion or spec.created
    return {
        "id": stable_id("txn", spec.id),
        "amount": spec.captured,
        "available_on": moved + _PAYOUT_SECONDS,
        "balance_type": "payments",
        "created": moved,
        "currency": spec.line_currency,
        "description": None,
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": spec.captured,
        "object": "balance_transaction",
        "reporting_category": "charge",
        "source": spec.charge,
        "status": "pending",
        "type": "charge",
    }


def invoice_payment_object(spec: SessionSpec, expand: ExpandedFields = NOTHING) -> JsonObject:
    """Return the `invoice_payment` of the first invoice of a subscription."""
    within = expand.get("payment", NOTHING)
    intent: str | JsonObject | None = spec.intent_id
    if "payment_intent" in within:
        intent = payment_intent_object(spec, within["payment_intent"])
    is_paid, is_canceled = spec.payment_status == "paid", spec.intent_state == "canceled"
    amount = spec.amount_total or 0
    return {
        "id": stable_id("inpay", spec.id),
        "amount_paid": amount if is_paid else None,
        "amount_requested": amount,
        "created": spec.completion or spec.created,
        "currency": spec.line_currency,
        "invoice": spec.invoice,
        "is_default": True,
        "livemode": False,
        "object": "invoice_payment",
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if is_paid else "canceled" if is_canceled else "open",
        "status_transitions": {
            "canceled_at": spec.created if is_canceled and not is_paid else None,
            "paid_at": (spec.async_paid_at or spec.completion) if is_paid else None,
        },
    }
