"""How many requests a night takes: never more than are demanded, nor than they were."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from bench import requests
from bench.meter import MeteredTable
from bench.night import BATCH
from bench.shops import Requests, Shop, least, of_the_pipeline, polls_of
from testkit.builders import TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.world import wire

ONCE = Shop("every customer once")
SMALL = Shop("small", sessions=100, missing=0.05)
# Of a thousand sessions, two percent of them missing. Fewer are welcome: write them here then.
KNOWN = Requests(
    lists=15, fetches=20, reads=1111, writes=45, sends=101, polls=240, read_units=2111, write_units=2300
)


@pytest.fixture(scope="module")
def night():
    return requests.compared(ONCE)


def test_a_thousand_sessions_take_no_more_requests_than_they_did(night):
    more = {
        name: (value, known)
        for name, known in vars(KNOWN).items()
        if (value := getattr(night.pipeline, name)) > known
    }
    assert more == {}


def test_a_thousand_sessions_take_no_more_requests_than_are_demanded(night):
    assert list(requests.missed_by([night])) == []


def test_nothing_is_done_in_fewer_requests_than_the_services_allow(night):
    assert {
        row.kind: (row.of(night.pipeline), row.of(night.least))
        for row in requests.KINDS
        if row.of(night.pipeline) < row.of(night.least)
    } == {}


def test_the_baseline_asks_once_a_session_and_writes_each_missing_order(night):
    assert (night.baseline.reads, night.baseline.writes, night.baseline.write_units) == (1000, 20, 40)
    assert (night.baseline.lists, night.baseline.fetches) == (10, 20)


def test_customers_that_repeat_take_fewer_requests():
    often = replace(SMALL, orders=4, in_a_row=True)
    assert of_the_pipeline(often).reads < 0.6 * of_the_pipeline(SMALL).reads


def test_up_to_ten_items_come_with_their_session_and_more_take_one_request_more():
    ten, eleven = (of_the_pipeline(replace(SMALL, lines=lines)).fetches for lines in (10, 11))
    assert (ten, eleven) == (SMALL.lost, 2 * SMALL.lost)


def test_where_no_webhook_was_lost_no_single_session_is_asked_for():
    shop = replace(SMALL, missing=0)
    assert of_the_pipeline(shop).fetches == 0


def test_a_shop_has_as_many_lost_webhooks_and_customers_as_it_says():
    shop = Shop("any", sessions=200, missing=0.1, orders=4)
    assert sum(map(shop.is_lost, range(shop.sessions))) == shop.lost == 20
    for customers in (shop, replace(shop, in_a_row=True)):
        assert len(set(map(customers.customer, range(200)))) == shop.customers == 50


def test_the_poller_needs_whole_requests_for_the_rest_of_a_batch():
    assert polls_of(2 * BATCH + 1) == 2 * polls_of(BATCH) + 2


def test_the_least_grows_by_a_transaction_for_what_no_longer_fits_one():
    fits = least(Shop("98 actions", sessions=98, missing=0), Requests())
    more = least(Shop("99 actions", sessions=99, missing=0), Requests())
    assert more.writes - fits.writes == 1


# --- the section --------------------------------------------------------------------------------------------


def a_night(shop, **made):
    return requests.Compared(shop, Requests(**made), Requests())


def test_what_misses_a_demand_says_which():
    shop = Shop("a shop", sessions=100)
    nights = [a_night(shop, lists=2, fetches=3, reads=160), a_night(replace(shop, orders=2), reads=160)]
    assert list(requests.missed_by(nights)) == [
        "a shop: 20.0 lists of Stripe for 1,000 sessions, not 16",
        "a shop: 3 requests for 2 missing orders",
        "a shop: 1.600 requests a session, not 1.5",
        "a shop: 1.600 requests a session, not 1.5",
        "a shop: no fewer requests than a shop",
    ]


def test_more_than_ten_items_and_other_shares_are_not_what_was_demanded():
    twelve = Shop("twelve items", sessions=100, lines=12)
    all_lost = Shop("all lost", sessions=100, missing=1)
    nights = [a_night(twelve, fetches=4), a_night(all_lost, reads=250, fetches=100)]
    assert list(requests.missed_by(nights)) == []


def test_the_page_shows_the_three_beside_each_other():
    night = requests.Compared(ONCE, Requests(reads=1200, polls=240), Requests(reads=1000))
    page = requests.page_of([night])
    assert "| DynamoDB: reads | 1,200 | 1,000 | 1,021 |" in page
    assert "**1.44**" in page
    assert "without it 1.20" in page
    assert "| every customer once | 0 / 0 / 11 |" in page


# --- what a put costs ---------------------------------------------------------------------------------------


def test_a_put_costs_a_unit_for_each_kilobyte_also_where_its_condition_does_not_hold():
    metered = MeteredTable(MemoryDynamoDB(), TABLE)
    metered.add_table(TABLE)
    item = wire({"PK": "a", "SK": "b", "text": "x" * 1500})
    put = {"TableName": TABLE, "Item": item, "ConditionExpression": "attribute_not_exists(PK)"}
    metered.put_item(**put)
    assert (metered.writes, metered.calls["put_item"]) == (2, 1)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        metered.put_item(**put)
    assert (metered.writes, metered.calls["put_item"]) == (4, 2)
