"""Shops with their own layouts: what a night finds there and reports as missing. It writes nothing there."""

from dataclasses import dataclass, field, replace

import pytest

from recon.dynamodb.dismissals import dismiss_session
from recon.dynamodb.keys import WATERMARK_KEY
from recon.errors import NotAllowed, ShapeMismatch
from recon.retry import Deadline
from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.foreign_tables import ForeignTable, ForeignTables
from testkit.fake_stripe import SessionSpec
from testkit.world import plain, wire
from tests.unit.producer.nights import run_id, run_night

LEDGER = "books"
METADATA = {"orderId": "o-1", "userId": "u-1"}
CS = "cs_test_session1"
STATUS = 'done = { status = ["PAID", "SHIPPED"] }\nopen = { status = ["PENDING"] }\n'
INDEX = "StripeSessionIndex"


@dataclass(frozen=True)
class LayoutCase:
    """A shop's table and its file. `order` is the item of the session, without the attributes in `done`."""

    keys: tuple[str, ...]
    file: str
    order: dict[str, str]
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)


LAYOUTS = {
    "status flip": LayoutCase(
        ("orderId",),
        'key = { orderId = "{metadata.orderId|client_reference_id}" }\n' + STATUS,
        {"orderId": "o-1", "status": "PENDING", "ttl": "soon"},
        done={"status": "PAID"},
    ),
    "composite": LayoutCase(
        ("userId", "orderId"),
        'key = { userId = "USER#{metadata.userId}", orderId = "ORDER#{metadata.orderId}" }\n'
        'open = { status = ["PENDING"] }',
        {"userId": "USER#u-1", "orderId": "ORDER#o-1", "status": "PENDING"},
        done={"status": "SHIPPED"},
    ),
    "session id": LayoutCase(("sessionId",), 'key = { sessionId = "{id}" }', {"sessionId": CS}),
    "payment intent": LayoutCase(
        ("PK", "SK"),
        'key = { PK = "PAYMENT#{payment_intent}", SK = "ORDER" }',
        {"PK": f"PAYMENT#{SessionSpec(CS, NOW).payment_intent}", "SK": "ORDER"},
    ),
    "index": LayoutCase(
        ("id",),
        f'key = {{ stripeSessionId = "{{id}}" }}\nindex = "{INDEX}"\n' + STATUS,
        {"id": "own-1", "stripeSessionId": CS, "status": "PENDING"},
        {INDEX: ("stripeSessionId", "createdAt")},
        {"status": "PAID"},
    ),
}
# Its id is in no session, so that only an index can find it.
OWN_ID = LayoutCase(("id",), 'key = { id = "{metadata.internalId}" }', {"id": "own-1", "stripeSessionId": CS})


@pytest.fixture
def open_shop(make_world):
    def open_shop(layout, *, is_confirmed=True, **env):
        memory = MemoryDynamoDB(lambda: NOW)
        for name in (TABLE, LEDGER):
            memory.add_table(name)
        orders = ForeignTable(layout.keys, layout.indexes)
        client = ForeignTables(memory, {"orders": orders})
        text = f'[find]\ntable = "orders"\n{layout.file}'
        env = {"SYNC_LEDGER_TABLE": LEDGER, "SYNC_SHAPE": text} | env
        world = make_world(client, is_confirmed=is_confirmed, **env)
        world.shop, world.shop_client = orders, client
        return world

    return open_shop


def sell(world, session_id=CS, created=NOW - HOUR, **changes):
    return world.sells(
        SessionSpec(session_id, created, **{"metadata": METADATA, "email": "a@b.example"} | changes)
    )


def write(world, layout, **changes):
    """Put the order as the shop's webhook leaves it, in place of an earlier one."""
    world.shop.items[:] = [wire(layout.order | layout.done | changes)]


def entries(world):
    return [item for item in world.items() if item["SK"].startswith("PENDING#")]


def attention(world):
    return world.item("SYSTEM", f"ATTENTION#{CS}")


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request):
    return request.param


def test_order_that_the_shop_has_done_is_found(open_shop, layout):
    world = open_shop(layout)
    sell(world)
    write(world, layout)
    run = run_night(world)
    assert (run["skipped"], run.get("missing", 0), run["drifted"]) == (1, 0, 0)
    assert world.outcome(CS)["reason"] == "exists"
    assert world.memory.items(TABLE) == []


@pytest.mark.parametrize("state", ["absent", "open"])
def test_order_that_the_shop_has_not_done_is_missing(open_shop, layout, state):
    world = open_shop(layout)
    sell(world)
    if state == "open" and layout.done:
        write(world, layout, **{name: layout.order[name] for name in layout.done})
    run = run_night(world)
    assert (run["processed"], run["created"], run["missing"], run["skipped"], run["errors"]) == (
        1,
        0,
        1,
        0,
        0,
    )
    assert (run["status"], world.state()["lastSyncMissing"]) == ("done", 1)
    outcome = world.outcome(CS)
    assert (outcome["outcome"], outcome["amount"], outcome["attention"]) == ("missing", 1500, ["missing"])
    assert attention(world)["words"] == ["missing"]
    [entry] = entries(world)
    assert entry["expiresAt"] == entry["missingSince"] + 30 * DAY
    assert "a@b.example" not in str(world.items())


def test_missing_order_is_looked_for_until_it_is_found(open_shop, layout):
    world = open_shop(layout)
    sell(world)
    run_night(world)
    for night in (1, 2, 3):
        assert run_night(world, night)["missing"] == 1
    write(world, layout)
    run = run_night(world, 4)
    assert (run["skipped"], run.get("missing", 0)) == (1, 0)
    assert (entries(world), attention(world)) == ([], None)
    assert run_night(world, 5)["processed"] == 0


def test_order_that_is_found_within_the_next_window_ends_the_entry(open_shop, layout):
    world = open_shop(layout)
    sell(world)
    run_night(world)
    write(world, layout)
    run_night(world, 1)
    assert (entries(world), attention(world)) == ([], None)


def test_wrong_file_holds_the_first_run_and_reports_nothing(open_shop, layout):
    wrong = replace(layout, file=layout.file.replace('"', '"wrong-', 1))
    world = open_shop(wrong, is_confirmed=False)
    sell(world)
    write(world, layout)
    run = run_night(world)
    assert (run["status"], run["wouldCreate"], run["enqueued"]) == ("held", 1, 0)
    replace_file(world, open_shop(layout).settings.shape)
    assert run_night(world, 1)["skipped"] == 1


def test_proof_of_another_file_does_not_prove_a_file(open_shop, layout):
    wrong = replace(layout, file=layout.file.replace('"', '"wrong-', 1))
    world = open_shop(wrong, is_confirmed=False)
    sell(world)
    write(world, layout)
    key = wire(dict(zip(("PK", "SK"), WATERMARK_KEY, strict=True)))
    # Newer than the session that proves the next file.
    item = wire({"provenBy": CS, "provenCreated": NOW, "provenShape": '[find]\nkey = { orderId = "{id}" }'})
    world.memory.put_item(TableName=LEDGER, Item=key | item)
    assert (run_night(world)["status"], entries(world)) == ("held", [])
    shape = open_shop(layout).settings.shape
    replace_file(world, shape)
    assert run_night(world, 1)["skipped"] == 1
    stored = world.memory.get_item(TableName=LEDGER, Key=key)["Item"]
    assert stored["provenShape"] == {"S": shape.text}


@pytest.mark.parametrize(
    "layout",
    [
        LayoutCase(("id", "at"), 'key = { id = "{id}" }', {}),
        LayoutCase(("id",), 'key = { session = "{id}" }\nindex = "absent"', {}),
    ],
)
def test_keys_that_are_not_those_of_the_table_fail_the_run_before_it_sends(open_shop, layout):
    world = open_shop(layout, is_confirmed=False)
    sell(world)
    with pytest.raises(ShapeMismatch, match=r"shape.toml: find.key has .*table orders"):
        run_night(world)
    assert world.memory_sqs.messages(world.queue) == []


def test_table_without_permission_fails_the_run_and_loses_nothing(open_shop, layout):
    operation = "Query" if layout.indexes else "BatchGetItem"
    world = open_shop(layout, is_confirmed=False)
    sell(world)
    write(world, layout)
    world.shop_client.denied.add(operation)
    with pytest.raises(NotAllowed, match=f"no permission for dynamodb:{operation}"):
        run_night(world)
    world.shop_client.denied.clear()
    assert run_night(world)["skipped"] == 1


def test_session_without_the_value_of_the_key_is_no_order_of_the_shop(open_shop):
    world = open_shop(OWN_ID)
    sell(world)
    assert (run_night(world)["skipped"], world.outcome(CS)["reason"]) == (1, "no_key")


def test_value_in_neither_list_is_found_with_drift(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(layout)
    sell(world)
    write(world, layout, status="CANCELLED")
    assert run_night(world)["drifted"] == 1
    assert (world.outcome(CS)["reason"], world.outcome(CS)["drift"][0][:8]) == ("exists", "status: ")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"payment_status": "unpaid"}, "unpaid"),
        ({"amount_refunded": 1500}, "refunded"),
        ({"intent_status": "requires_capture"}, "awaiting_capture"),
    ],
)
def test_stripe_is_asked_before_an_order_is_missing(open_shop, changes, reason):
    world = open_shop(LAYOUTS["status flip"])
    sell(world, **changes)
    assert (run_night(world)["skipped"], world.outcome(CS)["reason"]) == (1, reason)


def test_entry_ends_when_the_payment_is_refunded(open_shop):
    world = open_shop(LAYOUTS["session id"])
    sell(world)
    run_night(world)
    sell(world, amount_refunded=1500)
    run_night(world, 3)
    assert (world.outcome(CS, run_id(3))["reason"], entries(world), attention(world)) == (
        "refunded",
        [],
        None,
    )


def test_entry_ends_when_it_is_dismissed(open_shop):
    world = open_shop(LAYOUTS["session id"])
    sell(world)
    run_night(world)
    deadline = Deadline(world.clock() + 60, world.clock, world.clock.sleep)
    dismiss_session(world.open_table(), CS, "jane", "a test", int(world.clock()), deadline)
    assert (entries(world), attention(world)) == ([], None)
    run_night(world, 1)
    assert world.outcome(CS, run_id(1))["reason"] == "dismissed"
    assert entries(world) == []


def test_order_that_is_done_during_the_requests_to_stripe_is_found(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(layout)
    sell(world)
    world.body()
    world.stripe.on_request = lambda _request: write(world, layout)
    world.drain()
    assert (world.outcome(CS)["reason"], entries(world)) == ("exists", [])


def test_entry_is_looked_for_during_thirty_days(open_shop):
    world = open_shop(LAYOUTS["session id"])
    sell(world)
    for night in (0, 29, 31):
        run_night(world, night)
    assert world.outcome(CS, run_id(29))["outcome"] == "missing"
    assert world.outcome(CS, run_id(31)) is None


def replace_file(world, shape, table="orders"):
    """Deploy another file, or none."""
    world.settings = replace(world.settings, shape=shape, table=table)


def test_file_that_is_removed_holds_the_next_run_and_doubles_nothing(open_shop):
    """The shop's orders prove nothing about this system's layout, where each session would lack its order."""
    layout = LAYOUTS["status flip"]
    world = open_shop(layout, is_confirmed=False)
    sell(world)
    write(world, layout)
    assert run_night(world)["skipped"] == 1
    replace_file(world, None, TABLE)
    sell(world, "cs_test_next", NOW + 20 * HOUR)
    assert (run_night(world, 1)["status"], world.memory.items(TABLE)) == ("held", [])


@pytest.mark.parametrize("has_order", [False, True])
@pytest.mark.parametrize("name", ["status flip", "session id"])
def test_missing_order_is_written_once_after_the_file_is_removed(open_shop, name, has_order):
    """Neither its entry nor a message under way names the user, who is known to Stripe."""
    world = open_shop(LAYOUTS[name])
    sell(world)
    for night in (0, 1):
        assert run_night(world, night)["missing"] == 1
    world.body({"requestedAt": to_iso(NOW + DAY), "lookbackHours": 48})
    replace_file(world, None, TABLE)
    if has_order:
        world.webhook_writes(CS, "u-1", NOW - HOUR + 41)
    world.drain()
    run_night(world, 3)
    orders = [item for item in map(plain, world.memory.items(TABLE)) if item["SK"].startswith("ORDER#")]
    assert [order.get("source") for order in orders] == [None if has_order else "nightly_sync"]
    assert (entries(world), attention(world)) == ([], None)


def test_user_that_stripe_does_not_name_either_needs_a_person(open_shop):
    world = open_shop(LAYOUTS["session id"])
    sell(world, metadata={}, email=None)
    for night in (0, 1):
        run_night(world, night)
    replace_file(world, None, TABLE)
    run_night(world, 3)
    assert world.outcome(CS, run_id(3))["reason"] == "no_user"
    assert attention(world)["words"] == ["no_user_paid"]


def test_two_sessions_of_one_order_are_looked_up_together(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(layout)
    for name in (CS, "cs_test_second_try"):
        sell(world, name)
    assert run_night(world)["missing"] == 2
    assert world.outcome(CS)["attempts"] == 1
    write(world, layout)
    assert run_night(world, 1)["skipped"] == 2
    assert entries(world) == []


@pytest.mark.parametrize(
    ("words", "missing", "drifted"),
    [
        (["PENDING", "PAID"], 0, 0),
        (["CANCELLED", "PAID"], 0, 0),
        (["PAID", "CANCELLED"], 0, 0),
        (["PENDING", "CANCELLED"], 0, 1),
        (["PENDING", "PENDING"], 1, 0),
    ],
)
def test_several_items_of_an_index_are_one_order(open_shop, words, missing, drifted):
    layout = LAYOUTS["index"]
    world = open_shop(layout)
    sell(world)
    write(world, layout)
    world.shop.items[:] = [wire(layout.order | {"status": word}) for word in words]
    run = run_night(world)
    assert (run.get("missing", 0), run["drifted"]) == (missing, drifted)


def test_keys_that_dynamodb_left_unread_are_read_again(open_shop):
    world = open_shop(LAYOUTS["session id"])
    for number in range(5):
        sell(world, f"cs_test_{number}")
        world.shop.items.append(wire({"sessionId": f"cs_test_{number}"}))
    world.shop_client.most_keys = 2
    assert run_night(world)["skipped"] == 5


def test_filter_leaves_a_missing_order_waiting(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(layout)
    sell(world)
    for night in (0, 1):
        run_night(world, night)
    before, other = world.settings, open_shop(layout, SYNC_ONLY="metadata.shop=a").settings
    world.settings = replace(world.settings, session_filter=other.session_filter)
    run_night(world, 3)
    assert (world.outcome(CS, run_id(3))["reason"], len(entries(world))) == ("filtered", 1)
    world.settings = before
    write(world, layout)
    run_night(world, 4)
    assert (world.outcome(CS, run_id(4))["reason"], entries(world)) == ("exists", [])


def test_missing_order_expires_with_the_orders_of_the_shop(open_shop):
    world = open_shop(LAYOUTS["status flip"], ORDER_TTL_DAYS="7")
    sell(world)
    for night in (0, 1, 8):
        run_night(world, night)
    assert (world.outcome(CS, run_id(8))["reason"], entries(world)) == ("expired", [])


def test_refused_lookups_are_dead_letters_that_a_redrive_settles(open_shop):
    world = open_shop(LAYOUTS["status flip"], SYNC_MAX_RECEIVE_COUNT="2")
    sell(world)
    world.body()
    world.shop_client.denied.add("BatchGetItem")
    world.drain()
    assert (world.outcome(CS)["errorType"], len(world.dead())) == ("NotAllowed", 1)
    world.shop_client.denied.clear()
    world.redrive()
    world.drain()
    run = world.run()
    assert (run["errors"], run["missing"], run["processed"], len(entries(world))) == (0, 1, 1, 1)


def test_changed_file_finds_what_the_former_one_missed(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(LayoutCase(layout.keys, 'key = { orderId = "{client_reference_id|id}" }', {}))
    sell(world)
    write(world, layout)
    assert run_night(world)["missing"] == 1
    replace_file(world, open_shop(layout).settings.shape)
    assert run_night(world, 3)["skipped"] == 1
    assert entries(world) == []


def test_message_from_before_the_file_is_looked_up_by_stripes_session(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(layout)
    sell(world)
    write(world, layout)
    world.body()
    [message] = world.memory_sqs.messages(world.queue)
    message.body = message.body.replace('"keyValues"', '"unknown"')
    world.drain()
    assert world.outcome(CS)["reason"] == "exists"


def test_preview_counts_what_is_missing(open_shop):
    layout = LAYOUTS["status flip"]
    world = open_shop(layout)
    sell(world)
    sell(world, "cs_test_other", metadata={"orderId": "o-2"})
    write(world, layout)
    body = world.body({"lookbackHours": 25, "dryRun": True})
    assert (body["missing"], body["skipped"], body["created"], body["createdOrders"]) == (1, 1, 0, [])
    assert body["found"] == 1


def test_hundred_sessions_take_one_read_of_the_table(open_shop):
    world = open_shop(LAYOUTS["session id"])
    for number in range(25):
        sell(world, f"cs_test_{number:03}")
        world.shop.items.append(wire({"sessionId": f"cs_test_{number:03}"}))
    world.body()
    world.shop_client.requests.clear()
    world.drain()
    assert world.shop_client.requests == ["BatchGetItem"]
