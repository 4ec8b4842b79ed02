"""The details of a recovered order, worked out from the spec of its session without the code under test."""

from datetime import UTC, datetime
from typing import Any

from testkit.fake_stripe.details import BillingSpec, CustomFieldSpec, DiscountSpec
from testkit.fake_stripe.promotions import coupon_id, promotion_code_id, shipping_rate_id
from testkit.fake_stripe.specs import LineSpec, SessionSpec, stable_id

type Details = dict[str, Any]


def order_details(spec: SessionSpec) -> Details:
    """Return the details of an order; a value of None is one that must be absent."""
    details, has_customer = spec.details, spec.has_customer_details
    subscribed = spec.mode == "subscription"
    totals = spec.currency is not None
    return {
        "amountDiscount": sum(line.discount for line in spec.lines) or None if totals else None,
        "amountShipping": spec.shipping_amount or None if totals else None,
        "amountTax": sum(line.tax for line in spec.lines) + details.shipping_tax or None if totals else None,
        "presentment": _presentment(spec),
        "shippingMethod": _shipping_method(spec),
        "stripeDiscounts": [_discount(spec, discount) for discount in details.discounts] or None,
        "customFields": [_custom_field(asked) for asked in details.custom_fields if asked.value] or None,
        "customerName": (spec.name or details.individual_name if has_customer else details.individual_name),
        "customerBusinessName": details.business_name,
        "customerTaxIds": [{"type": "eu_vat", "value": value} for value in details.tax_ids] or None,
        "billingAddress": _address(details.billing) if details.billing and has_customer else None,
        "clientReferenceId": details.client_reference_id,
        "stripeMode": spec.mode,
        "stripeSubscriptionId": stable_id("sub", spec.id) if subscribed else None,
        "stripeInvoiceId": stable_id("in", spec.id) if subscribed else None,
        "stripePaymentLinkId": details.payment_link,
        "recoveredFrom": details.recovered_from,
        "paidAt": _find_paid_at(spec),
    }


def _find_paid_at(spec: SessionSpec) -> str | None:
    """Return when the money moved; of a subscription, only when the charge was made is known."""
    if not spec.charge:
        return None
    moved = None if spec.mode == "subscription" else spec.async_paid_at
    return _iso(moved or spec.completion or spec.created)


def payment_details(spec: SessionSpec) -> Details:
    """Return what an order says of its payment; a value of None is one that must be absent."""
    amount, captured = spec.amount_total or 0, spec.captured if spec.charge else None
    part_of_hold = captured is not None and 0 < captured < amount
    words = {
        "partly_captured": part_of_hold,
        "partly_refunded": spec.amount_refunded > 0,
        "disputed": spec.dispute_status not in (None, "won", "warning_closed"),
        "under_review": spec.review == "open",
        "fraud_reported": spec.is_fraud_reported,
    }
    return {
        "amountCaptured": captured if part_of_hold else None,
        "amountRefunded": spec.amount_refunded or None,
        "attention": [word for word, applies in words.items() if applies] or None,
    }


def item_details(line: LineSpec) -> Details:
    """Return the details of an item, without those that must be absent."""
    price = line.price if line.has_price else None
    metadata = {**(price.metadata if price else {}), **line.metadata}
    details = {
        "unitPriceDecimal": price.decimal if price and not price.currency else None,
        "amountDiscount": line.discount or None,
        "amountTax": line.tax or None,
        "variant": price.nickname if price else None,
        "lookupKey": price.lookup_key if price else None,
        "metadata": metadata or None,
    }
    return {name: value for name, value in details.items() if value is not None}


def find_unit_price(line: LineSpec) -> int | None:
    """Return what one piece costs in the line's currency, None if that is not a whole number."""
    if line.price.decimal is None:
        return line.unit_amount
    whole, rest = divmod(line.amount_subtotal, line.quantity)
    return None if rest else whole


def _presentment(spec: SessionSpec) -> Details | None:
    if spec.details.presented is not None:
        amount, currency = spec.details.presented
        return {"amount": amount, "currency": currency}
    if spec.details.source_currency is not None:
        return {"amount": spec.amount_total, "currency": spec.currency}
    return None


def _shipping_method(spec: SessionSpec) -> Details | None:
    amount = spec.shipping_amount + spec.details.shipping_tax
    if spec.details.shipping_rate is None:
        return {"amount": amount} if amount else None
    return {"rateId": shipping_rate_id(spec), "name": spec.details.shipping_rate, "amount": amount}


def _discount(spec: SessionSpec, discount: DiscountSpec) -> Details:
    """Return a discount: a coupon, or a code. The breakdown of an old session has coupon and code's id."""
    built = {"couponId": coupon_id(discount), "promotionCodeId": promotion_code_id(discount)}
    if discount.code is None:
        del built["promotionCodeId"]
    elif spec.details.discount_place == "discounts":
        built = {"promotionCodeId": built["promotionCodeId"], "code": discount.code}
    return built


def _custom_field(asked: CustomFieldSpec) -> Details:
    value = asked.options.get(asked.value or "", asked.value)
    return {"key": asked.key, "label": asked.label, "value": value}


def _address(billing: BillingSpec) -> Details:
    lines = {
        "line1": billing.line1,
        "line2": billing.line2,
        "city": billing.city,
        "state": billing.state,
        "postalCode": billing.postal_code,
        "country": billing.country,
    }
    return {name: value for name, value in lines.items() if value is not None}


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
