"""Cases 11 and 13 through the deployed stack: what the producer is told, and what it refuses to be told."""

import re
import time

import pytest

from recon.timestamps import HOUR
from sandbox.stack import InvocationError, invoke
from tests.e2e.shop import iso

pytestmark = pytest.mark.e2e

REQUIRED = ("COMMERCE_TABLE", "SYNC_QUEUE_URL", "STRIPE_SECRET_PARAMETER")


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop()


@pytest.fixture
def night(shop):
    return shop.night()


def test_case_13_a_night_without_sessions_is_done_at_once_with_zeros(shop, night):
    body = night.produce()
    completed_at = body.pop("syncCompletedAt")
    assert body == {
        "status": "success",
        "trigger": "scheduled",
        "runId": night.run_id,
        "syncStartedAt": body["syncStartedAt"],
        "lookbackHours": 25,
        "lookbackWindow": night.window,
        "enqueued": 0,
        "processed": 0,
        "created": 0,
        "skipped": 0,
        "errors": 0,
        "createdOrders": [],
        "dryRun": False,
        "truncated": False,
        "warnings": [],
    }
    assert completed_at >= body["syncStartedAt"]
    run, state = shop.run(night.run_id), shop.state()
    assert night.counters() == shop.state_counters() == (0, 0, 0, 0, 0)
    assert (run["status"], state["lastSyncStatus"]) == ("done", "done")
    assert run["syncCompletedAt"] == state["lastSyncCompletedAt"] == completed_at
    assert shop.outcomes(night.run_id) == []
    assert shop.queues() == (0, 0)
    completed = "Sync completed: processed=0, created=0, skipped=0, errors=0"
    assert completed in [line["message"] for line in shop.logged(shop.stack.producer)]


def test_case_11_an_empty_event_is_a_manual_run_of_the_last_25_hours(shop, night):
    began = int(time.time())
    inside = night.sells("inside", created=began - 24 * HOUR)
    night.sells("outside", created=began - 26 * HOUR)
    body = shop.body({})
    shop.settled(body["runId"])
    assert (body["trigger"], body["lookbackHours"], body["dryRun"]) == ("manual", 25, False)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", body["runId"])
    assert iso(began) <= body["lookbackWindow"]["to"] <= iso(time.time())
    assert shop.counters(body["runId"]) == shop.state_counters() == (1, 1, 1, 0, 0)
    assert shop.order(inside)["syncRunId"] == body["runId"]


def test_case_11_the_scheduler_and_an_eventbridge_event_of_one_time_are_one_run(shop, night):
    sold = night.sells("sold")
    scheduler = night.produce()
    shop.settled(night.run_id)
    eventbridge = shop.body(
        {
            "version": "0",
            "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": "123456789012",
            "time": night.scheduled_time,
            "region": "us-east-1",
            "resources": ["arn:aws:events:us-east-1:123456789012:rule/nightly"],
            "detail": {},
        }
    )
    assert scheduler["trigger"] == eventbridge["trigger"] == "scheduled"
    assert scheduler["runId"] == eventbridge["runId"] == night.run_id
    assert scheduler["lookbackWindow"] == eventbridge["lookbackWindow"] == night.window
    assert (scheduler["enqueued"], eventbridge["enqueued"], eventbridge["status"]) == (1, 1, "success")
    assert night.counters() == shop.state_counters() == (1, 1, 1, 0, 0)
    assert shop.order(sold)["syncRunId"] == night.run_id


def test_case_11_a_longer_lookback_finds_what_the_default_does_not(shop, night):
    old = night.sells("old", created=night.end - 30 * HOUR)
    default = shop.body({"requestedAt": night.scheduled_time})
    longer = shop.body({"requestedAt": night.scheduled_time, "lookbackHours": 31})
    shop.settled(longer["runId"])
    assert (default["enqueued"], longer["enqueued"]) == (0, 1)
    assert longer["lookbackWindow"]["from"] == iso(night.end - 31 * HOUR)
    state = shop.state()
    assert (state["lastLookbackStart"], state["lastLookbackEnd"]) == (night.end - 31 * HOUR, night.end)
    assert shop.order(old)["syncRunId"] == longer["runId"]


def test_case_11_a_maximum_is_kept_and_what_it_leaves_out_is_said(shop, night):
    specs = [night.sells(f"sold{n}") for n in range(5)]
    body = shop.body(night.event | {"maxSessions": 2})
    shop.settled(night.run_id)
    assert (body["enqueued"], body["truncated"]) == (2, True)
    assert "2 sessions" in body["warnings"][0]
    assert night.counters() == (2, 2, 2, 0, 0)
    assert shop.run(night.run_id)["truncated"] is True
    oldest = {spec.id for spec in specs[-2:]}
    assert {order["orderId"] for order in shop.orders(*(spec.id for spec in specs))} == oldest


def test_case_11_a_requested_time_names_the_run_and_ends_its_window(shop, night):
    night.sells("sold")
    body = shop.body({"requestedAt": night.scheduled_time})
    shop.settled(body["runId"])
    assert body["trigger"] == "manual"
    assert re.fullmatch(night.run_id + r"-[0-9a-f]{6}", body["runId"])
    assert body["lookbackWindow"]["to"] == night.scheduled_time
    assert shop.counters(body["runId"]) == (1, 1, 1, 0, 0)


def test_case_11_and_12_the_event_decides_whether_a_run_is_dry(shop, night):
    sold = night.sells("sold")
    before = shop.dump()
    dry = shop.body(night.event | {"dryRun": True})
    assert (dry["dryRun"], dry["created"], dry["enqueued"]) == (True, 1, 0)
    assert shop.dump() == before
    real = shop.body(night.event | {"dryRun": False})
    shop.settled(night.run_id)
    assert (real["dryRun"], real["enqueued"]) == (False, 1)
    assert shop.order(sold)["orderNumber"] in dry["createdOrders"]


@pytest.fixture(scope="module")
def paused(shop):
    """Nobody takes a message away, so that one sent by mistake would be seen."""
    shop.sells(shop.night().session("tempting"))
    shop.stack.pause_consumer()
    yield shop
    shop.stack.resume_consumer()


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"lookbackHours": "48"}, "lookbackHours"),
        ({"lookbackHours": None}, "lookbackHours"),
        ({"lookbackHours": True}, "lookbackHours"),
        ({"lookbackHours": 1.5}, "lookbackHours"),
        ({"lookbackHours": 0}, "lookbackHours"),
        ({"lookbackHours": 721}, "lookbackHours"),
        ({"maxSessions": "100"}, "maxSessions"),
        ({"maxSessions": None}, "maxSessions"),
        ({"maxSessions": False}, "maxSessions"),
        ({"maxSessions": 2.5}, "maxSessions"),
        ({"maxSessions": 0}, "maxSessions"),
        ({"maxSessions": -1}, "maxSessions"),
        ({"dryRun": 1}, "dryRun"),
        ({"dryRun": "true"}, "dryRun"),
        ({"dryRun": None}, "dryRun"),
        ({"requestedAt": "yesterday"}, "requestedAt"),
        ({"requestedAt": "2024-11-27T02:00:00"}, "requestedAt"),
        ({"requestedAt": 1732672800}, "requestedAt"),
        ({"lookBackHours": 48}, "lookBackHours"),
        ({"lookbackHours": 48, "dryrun": True}, "dryrun"),
        ({"trigger": "manual"}, "trigger"),
        ([], "object"),
        ("{}", "object"),
        (7, "object"),
        (None, "object"),
    ],
    ids=str,
)
def test_case_11_a_wrong_event_is_answered_400_and_nothing_is_written(paused, event, named):
    before, queues, asked = paused.dump(), paused.queues(), len(paused.stripe.calls)
    answer = paused.stack.invoke_producer(event)
    body = answer["body"]
    assert (answer["statusCode"], body["status"], body["error"]) == (400, "error", "InvalidRequest")
    assert named in body["message"]
    assert (paused.dump(), paused.queues(), len(paused.stripe.calls)) == (before, queues, asked)


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"trigger": "scheduled"}, "scheduledTime"),
        ({"trigger": "scheduled", "scheduledTime": "<aws.scheduler.scheduled-time>"}, "scheduledTime"),
        ({"source": "aws.events"}, "time"),
        ({"source": "aws.events", "time": "soon"}, "time"),
        ({"trigger": "continue", "runId": "20200101T000000Z", "hop": 1}, "20200101T000000Z"),
    ],
    ids=str,
)
def test_case_11_a_wrong_event_that_nobody_waits_for_fails_and_nothing_is_written(paused, event, named):
    before, queues = paused.dump(), paused.queues()
    with pytest.raises(InvocationError, match=named):
        paused.stack.invoke_producer(event)
    assert (paused.dump(), paused.queues()) == (before, queues)


@pytest.mark.parametrize("function", ["producer", "consumer"])
def test_case_11_a_missing_environment_fails_and_names_every_name(deploy_stack, function):
    stack = deploy_stack()
    stack.update_environment(getattr(stack, function), dict.fromkeys(REQUIRED))
    with pytest.raises(InvocationError) as caught:
        invoke(stack.client, getattr(stack, function), {"Records": []} if function == "consumer" else {})
    assert [name for name in REQUIRED if name not in str(caught.value)] == []
    assert stack.client("dynamodb").scan(TableName=stack.table)["Items"] == []


def test_the_logs_name_run_and_session_and_no_customer_and_no_key(shop):
    shop.check_logs()
