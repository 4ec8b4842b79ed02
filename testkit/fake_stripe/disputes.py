"""The dispute of a session's charge, with every field of its type."""

from typing import Final

from testkit.fake_stripe.specs import SessionSpec
from testkit.shapes import JsonObject

_DAY_SECONDS: Final = 24 * 3600
_DAYS_TO_ANSWER: Final = 7
# The decision is final; before it, a refund still ends the dispute.
_DECIDED: Final = frozenset({"lost", "won", "prevented"})

_EVIDENCE: Final[JsonObject] = {
    **dict.fromkeys(
        (
            "access_activity_log",
            "appeal",
            "billing_address",
            "cancellation_policy",
            "cancellation_policy_disclosure",
            "cancellation_rebuttal",
            "customer_communication",
            "customer_email_address",
            "customer_name",
            "customer_purchase_ip",
            "customer_signature",
            "duplicate_charge_documentation",
            "duplicate_charge_explanation",
            "duplicate_charge_id",
            "product_description",
            "receipt",
            "refund_policy",
            "refund_policy_disclosure",
            "refund_refusal_explanation",
            "service_date",
            "service_documentation",
            "shipping_address",
            "shipping_carrier",
            "shipping_date",
            "shipping_documentation",
            "shipping_tracking_number",
            "uncategorized_file",
            "uncategorized_text",
        )
    ),
    "enhanced_evidence": {},
}

_DISPUTE: Final[JsonObject] = {
    "balance_transactions": [],
    "enhanced_eligibility_types": [],
    "evidence": _EVIDENCE,
    "intended_submission_method": None,
    "livemode": False,
    "metadata": {},
    "network_reason_code": "10.4",
    "object": "dispute",
    "payment_method_details": {
        "card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"},
        "type": "card",
    },
    "reason": "fraudulent",
}


def dispute_object(spec: SessionSpec, created: int) -> JsonObject:
    """Return the `dispute` of a disputed session's charge, opened at `created` (epoch seconds)."""
    status = spec.dispute_status
    return {
        **_DISPUTE,
        "id": spec.dispute_id,
        "amount": spec.captured if spec.dispute_amount is None else spec.dispute_amount,
        "charge": spec.charge,
        "created": created,
        "currency": spec.line_currency,
        "evidence_details": {
            "due_by": created + _DAYS_TO_ANSWER * _DAY_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": status not in _DECIDED,
        "payment_intent": spec.intent_id,
        "status": status,
    }
