import re
from collections import Counter

import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.timestamps import DAY
from testkit.shop import (
    MINIMUM_SESSIONS,
    Expected,
    build_session,
    build_webhook_order,
    make_shop,
    seed_table,
    seeding,
    shop_from_json,
    user_id,
)

NOW = 1_732_672_800


@pytest.fixture(scope="module")
def shop():
    return make_shop(MINIMUM_SESSIONS, 1, NOW)


@pytest.fixture(scope="module")
def specs(shop):
    """Return all specs by id."""
    return {spec.id: spec for spec in shop.sessions}


@pytest.fixture(scope="module")
def recovered(shop, specs):
    """Pairs of spec and order of all sessions whose order must be recovered."""
    return [
        (specs[truth.session_id], truth.order)
        for truth in shop.truth
        if truth.expected is Expected.ORDER_RECOVERED
    ]


def test_shop_depends_on_its_recipe_alone(shop):
    assert make_shop(MINIMUM_SESSIONS, 1, NOW) == shop_from_json(shop.to_json()) == shop
    assert make_shop(MINIMUM_SESSIONS, 2, NOW) != shop
    assert make_shop(MINIMUM_SESSIONS, 1, NOW + 1) != shop


def test_shop_too_small_for_every_case_is_refused():
    with pytest.raises(ValueError, match=f"at least {MINIMUM_SESSIONS} sessions"):
        make_shop(MINIMUM_SESSIONS - 1, 1, NOW)


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(st.integers(MINIMUM_SESSIONS, 400), st.integers(0, 10**6))
def test_every_shop_is_consistent(sessions, seed):
    shop = make_shop(sessions, seed, NOW)
    assert len(shop.sessions) == len({spec.id for spec in shop.sessions}) == sessions
    assert [spec.id for spec in shop.sessions] == [truth.session_id for truth in shop.truth]
    assert all(spec.status == "complete" for spec in shop.sessions)
    assert all(NOW - DAY < spec.created <= NOW - 900 < NOW for spec in shop.sessions)
    assert all(spec.created < spec.completion < NOW for spec in shop.sessions)
    found = Counter(truth.expected for truth in shop.truth)
    assert len(shop.webhook_orders) == found[Expected.ORDER_KEPT]
    assert found[Expected.DEAD] == len(shop.dead_sessions) == 2


@pytest.mark.slow
def test_one_ordinary_order_in_25_is_missing():
    shop = make_shop(5000, 1, NOW)
    lost = sum(truth.expected is Expected.ORDER_RECOVERED for truth in shop.truth)
    assert 0.03 < lost / 5000 < 0.06
    assert {spec.currency for spec in shop.sessions} == {"usd", "eur", "gbp", "jpy", None}


def test_counters_and_wanted_orders_add_up(shop):
    for healed, errors in ((False, 2), (True, 0)):
        counters = shop.counters(healed=healed)
        assert counters.processed == counters.enqueued == len(shop.sessions)
        assert counters.processed == counters.created + counters.skipped + counters.errors
        assert counters.errors == errors
        wanted = shop.wanted_orders(healed=healed)
        assert sum(wanted.values()) == counters.created + len(shop.webhook_orders)
    assert shop.counters(healed=True).created == shop.counters(healed=False).created + 2


def test_webhook_orders_are_dated_by_the_webhook(shop, specs):
    for order in shop.webhook_orders:
        spec = specs[order["orderId"]]
        moment = int(re.fullmatch(rf"ORDER#(\d+)#{spec.id}", order["SK"])[1])
        assert 20 < moment - spec.created <= 630
        assert order["stripeSessionId"] == spec.id
        assert not {"source", "syncedAt", "syncRunId"} & set(order)
        assert order["itemCount"] == len(order["items"]) == len(spec.lines)


def test_webhook_recorded_every_event_that_it_handled(shop):
    records = {record["sessionId"]: record for record in shop.webhook_events}
    kept = {order["orderId"] for order in shop.webhook_orders}
    assert {session for session, record in records.items() if record["orderCreated"]} == kept
    without = [record for record in records.values() if not record["orderCreated"]]
    assert without
    assert all("orderNumber" not in record for record in without)
    keys = [(record["PK"][:10], record["SK"]) for record in records.values()]
    assert set(keys) == {("EVENT#evt_", "METADATA")}


def test_repeat_customer_has_thirty_orders_and_misses_one(shop, recovered):
    key = "USER#regular_customer"
    assert [order["PK"] for order in shop.webhook_orders].count(key) == 30
    assert [order["PK"] for _, order in recovered].count(key) == 1


def test_one_order_is_shipped_and_one_has_its_raw_user_id(shop):
    assert [order["status"] for order in shop.webhook_orders].count("shipped") == 1
    raw = [order for order in shop.webhook_orders if order["PK"] == "USER#raw id"]
    assert [order["userId"] for order in raw] == ["rawid"]


def test_shop_has_every_source_of_a_user_id(shop, recovered):
    assert {order["PK"] for _, order in recovered} >= {
        "USER#by_userId",
        "USER#by_user_id",
        "USER#first",
        "USER#email.only@example.com",
        "USER#adashop@example.com",
        "USER#cleaned.away@example.com",
        "USER#" + "x" * 256,
        "USER#no_details",
    }
    assert "USER#graceshop@example.com" in {order["PK"] for order in shop.webhook_orders}


def test_shop_has_every_reason_to_skip(shop, specs):
    skipped = [truth for truth in shop.truth if truth.expected is Expected.SKIPPED]
    assert Counter(truth.reason for truth in skipped) == {
        "no_user": 3,
        "unpaid": 1,
        "not_a_sale": 1,
        "awaiting_capture": 1,
        "payment_failed": 2,
        "refunded": 2,
    }
    for truth in skipped:
        spec = specs[truth.session_id]
        assert (user_id(spec) is None) == (truth.reason == "no_user")
        waiting = ("unpaid", "awaiting_capture", "payment_failed")
        assert (spec.payment_status == "unpaid") == (truth.reason in waiting)
        assert (spec.mode == "setup") == (truth.reason == "not_a_sale")


def test_shop_has_every_number_of_lines_and_kind_of_product(recovered):
    assert {len(spec.lines) for spec, _ in recovered} >= {1, 10, 11, 100, 250}
    lines = [line for spec, _ in recovered for line in spec.lines]
    assert {(line.has_price, line.product, bool(line.product_metadata)) for line in lines} >= {
        (True, "active", True),
        (True, "active", False),
        (True, "deleted", True),
        (False, "active", False),
    }


def test_shop_has_every_kind_of_payment_and_delivery(recovered):
    lost = [spec for spec, _ in recovered]
    assert any(spec.amount_total is None and spec.payment_status == "no_payment_required" for spec in lost)
    assert any(spec.currency == "jpy" for spec in lost)
    assert any(spec.mode == "subscription" for spec in lost)
    places = {spec.shipping and spec.shipping.place for spec in lost}
    assert places == {"shipping_details", "collected_information", None}
    assert any(not spec.has_customer_details for spec in lost)


def test_recovered_order_has_only_known_attributes(recovered):
    for spec, order in recovered:
        assert None not in order.values()
        assert order["SK"] == f"ORDER#{spec.created}#{spec.id}"
        assert order["source"] == "nightly_sync"
        assert ("amount" in order) == (spec.currency is not None)
        assert {"userId", "user_id", "quoteSignature"}.isdisjoint(order.get("metadata", {}))


def test_order_needs_a_user():
    with pytest.raises(ValueError, match="cs_test_x has no user"):
        build_webhook_order(build_session("x", NOW, metadata={}), NOW)


def test_every_address_is_at_example_com(shop):
    assert not re.findall(r"[\w.+]+@(?!example\.com)[\w.]+", repr(shop))


class BatchWriter:
    """A client that leaves the last few puts of each call unprocessed, or all of them."""

    def __init__(self, *, refused_per_call=0, is_stubborn=False):
        self.items, self.sizes = [], []
        self._refused, self._is_stubborn = refused_per_call, is_stubborn

    def batch_write_item(self, *, RequestItems):  # noqa: N803 - boto3's name
        (writes,) = RequestItems.values()
        self.sizes.append(len(writes))
        taken = 0 if self._is_stubborn else max(1, len(writes) - self._refused)
        self.items += [write["PutRequest"]["Item"] for write in writes[:taken]]
        left = writes[taken:]
        return {"UnprocessedItems": {"orders": left} if left else {}}


@pytest.fixture
def waits(monkeypatch):
    waits = []
    monkeypatch.setattr(seeding.time, "sleep", waits.append)
    return waits


@pytest.mark.parametrize("refused", [0, 5])
def test_seeding_writes_every_item_in_batches_of_25(shop, waits, refused):
    table = BatchWriter(refused_per_call=refused)
    seed_table(table, "orders", shop)
    read = TypeDeserializer().deserialize
    written = [{name: read(value) for name, value in item.items()} for item in table.items]
    expected = [*shop.webhook_orders, *shop.webhook_events]
    assert sorted(written, key=str) == sorted(expected, key=str)
    assert max(table.sizes) == 25
    assert bool(waits) == bool(refused)


def test_seeding_gives_up_if_nothing_is_processed(shop, waits):
    with pytest.raises(RuntimeError, match="unwritten"):
        seed_table(BatchWriter(is_stubborn=True), "orders", shop)
    assert waits == sorted(waits)
