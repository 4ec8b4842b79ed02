"""How many requests a night takes: never more than are demanded, nor than before."""

from dataclasses import replace

import pytest

from bench import requests
from bench.night import BATCH
from bench.request_counts import RequestCounts, count_pipeline, count_polls, minimum_requests
from bench.shops import UniformShop

ONCE = UniformShop(1_000, name="every customer once")
SMALL = UniformShop(100, missing=0.05)
# The counts of the night. If the pipeline needs fewer, lower them here.
KNOWN = RequestCounts(
    lists=16,
    events=12,
    fetches=20,
    reads=1132,
    writes=27,
    sends=101,
    polls=240,
    read_units=4200,
    write_units=2440,
)


@pytest.fixture(scope="module")
def night():
    return requests.compare(ONCE)


@pytest.fixture(scope="module")
def small():
    return count_pipeline(SMALL)


def join_lists_and_fetches(counts):
    """Count a list as one of the requests that it spares: how sessions fall into batches differs by run."""
    return replace(counts, lists=counts.lists + counts.fetches, fetches=0)


def test_night_takes_no_more_requests_than_known_or_demanded(night):
    counts, known = vars(join_lists_and_fetches(night.pipeline)), vars(join_lists_and_fetches(KNOWN))
    assert {name: value for name, value in counts.items() if value > known[name]} == {}
    assert list(requests.find_missed([night])) == []


def test_pipeline_never_beats_the_minimum(night):
    assert {
        row.kind: (row.count(night.pipeline), row.count(night.minimum))
        for row in requests.KINDS
        if row.count(night.pipeline) < row.count(night.minimum)
    } == {}


def test_baseline_reads_each_session_and_writes_missing_orders(night):
    assert (night.baseline.reads, night.baseline.writes, night.baseline.write_units) == (1000, 20, 40)
    assert (night.baseline.lists, night.baseline.events, night.baseline.fetches) == (10, 0, 20)


def test_repeat_customers_take_fewer_requests(small):
    assert count_pipeline(replace(SMALL, orders=4, in_a_row=True)).reads < 0.6 * small.reads


def test_eleventh_line_item_takes_one_more_request():
    shop = replace(SMALL, missing=0.2)  # so many that they are listed, without their eleventh item
    ten, eleven = (count_pipeline(replace(shop, lines=lines)).fetches for lines in (10, 11))
    assert (ten < shop.lost, eleven) == (True, 2 * shop.lost)


def test_no_session_is_fetched_if_no_webhook_was_lost():
    assert count_pipeline(replace(SMALL, missing=0)).fetches == 0


@pytest.mark.parametrize("in_a_row", [False, True])
def test_uniform_shop_has_its_lost_webhooks_and_customers(in_a_row):
    shop = UniformShop(200, missing=0.1, orders=4, in_a_row=in_a_row)
    assert sum(map(shop.is_lost, range(shop.sessions))) == shop.lost == 20
    assert len({sale.metadata["userId"] for sale in shop.sales()}) == shop.customers == 50
    assert len(list(shop.webhook_orders())) == 180


def test_remainder_of_a_batch_takes_whole_polls():
    assert count_polls(2 * BATCH + 1) == 2 * count_polls(BATCH) + 2


def test_minimum_grows_by_a_transaction_after_98_actions():
    fits, more = (
        minimum_requests(UniformShop(sessions, missing=0), RequestCounts()).writes for sessions in (98, 99)
    )
    assert more - fits == 1


# --- the section --------------------------------------------------------------------------------------------


def make_night(shop, **counts):
    return requests.ShopComparison(shop, RequestCounts(**counts), RequestCounts())


def test_each_missed_demand_is_described():
    shop = UniformShop(100, name="a shop")
    nights = [make_night(shop, lists=3, fetches=3, reads=170), make_night(replace(shop, orders=2), reads=170)]
    assert list(requests.find_missed(nights)) == [
        "a shop: 30.0 lists for 1,000 sessions, limit 22",
        "a shop: 3 requests for 2 missing orders",
        "a shop: 1.700 requests a session, limit 1.53",
        "a shop: 1.700 requests a session, limit 1.53",
        "a shop: no fewer requests than a shop",
    ]


def test_demands_exempt_long_orders_and_other_shares():
    nights = [
        make_night(UniformShop(100, lines=12), fetches=4),
        make_night(UniformShop(100, missing=1), reads=250, lists=14),
    ]
    assert list(requests.find_missed(nights)) == []


def test_requests_for_orders_are_limited_where_all_are_missing():
    night = make_night(UniformShop(100, missing=1, name="a shop"), lists=10, events=3, fetches=3)
    assert list(requests.find_missed([night])) == ["a shop: 0.160 requests to Stripe an order, limit 0.15"]


def test_page_shows_pipeline_baseline_and_minimum():
    night = requests.ShopComparison(ONCE, RequestCounts(reads=1200, polls=240), RequestCounts(reads=1000))
    page = requests.render_page([night])
    assert "| DynamoDB: reads | 1,200 | 1,000 | 1,021 |" in page
    assert "**1.44**" in page
    assert "without them 1.20" in page
    assert "| every customer once | 0 / 0 / 10 | 0 / 0 / 1 |" in page
