"""A made-up shop and its truth: its Stripe sessions, what its webhook wrote, and what a sync must do.

The same seed and moment make the same shop. It holds every awkward session on purpose, and ordinary ones up
to the number asked for. What an order must look like is worked out here from the specs, without the code that
is checked against it.
"""

import json
import random
import re
import string
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeSerializer

from testkit.fake_stripe.specs import LineSpec, SessionSpec, ShippingSpec

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef, WriteRequestUnionTypeDef

type Json = dict[str, Any]

# Every awkward session, some ordinary ones around them, and a number that is easy to remember.
MINIMUM_SESSIONS: Final = 100
DEAD_SESSIONS: Final = 2
REPEAT_CUSTOMER_ORDERS: Final = 30

_DAY: Final = 24 * 3600
# What was completed in the last ten minutes may still be on its way through the webhook, so a sync leaves it
# to the next night. The youngest session was opened before that, by more than the longest checkout takes.
_LONGEST_CHECKOUT: Final = 600
_GRACE: Final = 10 * 60 + _LONGEST_CHECKOUT + 5 * 60
# The oldest session is this much younger than a day, so that a slow start does not lose it.
_SLACK: Final = 60
_MISSING_RATE: Final = 0.04
_EVENT_RECORD_DAYS: Final = 30
_MAX_USER_ID: Final = 256

# DynamoDB takes this many writes in one BatchWriteItem.
_WRITES_PER_BATCH: Final = 25
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0
_MAX_ATTEMPTS: Final = 12

_CURRENCIES: Final = ("usd", "usd", "usd", "eur", "eur", "gbp", "jpy")
_PRODUCTS: Final = ("Poster", "Mug", "Notebook", "T-shirt", "Canvas", "Sticker set")
_COLORS: Final = ("black", "white", "sand", "forest")


class Expected(StrEnum):
    """What must be true of a session once the sync is done."""

    ORDER_KEPT = "order_kept"  # the webhook's order is there, byte for byte as it was
    ORDER_RECOVERED = "order_recovered"  # exactly one order, written by the sync
    SKIPPED = "skipped"  # no order, for the reason given
    DEAD = "dead"  # Stripe answers 404: an error until it is healed, then recovered


@dataclass(frozen=True, slots=True)
class Truth:
    """What must become of one session.

    `reason` is the sync's reason to skip it. `order` is the order that a recovery must write, with everything
    that does not depend on when it is written and by which run.
    """

    session_id: str
    expected: Expected
    reason: str | None = None
    order: Json | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What a run must have counted; `processed` is the sum of the last three."""

    enqueued: int
    processed: int
    created: int
    skipped: int
    errors: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that it takes to make a shop once more: its size, its seed and its moment (epoch seconds)."""

    sessions: int
    seed: int
    now: int


@dataclass(frozen=True)
class Shop:
    """What Stripe holds, what the table holds before the sync, and what must be true after it."""

    recipe: Recipe
    sessions: tuple[SessionSpec, ...]
    webhook_orders: tuple[Json, ...]
    webhook_events: tuple[Json, ...]
    truth: tuple[Truth, ...]

    @property
    def dead_sessions(self) -> list[str]:
        return [truth.session_id for truth in self.truth if truth.expected is Expected.DEAD]

    def counters(self, *, healed: bool) -> Counters:
        """The numbers of the first run, with its dead sessions given up or, once healed, recovered."""
        found = Counter(truth.expected for truth in self.truth)
        dead = found[Expected.DEAD]
        return Counters(
            enqueued=len(self.truth),
            processed=len(self.truth),
            created=found[Expected.ORDER_RECOVERED] + (dead if healed else 0),
            skipped=found[Expected.ORDER_KEPT] + found[Expected.SKIPPED],
            errors=0 if healed else dead,
        )

    def to_json(self) -> str:
        """The recipe: what it makes is always the same, and a thousand times larger."""
        return json.dumps(asdict(self.recipe))

    @classmethod
    def from_json(cls, text: str) -> "Shop":
        return make_shop(**json.loads(text))


def make_shop(sessions: int, seed: int, now: int) -> Shop:
    """A shop of this many sessions, completed, and opened in the 24 hours before `now` (epoch seconds).

    The youngest is 25 minutes old. ValueError when there is no room for every case.
    """
    if sessions < MINIMUM_SESSIONS:
        raise ValueError(
            f"a shop needs at least {MINIMUM_SESSIONS} sessions to hold every case, not {sessions}"
        )
    shopkeeper = _Shopkeeper(Recipe(sessions, seed, now))
    _open_awkward_sessions(shopkeeper)
    shopkeeper.open_ordinary_sessions(sessions - shopkeeper.count)
    return shopkeeper.shop()


def seed_table(client: "DynamoDBClient", table_name: str, shop: Shop) -> None:
    """Write what the webhook had written. Raises RuntimeError when DynamoDB keeps refusing a part."""
    serialize = TypeSerializer().serialize
    items = [*shop.webhook_orders, *shop.webhook_events]
    for batch in batched(items, _WRITES_PER_BATCH):
        puts: list[WriteRequestTypeDef] = [
            {"PutRequest": {"Item": {name: serialize(value) for name, value in item.items()}}}
            for item in batch
        ]
        _write(client, table_name, puts)


def _write(client: "DynamoDBClient", table_name: str, writes: "Sequence[WriteRequestUnionTypeDef]") -> None:
    """What DynamoDB had no room for comes back unprocessed and is sent again, later each time."""
    wait = _FIRST_WAIT_SECONDS
    for _ in range(_MAX_ATTEMPTS):
        answer = client.batch_write_item(RequestItems={table_name: writes})
        writes = answer.get("UnprocessedItems", {}).get(table_name, [])
        if not writes:
            return
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
    raise RuntimeError(f"DynamoDB left {len(writes)} items of a batch unwritten, {_MAX_ATTEMPTS} times")


class _Shopkeeper:
    """Opens sessions one by one and notes what became of each."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._rng = random.Random(recipe.seed)
        self._sessions: list[SessionSpec] = []
        self._orders: list[Json] = []
        self._events: list[Json] = []
        self._truth: list[Truth] = []

    @property
    def count(self) -> int:
        return len(self._sessions)

    def shop(self) -> Shop:
        return Shop(
            recipe=self._recipe,
            sessions=tuple(self._sessions),
            webhook_orders=tuple(self._orders),
            webhook_events=tuple(self._events),
            truth=tuple(self._truth),
        )

    def kept(self, **fields: Any) -> None:  # noqa: ANN401 - the fields of SessionSpec, checked there
        """The webhook did its work."""
        self.kept_as({}, **fields)

    def kept_as(self, changes: Json, **fields: Any) -> None:  # noqa: ANN401 - as above
        """The webhook did its work, and somebody has changed its order since."""
        spec = self._open(fields)
        moment = (spec.completion or spec.created) + self._rng.randint(1, 30)
        order = _webhook_order(spec, moment) | changes
        self._orders.append(order)
        self._events.append(_event_record(spec, moment, order["orderNumber"]))
        self._truth.append(Truth(spec.id, Expected.ORDER_KEPT, reason="exists"))

    def missing(self, **fields: Any) -> None:  # noqa: ANN401 - the fields of SessionSpec, checked there
        """The webhook never came, or it came and could not write the order."""
        self._lose(self._open(fields), Expected.ORDER_RECOVERED)

    def dead(self, **fields: Any) -> None:  # noqa: ANN401 - the fields of SessionSpec, checked there
        """The webhook never came, and Stripe does not find the session when it is asked for it."""
        self._lose(self._open(fields), Expected.DEAD)

    def skipped(self, reason: str, **fields: Any) -> None:  # noqa: ANN401 - the fields of SessionSpec
        """There is nothing to write."""
        spec = self._open(fields)
        self._truth.append(Truth(spec.id, Expected.SKIPPED, reason=reason))

    def open_ordinary_sessions(self, number: int) -> None:
        """Customers come back, and about one order in 25 gets lost."""
        customers = [f"user_{position:05}" for position in range(max(1, number // 3))]
        for _ in range(number):
            user = self._rng.choice(customers)
            take = self.missing if self._rng.random() < _MISSING_RATE else self.kept
            take(metadata={"userId": user}, email=f"{user}@example.com", **self._basket())

    def _basket(self) -> Json:
        currency = self._rng.choice(_CURRENCIES)
        lines = tuple(self._line() for _ in range(self._rng.randint(1, 4)))
        shipped = self._rng.random() < 0.5  # noqa: PLR2004 - half of what is bought is a parcel
        return {"currency": currency, "lines": lines, "shipping": ShippingSpec() if shipped else None}

    def _line(self) -> LineSpec:
        product = self._rng.choice(_PRODUCTS)
        return LineSpec(
            description=product,
            quantity=self._rng.randint(1, 3),
            unit_amount=self._rng.randrange(100, 10_000),
            product_metadata=_catalogue_entry(product, self._rng.choice(_COLORS)),
        )

    def _open(self, fields: Json) -> SessionSpec:
        created = self._rng.randint(self._recipe.now - _DAY + _SLACK, self._recipe.now - _GRACE)
        spec = SessionSpec(
            id="cs_test_" + "".join(self._rng.choices(string.ascii_letters + string.digits, k=58)),
            created=created,
            completed_at=created + self._rng.randint(20, _LONGEST_CHECKOUT),
            **fields,
        )
        self._sessions.append(spec)
        return spec

    def _lose(self, spec: SessionSpec, expected: Expected) -> None:
        came = self._rng.random() < 1 / 3
        if came:
            self._events.append(_event_record(spec, (spec.completion or spec.created) + 1, None))
        lost = replace(spec, event_delivered=came)
        self._sessions[-1] = lost
        self._truth.append(Truth(spec.id, expected, order=_recovered_order(lost)))


def _open_awkward_sessions(shopkeeper: _Shopkeeper) -> None:
    for open_some in (_customers, _user_ids, _line_counts, _products, _payments, _deliveries, _dead):
        open_some(shopkeeper)


def _customers(shopkeeper: _Shopkeeper) -> None:
    regular: Json = {"metadata": {"userId": "regular_customer"}, "email": "regular@example.com"}
    for _ in range(REPEAT_CUSTOMER_ORDERS):
        shopkeeper.kept(**regular)
    shopkeeper.missing(**regular)
    shopkeeper.kept_as({"status": "shipped", "trackingNumber": "TRACK-1"}, metadata={"userId": "shipped_to"})
    # An id that was written as it came: a sync that looks under the cleaned one only writes a second order.
    shopkeeper.kept_as({"PK": "USER#raw id"}, metadata={"userId": "raw id"})


def _user_ids(shopkeeper: _Shopkeeper) -> None:
    shopkeeper.missing(metadata={"userId": "by_userId"})
    shopkeeper.missing(metadata={"user_id": "by_user_id"})
    shopkeeper.missing(metadata={"userId": "first", "user_id": "second"}, email="third@example.com")
    shopkeeper.missing(email="email.only@example.com")
    shopkeeper.missing(email="ada+shop@example.com")
    shopkeeper.kept(email="grace+shop@example.com")
    shopkeeper.missing(metadata={"userId": "?!"}, email="cleaned.away@example.com")
    shopkeeper.missing(metadata={"userId": "x" * (_MAX_USER_ID + 10)})
    shopkeeper.skipped("no_user")
    shopkeeper.skipped("no_user", has_customer_details=False)
    shopkeeper.skipped("no_user", metadata={"userId": "?!"})


def _line_counts(shopkeeper: _Shopkeeper) -> None:
    for count in (1, 10, 11, 100, 250):
        lines = tuple(LineSpec(f"Print {number}", unit_amount=100 + number) for number in range(1, count + 1))
        shopkeeper.missing(metadata={"userId": f"buyer_of_{count}"}, lines=lines)


def _products(shopkeeper: _Shopkeeper) -> None:
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
        shopkeeper.missing(metadata={"userId": "collector"}, lines=(line,))
    shopkeeper.missing(metadata={"userId": "collector_of_all"}, lines=lines)
    quoted = {"userId": "quoted", "quoteSignature": "sig-1", "campaign": "spring"}
    shopkeeper.missing(metadata=quoted, customer="cus_000000000000000000000001", phone="+15550100")
    shopkeeper.missing(metadata={"userId": "quoted", "quote_signature": "sig-2"})


def _payments(shopkeeper: _Shopkeeper) -> None:
    free = (LineSpec("Sample", unit_amount=0),)
    shopkeeper.missing(
        metadata={"userId": "free"}, currency=None, payment_status="no_payment_required", lines=free
    )
    shopkeeper.missing(metadata={"userId": "yen"}, currency="jpy", lines=(LineSpec(unit_amount=1980),))
    shopkeeper.missing(metadata={"userId": "subscriber"}, mode="subscription")
    shopkeeper.skipped("unpaid", metadata={"userId": "pays_later"}, payment_status="unpaid")
    shopkeeper.skipped(
        "not_a_sale",
        metadata={"userId": "saves_a_card"},
        mode="setup",
        payment_status="no_payment_required",
        currency=None,
        lines=(),
    )


def _deliveries(shopkeeper: _Shopkeeper) -> None:
    shopkeeper.missing(metadata={"userId": "parcel_new"}, shipping=ShippingSpec(), shipping_amount=490)
    shopkeeper.missing(
        metadata={"userId": "parcel_old"}, shipping=ShippingSpec(place="shipping_details", line2="Flat 2")
    )
    shopkeeper.missing(metadata={"userId": "no_parcel"}, shipping=None)
    shopkeeper.missing(metadata={"userId": "no_details"}, has_customer_details=False)


def _dead(shopkeeper: _Shopkeeper) -> None:
    for number in range(DEAD_SESSIONS):
        shopkeeper.dead(metadata={"userId": f"not_found_{number}"}, lines=(LineSpec(), LineSpec("Mug")))


def _catalogue_entry(product: str, color: str) -> dict[str, str]:
    code = product[:3].upper()
    return {"sku": f"{code}-{color}", "collection": "autumn", "variant_id": f"{code}1", "color": color}


def user_of(spec: SessionSpec) -> str | None:
    """The cleaned user id, by the webhook's rule: the first candidate that cleaning leaves something of."""
    email = spec.email if spec.has_customer_details else None
    candidates = (spec.metadata.get("userId"), spec.metadata.get("user_id"), email)
    cleaned = (re.sub(r"[^a-zA-Z0-9@.\-_]", "", candidate or "")[:_MAX_USER_ID] for candidate in candidates)
    return next((user for user in cleaned if user), None)


def _webhook_order(spec: SessionSpec, moment: int) -> Json:
    """As the webhook writes it: dated by the moment of the webhook, and with no `source`."""
    return _order(spec) | {
        "SK": f"ORDER#{moment}#{spec.id}",
        "updatedAt": _iso(moment),
        "completedAt": _iso(moment),
    }


def _recovered_order(spec: SessionSpec) -> Json:
    return _order(spec) | {"SK": f"ORDER#{spec.created}#{spec.id}", "source": "nightly_sync"}


def _order(spec: SessionSpec) -> Json:
    user = user_of(spec)
    if user is None:
        raise ValueError(f"{spec.id} belongs to nobody, so it has no order")
    return _present(
        {
            "PK": f"USER#{user}",
            "orderId": spec.id,
            "orderNumber": "BC-" + re.sub(r"[^A-Za-z0-9]", "", spec.id[-8:]).upper(),
            "userId": user,
            "status": "completed",
            "amount": spec.amount_total,
            "amountSubtotal": spec.amount_subtotal,
            "currency": spec.currency,
            "items": [_order_item(line, spec.line_currency) for line in spec.lines],
            "itemCount": len(spec.lines),
            "createdAt": _iso(spec.created),
            "stripeSessionId": spec.id,
            "stripePaymentIntentId": spec.payment_intent,
            "stripeCustomerId": spec.customer,
            "stripePaymentStatus": spec.payment_status,
            "customerEmail": spec.email if spec.has_customer_details else None,
            "customerPhone": spec.phone if spec.has_customer_details else None,
            "shippingAddress": _address(spec.shipping) if spec.shipping else None,
            "quoteSignature": spec.metadata.get("quoteSignature") or spec.metadata.get("quote_signature"),
            "metadata": _other_metadata(spec.metadata) or None,
        }
    )


def _order_item(line: LineSpec, currency: str) -> Json:
    known = line.product_metadata if line.has_price and line.product == "active" else {}
    return _present(
        {
            "name": line.description,
            "quantity": line.quantity,
            "unitPrice": line.unit_amount if line.has_price else None,
            "currency": currency,
            "amountTotal": line.amount_total,
            "amountSubtotal": line.amount_subtotal,
            "stripePriceId": line.price_id(currency) if line.has_price else None,
            "stripeProductId": line.product_id if line.has_price else None,
            "sku": known.get("sku"),
            "collectionId": known.get("collection"),
            "variantId": known.get("variant_id"),
            "color": known.get("color"),
        }
    )


def _address(shipping: ShippingSpec) -> Json:
    return _present(
        {
            "name": shipping.name,
            "line1": shipping.line1,
            "line2": shipping.line2,
            "city": shipping.city,
            "state": shipping.state,
            "postalCode": shipping.postal_code,
            "country": shipping.country,
        }
    )


def _other_metadata(metadata: Mapping[str, str]) -> Json:
    read = {"userId", "user_id", "quoteSignature", "quote_signature"}
    return {name: value for name, value in metadata.items() if name not in read}


def _event_record(spec: SessionSpec, moment: int, order_number: str | None) -> Json:
    """What the webhook notes at the end of each event, also when it could not write the order."""
    return _present(
        {
            "PK": f"EVENT#{spec.completed_event_id}",
            "SK": "METADATA",
            "eventType": "checkout.session.completed",
            "sessionId": spec.id,
            "status": "processed",
            "orderCreated": order_number is not None,
            "orderNumber": order_number,
            "processedAt": _iso(moment),
            "expiresAt": moment + _EVENT_RECORD_DAYS * _DAY,
        }
    )


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
