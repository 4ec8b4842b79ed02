"""What a stack with a shape.toml has stored is understood by other versions, with or without the file."""

import json

import pytest

from recon.domain.message import loads
from recon.dynamodb.records import parse_outcome, parse_run
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE
from testkit.world import SCHEDULED, wire
from tests.compat.conftest import add_fields
from tests.compat.shaped import ENVIRONMENT, LEDGER, SESSIONS, SHAPES, STATUSES, write_order

THIRD_NIGHT = SCHEDULED | {"scheduledTime": "2024-11-29T02:00:00Z"}
THIRD_RUN = "20241129T020000Z"
UNDONE = ("cs_test_missing", "cs_test_open")


@pytest.fixture(params=[False, True], ids=["as it was", "with later additions"])
def stored(request, stored_by_version):
    return add_fields(stored_by_version) if request.param else stored_by_version


@pytest.fixture(params=sorted(SHAPES.glob("*.json")), ids=lambda path: path.stem)
def stored_by_version(request):
    return json.loads(request.param.read_text())


def open_shop(make_world, stored, **env):
    world = make_world(**{"SYNC_LEDGER_TABLE": LEDGER} | env)
    for item in stored["items"]:
        world.memory.put_item(TableName=LEDGER, Item=wire(item))
    for spec in SESSIONS:
        world.sells(spec)
    return world


def test_messages_and_records_are_read(stored):
    read = [loads(body) for body in stored["messages"]]
    [first] = [one for one in read if one.session_id == "cs_test_missing" and one.run_id == RUN]
    assert first.key_values == (("metadata.cart", "missing"),)
    assert (first.missing_since, first.user_id) == (None, None)
    later = {one.session_id: one.missing_since for one in read if one.run_id == THIRD_RUN}
    assert later == dict.fromkeys(UNDONE, NOW)
    items = {item["SK"]: item for item in stored["items"]}
    run = parse_run(items[f"STRIPE_ORDER_SYNC#{RUN}"])
    assert (run.processed, run.created, run.missing, run.skipped, run.drifted) == (5, 0, 2, 3, 1)
    assert items["STRIPE_ORDER_SYNC"]["lastSyncMissing"] == 2
    outcomes = [parse_outcome(item) for item in stored["items"] if item["PK"] == f"SYNC_RUN#{RUN}"]
    assert {one.session_id for one in outcomes if one.outcome == "missing" and one.is_final} == set(UNDONE)


def test_missing_orders_are_found_when_the_shop_has_done_them(make_world, stored):
    world = open_shop(make_world, stored, **ENVIRONMENT)
    for name in STATUSES:
        write_order(world, name, "PAID")
    world.clock.now += 2 * DAY
    world.night(THIRD_NIGHT)
    for session in UNDONE:
        assert world.outcome(session, THIRD_RUN)["reason"] == "exists"
        assert world.item("SYSTEM", f"PENDING#{session}") is None
        assert world.item("SYSTEM", f"ATTENTION#{session}") is None


def test_version_without_the_file_writes_nothing_before_it_is_confirmed(make_world, stored):
    """As after a roll-back, or when the parameter is lost: no order of the layout that is left proves it."""
    world = open_shop(make_world, stored)
    world.clock.now += 2 * DAY
    assert world.night(THIRD_NIGHT)["status"] == "held"
    assert world.memory.items(TABLE) == []
