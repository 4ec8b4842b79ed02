"""Hostile objects on their way through the real functions: what Stripe answers for a session is replaced."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from recon.timestamps import HOUR
from testkit.builders import NOW
from testkit.doubles.faults import Faulty
from testkit.fake_stripe import FakeStripe, LineSpec, SessionSpec, ShippingSpec
from testkit.world import KEY
from tests.crash.shop import Shop
from tests.crash.stripe_port import Reply, Stripe

SESSIONS = "/v1/checkout/sessions"
# Whoever is named here bought something, and no message, log line or outcome may say so.
BUYER = ("Ada Buyer", "buyer@example.com", "+4917012345678", "1 Hidden Lane", "Secretville")


class Scripted(Stripe):
    """`answers`: by session id, the JSON text of the session; `listed`: of the page that the
    list answers; `events`: what the list of events holds."""

    def __init__(self, account: FakeStripe) -> None:
        super().__init__(account, None)
        self.answers: dict[str, bytes] = {}
        self.listed: bytes | None = None
        self.events: list[Any] | None = None

    def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        parts = urlsplit(url)
        if self.listed is not None and parts.path == SESSIONS:
            return self._list(parse_qs(parts.query)), 200, {}
        if self.events is not None and parts.path == "/v1/events":
            return json.dumps({"object": "list", "data": self.events, "has_more": False}).encode(), 200, {}
        name = parts.path.removeprefix(f"{SESSIONS}/")
        if name in self.answers:
            return self.answers[name], 200, {}
        return super().get(url, headers)

    def _list(self, query: dict[str, list[str]]) -> bytes:
        assert self.listed is not None
        return b'{"data": [], "has_more": false}' if "starting_after" in query else self.listed


def a_rich_session(name: str, **changes: Any) -> SessionSpec:
    """With something in every part that an order takes something from."""
    buyer, email, phone, line1, city = BUYER
    fields: dict[str, Any] = {
        "created": NOW - 3 * HOUR,
        "lines": (
            LineSpec("A mug", quantity=2, product_metadata={"sku": "MUG", "color": "red"}),
            LineSpec("A poster", discount=100),
        ),
        "metadata": {"userId": name, "quoteSignature": "sig", "campaign": "autumn"},
        "email": email,
        "name": buyer,
        "phone": phone,
        "customer": "cus_1",
        "shipping": ShippingSpec(name=buyer, line1=line1, city=city),
        "shipping_amount": 500,
    } | changes
    return SessionSpec(f"cs_test_{name}", **fields)


class Stage(Shop):
    """A shop whose Stripe says what it is told to say."""

    def __init__(self, account: FakeStripe, **env: str) -> None:
        super().__init__(account, **env)
        self.scripted = Scripted(account)
        self.transport.port = Faulty(self.scripted, history=self.history)

    def stripe_says(self, session_id: str, session: Any) -> None:
        self.scripted.answers[session_id] = json.dumps(session).encode()

    def stripe_lists(self, rows: list[Any]) -> None:
        page = {"object": "list", "data": rows, "has_more": False}
        self.scripted.listed = json.dumps(page).encode()


def as_fetched(account: FakeStripe, spec: SessionSpec) -> Any:
    """The session as the product asks for it: with lines, products, payment and charge."""
    expand = ("line_items", "line_items.data.price.product", "payment_intent.latest_charge")
    query = "&".join(f"expand[{n}]={path}" for n, path in enumerate(expand))
    account.store.add(spec)
    return _got(account, f"{SESSIONS}/{spec.id}?{query}")


def as_listed(account: FakeStripe, spec: SessionSpec) -> Any:
    account.store.add(spec)
    return _got(account, f"{SESSIONS}/{spec.id}")


def _got(account: FakeStripe, url: str) -> Any:
    body, status, _ = Stripe(account, None).get(url, {"Authorization": f"Bearer {KEY}"})
    assert status == 200, body
    return json.loads(body)
