"""Makes a shop from a seed: every awkward session on purpose, and ordinary ones up to the wanted number.

The same size, seed and time make the same shop.
"""

import json
import random
import string
from dataclasses import replace
from typing import Any, Final

from testkit.fake_stripe.details import (
    BillingSpec,
    CustomFieldSpec,
    DetailSpec,
    DiscountSpec,
    PriceSpec,
)
from testkit.fake_stripe.specs import LineSpec, SessionSpec, ShippingSpec
from testkit.shop.records import Record, build_event_record, build_recovered_order, build_webhook_order
from testkit.shop.truth import Expected, Shop, ShopRecipe, Truth

# Every awkward session, some ordinary ones around them, and a number that is easy to remember.
MINIMUM_SESSIONS: Final = 100
DEAD_SESSIONS: Final = 2
REPEAT_CUSTOMER_ORDERS: Final = 30

_DAY: Final = 24 * 3600
# A sync leaves sessions completed in the last ten minutes to the next night, since their webhook may still be
# at work. The youngest session was opened before that, by more than the longest checkout takes.
_LONGEST_CHECKOUT: Final = 600
_GRACE: Final = 10 * 60 + _LONGEST_CHECKOUT + 5 * 60
# The oldest session is this much younger than a day, so that a slow start does not lose it.
_SLACK: Final = 60
_MISSING_RATE: Final = 0.04
_LONG_USER_ID: Final = 266

_CURRENCIES: Final = ("usd", "usd", "usd", "eur", "eur", "gbp", "jpy")
_PRODUCTS: Final = ("Poster", "Mug", "Notebook", "T-shirt", "Canvas", "Sticker set")
_COLORS: Final = ("black", "white", "sand", "forest")


def make_shop(sessions: int, seed: int, now: int) -> Shop:
    """Return a shop of that many complete sessions, opened in the 24 hours before `now` (epoch seconds).

    The youngest is 25 minutes old. Raise ValueError if there is no room for every awkward session.
    """
    if sessions < MINIMUM_SESSIONS:
        raise ValueError(
            f"a shop needs at least {MINIMUM_SESSIONS} sessions to hold every case, not {sessions}"
        )
    builder = _ShopBuilder(ShopRecipe(sessions, seed, now))
    for add_some in _AWKWARD:
        add_some(builder)
    builder.add_ordinary(sessions - builder.count)
    return builder.build()


def shop_from_json(text: str) -> Shop:
    """Make the shop of a recipe, as `Shop.to_json` writes it."""
    return make_shop(**json.loads(text))


class _ShopBuilder:
    """Opens sessions one by one and records what must become of each."""

    def __init__(self, recipe: ShopRecipe) -> None:
        self._recipe = recipe
        self._rng = random.Random(recipe.seed)
        self._sessions: list[SessionSpec] = []
        self._orders: list[Record] = []
        self._events: list[Record] = []
        self._truth: list[Truth] = []

    @property
    def count(self) -> int:
        return len(self._sessions)

    def build(self) -> Shop:
        return Shop(
            recipe=self._recipe,
            sessions=tuple(self._sessions),
            webhook_orders=tuple(self._orders),
            webhook_events=tuple(self._events),
            truth=tuple(self._truth),
        )

    def add_kept(self, *, order_changes: Record | None = None, **fields: Any) -> None:
        """Add a session whose order the webhook wrote; `order_changes` were made to the order since."""
        spec = self._open(fields)
        moment = (spec.completion or spec.created) + self._rng.randint(1, 30)
        order = build_webhook_order(spec, moment, **order_changes or {})
        self._orders.append(order)
        self._add_event(spec, moment, order["orderNumber"])
        self._truth.append(Truth(spec.id, Expected.ORDER_KEPT, reason="exists"))

    def add_missing(self, **fields: Any) -> None:
        """Add a session whose webhook never came, or came and could not write the order."""
        self._add_lost(self._open(fields), Expected.ORDER_RECOVERED)

    def add_dead(self, **fields: Any) -> None:
        """Add a session whose webhook never came, and which Stripe does not find by its id."""
        self._add_lost(self._open(fields), Expected.DEAD)

    def add_skipped(self, reason: str, **fields: Any) -> None:
        """Add a session that needs no order."""
        spec = self._open(fields)
        self._truth.append(Truth(spec.id, Expected.SKIPPED, reason=reason))

    def add_ordinary(self, number: int) -> None:
        """Add that many sessions of returning customers, of which about one in 25 lost its order."""
        customers = [f"user_{position:05}" for position in range(max(1, number // 3))]
        for _ in range(number):
            user = self._rng.choice(customers)
            add = self.add_missing if self._rng.random() < _MISSING_RATE else self.add_kept
            add(metadata={"userId": user}, email=f"{user}@example.com", **self._basket())

    def _basket(self) -> Record:
        currency = self._rng.choice(_CURRENCIES)
        lines = tuple(self._line() for _ in range(self._rng.randint(1, 4)))
        is_shipped = self._rng.random() < 0.5
        return {"currency": currency, "lines": lines, "shipping": ShippingSpec() if is_shipped else None}

    def _line(self) -> LineSpec:
        product = self._rng.choice(_PRODUCTS)
        return LineSpec(
            description=product,
            quantity=self._rng.randint(1, 3),
            unit_amount=self._rng.randrange(100, 10_000),
            product_metadata=_catalogue_entry(product, self._rng.choice(_COLORS)),
        )

    def _open(self, fields: Record) -> SessionSpec:
        created = self._rng.randint(self._recipe.now - _DAY + _SLACK, self._recipe.now - _GRACE)
        spec = SessionSpec(
            id="cs_test_" + "".join(self._rng.choices(string.ascii_letters + string.digits, k=58)),
            created=created,
            completed_at=created + self._rng.randint(20, _LONGEST_CHECKOUT),
            **fields,
        )
        self._sessions.append(spec)
        return spec

    def _add_lost(self, spec: SessionSpec, expected: Expected) -> None:
        came = self._rng.random() < 1 / 3
        if came:
            self._add_event(spec, (spec.completion or spec.created) + 1, None)
        lost = replace(spec, event_delivered=came)
        self._sessions[-1] = lost
        self._truth.append(Truth(spec.id, expected, order=build_recovered_order(lost)))

    def _add_event(self, spec: SessionSpec, moment: int, order_number: str | None) -> None:
        self._events.append(
            build_event_record(spec.completed_event_id, spec.id, moment, order_number=order_number)
        )


def _customers(shop: _ShopBuilder) -> None:
    regular: Record = {"metadata": {"userId": "regular_customer"}, "email": "regular@example.com"}
    for _ in range(REPEAT_CUSTOMER_ORDERS):
        shop.add_kept(**regular)
    shop.add_missing(**regular)
    shipped = {"status": "shipped", "trackingNumber": "TRACK-1"}
    shop.add_kept(order_changes=shipped, metadata={"userId": "shipped_to"})
    # An order stored under its raw id: a sync that queries only the cleaned id writes a second one.
    shop.add_kept(order_changes={"PK": "USER#raw id"}, metadata={"userId": "raw id"})


def _user_ids(shop: _ShopBuilder) -> None:
    shop.add_missing(metadata={"userId": "by_userId"})
    shop.add_missing(metadata={"user_id": "by_user_id"})
    shop.add_missing(metadata={"userId": "first", "user_id": "second"}, email="third@example.com")
    shop.add_missing(email="email.only@example.com")
    shop.add_missing(email="ada+shop@example.com")
    shop.add_kept(email="grace+shop@example.com")
    shop.add_missing(metadata={"userId": "?!"}, email="cleaned.away@example.com")
    shop.add_missing(metadata={"userId": "x" * _LONG_USER_ID})
    shop.add_skipped("no_user")
    shop.add_skipped("no_user", has_customer_details=False)
    shop.add_skipped("no_user", metadata={"userId": "?!"})


def _line_counts(shop: _ShopBuilder) -> None:
    for count in (1, 10, 11, 100, 250):
        lines = tuple(LineSpec(f"Print {number}", unit_amount=100 + number) for number in range(1, count + 1))
        shop.add_missing(metadata={"userId": f"buyer_of_{count}"}, lines=lines)


def _products(shop: _ShopBuilder) -> None:
    known = _catalogue_entry("Canvas", "sand")
    lines = (
        LineSpec("Described", product_metadata=known),
        LineSpec("Half described", product_metadata={"sku": "ONLY-A-SKU"}),
        LineSpec("Not described"),
        LineSpec("Deleted", product_metadata=known, product="deleted"),
        LineSpec("Without a price", has_price=False),
        LineSpec("Discounted", quantity=2, discount=500),
    )
    for line in lines:
        shop.add_missing(metadata={"userId": "collector"}, lines=(line,))
    shop.add_missing(metadata={"userId": "collector_of_all"}, lines=lines)
    quoted = {"userId": "quoted", "quoteSignature": "sig-1", "campaign": "spring"}
    shop.add_missing(metadata=quoted, customer="cus_000000000000000000000001", phone="+15550100")
    shop.add_missing(metadata={"userId": "quoted", "quote_signature": "sig-2"})


def _prices(shop: _ShopBuilder) -> None:
    """Add what a shop notes at its prices, and what is bought in another currency or by the thousand."""
    large = PriceSpec("Size L / blue", "shirt_l_blue", {"size": "L", "gift": "no"})
    shirt = LineSpec("T-shirt", quantity=2, tax=570, metadata={"gift": "yes"}, price=large)
    screws = LineSpec("Screw", quantity=1000, price=PriceSpec(decimal="0.25"))
    cord = LineSpec("Cord, by the metre", quantity=3, price=PriceSpec(decimal="33.3"))
    shop.add_missing(metadata={"userId": "chooses"}, lines=(shirt, screws, cord, LineSpec(None)))
    in_dollars = PriceSpec(currency="usd", unit_amount=1500)
    lines = (LineSpec("Poster", quantity=2, unit_amount=1400, price=in_dollars),)
    converted = DetailSpec(presented=(3010, "usd"))
    shop.add_missing(metadata={"userId": "abroad"}, currency="eur", lines=lines, details=converted)
    old = DetailSpec(
        source_currency="usd", discounts=(DiscountSpec("Autumn", "AUTUMN20"),), discount_place="breakdown"
    )
    lines = (LineSpec("Poster", unit_amount=1370, discount=274, price=in_dollars),)
    shop.add_missing(metadata={"userId": "abroad_before"}, currency="gbp", lines=lines, details=old)


def _checkout_pages(shop: _ShopBuilder) -> None:
    """Add what customers fill in on the payment page."""
    fields = (
        CustomFieldSpec("engraving", "Engraving", "For Jane"),
        CustomFieldSpec("age", "Age of the child", "7", "numeric"),
        CustomFieldSpec("size", "Size", "l", "dropdown", {"m": "Medium", "l": "Large"}),
        CustomFieldSpec("note", "Note for the carrier"),
    )
    details = DetailSpec(
        custom_fields=fields,
        discounts=(DiscountSpec("Autumn", "AUTUMN20"), DiscountSpec("Loyal customer")),
        business_name="Example Ltd",
        individual_name="Ada Example",
        tax_ids=("DE123456789",),
        client_reference_id="cart-7",
        payment_link="plink_000000000000000000000001",
        recovered_from="cs_test_expired",
    )
    ring = (LineSpec("Ring", unit_amount=6000, discount=1200, tax=912),)
    shop.add_missing(metadata={"userId": "engraves"}, lines=ring, details=details)


def _payments(shop: _ShopBuilder) -> None:
    free = (LineSpec("Sample", unit_amount=0),)
    free_of_charge: Record = {"payment_status": "no_payment_required", "currency": None}
    shop.add_missing(metadata={"userId": "free"}, lines=free, **free_of_charge)
    shop.add_missing(metadata={"userId": "yen"}, currency="jpy", lines=(LineSpec(unit_amount=1980),))
    shop.add_missing(metadata={"userId": "subscriber"}, mode="subscription")
    shop.add_skipped("unpaid", metadata={"userId": "pays_later"}, payment_status="unpaid")
    shop.add_skipped(
        "not_a_sale", metadata={"userId": "saves_a_card"}, mode="setup", lines=(), **free_of_charge
    )


def _payment_states(shop: _ShopBuilder) -> None:
    """Add payments that are more than paid or unpaid."""
    held: Record = {"payment_status": "unpaid", "intent_status": "requires_capture"}
    recovered: tuple[Record, ...] = (
        {"amount_captured": 1000},
        {"amount_refunded": 500},
        {"mode": "subscription", "amount_refunded": 500},
        {"dispute_status": "needs_response"},
        {"dispute_status": "won"},
        {"review": "open"},
        {"is_fraud_reported": True},
    )
    for fields in recovered:
        shop.add_missing(metadata={"userId": "paid_in_part"}, **fields)
    skipped: tuple[tuple[str, Record], ...] = (
        ("awaiting_capture", held),
        ("payment_failed", held | {"intent_status": "canceled"}),
        ("payment_failed", {"payment_status": "unpaid", "intent_status": "requires_payment_method"}),
        ("refunded", {"mode": "subscription", "amount_refunded": 1500}),
        ("refunded", {"dispute_status": "lost"}),
    )
    for reason, fields in skipped:
        shop.add_skipped(reason, metadata={"userId": "not_paid"}, **fields)


def _deliveries(shop: _ShopBuilder) -> None:
    express = DetailSpec(shipping_rate="Express", shipping_tax=93, billing=BillingSpec(line2="Unit 4"))
    parcel: Record = {"shipping": ShippingSpec(), "shipping_amount": 490, "details": express}
    shop.add_missing(metadata={"userId": "parcel_new"}, **parcel)
    shop.add_missing(
        metadata={"userId": "picks_up"}, details=DetailSpec(shipping_rate="Pick-up"), name="Ada Example"
    )
    old = ShippingSpec(place="shipping_details", line2="Flat 2")
    shop.add_missing(metadata={"userId": "parcel_old"}, shipping=old)
    shop.add_missing(metadata={"userId": "no_parcel"}, shipping=None)
    shop.add_missing(metadata={"userId": "no_details"}, has_customer_details=False)


def _dead(shop: _ShopBuilder) -> None:
    for number in range(DEAD_SESSIONS):
        shop.add_dead(metadata={"userId": f"not_found_{number}"}, lines=(LineSpec(), LineSpec("Mug")))


def _catalogue_entry(product: str, color: str) -> dict[str, str]:
    code = product[:3].upper()
    return {"sku": f"{code}-{color}", "collection": "autumn", "variant_id": f"{code}1", "color": color}


_AWKWARD: Final = (
    _customers,
    _user_ids,
    _line_counts,
    _products,
    _prices,
    _checkout_pages,
    _payments,
    _payment_states,
    _deliveries,
    _dead,
)
