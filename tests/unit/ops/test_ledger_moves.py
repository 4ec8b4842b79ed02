"""Sequences of `nightly-sync ledger move`: there, on and back again, with and without a stop at each call."""

from itertools import pairwise, product

import pytest

from ops.cli.commands.ledger import move
from ops.errors import CommandError
from recon.dynamodb.keys import WATERMARK_KEY, dismissed_key, pending_key
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.table import Table
from recon.dynamodb.watermark import parse_watermark
from recon.errors import LedgerNotMoved
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE
from testkit.dead_letters import WorldContext
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Killed, at_call, killed_before, never, on, service_error
from testkit.world import wire
from tests.proofs import PROVE_ALL
from tests.unit.producer.nights import run_night, scheduled, session_spec

STACK = "shop"
LEDGERS = (TABLE, "books", "other-books")


def sequences(*lengths):
    """Return the sequences of ledgers with so many moves, from the shop's table or a new separate one."""
    found = [
        places
        for length in lengths
        for places in product(LEDGERS, repeat=length + 1)
        if all(here != there for here, there in pairwise(places))
    ]
    return [pytest.param(places, id=" ".join(places)) for places in found if places[0] != LEDGERS[2]]


class Shop:
    """One stack, deployed in turn with each ledger. `memory` has the tables."""

    def __init__(self, make_world, first):
        self.memory = MemoryDynamoDB(lambda: NOW, validate=False)
        for name in LEDGERS:
            self.memory.add_table(name)
        settings = {name: {} if name == TABLE else {"SYNC_LEDGER_TABLE": name} for name in LEDGERS}
        self.worlds = {
            name: make_world(self.memory, is_confirmed=name == first, SYNC_STACK=STACK, **settings[name])
            for name in LEDGERS
        }
        self.contexts = {name: WorldContext(world) for name, world in self.worlds.items()}
        self.now = NOW

    def move(self, deployed, to=None):
        """Move with a stack that is deployed with the first ledger. Return whether it had moved before."""
        self.worlds[deployed].clock.now = self.now
        return move(self.contexts[deployed], to=to).data.was_moved

    def find_open(self):
        """Return the ledgers that were begun and on which a deployment and a run are accepted."""
        deadline, accepted = self.worlds[TABLE].clock.deadline(10**9), []
        for name in LEDGERS:
            table = Table(self.memory, TABLE, ledger=name)
            mark = table.get(WATERMARK_KEY)
            try:
                parse_watermark(mark or {}).check_open()
                check_ledger_table(table, STACK, deadline)
            except LedgerNotMoved:
                continue
            accepted += [name] if mark else []
        return accepted

    def put(self, table, key, **fields):
        self.memory.put_item(TableName=table, Item=wire({"PK": key[0], "SK": key[1]} | fields))


@pytest.fixture
def make_shop(make_world):
    def make(first):
        shop = Shop(make_world, first)
        world = shop.worlds[first]
        world.sells(session_spec(event_delivered=False))
        world.sells(session_spec("cs_test_unpaid", payment_status="unpaid"))
        run_night(world)
        return shop

    return make


@pytest.mark.parametrize("places", sequences(3 if PROVE_ALL else 2))
def test_runs_use_only_the_ledger_that_the_last_move_names(make_shop, places):
    shop = make_shop(places[0])
    [order] = shop.worlds[places[0]].orders()
    shop.memory.delete_item(TableName=TABLE, Key=wire({"PK": order["PK"], "SK": order["SK"]}))
    for night, (source, destination) in enumerate(pairwise(places), start=1):
        assert shop.move(source, destination) is False
        assert shop.move(source, destination) is True
        assert shop.move(source) is True
        shop.now = NOW + night * DAY
        for name in {*places[: night + 1]} - {destination}:
            shop.worlds[name].clock.now = shop.now
            with pytest.raises(LedgerNotMoved):
                shop.worlds[name].produce(scheduled(night))
        world = shop.worlds[destination]
        run = run_night(world, night)
        assert (run["status"], run["processed"] > 0) == ("done", True)
        # The guard and the pending entry have moved along.
        assert world.orders() == []
        assert world.outcome("cs_test_unpaid", run["runId"])["reason"] == "unpaid"


@pytest.mark.parametrize("places", sequences(1, 2, *([3] if PROVE_ALL else [])))
def test_move_that_stops_at_any_call_ends_when_it_is_repeated(make_shop, places):
    shop = make_shop(places[0])
    *earlier, source, destination = places
    for number, (here, there) in enumerate(pairwise([*earlier, source])):
        shop.move(here, there)
        shop.put(there, pending_key(f"cs_test_later{number}"))
        shop.put(there, dismissed_key(f"cs_test_{number % 2}"), dismissedBy=there)
    before, history = shop.memory.dump(), shop.worlds[source].history
    began = len(history.calls)
    shop.move(source, destination)
    after, calls = shop.memory.dump(), len(history.calls) - began
    moments = set()
    for call in range(1, calls + 1):
        shop.memory.load(before)
        shop.worlds[source].dynamodb.plan = at_call(len(history.calls) + call, killed_before())
        with pytest.raises(Killed):
            shop.move(source, destination)
        shop.worlds[source].dynamodb.plan = never
        left, in_use = shop.memory.dump(), shop.find_open()
        moments.add(tuple(in_use))
        # Without --to, a move that has not closed its ledger is not known.
        for to in (destination,) if in_use == [source] else (destination, None):
            shop.memory.load(left)
            shop.move(source, to)
            assert shop.memory.dump() == after, (call, to)
    assert moments == {(source,), (), (destination,)}


@pytest.mark.parametrize("to", ["other-books", None])
def test_repeated_move_frees_a_ledger_that_the_shops_table_does_not_name(make_shop, to):
    """Earlier versions let the shop's table name the first ledger permanently."""
    shop = make_shop(TABLE)
    shop.move(TABLE, "books")
    shop.move("books", "other-books")
    mark = Table(shop.memory, TABLE).get(WATERMARK_KEY)
    shop.put(TABLE, WATERMARK_KEY, **mark | {"movedTo": "books"})
    assert shop.find_open() == []
    assert shop.move("books", to) is True
    assert shop.find_open() == ["other-books"]


def test_ledger_that_moved_on_is_not_overwritten_by_an_old_one(make_shop):
    shop = make_shop(TABLE)
    shop.move(TABLE, "books")
    shop.move("books", "other-books")
    shop.move("other-books", TABLE)
    before = shop.memory.dump()
    for to in ("other-books", None):
        with pytest.raises(CommandError, match="has moved to table commerce"):
            shop.move("books", to)
    assert shop.memory.dump() == before


@pytest.mark.parametrize("first", [TABLE, "books"])
def test_move_is_undone_before_it_is_deployed(make_shop, first):
    shop = make_shop(first)
    shop.move(first, "other-books")
    assert shop.move(first, first) is False
    assert shop.find_open() == [first]


@pytest.mark.parametrize("to", [TABLE, None])
def test_stopped_move_ends_if_its_new_ledger_was_deployed(make_shop, to):
    shop = make_shop("books")
    world = shop.worlds["books"]
    # The first two transactions reserve the one and close the other.
    third = world.history.count("transact_write_items") + 3
    world.dynamodb.plan = on("transact_write_items", killed_before(), nth=third)
    with pytest.raises(Killed):
        shop.move("books", TABLE)
    assert shop.move(TABLE, to) is False
    assert shop.find_open() == [TABLE]


@pytest.mark.parametrize("first", [TABLE, "books"])
def test_table_that_a_stopped_move_had_reserved_is_free_for_the_next(make_shop, first):
    shop = make_shop(first)
    others = [name for name in LEDGERS if name != first]
    for reserved, chosen in (others, others[::-1]):
        shop.put(reserved, WATERMARK_KEY, movingFrom=first, stackName=STACK)
        assert shop.find_open() == [first]
        shop.move(first, chosen)
        assert shop.find_open() == [chosen]
        mark = Table(shop.memory, TABLE).get(WATERMARK_KEY)
        assert "movingFrom" not in (mark or {})
        shop.move(chosen, reserved)
        shop.move(reserved, first)
        assert shop.find_open() == [first]


def test_ledger_moves_beside_a_shop_with_its_own_layout(make_shop):
    """Its table has other keys, so that every read of the ledger's keys there is refused."""

    def refuse(call):
        arguments = call.arguments
        reads_shop = arguments.get("TableName") == TABLE or TABLE in arguments.get("RequestItems", ())
        return service_error("ValidationException") if reads_shop else None

    shop = make_shop("books")
    shop.worlds["books"].dynamodb.plan = refuse
    with pytest.raises(CommandError, match="table commerce has other keys than PK and SK"):
        shop.move("books")
    assert shop.move("books", "other-books") is False
    assert shop.find_open() == ["other-books"]
