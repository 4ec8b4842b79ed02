"""Hostile objects on their way through the real functions: a test replaces what Stripe answers."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from recon.timestamps import HOUR
from testkit.builders import NOW
from testkit.doubles.faults import Faulty
from testkit.fake_stripe import (
    BillingSpec,
    CustomFieldSpec,
    DetailSpec,
    DiscountSpec,
    FakeStripe,
    LineSpec,
    PriceSpec,
    SessionSpec,
    ShippingSpec,
)
from testkit.shop import build_session
from testkit.world import KEY
from tests.crash.crash_shop import CrashShop
from tests.crash.stripe_transport import Stripe, StripeReply

SESSIONS = "/v1/checkout/sessions"
# No message, log line or outcome may contain any of these.
BUYER = ("Ada Buyer", "buyer@example.com", "+4917012345678", "1 Hidden Lane", "Secretville")


LARGE = PriceSpec("Size L", "mug_l", {"size": "L", "gift": "no"})
DETAILS = DetailSpec(
    shipping_rate="Express",
    shipping_tax=95,
    discounts=(DiscountSpec("Autumn", "AUTUMN20"), DiscountSpec("Loyal")),
    custom_fields=(
        CustomFieldSpec("engraving", "Engraving", "For Jane"),
        CustomFieldSpec("size", "Size", "l", "dropdown", {"l": "Large"}),
    ),
    billing=BillingSpec(line1=BUYER[3], city=BUYER[4]),
    business_name="Example Ltd",
    tax_ids=("DE123456789",),
    client_reference_id="cart-7",
    payment_link="plink_1",
    recovered_from="cs_test_expired",
    presented=(4000, "cad"),
)


class ScriptedStripe(Stripe):
    """Answers JSON texts: `answers` by session id, `listed` to the list; `events` is the list of events.

    `rows` are the payments of an invoice or the disputes of a charge, by the id of the invoice or charge.
    """

    def __init__(self, account: FakeStripe) -> None:
        super().__init__(account)
        self.answers: dict[str, bytes] = {}
        self.listed: bytes | None = None
        self.events: list[Any] | None = None
        self.rows: dict[str, list[Any]] = {}

    def get(self, url: str, headers: Mapping[str, str]) -> StripeReply:
        parts = urlsplit(url)
        if self.listed is not None and parts.path == SESSIONS:
            is_later_page = "starting_after" in parse_qs(parts.query)
            return _encode_list([]) if is_later_page else self.listed, 200, {}
        if self.events is not None and parts.path == "/v1/events":
            return _encode_list(self.events), 200, {}
        query = parse_qs(parts.query)
        for owner in (*query.get("invoice", ()), *query.get("charge", ())):
            if owner in self.rows:
                return _encode_list(self.rows[owner]), 200, {}
        name = parts.path.removeprefix(f"{SESSIONS}/")
        if name in self.answers:
            return self.answers[name], 200, {}
        return super().get(url, headers)


class HostileShop(CrashShop):
    """A shop whose Stripe answers what the test sets."""

    def __init__(self, account: FakeStripe, **env: str) -> None:
        super().__init__(account, **env)
        self.scripted = ScriptedStripe(account)
        self.transport.stripe = Faulty(self.scripted, history=self.history)

    def set_session(self, session_id: str, session: Any) -> None:
        self.scripted.answers[session_id] = json.dumps(session).encode()

    def set_list(self, rows: list[Any]) -> None:
        self.scripted.listed = _encode_list(rows)


def _encode_list(rows: list[Any]) -> bytes:
    return json.dumps({"object": "list", "data": rows, "has_more": False}).encode()


def rich_session(name: str, **changes: Any) -> SessionSpec:
    """Return a session with a value in every part that an order is made of."""
    buyer, email, phone, line1, city = BUYER
    fields: dict[str, Any] = {
        "created": NOW - 3 * HOUR,
        "lines": (
            LineSpec("A mug", quantity=2, product_metadata={"sku": "MUG", "color": "red"}, price=LARGE),
            LineSpec("A poster", discount=100, tax=90, metadata={"gift": "yes"}),
            LineSpec("A screw", quantity=1000, price=PriceSpec(decimal="0.25")),
        ),
        "metadata": {"userId": name, "quoteSignature": "sig", "campaign": "autumn"},
        "email": email,
        "name": buyer,
        "phone": phone,
        "customer": "cus_1",
        "shipping": ShippingSpec(name=buyer, line1=line1, city=city),
        "shipping_amount": 500,
        "details": DETAILS,
    }
    return build_session(name, NOW, **fields | changes)


def fetch_session(account: FakeStripe, spec: SessionSpec) -> Any:
    """Return the session as the product asks for it, with all that is expanded."""
    expand = (
        "line_items",
        "line_items.data.price.product",
        "payment_intent.latest_charge.balance_transaction",
        "shipping_cost.shipping_rate",
        "discounts.promotion_code",
        "total_details.breakdown",
    )
    return list_session(account, spec, "&".join(f"expand[{n}]={path}" for n, path in enumerate(expand)))


def list_session(account: FakeStripe, spec: SessionSpec, query: str = "") -> Any:
    """Return the session as an entry of a list."""
    account.store.add(spec)
    return fetch_object(account, f"{SESSIONS}/{spec.id}?{query}")


def fetch_object(account: FakeStripe, url: str) -> Any:
    """Return what the fake Stripe answers to a URL."""
    body, status, _ = Stripe(account).get(url, {"Authorization": f"Bearer {KEY}"})
    assert status == 200, body
    return json.loads(body)
