"""The details of a session beyond its payment, its lines and its shipping address; all of it is optional."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FieldKind = Literal["text", "numeric", "dropdown"]
DiscountPlace = Literal["discounts", "breakdown"]


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """The details of a line's price beyond its id and amount.

    `currency` and `unit_amount` are the price's own where they differ from the line's. `decimal` is a unit
    amount with decimals, in place of the whole one.
    """

    nickname: str | None = None
    lookup_key: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    currency: str | None = None
    unit_amount: int | None = None
    decimal: str | None = None


@dataclass(frozen=True, slots=True)
class CustomFieldSpec:
    """A field of the payment page and the customer's answer. `options` are a dropdown's labels by value."""

    key: str
    label: str
    value: str | None = None
    kind: FieldKind = "text"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DiscountSpec:
    """A discount by a promotion code that the customer entered, or by a coupon if `code` is None."""

    name: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class BillingSpec:
    """The billing address."""

    line1: str = "9 Billing Road"
    line2: str | None = None
    city: str = "Invoiceville"
    state: str | None = None
    postal_code: str = "54321"
    country: str = "US"


@dataclass(frozen=True, slots=True)
class DetailSpec:
    """The details of a session.

    `shipping_rate` is the name of the chosen rate. `discount_place` is the field that has the discounts: old
    sessions have them in the breakdown of their totals. `presented` is what the customer saw, if not the
    session's own amount and currency. `source_currency` is the shop's currency of an old session whose own
    amounts are what the customer saw.
    """

    shipping_rate: str | None = None
    shipping_tax: int = 0
    discounts: tuple[DiscountSpec, ...] = ()
    discount_place: DiscountPlace = "discounts"
    custom_fields: tuple[CustomFieldSpec, ...] = ()
    billing: BillingSpec | None = None
    business_name: str | None = None
    individual_name: str | None = None
    tax_ids: tuple[str, ...] = ()
    client_reference_id: str | None = None
    payment_link: str | None = None
    recovered_from: str | None = None
    presented: tuple[int, str] | None = None
    source_currency: str | None = None


NO_DETAILS = DetailSpec()


def details_from_json(body: Mapping[str, Any]) -> DetailSpec:
    """Return the details of a JSON object. Raise TypeError if a field is unknown or missing."""
    fields = dict(body)
    for name, kind in (("discounts", DiscountSpec), ("custom_fields", CustomFieldSpec)):
        if name in fields:
            fields[name] = tuple(kind(**part) for part in fields[name])
    for name in ("tax_ids", "presented"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    if fields.get("billing") is not None:
        fields["billing"] = BillingSpec(**fields["billing"])
    return DetailSpec(**fields)
