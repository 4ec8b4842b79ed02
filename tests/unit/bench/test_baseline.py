"""The baseline is correct, since it would be no comparison for the pipeline otherwise."""

import pytest

from bench.baseline import Baseline, BaselineResult
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, lost_response, on
from testkit.fake_stripe import LineSpec, SessionSpec
from testkit.world import KEY


@pytest.fixture
def shop(make_world):
    """Return a world whose table returns a few items per page."""
    dynamodb = MemoryDynamoDB(page_items=3)
    dynamodb.add_table(TABLE)
    return make_world(dynamodb)


def run(shop, dynamodb=None):
    connection = shop.connect()
    baseline = Baseline(
        dynamodb or shop.memory, TABLE, lambda path, params: connection.get(path, params, KEY), lambda: NOW
    )
    return baseline.run(NOW - DAY, NOW)


def sell(shop, **fields):
    defaults = {"id": "cs_1", "created": NOW - 3600, "metadata": {"userId": "user-1"}}
    return shop.sells(SessionSpec(**defaults | fields))


def write_other_orders(shop):
    for n in range(20):
        shop.webhook_writes(f"cs_other_{n}", "user-1", at=NOW - 3600 + n)


def test_missing_order_is_written_whole_under_its_own_key(shop):
    sell(shop, lines=(LineSpec("Mug", 2), LineSpec("Poster")), email="a@example.com")
    write_other_orders(shop)
    assert run(shop) == BaselineResult(listed=1, created=1)
    [order] = shop.orders("cs_1")
    assert (order["PK"], order["SK"]) == ("USER#user-1", f"ORDER#{NOW - 3600}#cs_1")
    assert [item["name"] for item in order["items"]] == ["Mug", "Poster"]
    assert order["customerEmail"] == "a@example.com"


def test_second_run_writes_no_order_again(shop):
    for n in range(7):
        sell(shop, id=f"cs_{n}", created=NOW - 3600 + n)
    assert run(shop) == BaselineResult(listed=7, created=7)
    assert run(shop) == BaselineResult(listed=7, created=0)
    assert len(shop.orders()) == 7


@pytest.mark.parametrize("user", ["user-1", "user 1"])
def test_webhook_order_is_found_by_any_sort_key_and_user_id(shop, user):
    sell(shop, metadata={"userId": user})
    shop.webhook_writes("cs_1", user, at=NOW - 3500)
    assert run(shop).created == 0
    assert len(shop.orders()) == 1


def test_webhook_order_is_found_on_the_last_page(shop):
    sell(shop)
    write_other_orders(shop)
    shop.webhook_writes("cs_1", "user-1", at=NOW - 60)
    assert run(shop).created == 0


def test_all_pages_of_sessions_and_line_items_are_listed(shop):
    shop.stripe.store.add_all(
        SessionSpec(f"cs_{n}", NOW - n, metadata={"userId": f"user-{n}"}, lines=()) for n in range(2, 240)
    )
    sell(shop, lines=tuple(LineSpec(f"Print {n}") for n in range(230)))
    assert run(shop).listed == 239
    [order] = shop.orders("cs_1")
    assert order["itemCount"] == 230


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {}},
        {"payment_status": "unpaid"},
        {"mode": "setup", "payment_status": "no_payment_required", "currency": None, "lines": ()},
    ],
)
def test_session_without_user_payment_or_sale_is_skipped(shop, changes):
    sell(shop, **changes)
    assert run(shop) == BaselineResult(listed=1, created=0)
    assert not shop.orders()


def test_order_written_since_the_query_is_kept(shop):
    """The response to the first write is lost, and the second run does not see the order."""
    sell(shop)
    with pytest.raises(Exception, match="closed"):
        run(shop, Faulty(shop.memory, on("put_item", lost_response())))
    stale = Faulty(shop.memory)
    stale.query = lambda **_: {"Items": []}
    assert run(shop, stale).created == 0
    assert len(shop.orders("cs_1")) == 1
