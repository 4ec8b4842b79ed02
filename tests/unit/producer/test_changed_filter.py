"""The filter changes while a run of the earlier one is open: which of them moves the watermark."""

import pytest

from recon.dynamodb.keys import WATERMARK_KEY
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW
from testkit.world import wire
from tests.unit.producer.nights import GRACE, run_id, run_night, scheduled, session_spec
from tests.unit.producer.test_session_filter import OURS, THEIRS, read_watermark, sell, use_filter

WRONG, RIGHT = "metadata.shop=ours", "metadata.shop=ours,theirs"


def put_on_watermark(world, **fields):
    item = (world.item(*WATERMARK_KEY) or {}) | fields
    world.memory.put_item(TableName=world.table, Item=wire({k: v for k, v in item.items() if v is not None}))


@pytest.mark.parametrize("night", [0, 4], ids=["first run", "run of several days"])
def test_run_of_an_earlier_filter_does_not_move_the_watermark(world, night):
    use_filter(world, WRONG)
    if night:
        run_night(world)
    world.clock.now = NOW + night * DAY
    sell(world, OURS, "ours", created=world.clock.now - 5 * HOUR)
    sell(world, THEIRS, "theirs", created=world.clock.now - 3 * DAY)
    world.produce(scheduled(night, lookbackHours=240))
    before = read_watermark(world).covered_through
    use_filter(world, RIGHT)
    world.clock.now += HOUR
    world.produce({"lookbackHours": 2})
    world.drain()
    assert world.run(run_id(night))["status"] == "done"
    assert read_watermark(world).covered_through == world.state().get("lastCoveredThrough") == before
    run_night(world, night + 1)
    assert [order["orderId"] for order in world.orders(THEIRS)] == [THEIRS]
    assert read_watermark(world).covered_through == NOW + (night + 1) * DAY - GRACE


@pytest.mark.parametrize("stored", [None, "", 5])
def test_run_without_a_filter_moves_the_watermark_if_the_item_has_none(world, stored):
    """Earlier versions stored it neither on their runs nor on the item. Another type counts as none."""
    world.sells(session_spec())
    world.produce(scheduled())
    put_on_watermark(world, sessionFilter=stored)
    world.drain()
    assert "sessionFilter" not in world.run()
    assert read_watermark(world).covered_through == NOW - GRACE


def test_run_that_an_earlier_version_started_leaves_its_time_to_the_next(world):
    """It did not store with which filter it listed."""
    world.sells(session_spec(metadata={"userId": "u1", "shop": "ours"}))
    world.produce(scheduled())
    put_on_watermark(world, sessionFilter=WRONG)
    world.drain()
    assert (world.run()["status"], read_watermark(world).covered_through) == ("done", None)
    use_filter(world, WRONG)
    start = run_night(world, 1)["lookbackStart"]
    assert start == world.run()["lookbackStart"]
    assert read_watermark(world).covered_through == NOW + DAY - GRACE


def test_run_that_lists_with_two_filters_leaves_its_time_to_the_next(make_world):
    """The filter is changed, and changed back, between its invocations."""
    world = make_world(SYNC_ONLY=WRONG, SYNC_MAX_SESSIONS="1")
    for number in range(300):
        sell(world, f"cs_test_{number:04}", "ours", created=NOW - 800 - number * 60, completed_at=NOW - 700)
    world.produce(scheduled())
    sent = world.run()["enqueued"]
    assert world.hops
    use_filter(world, "metadata.shop=others")
    world.hop_all()
    use_filter(world, WRONG)
    world.drain()
    run = world.run()
    assert (run["status"], run["enqueued"], run["filtered"]) == ("done", sent, 300 - sent)
    assert read_watermark(world).covered_through is None
    run_night(world, 1)
    assert len(world.orders()) == 300
