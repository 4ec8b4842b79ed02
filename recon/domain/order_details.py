"""Pure: the parts of an order snapshot beside its items: money, shipping, discounts, and who bought.

Shapes: https://docs.stripe.com/api/checkout/sessions/object, and of older API versions where they differ.
"""

from collections.abc import Iterator

from recon.domain.stripe_objects import Json
from recon.domain.stripe_values import (
    find_object,
    find_objects,
    find_reference,
    find_text,
    present,
    read_currency,
    read_integer,
    read_object,
    read_text,
)
from recon.timestamps import to_iso

_ADDRESS_FIELDS = {
    "line1": "line1",
    "line2": "line2",
    "city": "city",
    "state": "state",
    "postal_code": "postalCode",
    "country": "country",
}


def build_totals(session: Json) -> Json:
    """Return discount, shipping and tax of the whole session."""
    totals = read_object(session, "total_details")
    return {
        "amountDiscount": read_integer(totals, "amount_discount", null=True) or None,
        "amountShipping": read_integer(totals, "amount_shipping", null=True) or None,
        "amountTax": read_integer(totals, "amount_tax", null=True) or None,
    }


def build_presentment(session: Json) -> Json | None:
    """Return the amount and the currency that the customer saw.

    Since 2025-03-31 the session's own are those of the shop. A session with `currency_conversion` is older,
    and its own are what the customer saw.
    """
    details = read_object(session, "presentment_details")
    amount = read_integer(details, "presentment_amount", null=True)
    currency = read_currency(details, "presentment_currency")
    if not details and read_object(session, "currency_conversion"):
        amount = read_integer(session, "amount_total", null=True)
        currency = read_currency(session, "currency")
    return {"amount": amount, "currency": currency} if amount and currency else None


def build_shipping_method(session: Json) -> Json | None:
    """Return the shipping rate that the customer chose and what it cost, discount and tax included."""
    cost = read_object(session, "shipping_cost")
    amount = read_integer(cost, "amount_total", null=True)
    rate = {
        "rateId": find_reference(cost, "shipping_rate"),
        "name": find_text(find_object(cost, "shipping_rate"), "display_name"),
    }
    return present(rate | {"amount": amount}) if amount or rate["rateId"] else None


def build_discounts(session: Json) -> list[Json] | None:
    """Return coupon and promotion code of each discount.

    A session without `discounts` has them in the breakdown of its totals, where the coupon's place depends on
    the API version.
    """
    discounts = find_objects(session, "discounts")
    if not discounts:
        breakdown = find_object(find_object(session, "total_details"), "breakdown")
        discounts = [find_object(entry, "discount") for entry in find_objects(breakdown, "discounts")]
    built = [
        present(
            {
                "couponId": find_reference(discount, "coupon")
                or find_reference(find_object(discount, "source"), "coupon"),
                "promotionCodeId": find_reference(discount, "promotion_code"),
                "code": find_text(find_object(discount, "promotion_code"), "code"),
            }
        )
        for discount in discounts
    ]
    return [discount for discount in built if discount] or None


def build_custom_fields(session: Json) -> list[Json] | None:
    """Return what the customer filled in on the payment page. A field without an answer is left out."""
    built = [
        present(
            {
                "key": find_text(field, "key"),
                "label": find_text(find_object(field, "label"), "custom"),
                "value": _find_answer(field),
            }
        )
        for field in find_objects(session, "custom_fields")
    ]
    return [field for field in built if "value" in field] or None


def _find_answer(field: Json) -> str | None:
    """Return the answer from the part named after the field's type. A dropdown's is the option's label."""
    kind = find_text(field, "type")
    answer = find_object(field, kind) if kind else {}
    value = find_text(answer, "value")
    if value is None:
        return None
    chosen = [option for option in find_objects(answer, "options") if option.get("value") == value]
    return next((label for option in chosen if (label := find_text(option, "label"))), value)


def build_customer(session: Json) -> Json:
    """Return who bought: e-mail, phone, names, billing address and tax ids."""
    customer = read_object(session, "customer_details")
    collected = read_object(session, "collected_information")
    return {
        "customerEmail": read_text(customer, "email", null=True)
        or read_text(session, "customer_email", null=True),
        "customerPhone": read_text(customer, "phone", null=True)
        or find_text(_intent_shipping(session), "phone"),
        "customerName": find_text(customer, "name")
        or find_text(customer, "individual_name")
        or find_text(collected, "individual_name"),
        "customerBusinessName": find_text(customer, "business_name") or find_text(collected, "business_name"),
        "billingAddress": _find_address(customer) or None,
        "customerTaxIds": _find_tax_ids(customer) or _find_tax_ids(collected) or None,
    }


def build_shipping_address(session: Json) -> Json | None:
    """Return the first shipping address, or else the first name without one.

    Stripe moved it from `shipping` to `shipping_details` in 2022, and to `collected_information` in 2025. The
    payment intent has a copy, or the one that the shop set itself.
    """
    name_only = None
    for found in _list_shipping(session):
        if found.keys() - {"name"}:
            return found
        name_only = name_only or found or None
    return name_only


def _list_shipping(session: Json) -> Iterator[Json]:
    collected = read_object(session, "collected_information")
    for place in ((collected, "shipping_details"), (session, "shipping_details"), (session, "shipping")):
        details = read_object(*place)
        address = read_object(details, "address")
        lines = {ours: read_text(address, theirs, null=True) for theirs, ours in _ADDRESS_FIELDS.items()}
        yield present({"name": read_text(details, "name", null=True)} | lines)
    shipping = _intent_shipping(session)
    yield present({"name": find_text(shipping, "name")}) | _find_address(shipping)


def find_paid_at(charge: Json) -> str | None:
    """Return when the money moved: the time of the charge's balance transaction, if known, or of the charge.

    A charge is made when the payment is authorised, its balance transaction when the money is captured.
    """
    times = find_object(charge, "balance_transaction").get("created"), charge.get("created")
    epoch = next((time for time in times if type(time) is int and time > 0), None)
    try:
        return None if epoch is None else to_iso(epoch)
    except (ValueError, OverflowError, OSError):
        return None


def _find_address(holder: Json) -> Json:
    address = find_object(holder, "address")
    return present({ours: find_text(address, theirs) for theirs, ours in _ADDRESS_FIELDS.items()})


def _find_tax_ids(holder: Json) -> list[Json]:
    ids = (
        {name: find_text(entry, name) for name in ("type", "value")}
        for entry in find_objects(holder, "tax_ids")
    )
    return [present(entry) for entry in ids if entry["value"]]


def _intent_shipping(session: Json) -> Json:
    return find_object(find_object(session, "payment_intent"), "shipping")
