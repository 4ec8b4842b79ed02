"""Moving a ledger to a separate table, and what refuses to run before that."""

import threading
from itertools import pairwise

import pytest

from recon.dynamodb.ledger_move import move_ledger
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.table import Table
from recon.errors import LedgerInUse, LedgerNotMoved, TableUnavailable
from recon.telemetry import DEFAULT_STACK
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, TABLE, a_message
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, never, throttled
from testkit.world import plain, wire
from tests.unit.producer.nights import run_night, scheduled, session_spec

LEDGER = "ledger"
STATE, WATERMARK = "STRIPE_ORDER_SYNC", "STRIPE_SYNC_WATERMARK"


@pytest.fixture
def memory():
    made = MemoryDynamoDB(lambda: NOW, page_items=7)
    for name in (TABLE, LEDGER, "third"):
        made.add_table(name)
    return made


@pytest.fixture
def shop(make_world, memory):
    """Return a shop after three nights, with its ledger in its table."""
    world = make_world(memory)
    world.sells(session_spec(event_delivered=False))
    world.sells(session_spec("cs_test_unpaid", payment_status="unpaid"))
    world.sells(session_spec("cs_test_nobody", metadata={}, email=None))
    for night in range(3):
        run_night(world, night)
    put(memory, "SYSTEM", "DISMISSED#cs_test_no", dismissedBy="jane")
    put(memory, "SYSTEM", "THE_SHOPS_OWN", value=1)
    put(memory, "SESSION#login-1", "DATA", value=1)
    return world


@pytest.fixture
def own(make_world, memory, shop):
    world = make_world(memory, is_confirmed=False, SYNC_LEDGER_TABLE=LEDGER)
    world.clock.now = shop.clock.now
    return world


@pytest.fixture
def move(memory, shop):
    def run(source=TABLE, destination=LEDGER, stack=DEFAULT_STACK, client=memory, wait=lambda _closed: None):
        now, deadline = int(shop.clock()), shop.clock.deadline(600)
        tables = (Table(client, TABLE, ledger=name) for name in (source, destination))
        return move_ledger(*tables, stack, now, deadline, wait)

    return run


def put(memory, pk, sk, table=TABLE, **fields):
    memory.put_item(TableName=table, Item=wire({"PK": pk, "SK": sk} | fields))


def items(memory, table):
    return {(item["PK"], item["SK"]): item for item in map(plain, memory.items(table))}


def ledger_items(memory, table):
    """Return the sync's own items, without the marks of a move."""
    marks = ("movedTo", "movedAt")
    return {
        key: {name: value for name, value in item.items() if name not in marks}
        for key, item in items(memory, table).items()
        if key[0].startswith(("SYSTEM", "SYNC_RUN#", "SESSION#")) and "value" not in item
    }


def test_move_copies_every_record_of_the_sync_and_nothing_of_the_shop(memory, move):
    before = ledger_items(memory, TABLE)
    assert {key[1].partition("#")[0] for key in before} >= {"PENDING", "ATTENTION", "DISMISSED", "SYNC_ORDER"}
    moved = move()
    assert items(memory, LEDGER) == before == ledger_items(memory, TABLE)
    assert moved.written == len(before) - 2 == sum(moved.records.values())
    assert (moved.removed, moved.was_moved) == (0, False)


def test_move_copies_what_a_batch_commits_that_began_before_it(memory, move, own, shop):
    """A redriven message: its run is done, so that no open run refuses the move."""
    run_id, session = "20241129T020000Z", session_spec("cs_test_late", payment_status="unpaid")
    shop.sells(session)
    shop.sends(a_message(session_id=session.id, run_id=run_id, user_id="u1", payment_status="unpaid"))
    may_commit, has_read = threading.Event(), threading.Event()

    def hold(call):
        if call.method == "transact_write_items" and not has_read.is_set():
            has_read.set()
            assert may_commit.wait(10)

    shop.dynamodb.plan = hold
    batch = threading.Thread(target=shop.deliver)
    batch.start()
    assert has_read.wait(10)

    def wait(closed_at):
        assert closed_at == int(shop.clock())
        may_commit.set()
        batch.join()

    move(wait=wait)
    assert own.outcome(session.id, run_id)["reason"] == "unpaid"
    assert own.item("SYSTEM", f"PENDING#{session.id}")


def test_repeated_move_waits_from_the_first_one_on(move, shop):
    moments = []

    def stop(closed_at):
        moments.append(closed_at)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            move(wait=stop)
        shop.clock.now += 30
    assert moments == [int(shop.clock()) - 60] * 2


def test_runs_go_on_from_the_moved_watermark(memory, move, own, shop):
    covered = shop.item("SYSTEM", WATERMARK)["lastCoveredThrough"]
    move()
    [order] = own.orders()
    own.memory.delete_item(TableName=TABLE, Key=wire({"PK": order["PK"], "SK": order["SK"]}))
    assert run_night(own, 3)["status"] == "done"
    assert own.run("20241130T020000Z")["lookbackStart"] == covered - DAY - 600
    assert own.outcome("cs_test_unpaid", "20241130T020000Z")["reason"] == "unpaid"
    assert own.orders() == []
    assert memory.items(TABLE) != []


@pytest.mark.parametrize("event", [scheduled(3), {}, {"dryRun": True}])
def test_run_is_refused_until_the_ledger_has_moved(memory, own, event):
    own.clock.now = NOW + 3 * DAY
    before = memory.dump()
    with pytest.raises(LedgerNotMoved, match=r"table commerce holds the ledger.* `nightly-sync ledger move`"):
        own.produce(event)
    assert memory.dump() == before


def test_batch_is_kept_until_the_ledger_has_moved(memory, move, own):
    own.sells(session_spec("cs_test_later"))
    own.sends(a_message(session_id="cs_test_later", run_id="20241129T020000Z", user_id="u1"))
    before = memory.dump()
    assert own.deliver().returned
    assert memory.dump() == before
    move()
    own.drain()
    assert own.outcome("cs_test_later", "20241129T020000Z")["outcome"] == "created"


def test_old_ledger_is_closed_by_the_move(memory, move, shop):
    shop.sells(session_spec("cs_test_later"))
    shop.sends(a_message(session_id="cs_test_later", run_id="20241129T020000Z", user_id="u1"))
    move()
    shop.clock.now = NOW + 3 * DAY
    before = memory.dump()
    with pytest.raises(LedgerNotMoved, match="the ledger has moved to table ledger"):
        shop.produce(scheduled(3))
    assert shop.deliver().returned
    assert memory.dump() == before


@pytest.mark.parametrize("call", range(1, 9))
def test_interrupted_move_is_closed_on_both_sides_and_ends_when_repeated(memory, move, own, shop, call):
    before = ledger_items(memory, TABLE)

    def is_late(one):
        return one.method == "transact_write_items" and one.nth >= call

    faulty = Faulty(memory, lambda one: throttled() if is_late(one) else None)
    try:
        move(client=faulty)
    except TableUnavailable:
        own.clock.now = shop.clock.now = NOW + 3 * DAY
        open_sides = []
        for world in (shop, own):
            try:
                world.produce({"dryRun": True})
            except LedgerNotMoved:
                continue
            open_sides.append(world)
        assert own not in open_sides
        moved = move()
        assert not moved.was_moved
    assert items(memory, LEDGER) == before
    assert move().was_moved


def test_what_changed_after_an_interrupted_copy_is_copied_again(memory, move):
    put(memory, "SYSTEM", WATERMARK, LEDGER, movingFrom=TABLE)
    put(memory, "SYSTEM", "PENDING#ended", LEDGER)
    put(memory, "SYSTEM", "DISMISSED#cs_test_no", LEDGER, dismissedBy="another")
    moved = move()
    assert moved.removed == 1
    assert items(memory, LEDGER) == ledger_items(memory, TABLE)


def test_open_run_refuses_the_move(memory, move, shop):
    shop.clock.now = NOW + 3 * DAY
    shop.produce(scheduled(3))
    before = memory.dump()
    with pytest.raises(LedgerNotMoved, match="run 20241130T020000Z is open"):
        move()
    assert memory.dump() == before
    shop.drain()
    assert move().written


def test_run_whose_producer_is_dead_moves_with_the_ledger(memory, move, own, shop):
    put(
        memory,
        "SYSTEM",
        f"{STATE}#20241129T030000Z",
        status="running",
        listed=False,
        listingMovedAt=NOW - HOUR,
    )
    move()
    run_night(own, 3)
    assert own.run("20241129T030000Z")["status"] == "failed"


def test_table_with_a_ledger_in_use_is_no_destination(memory, make_world, move):
    other = make_world(memory, SYNC_STACK="another", SYNC_LEDGER_TABLE=LEDGER)
    run_night(other, 3)
    before = memory.dump()
    with pytest.raises(LedgerNotMoved, match="table ledger has a ledger in use"):
        move()
    assert memory.dump() == before


@pytest.mark.parametrize(
    ("pk", "sk"),
    [
        ("SYSTEM", STATE),
        ("SYSTEM", f"{STATE}#20241127T020000Z"),
        ("SYSTEM", "DISMISSED#cs_test_1"),
        ("SYNC_RUN#20241127T020000Z", "SESSION#cs_test_1"),
        ("SESSION#cs_test_1", "SYNC_ORDER"),
    ],
)
def test_table_with_records_but_no_watermark_is_no_destination(memory, move, pk, sk):
    """Versions before the watermark item had such a ledger."""
    put(memory, pk, sk, LEDGER)
    before = memory.dump()
    with pytest.raises(LedgerNotMoved, match="table ledger has a ledger in use, or records of another one"):
        move()
    assert memory.dump() == before


def test_items_of_a_shop_do_not_make_its_table_a_ledger(memory, move):
    put(memory, "SYSTEM", "THE_SHOPS_OWN", LEDGER, value=1)
    put(memory, "SESSION#login-1", "DATA", LEDGER, value=1)
    assert move().removed == 0


@pytest.mark.parametrize(
    ("mark", "is_free"),
    [
        ({"stackName": DEFAULT_STACK, "movedTo": "third"}, True),
        ({"stackName": DEFAULT_STACK, "movingFrom": "third"}, True),
        ({"stackName": "another", "movedTo": TABLE}, True),
        ({"movingFrom": TABLE}, True),
        ({"stackName": "another", "movedTo": "third"}, False),
        ({"stackName": "another", "movingFrom": "third"}, False),
        ({"movingFrom": "third"}, False),
        ({"stackName": DEFAULT_STACK}, False),
    ],
)
def test_destination_is_one_that_this_stack_left_or_reserved(memory, move, mark, is_free):
    """The move of another stack may have stopped: its records would be the only ones."""
    put(memory, "SYSTEM", WATERMARK, LEDGER, **mark)
    before = memory.dump()
    if is_free:
        assert move().written
        return
    with pytest.raises(LedgerNotMoved, match="table ledger has a ledger in use"):
        move()
    assert memory.dump() == before


def test_old_ledger_is_not_copied_into_a_table_that_another_move_has_reserved(memory, move):
    move(TABLE, "third")
    move("third", LEDGER)
    put(memory, "SYSTEM", WATERMARK, "third", stackName=DEFAULT_STACK, movingFrom=LEDGER, movedTo=LEDGER)
    put(memory, "SYSTEM", WATERMARK, stackName=DEFAULT_STACK, movedTo="third")
    before = memory.dump()
    with pytest.raises(LedgerNotMoved):
        move(TABLE, "third")
    assert memory.dump() == before


def test_repeated_move_writes_nothing(memory, move):
    move()
    again = Faulty(memory, never)
    assert move(client=again).was_moved
    assert again.history.count("transact_write_items") == 0


def test_ledger_that_was_moved_and_adopted_is_not_this_stacks(memory, move):
    move()
    put(memory, "SYSTEM", WATERMARK, LEDGER, stackName="another")
    with pytest.raises(LedgerInUse):
        move()


def test_mark_of_another_stack_in_the_shops_table_stays(memory, move, own, shop):
    move()
    put(memory, "SYSTEM", WATERMARK, stackName="another", movedTo="elsewhere")
    before = items(memory, TABLE)
    move(LEDGER, "third")
    assert items(memory, TABLE) == before


# The second transaction of a move between two separate ledgers closes the old one; then it redirects the
# shop's table, copies and opens. Only before the close may another call choose another table.
@pytest.mark.parametrize(
    ("path", "call"),
    [([TABLE], 2), *[(path, call) for path in (["third"], ["third", TABLE]) for call in range(2, 6)]],
)
def test_slow_call_does_not_touch_a_ledger_that_another_call_has_opened(memory, move, path, call):
    move()

    def move_meanwhile(one):
        if (one.method, one.nth) == ("transact_write_items", call):
            for source, destination in pairwise([LEDGER, *path]):
                move(source, destination)
            for (pk, sk), item in ledger_items(memory, path[-1]).items():
                put(memory, pk, sk, path[-1], **item | {"changedBy": "a run"})
            after.append(memory.dump())

    after = []
    with pytest.raises(LedgerNotMoved, match="another call moves the ledger at the same time"):
        move(LEDGER, "third", client=Faulty(memory, move_meanwhile))
    assert [memory.dump()] == after


def test_ledger_of_another_stack_is_not_moved(memory, move):
    before = memory.dump()
    with pytest.raises(LedgerInUse):
        move(stack="another")
    assert memory.dump() == before


def test_second_stack_with_a_new_ledger_needs_no_move(make_world, memory, shop):
    other = make_world(memory, SYNC_STACK="another", SYNC_LEDGER_TABLE=LEDGER)
    assert run_night(other, 3)["status"] == "done"
    assert run_night(shop, 3)["status"] == "done"


def test_moved_ledger_cannot_begin_again_elsewhere(make_world, memory, move):
    move()
    elsewhere = make_world(memory, is_confirmed=False, SYNC_LEDGER_TABLE="third")
    elsewhere.clock.now = NOW + 3 * DAY
    with pytest.raises(LedgerNotMoved, match="has moved to table ledger"):
        elsewhere.produce(scheduled(3))


def test_state_that_another_program_puts_later_does_not_stop_an_own_ledger(make_world, memory):
    for key in list(items(memory, TABLE)):
        memory.delete_item(TableName=TABLE, Key=wire({"PK": key[0], "SK": key[1]}))
    own = make_world(memory, SYNC_LEDGER_TABLE=LEDGER)
    run_night(own)
    put(memory, "SYSTEM", STATE, lastSyncStartedAt="2024-11-27T01:00:00Z")
    assert run_night(own, 1)["status"] == "done"


def test_ledger_moves_back_to_the_shops_table(memory, move, own, shop):
    move()
    run_night(own, 3)
    shop.clock.now = own.clock.now
    with pytest.raises(LedgerNotMoved):
        shop.produce(scheduled(3))
    move(LEDGER, TABLE)
    assert ledger_items(memory, TABLE) == ledger_items(memory, LEDGER)
    assert run_night(shop, 4)["status"] == "done"
    own.clock.now = NOW + 5 * DAY
    with pytest.raises(LedgerNotMoved, match="has moved to table commerce"):
        own.produce(scheduled(5))


def test_no_request_is_made_if_the_ledger_is_in_the_shops_table(memory, shop):
    history = Faulty(memory, never)
    check_ledger_table(Table(history, TABLE), DEFAULT_STACK, shop.clock.deadline(60))
    assert history.history.calls == []
