"""The details of orders through the real functions: one request a session, and every attribute right."""

import pytest

from recon.timestamps import to_iso
from testkit.builders import NOW
from testkit.fake_stripe import DetailSpec, DiscountSpec, Endpoint, LineSpec, PriceSpec, SessionSpec
from testkit.invariants import TableRecords, verify_records
from testkit.shop import make_shop
from testkit.world import wire

CREATED = NOW - 3600
# As much as Stripe stores at one object.
METADATA = {f"{number:040}": "v" * 500 for number in range(50)}


@pytest.fixture
def sell(world):
    """Return a function that sells a session, runs a night, and returns the order."""

    def sell_one(**fields):
        spec = world.sells(SessionSpec("cs_test_one", CREATED, **{"metadata": {"userId": "u1"}} | fields))
        world.night()
        [order] = world.orders(spec.id)
        return order

    return sell_one


def test_seeded_shop_is_recovered_with_every_detail(world):
    shop = make_shop(100, 7, NOW)
    world.stripe.store.add_all(shop.sessions)
    for session_id in shop.dead_sessions:
        world.stripe.faults.missing(session=session_id)
    for item in (*shop.webhook_orders, *shop.webhook_events):
        world.memory.put_item(TableName=world.table, Item=wire(item))
    world.night()
    records = TableRecords(wire(item) for item in world.items())
    assert verify_records(records, shop, healed=False) == []


def test_details_take_no_further_request(world, sell):
    details = DetailSpec(shipping_rate="Express", discounts=(DiscountSpec("Autumn", "AUTUMN20"),))
    order = sell(details=details, shipping_amount=500)
    assert order["shippingMethod"]["name"] == "Express"
    assert order["stripeDiscounts"][0]["code"] == "AUTUMN20"
    assert order["paidAt"]
    assert [call.endpoint for call in world.stripe.calls.log() if call.session] == [Endpoint.RETRIEVE]


def test_raw_user_id_is_kept_where_cleaning_changed_it(sell):
    order = sell(metadata={"userId": "Jane Doe/7"})
    assert (order["userId"], order["rawUserId"]) == ("JaneDoe7", "Jane Doe/7")
    assert order["PK"] == "USER#JaneDoe7"


def test_metadata_of_items_is_left_out_if_the_order_would_be_too_large(sell):
    line = LineSpec("T-shirt", quantity=2, price=PriceSpec("Size L", metadata=METADATA))
    order = sell(metadata=METADATA | {"userId": "u1"}, lines=(line,) * 100)
    assert (order["itemCount"], len(order["items"]), len(order["metadata"])) == (100, 100, 50)
    assert {name for item in order["items"] for name in item} >= {"variant", "unitPrice"}
    assert not any("metadata" in item for item in order["items"])


def test_metadata_of_items_is_kept_up_to_the_limit(sell):
    line = LineSpec("T-shirt", metadata=METADATA)
    order = sell(lines=(line,) * 14)
    assert [item["metadata"] for item in order["items"]] == [METADATA] * 14


CASE_LINES = {
    "eur": LineSpec(quantity=2, unit_amount=1400, price=PriceSpec(currency="usd", unit_amount=1500)),
    "jpy": LineSpec(quantity=2, unit_amount=2250, price=PriceSpec(currency="usd", unit_amount=1500)),
    "cad": LineSpec(quantity=1, unit_amount=1370, price=PriceSpec(currency="usd", unit_amount=1000)),
}


@pytest.mark.parametrize("currency", CASE_LINES)
def test_price_in_another_currency_is_converted(sell, currency):
    line = CASE_LINES[currency]
    [item] = sell(currency=currency, lines=(line,))["items"]
    assert (item["unitPrice"], item["currency"]) == (line.unit_amount, currency)


def test_delayed_payment_was_paid_when_the_money_moved(sell):
    order = sell(completed_at=CREATED + 60, async_paid_at=CREATED + 1800)
    assert order["paidAt"] == to_iso(CREATED + 1800)
