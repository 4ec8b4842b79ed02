"""The content of the fake account: one small frozen record per session, from which objects are built."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from testkit.fake_stripe.details import NO_DETAILS, DetailSpec, PriceSpec, details_from_json

Mode = Literal["payment", "setup", "subscription"]
Status = Literal["open", "complete", "expired"]
PaymentStatus = Literal["paid", "unpaid", "no_payment_required"]
ProductState = Literal["active", "deleted"]
ShippingPlace = Literal["shipping_details", "collected_information"]
DisputeStatus = Literal[
    "appeal_needs_response",
    "appeal_under_review",
    "lost",
    "needs_response",
    "prevented",
    "under_review",
    "warning_closed",
    "warning_needs_response",
    "warning_under_review",
    "won",
]

IntentStatus = Literal[
    "canceled",
    "processing",
    "requires_action",
    "requires_capture",
    "requires_confirmation",
    "requires_payment_method",
    "succeeded",
]
# `open`, or why it was closed.
ReviewStatus = Literal[
    "open",
    "acknowledged",
    "approved",
    "canceled",
    "disputed",
    "payment_never_settled",
    "redacted",
    "refunded",
    "refunded_as_fraud",
]

DEFAULT_CURRENCY = "usd"


def stable_id(prefix: str, *parts: object) -> str:
    """Return an id in Stripe's format, always the same for the same parts, so that none has to be stored."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
    return f"{prefix}_{digest[:24]}"


@dataclass(frozen=True, slots=True)
class LineSpec:
    """One line of a session. Amounts are in the currency's smallest unit; `tax` is added to them."""

    description: str | None = "Poster"
    quantity: int = 1
    unit_amount: int = 1500
    discount: int = 0
    tax: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    price: PriceSpec = field(default_factory=PriceSpec)
    product_metadata: Mapping[str, str] = field(default_factory=dict)
    product: ProductState = "active"
    has_price: bool = True

    @property
    def amount_subtotal(self) -> int:
        if self.price.decimal is not None:
            return round(Decimal(self.price.decimal) * self.quantity)
        return self.unit_amount * self.quantity

    @property
    def amount_total(self) -> int:
        return self.amount_subtotal - self.discount + self.tax

    @property
    def product_id(self) -> str:
        return stable_id("prod", self.description, sorted(self.product_metadata.items()), self.product)

    def price_id(self, currency: str) -> str:
        return stable_id("price", self.product_id, self.unit_amount, currency)


@dataclass(frozen=True, slots=True)
class ShippingSpec:
    """The shipping address. Stripe moved it in 2025; `place` is the field that this session has it in."""

    name: str = "Ada Example"
    line1: str = "1 Example Street"
    line2: str | None = None
    city: str = "Exampleton"
    state: str | None = "EX"
    postal_code: str = "12345"
    country: str = "US"
    place: ShippingPlace = "collected_information"


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """One Checkout session, with the fields that differ between sessions.

    `currency=None` is Stripe's free session: amounts and currency are null. `has_customer_details=False`
    makes `customer_details` null. `completed_at` and `async_paid_at` are the times of the session's events; a
    session with a delayed payment method was unpaid when it completed. `event_made=False` is an event that
    Stripe never created, `event_delivered=False` one that the shop's webhook has not acknowledged.
    `dispute_status` is the status of the dispute of its charge, None without one; it is about
    `dispute_amount`, by default all of the charge. `intent_status` is by default what follows from
    `payment_status`. `amount_captured` is by default all of a succeeded payment, and `capture_before` is when
    a hold lapses. `objects` replaces parts of the served `session`, `payment_intent`, `charge` or
    `line_items`, for what Stripe may say without a field here: objects are merged, unless they have a true
    `__replace__`.
    """

    id: str
    created: int
    mode: Mode = "payment"
    status: Status = "complete"
    payment_status: PaymentStatus = "paid"
    currency: str | None = DEFAULT_CURRENCY
    lines: tuple[LineSpec, ...] = (LineSpec(),)
    shipping_amount: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    has_customer_details: bool = True
    customer: str | None = None
    shipping: ShippingSpec | None = None
    completed_at: int | None = None
    async_paid_at: int | None = None
    event_made: bool = True
    event_delivered: bool = True
    amount_refunded: int = 0
    dispute_status: DisputeStatus | None = None
    dispute_amount: int | None = None
    intent_status: IntentStatus | None = None
    amount_captured: int | None = None
    capture_before: int | None = None
    review: ReviewStatus | None = None
    is_fraud_reported: bool = False
    objects: Mapping[str, Any] = field(default_factory=dict)
    details: DetailSpec = NO_DETAILS

    @property
    def line_currency(self) -> str:
        """Return the currency of the lines, which have one even if the session has none."""
        return self.currency or DEFAULT_CURRENCY

    @property
    def amount_subtotal(self) -> int | None:
        return None if self.currency is None else sum(line.amount_subtotal for line in self.lines)

    @property
    def amount_total(self) -> int | None:
        if self.currency is None:
            return None
        shipping = self.shipping_amount + self.details.shipping_tax
        return sum(line.amount_total for line in self.lines) + shipping

    @property
    def payment_intent(self) -> str | None:
        """Return the session's own payment intent, None for a setup, a subscription or a free session."""
        return self.intent_id if self.mode == "payment" else None

    @property
    def intent_id(self) -> str | None:
        """Return the payment intent of the session, or of the first invoice of its subscription."""
        is_charged = self.mode != "setup" and self.payment_status != "no_payment_required"
        is_made = self.mode == "payment" or self.status == "complete"
        return stable_id("pi", self.id) if is_charged and is_made else None

    @property
    def intent_state(self) -> IntentStatus:
        if self.intent_status is not None:
            return self.intent_status
        return "succeeded" if self.payment_status == "paid" else "processing"

    @property
    def invoice(self) -> str | None:
        """Return the first invoice of the subscription."""
        is_subscribed = self.mode == "subscription" and self.status == "complete"
        return stable_id("in", self.id) if is_subscribed else None

    @property
    def charge(self) -> str | None:
        """Return the id of the latest charge, None before one is made."""
        is_made = self.payment_status == "paid" or self.intent_status not in (None, "processing")
        return stable_id("ch", self.id) if self.intent_id is not None and is_made else None

    @property
    def captured(self) -> int:
        """Return how much of the charge was captured."""
        if self.amount_captured is not None:
            return self.amount_captured
        return (self.amount_total or 0) if self.intent_state == "succeeded" else 0

    @property
    def disputed(self) -> bool:
        return self.charge is not None and self.dispute_status is not None

    @property
    def dispute_id(self) -> str:
        return stable_id("du", self.id)

    @property
    def completion(self) -> int | None:
        """Return when the session completed, in epoch seconds; by default a minute after its creation."""
        if self.status != "complete":
            return None
        return self.created + 60 if self.completed_at is None else self.completed_at

    @property
    def completed_event_id(self) -> str:
        return stable_id("evt", self.id, "completed")

    @property
    def async_paid_event_id(self) -> str:
        return stable_id("evt", self.id, "async_paid")

    def line_id(self, index: int) -> str:
        return stable_id("li", self.id, index)


def spec_to_json(spec: SessionSpec) -> dict[str, Any]:
    """Return the fields that differ from the defaults, so that 100,000 sessions are a small file."""
    return _compact(spec)


def spec_from_json(body: Mapping[str, Any]) -> SessionSpec:
    """Reverse `spec_to_json`. Raise ValueError if a field is unknown or a required one is missing."""
    fields = dict(body)
    try:
        if "lines" in fields:
            fields["lines"] = tuple(map(_line_from_json, fields["lines"]))
        if fields.get("shipping") is not None:
            fields["shipping"] = ShippingSpec(**fields["shipping"])
        if "details" in fields:
            fields["details"] = details_from_json(fields["details"])
        return SessionSpec(**fields)
    except TypeError as exc:
        raise ValueError(f"not a session: {exc}") from exc


def _line_from_json(body: Mapping[str, Any]) -> LineSpec:
    price = {"price": PriceSpec(**body["price"])} if "price" in body else {}
    return LineSpec(**{**body, **price})


def _compact(record: Any) -> dict[str, Any]:
    return {
        item.name: _plain(value)
        for item in dataclasses.fields(record)
        if (value := getattr(record, item.name)) != _default(item)
    }


def _default(item: dataclasses.Field[Any]) -> object:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return _compact(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value
