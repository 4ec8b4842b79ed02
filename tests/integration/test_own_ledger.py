"""A separate ledger table on an engine with real transactions: nights that span two tables, and its move."""

import time

import pytest

from recon.dynamodb.ledger_move import move_ledger
from recon.dynamodb.table import Table
from recon.errors import LedgerNotMoved
from recon.retry import Deadline
from recon.telemetry import DEFAULT_STACK
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW
from testkit.engines.engine import create_table
from testkit.fake_stripe import FakeStripe, RateLimits, SessionSpec
from testkit.invariants import TableRecords, find_misplaced_items
from testkit.world import KEY, World


def deadline():
    return Deadline(time.monotonic() + 120, time.monotonic, time.sleep)


@pytest.fixture
def stripe():
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        yield stripe


@pytest.fixture
def make_table(real_dynamodb):
    names = []

    def make():
        names.append(create_table(real_dynamodb))
        return names[-1]

    yield make
    for name in names:
        real_dynamodb.delete_table(TableName=name)


@pytest.fixture
def make_world(stripe, real_dynamodb, real_table):
    made = []

    def make(*, is_confirmed=True, **env):
        made.append(World(stripe, real_dynamodb, real_table, is_confirmed=is_confirmed, **env))
        return made[-1]

    yield make
    for world in made:
        world.close()


def sell(world, count):
    for n in range(count):
        spec = SessionSpec(
            f"cs_test_{n:03}", NOW - 9000 + n, metadata={"userId": f"u{n % 5}"}, event_delivered=n % 3 > 0
        )
        world.sells(spec)


def night(world, number):
    world.clock.now = NOW + number * DAY
    return world.body({"trigger": "scheduled", "scheduledTime": to_iso(world.clock.now)})["runId"]


def records(client, table):
    return TableRecords.scan(client, table).items


def test_night_of_each_of_two_stacks_spans_their_tables(make_world, make_table, real_dynamodb, real_table):
    first = make_world(SYNC_LEDGER_TABLE=make_table())
    second = make_world(SYNC_LEDGER_TABLE=make_table(), SYNC_STACK="second")
    sell(first, 40)
    runs = [night(world, 0) for world in (first, second)]
    second.deliver(10)
    for world, run_id in zip((first, second), runs, strict=True):
        world.drain()
        world.check_books(run_id)
        assert world.run(run_id)["status"] == "done"
        ledger = records(real_dynamodb, world.ledger).values()
        assert list(find_misplaced_items(records(real_dynamodb, real_table).values(), ledger)) == []
    assert len(first.orders()) == 40
    created = [world.run(run_id)["created"] for world, run_id in zip((first, second), runs, strict=True)]
    assert (sum(created), min(created) > 0) == (40, True)


def test_ledger_moves_record_by_record(make_world, make_table, real_dynamodb, real_table):
    shop = make_world()
    sell(shop, 30)
    night(shop, 0)
    shop.drain()
    ledger = make_table()
    own = make_world(is_confirmed=False, SYNC_LEDGER_TABLE=ledger)
    with pytest.raises(LedgerNotMoved):
        night(own, 1)
    before = records(real_dynamodb, real_table)
    moved = move_ledger(
        Table(real_dynamodb, real_table),
        Table(real_dynamodb, ledger),
        DEFAULT_STACK,
        NOW,
        deadline(),
        lambda _closed: None,
    )
    expected = {key: item for key, item in before.items() if not key[0].startswith(("USER#", "EVENT#"))}
    assert records(real_dynamodb, ledger) == expected
    assert sum(moved.records.values()) == len(expected) - 2
    run_id = night(own, 1)
    own.drain()
    assert own.run(run_id)["created"] == 0
    assert own.run(run_id)["status"] == "done"
