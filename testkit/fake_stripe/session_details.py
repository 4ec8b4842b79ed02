"""The parts of a session that describe its customer, its shipping and its totals."""

import dataclasses
from typing import Final

from testkit.fake_stripe.details import CustomFieldSpec
from testkit.fake_stripe.expansion import ExpandedFields
from testkit.fake_stripe.promotions import shipping_rate_id, shipping_rate_object, totals_breakdown
from testkit.fake_stripe.specs import SessionSpec, ShippingSpec
from testkit.shapes import JsonObject

_NO_ADDRESS: Final[JsonObject] = {
    "city": None,
    "country": None,
    "line1": None,
    "line2": None,
    "postal_code": None,
    "state": None,
}


def customer_details(spec: SessionSpec) -> JsonObject | None:
    if not spec.has_customer_details:
        return None
    details = spec.details
    return {
        "address": _NO_ADDRESS if details.billing is None else dataclasses.asdict(details.billing),
        "business_name": details.business_name,
        "email": spec.email,
        "individual_name": details.individual_name,
        "name": spec.name,
        "phone": spec.phone,
        "tax_exempt": "none",
        "tax_ids": [{"type": "eu_vat", "value": value} for value in details.tax_ids],
    }


def collected_information(spec: SessionSpec) -> JsonObject | None:
    is_here = spec.shipping is not None and spec.shipping.place == "collected_information"
    names = {
        "business_name": spec.details.business_name,
        "individual_name": spec.details.individual_name,
    }
    if not is_here and not any(names.values()):
        return None
    shipping = spec.shipping if is_here else None
    return {**names, "shipping_details": None if shipping is None else shipping_details(shipping)}


def shipping_details(shipping: ShippingSpec) -> JsonObject:
    return {
        "address": {
            "city": shipping.city,
            "country": shipping.country,
            "line1": shipping.line1,
            "line2": shipping.line2,
            "postal_code": shipping.postal_code,
            "state": shipping.state,
        },
        "name": shipping.name,
    }


def shipping_cost(spec: SessionSpec, expand: ExpandedFields) -> JsonObject | None:
    if not spec.shipping_amount and spec.details.shipping_rate is None:
        return None
    rate: str | JsonObject | None = None
    if spec.details.shipping_rate is not None:
        rate = shipping_rate_object(spec) if "shipping_rate" in expand else shipping_rate_id(spec)
    return {
        "amount_subtotal": spec.shipping_amount,
        "amount_tax": spec.details.shipping_tax,
        "amount_total": spec.shipping_amount + spec.details.shipping_tax,
        "shipping_rate": rate,
        "taxes": [],
    }


def shipping_options(spec: SessionSpec) -> list[JsonObject]:
    if spec.details.shipping_rate is None:
        return []
    return [{"shipping_amount": spec.shipping_amount, "shipping_rate": shipping_rate_id(spec)}]


def currency_conversion(spec: SessionSpec) -> JsonObject | None:
    """Return what an old session was in the shop's currency, which is worth twice the customer's."""
    if spec.details.source_currency is None:
        return None
    return {
        "amount_subtotal": (spec.amount_subtotal or 0) // 2,
        "amount_total": (spec.amount_total or 0) // 2,
        "fx_rate": "2.0",
        "source_currency": spec.details.source_currency,
    }


def custom_field(asked: CustomFieldSpec) -> JsonObject:
    """Return a field of the payment page, whose answer is in the part of its type."""
    answer: JsonObject = {"default_value": None, "value": asked.value}
    if asked.kind == "dropdown":
        answer["options"] = [{"label": label, "value": value} for value, label in asked.options.items()]
    else:
        answer |= {"maximum_length": None, "minimum_length": None}
    return {
        "key": asked.key,
        "label": {"custom": asked.label, "type": "custom"},
        "optional": asked.value is None,
        "type": asked.kind,
        asked.kind: answer,
    }


def total_details(spec: SessionSpec, expand: ExpandedFields) -> JsonObject | None:
    """Return the totals. Stripe includes their breakdown only if it is expanded."""
    if spec.currency is None:
        return None
    breakdown = {"breakdown": totals_breakdown(spec)} if "breakdown" in expand else {}
    return {
        "amount_discount": sum(line.discount for line in spec.lines),
        "amount_shipping": spec.shipping_amount,
        "amount_tax": sum(line.tax for line in spec.lines) + spec.details.shipping_tax,
        **breakdown,
    }
