"""Discounts with their coupons and promotion codes, and shipping rates, with every field of their types."""

from typing import Final

from testkit.fake_stripe.details import DiscountSpec
from testkit.fake_stripe.expansion import ExpandedFields
from testkit.fake_stripe.specs import SessionSpec, stable_id
from testkit.shapes import JsonObject

# Coupons, codes and rates exist before any session uses them.
_CREATED: Final = 1_577_836_800

_COUPON: Final[JsonObject] = {
    "amount_off": None,
    "applies_to": None,
    "created": _CREATED,
    "currency": None,
    "currency_options": None,
    "duration": "once",
    "duration_in_months": None,
    "livemode": False,
    "max_redemptions": None,
    "metadata": {},
    "object": "coupon",
    "percent_off": 20,
    "redeem_by": None,
    "times_redeemed": 1,
    "valid": True,
}

_PROMOTION_CODE: Final[JsonObject] = {
    "active": True,
    "created": _CREATED,
    "customer": None,
    "customer_account": None,
    "expires_at": None,
    "livemode": False,
    "max_redemptions": None,
    "metadata": {},
    "object": "promotion_code",
    "restrictions": {
        "currency_options": {},
        "first_time_transaction": False,
        "minimum_amount": None,
        "minimum_amount_currency": None,
    },
    "times_redeemed": 1,
}

_SHIPPING_RATE: Final[JsonObject] = {
    "active": True,
    "created": _CREATED,
    "delivery_estimate": None,
    "livemode": False,
    "metadata": {},
    "object": "shipping_rate",
    "tax_behavior": "exclusive",
    "tax_code": None,
    "type": "fixed_amount",
}


def session_discounts(spec: SessionSpec, expand: ExpandedFields) -> list[JsonObject]:
    """Return the `discounts` of a session: a coupon or a promotion code each, as ids unless expanded."""
    if spec.details.discount_place != "discounts":
        return []
    return [_session_discount(discount, expand) for discount in spec.details.discounts]


def _session_discount(discount: DiscountSpec, expand: ExpandedFields) -> JsonObject:
    coupon: str | JsonObject = coupon_id(discount)
    promotion_code: str | JsonObject = promotion_code_id(discount)
    if "coupon" in expand:
        coupon = _coupon_object(discount)
    if "promotion_code" in expand:
        promotion_code = _promotion_code_object(discount)
    return {
        "coupon": coupon if discount.code is None else None,
        "promotion_code": None if discount.code is None else promotion_code,
    }


def totals_breakdown(spec: SessionSpec) -> JsonObject:
    """Return the `breakdown` of the totals, which has the discounts of sessions of every age."""
    amount = sum(line.discount for line in spec.lines)
    return {
        "discounts": [
            {"amount": amount, "discount": _discount_object(spec, discount)}
            for discount in spec.details.discounts
        ],
        "taxes": [],
    }


def _discount_object(spec: SessionSpec, discount: DiscountSpec) -> JsonObject:
    return {
        "id": stable_id("di", spec.id, discount.name),
        "checkout_session": spec.id,
        "customer": spec.customer,
        "customer_account": None,
        "end": None,
        "invoice": None,
        "invoice_item": None,
        "object": "discount",
        "promotion_code": None if discount.code is None else promotion_code_id(discount),
        "source": {"coupon": coupon_id(discount), "type": "coupon"},
        "start": spec.created,
        "subscription": None,
        "subscription_item": None,
    }


def shipping_rate_object(spec: SessionSpec) -> JsonObject:
    """Return the `shipping_rate` that the customer of a session chose."""
    return {
        **_SHIPPING_RATE,
        "id": shipping_rate_id(spec),
        "display_name": spec.details.shipping_rate,
        "fixed_amount": {
            "amount": spec.shipping_amount,
            "currency": spec.line_currency,
            "currency_options": {},
        },
    }


def _coupon_object(discount: DiscountSpec) -> JsonObject:
    return {**_COUPON, "id": coupon_id(discount), "name": discount.name}


def _promotion_code_object(discount: DiscountSpec) -> JsonObject:
    return {
        **_PROMOTION_CODE,
        "id": promotion_code_id(discount),
        "code": discount.code,
        "promotion": {"coupon": coupon_id(discount), "type": "coupon"},
    }


def coupon_id(discount: DiscountSpec) -> str:
    return stable_id("co", discount.name)


def promotion_code_id(discount: DiscountSpec) -> str:
    return stable_id("promo", discount.name, discount.code)


def shipping_rate_id(spec: SessionSpec) -> str:
    return stable_id("shr", spec.details.shipping_rate, spec.shipping_amount)
