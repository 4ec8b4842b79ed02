"""A shop with every kind of session that Stripe can have, served by the fake over HTTP."""

import json
from contextlib import contextmanager
from typing import get_args
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from testkit.builders import NOW
from testkit.fake_stripe import (
    BillingSpec,
    CustomFieldSpec,
    DetailSpec,
    DiscountSpec,
    FakeStripe,
    LineSpec,
    PriceSpec,
    RateLimits,
    SessionSpec,
    ShippingSpec,
)
from testkit.fake_stripe.specs import DisputeStatus, IntentStatus, ReviewStatus
from testkit.shop import make_shop

KEY = "sk_test_contract"
SESSIONS = "/v1/checkout/sessions"


def awkward_sessions():
    yield from make_shop(100, 7, NOW).sessions
    yield SessionSpec("cs_test_open", NOW, status="open", payment_status="unpaid")
    yield SessionSpec("cs_test_expired", NOW, status="expired", payment_status="unpaid")
    yield SessionSpec("cs_test_refunded", NOW, email="a@example.com", amount_refunded=1500)
    yield SessionSpec(
        "cs_test_disputed", NOW, amount_refunded=100, dispute_status="lost", shipping_amount=500
    )
    for status in get_args(DisputeStatus):
        yield SessionSpec(f"cs_test_{status}", NOW, dispute_status=status)
    unpaid = {"payment_status": "unpaid"}
    for status in get_args(IntentStatus):
        yield SessionSpec(f"cs_test_intent_{status}", NOW, intent_status=status, **unpaid)
        yield SessionSpec(
            f"cs_test_invoice_{status}", NOW, mode="subscription", intent_status=status, **unpaid
        )
    for status in get_args(ReviewStatus):
        yield SessionSpec(f"cs_test_review_{status}", NOW, review=status, is_fraud_reported=True)
    yield SessionSpec("cs_test_held", NOW, intent_status="requires_capture", capture_before=NOW, **unpaid)
    yield SessionSpec("cs_test_captured", NOW, amount_captured=5, amount_refunded=2, dispute_amount=3)
    yield SessionSpec("cs_test_invoiced", NOW, mode="subscription", dispute_status="won", review="open")
    yield SessionSpec("cs_test_async", NOW, async_paid_at=NOW + 86_400, event_delivered=False)
    yield SessionSpec("cs_test_unnamed", NOW, lines=(LineSpec(None), LineSpec(product="deleted")))
    yield SessionSpec("cs_test_old", NOW, shipping=ShippingSpec(place="shipping_details"))
    yield from detailed_sessions()


def detailed_sessions():
    """Yield sessions with every detail that an order keeps."""
    price = PriceSpec("Size L", "mug_l", {"size": "L"}, currency="eur", unit_amount=1400)
    fields = (
        CustomFieldSpec("engraving", "Engraving", "For Jane"),
        CustomFieldSpec("age", "Age", kind="numeric"),
        CustomFieldSpec("size", "Size", "l", "dropdown", {"l": "Large"}),
    )
    details = DetailSpec(
        shipping_rate="Express",
        shipping_tax=50,
        discounts=(DiscountSpec("Autumn", "AUTUMN20"), DiscountSpec("Loyal")),
        custom_fields=fields,
        billing=BillingSpec(),
        business_name="Example Ltd",
        individual_name="Ada Example",
        tax_ids=("DE123456789",),
        client_reference_id="cart-7",
        payment_link="plink_1",
        recovered_from="cs_test_expired",
        presented=(2000, "cad"),
    )
    lines = (LineSpec(discount=100, tax=90, metadata={"gift": "yes"}, price=price),)
    lines += (LineSpec("Screw", quantity=200, price=PriceSpec(decimal="0.5")),)
    yield SessionSpec("cs_test_detailed", NOW, lines=lines, shipping_amount=500, details=details)
    old = DetailSpec(discounts=(DiscountSpec("Loyal"),), discount_place="breakdown", source_currency="usd")
    yield SessionSpec("cs_test_converted", NOW, currency="cad", details=old)


@contextmanager
def serve_awkward_sessions():
    with FakeStripe(KEY, limits=RateLimits(None, None)) as fake:
        fake.store.add_all(awkward_sessions())
        yield fake


def get(fake, path, **params):
    query = urlencode(params, doseq=True)
    request = Request(f"{fake.url}{path}?{query}", headers={"Authorization": f"Bearer {KEY}"})  # noqa: S310
    with urlopen(request) as response:  # noqa: S310 - http, to this machine
        return json.loads(response.read())


def pages(fake, path, **params):
    """Yield every page of a list."""
    after = {}
    while True:
        page = get(fake, path, limit=100, **params, **after)
        yield page
        if not page["has_more"]:
            return
        after = {"starting_after": page["data"][-1]["id"]}
