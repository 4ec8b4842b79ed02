"""The watermark item: what it takes over, whom it belongs to, and another program that puts the state."""

import pytest

from producer.sync_run import STATE_OVERWRITTEN
from recon.dynamodb.keys import STATE_KEY, WATERMARK_KEY
from recon.errors import InvalidRequest, LedgerInUse
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.builders import NOW
from testkit.world import wire
from tests.unit.producer.nights import GRACE, run_id, run_night, scheduled, session_spec

LIFE = DAY + 10 * MINUTE


def read(world, key=WATERMARK_KEY):
    return world.item(*key) or {}


def put(world, key=STATE_KEY, **fields):
    world.memory.put_item(TableName=world.ledger, Item=wire({"PK": key[0], "SK": key[1], **fields}))


def put_foreign_state(world):
    """Put the state whole, as the Lambda that this system replaces does."""
    put(world, lastSyncStartedAt=to_iso(NOW), lastSyncProcessed=3, lastLookbackStart=NOW - 25 * HOUR)


def sell_between_nights(world, name, *, completed_at):
    """Sell a session that only a run which goes back to the watermark finds."""
    spec = session_spec(f"cs_test_{name}", completed_at - 23 * HOUR, completed_at=completed_at)
    world.sells(spec)
    return spec.id


def read_window_start(world, night):
    return world.run(run_id(night))["lookbackStart"]


def test_first_run_claims_the_ledger_and_stores_its_start(world):
    run_night(world)
    item = read(world)
    assert item["stackName"] == "stripe-nightly-sync"
    assert item["firstLookbackStart"] == NOW - 25 * HOUR - LIFE
    assert item["lastCoveredThrough"] == NOW - GRACE == world.state()["lastCoveredThrough"]


def test_item_takes_over_what_an_earlier_version_kept_on_the_state(world):
    put(
        world,
        lastSyncRunId="20241125T020000Z",
        lastCoveredThrough=NOW - 2 * DAY,
        firstLookbackStart=NOW - 9 * DAY,
    )
    run_night(world)
    assert read_window_start(world, 0) == NOW - 2 * DAY - LIFE
    assert read(world)["firstLookbackStart"] == NOW - 9 * DAY


def test_erased_state_is_replaced_by_the_newest_watermark_of_the_runs(world):
    for day, status in ((3, "done"), (4, "done"), (2, "failed")):
        key = ("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id(-day)}")
        fields = {"trigger": "scheduled", "status": status, "coversThrough": NOW - day * DAY}
        put(
            world,
            key,
            **fields,
            lookbackStart=NOW - day * DAY - 2 * DAY,
            listed=True,
            enqueued=0,
            processed=0,
        )
    put_foreign_state(world)
    run_night(world)
    assert read_window_start(world, 0) == NOW - 3 * DAY - LIFE


def test_erased_state_is_replaced_by_the_first_start_of_the_runs(world):
    key = ("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id(-2)}")
    put(world, key, trigger="scheduled", status="failed", lookbackStart=NOW - 5 * DAY)
    put_foreign_state(world)
    run_night(world)
    assert read_window_start(world, 0) == NOW - 5 * DAY


def test_item_of_a_manual_run_takes_over_later_times_of_an_earlier_version(world):
    world.body({})
    assert "lastCoveredThrough" not in read(world)
    # Nights of the earlier version after a roll-back, which does not know the item.
    put(world, lastSyncRunId="20241125T020000Z", lastCoveredThrough=NOW - 2 * DAY)
    run_night(world, 1)
    assert read_window_start(world, 1) == NOW - 2 * DAY - LIFE
    assert read(world)["lastCoveredThrough"] == NOW + DAY - GRACE


@pytest.mark.parametrize("key", [STATE_KEY, WATERMARK_KEY])
@pytest.mark.parametrize("wrong", ["yesterday", None, {"at": 1}, True])
def test_watermark_of_another_type_counts_as_none(world, key, wrong):
    put(world, key, lastCoveredThrough=wrong, lastSyncRunId="20241125T020000Z")
    run_night(world)
    assert world.run()["status"] == "done"
    assert read(world)["lastCoveredThrough"] == NOW - GRACE == world.state()["lastCoveredThrough"]


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_overwritten_state_costs_no_order_and_is_a_warning(world, moment):
    run_night(world)
    if moment == "before":
        put_foreign_state(world)
    world.sells(session_spec("cs_test_found", NOW + 20 * HOUR))
    world.clock.now = NOW + DAY
    world.produce(scheduled(1))
    if moment == "during":
        put_foreign_state(world)
    world.drain()
    assert world.run(run_id(1))["status"] == "done"
    assert read(world)["lastCoveredThrough"] == NOW + DAY - GRACE
    if moment == "after":
        put_foreign_state(world)
    # Three nights without a run; then the next one goes back to the watermark.
    lost = sell_between_nights(world, "lost", completed_at=NOW + 2 * DAY)
    run_night(world, 4)
    assert read_window_start(world, 4) == NOW + DAY - GRACE - LIFE
    assert world.outcome(lost, run_id(4))["outcome"] == "created"
    warned = [night for night in (1, 4) if STATE_OVERWRITTEN in world.run(run_id(night))["warnings"]]
    assert warned == ([1] if moment == "before" else [4])
    assert world.state()["lastCoveredThrough"] == NOW + 4 * DAY - GRACE


@pytest.mark.parametrize("event", [scheduled(1), {}, {"trigger": "continue", "runId": run_id(), "hop": 1}])
def test_second_stack_is_refused_by_name(world, make_world, event):
    run_night(world)
    other = make_world(world.memory, SYNC_STACK="another-stack")
    other.clock.now = NOW + DAY
    before = world.items()
    with pytest.raises(
        LedgerInUse, match=r"stack stripe-nightly-sync, and this is stack another-stack"
    ) as raised:
        other.produce(event)
    assert "--adopt" in str(raised.value)
    assert world.items() == before


def test_dry_run_of_a_second_stack_warns(world, make_world):
    run_night(world)
    other = make_world(world.memory, SYNC_STACK="another-stack")
    [warning] = other.body({"dryRun": True})["warnings"]
    assert warning.startswith("other_stack: the ledger belongs to stack stripe-nightly-sync")


def test_session_opened_before_the_first_lookback_is_found(world):
    world.sells(session_spec("cs_test_old", NOW - 26 * HOUR, completed_at=NOW - 2 * HOUR))
    run_night(world)
    assert world.outcome("cs_test_old")["outcome"] == "created"


def test_first_window_reaches_back_thirty_days_at_most(make_world):
    world = make_world(SYNC_LOOKBACK_HOURS="720")
    run_night(world)
    assert (read_window_start(world, 0), world.run()["warnings"]) == (NOW - 30 * DAY, [])


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"trigger": "scheduled", "scheduledTime": to_iso(NOW + 301)}, "scheduledTime"),
        ({"source": "aws.events", "time": to_iso(NOW + DAY)}, "time"),
        ({"requestedAt": to_iso(NOW + 301)}, "requestedAt"),
    ],
)
def test_time_in_the_future_is_refused_before_anything_is_written(world, event, name):
    before = world.items()
    if "requestedAt" in event:
        answer = world.produce(event)
        assert answer["statusCode"] == 400
        text = answer["body"]["message"]
    else:
        with pytest.raises(InvalidRequest) as raised:
            world.produce(event)
        text = str(raised.value)
    assert text.startswith(f"{name} must not be later than now")
    assert world.items() == before


def test_clock_five_minutes_ahead_is_accepted(world):
    assert world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + 300)})["status"] == "success"
