"""A separate ledger table: the sync's items are in another table than the shop's orders."""

from collections import Counter

import pytest

from recon.config import load_settings
from recon.errors import ConfigError
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import keys_unprocessed, on
from testkit.world import plain, wire
from tests.unit.producer.nights import run_night, sell, session_spec

LEDGER = "ledger"
KEYS = [
    ("USER#u", "ORDER#1"),
    ("EVENT#e", "METADATA"),
    ("SYSTEM", "x"),
    ("SYNC_RUN#r", "y"),
    ("SESSION#s", "z"),
]


@pytest.fixture
def memory():
    made = MemoryDynamoDB(lambda: NOW)
    for name in (TABLE, LEDGER, "second-ledger"):
        made.add_table(name)
    return made


@pytest.fixture
def own(make_world, memory):
    return make_world(memory, SYNC_LEDGER_TABLE=LEDGER)


def prefixes(memory, table):
    return {plain(item)["PK"].partition("#")[0] for item in memory.items(table)}


def test_night_leaves_only_orders_and_markers_in_the_shops_table(own, memory):
    own.sells(session_spec(event_delivered=False))
    own.sells(session_spec("cs_test_unpaid", payment_status="unpaid"))
    assert run_night(own)["status"] == "done"
    assert prefixes(memory, TABLE) == {"USER", "EVENT"}
    assert prefixes(memory, LEDGER) == {"SYSTEM", "SYNC_RUN", "SESSION"}
    assert [order["orderId"] for order in own.orders()] == ["cs_test_session1"]


def test_own_ledger_costs_two_reads_for_each_run_and_none_for_a_batch(make_world, own):
    calls = []
    for world in (make_world(), own):
        sell(world, 3)
        run_night(world)
        calls.append(Counter(call.method for call in world.history.calls))
    assert calls[1] - calls[0] == Counter(get_item=1, batch_get_item=1)
    assert calls[0] - calls[1] == Counter()


def test_batch_read_spans_both_tables_and_reads_unprocessed_keys_again(own, memory):
    for pk, sk in KEYS:
        table = TABLE if pk[:5] in ("USER#", "EVENT") else LEDGER
        memory.put_item(TableName=table, Item=wire({"PK": pk, "SK": sk}))
    own.dynamodb.plan = on("batch_get_item", keys_unprocessed(), nth=1)
    found = own.open_table().get_many(KEYS, own.clock.deadline(60))
    assert sorted((item["PK"], item["SK"]) for item in found) == sorted(KEYS)
    first = own.history.calls[0].arguments["RequestItems"]
    assert {name: len(request["Keys"]) for name, request in first.items()} == {TABLE: 2, LEDGER: 3}


def test_two_stacks_with_a_ledger_each_write_one_order(make_world, own, memory, stripe):
    second = make_world(memory, SYNC_LEDGER_TABLE="second-ledger", SYNC_STACK="second")
    own.sells(session_spec())
    for world in (own, second):
        world.body()

    def let_the_first_win(call):
        if call.method == "transact_write_items" and not own.orders():
            own.drain()

    second.dynamodb.plan = let_the_first_win
    second.drain()
    [order] = own.orders()
    assert order["syncRunId"] == own.run()["runId"]
    assert (own.run()["created"], second.run()["created"], second.run()["skipped"]) == (1, 0, 1)
    assert second.outcome("cs_test_session1")["reason"] == "exists"
    assert [world.run()["status"] for world in (own, second)] == ["done", "done"]
    for night in (1, 2):
        assert [run_night(world, night)["status"] for world in (own, second)] == ["done", "done"]
    assert own.orders() == [order]


def test_ledger_with_the_name_of_the_shops_table_is_refused():
    env = {"COMMERCE_TABLE": "t", "SYNC_QUEUE_URL": "q", "STRIPE_SECRET": "k", "SYNC_LEDGER_TABLE": "t"}
    with pytest.raises(ConfigError, match="SYNC_LEDGER_TABLE must be another table than COMMERCE_TABLE"):
        load_settings(env)
