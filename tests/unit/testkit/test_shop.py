import re
from collections import Counter
from dataclasses import asdict

import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.timestamps import DAY
from testkit import shop as shop_module
from testkit.shop import MINIMUM_SESSIONS, Expected, Shop, make_shop, seed_table, user_of

NOW = 1_732_672_800


@pytest.fixture(scope="module")
def shop():
    return make_shop(MINIMUM_SESSIONS, 1, NOW)


def specs_by_id(shop):
    return {spec.id: spec for spec in shop.sessions}


def truths(shop, expected):
    """Pairs of spec and truth."""
    specs = specs_by_id(shop)
    return [(specs[truth.session_id], truth) for truth in shop.truth if truth.expected is expected]


def test_the_same_seed_and_moment_make_the_same_shop(shop):
    assert make_shop(MINIMUM_SESSIONS, 1, NOW) == shop
    assert make_shop(MINIMUM_SESSIONS, 2, NOW) != shop
    assert make_shop(MINIMUM_SESSIONS, 1, NOW + 1) != shop


def test_a_shop_survives_the_way_through_json(shop):
    assert Shop.from_json(shop.to_json()) == shop


def test_a_shop_too_small_for_every_case_is_refused():
    with pytest.raises(ValueError, match=f"at least {MINIMUM_SESSIONS} sessions"):
        make_shop(MINIMUM_SESSIONS - 1, 1, NOW)


@settings(deadline=None, max_examples=20)
@given(st.integers(MINIMUM_SESSIONS, 400), st.integers(0, 10**6))
def test_every_shop_keeps_its_own_promises(sessions, seed):
    shop = make_shop(sessions, seed, NOW)
    assert len(shop.sessions) == len({spec.id for spec in shop.sessions}) == sessions
    assert [spec.id for spec in shop.sessions] == [truth.session_id for truth in shop.truth]
    assert all(spec.status == "complete" for spec in shop.sessions)
    assert all(NOW - DAY < spec.created <= NOW - 900 < NOW for spec in shop.sessions)
    assert all(spec.created < spec.completion < NOW for spec in shop.sessions)
    found = Counter(truth.expected for truth in shop.truth)
    assert len(shop.webhook_orders) == found[Expected.ORDER_KEPT]
    assert found[Expected.DEAD] == len(shop.dead_sessions) == 2


def test_about_one_ordinary_order_in_25_is_missing():
    shop = make_shop(5000, 1, NOW)
    lost = sum(truth.expected is Expected.ORDER_RECOVERED for truth in shop.truth)
    assert 0.03 < lost / 5000 < 0.06
    assert {spec.currency for spec in shop.sessions} == {"usd", "eur", "gbp", "jpy", None}


def test_the_counters_add_up(shop):
    for healed in (False, True):
        counters = shop.counters(healed=healed)
        assert (
            counters.processed == counters.created + counters.skipped + counters.errors == counters.enqueued
        )
    assert shop.counters(healed=False).errors == 2
    assert shop.counters(healed=True).created == shop.counters(healed=False).created + 2
    assert asdict(shop.counters(healed=True))["errors"] == 0


def test_the_webhooks_orders_are_dated_by_the_webhook(shop):
    specs = specs_by_id(shop)
    for order in shop.webhook_orders:
        spec = specs[order["orderId"]]
        moment = int(re.fullmatch(rf"ORDER#(\d+)#{spec.id}", order["SK"])[1])
        assert 20 < moment - spec.created <= 630
        assert order["stripeSessionId"] == spec.id
        assert not {"source", "syncedAt", "syncRunId"} & set(order)
        assert order["itemCount"] == len(order["items"]) == len(spec.lines)


def test_the_webhook_noted_every_event_that_it_saw_to_its_end(shop):
    notes = {note["sessionId"]: note for note in shop.webhook_events}
    kept = {order["orderId"] for order in shop.webhook_orders}
    assert {session for session, note in notes.items() if note["orderCreated"]} == kept
    without = [note for note in notes.values() if not note["orderCreated"]]
    assert without
    assert all("orderNumber" not in note for note in without)
    assert all(note["PK"].startswith("EVENT#evt_") and note["SK"] == "METADATA" for note in notes.values())


def test_a_repeat_customer_has_thirty_orders_and_misses_one(shop):
    def regular(spec):
        return spec.metadata.get("userId") == "regular_customer"

    assert sum(regular(spec) for spec, _ in truths(shop, Expected.ORDER_KEPT)) == 30
    assert sum(regular(spec) for spec, _ in truths(shop, Expected.ORDER_RECOVERED)) == 1


def test_one_order_was_shipped_since_and_one_lies_under_an_id_as_it_came(shop):
    assert [order["status"] for order in shop.webhook_orders].count("shipped") == 1
    raw = [order for order in shop.webhook_orders if order["PK"] == "USER#raw id"]
    assert [order["userId"] for order in raw] == ["rawid"]


def test_every_way_to_a_user_id_is_there(shop):
    keys = {truth.order["PK"] for _, truth in truths(shop, Expected.ORDER_RECOVERED)}
    assert keys >= {
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


def test_every_reason_to_skip_is_there(shop):
    reasons = Counter(truth.reason for _, truth in truths(shop, Expected.SKIPPED))
    assert reasons == {"no_user": 3, "unpaid": 1, "not_a_sale": 1}
    for spec, truth in truths(shop, Expected.SKIPPED):
        assert (user_of(spec) is None) == (truth.reason == "no_user")
        assert (spec.payment_status == "unpaid") == (truth.reason == "unpaid")
        assert (spec.mode == "setup") == (truth.reason == "not_a_sale")


def test_every_number_of_lines_and_kind_of_product_is_there(shop):
    lost = [spec for spec, _ in truths(shop, Expected.ORDER_RECOVERED)]
    assert {len(spec.lines) for spec in lost} >= {1, 10, 11, 100, 250}
    kinds = {
        (line.has_price, line.product, bool(line.product_metadata)) for spec in lost for line in spec.lines
    }
    assert kinds >= {
        (True, "active", True),
        (True, "active", False),
        (True, "deleted", True),
        (False, "active", False),
    }


def test_every_kind_of_payment_and_delivery_is_there(shop):
    lost = [spec for spec, _ in truths(shop, Expected.ORDER_RECOVERED)]
    assert any(spec.amount_total is None and spec.payment_status == "no_payment_required" for spec in lost)
    assert any(spec.currency == "jpy" for spec in lost)
    assert any(spec.mode == "subscription" for spec in lost)
    places = {spec.shipping and spec.shipping.place for spec in lost}
    assert places == {"shipping_details", "collected_information", None}
    assert any(not spec.has_customer_details for spec in lost)


def test_a_recovered_order_has_only_what_is_known(shop):
    for spec, truth in truths(shop, Expected.ORDER_RECOVERED):
        order = truth.order
        assert None not in order.values()
        assert order["SK"] == f"ORDER#{spec.created}#{spec.id}"
        assert order["source"] == "nightly_sync"
        assert ("amount" in order) == (spec.currency is not None)
        assert {"userId", "user_id", "quoteSignature"}.isdisjoint(order.get("metadata", {}))


def test_no_address_outside_of_example_com(shop):
    assert not re.findall(r"[\w.+]+@(?!example\.com)[\w.]+", repr(shop))


class Batches:
    """A table that takes what it is given, except for the first few puts of each call."""

    def __init__(self, *, refused_per_call=0, stubborn=False):
        self.items, self.sizes = [], []
        self._refused, self._stubborn = refused_per_call, stubborn

    def batch_write_item(self, *, RequestItems):  # noqa: N803 - boto3's name
        (writes,) = RequestItems.values()
        self.sizes.append(len(writes))
        taken = 0 if self._stubborn else max(1, len(writes) - self._refused)
        self.items += [write["PutRequest"]["Item"] for write in writes[:taken]]
        left = writes[taken:]
        return {"UnprocessedItems": {"orders": left} if left else {}}


@pytest.fixture
def no_waiting(monkeypatch):
    waits = []
    monkeypatch.setattr(shop_module.time, "sleep", waits.append)
    return waits


def test_seeding_writes_every_item_in_batches_that_dynamodb_takes(shop, no_waiting):
    table = Batches()
    seed_table(table, "orders", shop)
    read = TypeDeserializer().deserialize
    written = [{name: read(value) for name, value in item.items()} for item in table.items]
    assert written == [*shop.webhook_orders, *shop.webhook_events]
    assert max(table.sizes) == 25
    assert no_waiting == []


def test_seeding_sends_again_what_was_not_processed(shop, no_waiting):
    table = Batches(refused_per_call=5)
    seed_table(table, "orders", shop)
    keys = {(item["PK"]["S"], item["SK"]["S"]) for item in table.items}
    assert len(table.items) == len(keys) == len(shop.webhook_orders) + len(shop.webhook_events)
    assert no_waiting


def test_seeding_gives_up_on_a_table_that_takes_nothing(shop, no_waiting):
    with pytest.raises(RuntimeError, match="unwritten"):
        seed_table(Batches(stubborn=True), "orders", shop)
    assert no_waiting == sorted(no_waiting)
