"""A producer repeats its reads and its pages, as the storms at 60 % showed that it must.

Lambda invokes it three times at most, and a run makes many of them.
"""

import pytest

from testkit.doubles.faults import first_of, on, throttled
from testkit.fake_stripe import FakeStripe, RateLimits
from testkit.fake_stripe.faults import Endpoint
from testkit.world import KEY, World


@pytest.fixture
def world():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        world = World(stripe)
        yield world
        world.close()


def test_producer_outlasts_a_burst_of_failed_reads(world):
    plans = [on(method, throttled(), nth=range(1, 5)) for method in ("get_item", "query")]
    world.dynamodb.plan = first_of(*plans)
    assert world.produce()["body"]["status"] in ("running", "success")
    assert world.history.count("get_item") > 4
    assert world.history.count("query") > 4


def test_producer_gives_up_a_read_that_keeps_failing(world):
    world.dynamodb.plan = on("get_item", throttled())
    with pytest.raises(Exception, match="GetItem"):
        world.produce()
    assert world.history.count("get_item") == 5


def test_producer_outlasts_a_burst_of_failed_pages(world):
    world.stripe.faults.server_error(endpoint=Endpoint.LIST, times=5)
    world.stripe.faults.rate_limit(endpoint=Endpoint.EVENTS, times=5)
    assert world.produce()["statusCode"] == 200
