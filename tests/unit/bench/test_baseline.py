"""The baseline that the pipeline is measured against is correct: else it would be no comparison."""

import pytest

from bench.baseline import Baseline, BaselineResult
from bench.night import count_stripe_calls
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, lost_response, on
from testkit.fake_stripe import LineSpec, SessionSpec
from testkit.world import KEY

SK = f"ORDER#{NOW - 3600}#cs_1"


@pytest.fixture
def shop(make_world):
    """A world whose table answers queries a few items at a time."""
    dynamodb = MemoryDynamoDB(page_items=3)
    dynamodb.add_table(TABLE)
    return make_world(dynamodb)


def run(shop, dynamodb=None):
    connection = shop.connect()
    baseline = Baseline(
        dynamodb or shop.memory, TABLE, lambda path, params: connection.get(path, params, KEY), lambda: NOW
    )
    return baseline(NOW - DAY, NOW)


def sells(shop, **fields):
    known = {"id": "cs_1", "created": NOW - 3600, "metadata": {"userId": "user-1"}}
    return shop.sells(SessionSpec(**known | fields))


def test_a_missing_order_is_written_whole_and_under_its_own_key(shop):
    sells(shop, lines=(LineSpec("Mug", 2), LineSpec("Poster")), email="a@example.com")
    assert run(shop) == BaselineResult(listed=1, created=1)
    [order] = shop.orders("cs_1")
    assert (order["PK"], order["SK"]) == ("USER#user-1", SK)
    assert [item["name"] for item in order["items"]] == ["Mug", "Poster"]
    assert order["customerEmail"] == "a@example.com"


def test_run_twice_it_writes_each_order_once(shop):
    for n in range(7):
        sells(shop, id=f"cs_{n}", created=NOW - 3600 + n)
    assert run(shop) == BaselineResult(listed=7, created=7)
    assert run(shop) == BaselineResult(listed=7, created=0)
    assert len(shop.orders()) == 7


def test_the_webhooks_order_is_found_under_another_sort_key(shop):
    sells(shop)
    shop.webhook_writes("cs_1", "user-1", at=NOW - 3500)
    assert run(shop).created == 0
    assert len(shop.orders()) == 1


def test_the_webhooks_order_is_found_under_the_raw_user_id(shop):
    sells(shop, metadata={"userId": "user 1"})
    shop.webhook_writes("cs_1", "user 1", at=NOW - 3500)
    assert run(shop).created == 0


def test_a_repeat_customers_order_is_found_on_the_last_of_many_pages(shop):
    sells(shop)
    for n in range(20):
        shop.webhook_writes(f"cs_other_{n}", "user-1", at=NOW - 3600 + n)
    shop.webhook_writes("cs_1", "user-1", at=NOW - 60)
    assert run(shop).created == 0


def test_a_repeat_customers_missing_order_is_written_among_the_others(shop):
    sells(shop)
    for n in range(20):
        shop.webhook_writes(f"cs_other_{n}", "user-1", at=NOW - 3600 + n)
    assert run(shop).created == 1
    assert len(shop.orders("cs_1")) == 1


def test_all_pages_of_sessions_are_listed_and_all_of_an_orders_items(shop):
    shop.stripe.store.add_all(
        SessionSpec(f"cs_{n}", NOW - n, metadata={"userId": f"user-{n}"}, lines=()) for n in range(2, 240)
    )
    sells(shop, lines=tuple(LineSpec(f"Print {n}") for n in range(230)))
    assert run(shop).listed == 239
    [order] = shop.orders("cs_1")
    assert order["itemCount"] == 230


@pytest.mark.parametrize(
    "nothing_to_write",
    [
        {"metadata": {}},
        {"payment_status": "unpaid"},
        {"mode": "setup", "payment_status": "no_payment_required", "currency": None, "lines": ()},
    ],
)
def test_what_is_no_paid_sale_of_a_known_customer_is_skipped(shop, nothing_to_write):
    sells(shop, **nothing_to_write)
    assert run(shop) == BaselineResult(listed=1, created=0)
    assert not shop.orders()


def test_an_order_that_came_between_the_look_and_the_write_is_left_as_it_is(shop):
    """The answer of the first write is lost, and botocore would repeat it."""
    sells(shop)
    faulty = Faulty(shop.memory, on("put_item", lost_response()))
    with pytest.raises(Exception, match="closed"):
        run(shop, faulty)
    unseeing = Faulty(shop.memory)
    unseeing.query = lambda **_: {"Items": []}
    assert run(shop, unseeing).created == 0
    assert len(shop.orders("cs_1")) == 1


def test_it_asks_once_for_a_session_and_twice_more_for_a_missing_order(shop):
    for n in range(5):
        sells(shop, id=f"cs_{n}", metadata={"userId": f"user-{n}"})
    for n in range(4):
        shop.webhook_writes(f"cs_{n}", f"user-{n}", at=NOW - 3500)
    seen = Faulty(shop.memory)
    run(shop, seen)
    assert (seen.history.count("query"), seen.history.count("put_item")) == (5, 1)
    assert count_stripe_calls(shop) == (1, 1)
