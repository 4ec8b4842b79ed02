"""The records of the sync that this system replaces, wherever they are read: orders, markers and state."""

import pytest

from ops.cli.commands.show import show
from ops.dlq.queue import DeadLetterQueue
from ops.doctor.checks.ledger import check_state
from ops.explain.gather import FactSources, gather_facts
from ops.explain.verdict import decide_verdict
from ops.explain.verdict_types import VerdictCase
from ops.runs.finding import Verdict
from ops.runs.status import read_facts
from ops.runs.system_state import StateLevel, assess
from ops.stack.stack import DEFAULT_STACK
from ops.stack.stripe_access import StripeAccess
from recon.dynamodb.keys import STATE_KEY, WATERMARK_KEY
from recon.timestamps import HOUR
from testkit.builders import NOW, RUN
from testkit.fake_stripe import SessionSpec
from testkit.world import wire

SESSION = "cs_test_00000001"
RAW = "Jane Doe!"
SOURCES = ["nightly_sync", "stripe_fallback"]
OLD_STATE = {"lastSyncStartedAt": NOW - 24 * HOUR, "lastSyncCompletedAt": (NOW - 24 * HOUR) * 1000}


def put(world, key, **fields):
    item = dict(zip(("PK", "SK"), key, strict=True)) | fields
    world.memory.put_item(TableName=world.table, Item=wire(item))


@pytest.fixture(params=SOURCES)
def source(request):
    return request.param


@pytest.fixture(params=[1, 1000], ids=["seconds", "milliseconds"])
def world(make_world, source, request):
    """Return a world in which the sync before this system has written an order, under a raw id."""
    world = make_world()
    spec = world.sells(SessionSpec(SESSION, NOW - HOUR, metadata={"userId": RAW}))
    numbers = dict.fromkeys(("createdAt", "updatedAt", "completedAt"), (NOW - 60) * request.param)
    order = {"orderNumber": "BC-OLD", "amount": 1500, "currency": "usd", "stripePaymentStatus": "paid"}
    world.webhook_writes(SESSION, RAW, NOW - 60, source=source, **order | numbers)
    marker = {"source": source, "status": "completed", "orderCreated": True}
    put(world, (f"EVENT#{spec.completed_event_id}", "METADATA"), processedAt=NOW - 60, **marker)
    put(world, STATE_KEY, **OLD_STATE)
    return world


def test_its_order_is_found_and_not_written_again(world):
    run = world.night()
    assert (run["created"], run["skipped"], run["drifted"]) == (0, 1, 0)
    assert [order["orderNumber"] for order in world.orders(SESSION)] == ["BC-OLD"]
    assert world.outcome(SESSION)["reason"] == "exists"


def test_its_order_proves_the_table(world):
    world.night()
    assert world.item(*WATERMARK_KEY)["provenBy"] == SESSION


def test_its_state_is_taken_over(world):
    world.night()
    assert (world.state()["lastSyncRunId"], world.state()["lastSyncStatus"]) == (RUN, "done")


def test_explain_names_its_writer_and_times(world, context, source):
    world.night()
    with StripeAccess(world.settings, lambda: world.ssm, world.clock.deadline(10**9)) as access:
        sources = FactSources(
            table=context.stack.table,
            queue=DeadLetterQueue(world.sqs, world.dlq, world.queue),
            stripe=access.source,
            settings=world.settings,
            producer=world.settings,
            schedule=None,
            deadline=world.clock.deadline(3600),
        )
        facts = gather_facts(sources, SESSION, int(world.clock.now))
    verdict = decide_verdict(facts)
    writer = "The sync before this system" if source == "nightly_sync" else "Another program"
    changed = "it was last changed at 2024-11-27 01:59 UTC"
    assert verdict.case is VerdictCase.OTHER_PROGRAM
    assert f"{writer} (source {source}) wrote its order BC-OLD; {changed}" in verdict.why
    (order,), (event,) = facts.orders, facts.events
    assert (order.created_at, event.marker.at) == ("2024-11-27T01:59:00Z", "2024-11-27T01:59:00Z")
    assert (str(order.amount), event.marker.order_created) == ("15.00 USD", True)


def test_show_lists_its_order_as_existing(world, context):
    world.night()
    assert "exists" in context.show(show(context, "last", everything=True))


def test_status_and_doctor_name_a_sync_that_still_runs(world, context):
    context.stack.name = DEFAULT_STACK
    world.night()
    assert assess(read_facts(context.stack, int(world.clock.now))).level is StateLevel.FINE
    put(world, STATE_KEY, **OLD_STATE)
    (action,) = assess(read_facts(context.stack, int(world.clock.now))).actions
    assert (action.code, action.command) == ("state_overwritten", "nightly-sync doctor")
    overwritten = context.stack.runs.is_state_foreign(context.stack.runs.state())
    assert check_state(overwritten=overwritten).verdict is not Verdict.OK
