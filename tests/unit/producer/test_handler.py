"""The handler: which sessions a run sends, its responses and log lines, and its dry runs."""

import json

import pytest

import producer.lambda_function as function
from producer.dry_run import TRUNCATED
from producer.response import build_response
from recon.errors import ConfigError, InvalidRequest, OutOfTime
from recon.timestamps import HOUR, MINUTE, to_iso
from testkit.builders import NOW, RUN
from testkit.doubles.faults import on, throttled
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.runs import a_run
from testkit.world import LambdaContext
from tests.unit.producer.nights import GRACE, MANUAL_RUN, scheduled, sell, session_spec

# The first window begins a session's life and the margin before the lookback.
FIRST_HOURS = 49 * HOUR + 10 * MINUTE
WINDOW = {"from": "2024-11-25T00:50:00Z", "to": "2024-11-27T01:50:00Z"}


def sent_ids(world):
    return [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]


def test_run_without_sessions_is_done_at_once(world):
    assert world.body() == {
        "status": "success",
        "trigger": "scheduled",
        "runId": RUN,
        "syncStartedAt": "2024-11-27T02:00:00Z",
        "syncCompletedAt": "2024-11-27T02:00:00Z",
        "lookbackHours": 25,
        "lookbackWindow": WINDOW,
        "enqueued": 0,
        "processed": 0,
        "created": 0,
        "skipped": 0,
        "errors": 0,
        "filtered": 0,
        "createdOrders": [],
        "dryRun": False,
        "truncated": False,
        "warnings": [],
    }
    assert world.state()["lastSyncStatus"] == world.run()["status"] == "done"


def test_each_session_is_sent_once_in_few_requests(world):
    sell(world, 250)
    body = world.body()
    assert (body["status"], body["enqueued"], body["syncCompletedAt"]) == ("running", 250, None)
    assert sorted(sent_ids(world)) == [f"cs_test_{n:05}" for n in range(250)]
    assert world.stripe.calls.count(Endpoint.LIST) <= 250 / 100 + 12
    assert world.history.count("send_message_batch") <= 27
    assert world.state_counters() == (250, 0, 0, 0, 0)


def test_only_complete_sessions_of_the_window_are_sent(world):
    for name, created, status in (
        ("inside", NOW - FIRST_HOURS, "complete"),
        ("last", NOW - GRACE, "complete"),
        ("too_old", NOW - FIRST_HOURS - 1, "complete"),
        ("too_new", NOW - GRACE + 1, "complete"),
        ("open", NOW - HOUR, "open"),
        ("expired", NOW - HOUR, "expired"),
    ):
        at = {"completed_at": created} if status == "complete" else {}
        world.sells(SessionSpec(f"cs_test_{name}", created, status=status, metadata={"userId": "u"}, **at))
    world.clock.now += 7 * HOUR
    body = world.body()
    assert (body["lookbackWindow"], body["syncStartedAt"]) == (WINDOW, "2024-11-27T09:00:00Z")
    assert sorted(sent_ids(world)) == ["cs_test_inside", "cs_test_last"]


@pytest.mark.parametrize(
    ("event", "hours", "start", "end"),
    [
        ({}, 25, NOW - 25 * HOUR, NOW),
        ({"lookbackHours": 48, "maxSessions": 100}, 48, NOW - 48 * HOUR, NOW),
        (
            {"from": "2024-01-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"},
            25,
            NOW - 331 * 86_400 - 2 * HOUR,
            NOW - 271 * 86_400 - 2 * HOUR,
        ),
    ],
)
def test_manual_run_uses_its_window_exactly(world, event, hours, start, end):
    session = world.sells(session_spec(created=start))
    body = world.body(event)
    assert (body["trigger"], body["runId"], body["lookbackHours"]) == ("manual", MANUAL_RUN, hours)
    assert body["lookbackWindow"] == {"from": to_iso(start), "to": to_iso(end)}
    assert (world.state()["lastLookbackStart"], world.state()["lastLookbackEnd"]) == (start, end)
    world.drain()
    assert len(world.orders(session.id)) == 1


@pytest.mark.parametrize(
    ("maximum", "enqueued", "truncated"),
    [(17, 17, True), (100, 100, True), (150, 150, False), (151, 150, False)],
)
def test_hard_maximum_wins_over_the_setting(make_world, maximum, enqueued, truncated):
    world = make_world(SYNC_MAX_SESSIONS="5")
    sell(world, 150)
    body = world.body({"maxSessions": maximum})
    assert (body["enqueued"], body["truncated"]) == (enqueued, truncated)
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["truncated"] * truncated
    assert sorted(sent_ids(world)) == [f"cs_test_{n:05}" for n in range(150 - enqueued, 150)]
    world.drain()
    assert (world.run(MANUAL_RUN)["status"], world.run(MANUAL_RUN)["truncated"]) == ("done", truncated)


# Errors


def test_manual_event_is_refused_with_the_reason(world, read_log):
    assert world.produce({"dryRun": 1}) == {
        "statusCode": 400,
        "body": {"status": "error", "error": "InvalidRequest", "message": "dryRun must be true or false"},
    }
    assert world.history.calls == []
    assert read_log() == [("WARNING", "Refused: dryRun must be true or false", "-")]


def test_continuation_of_an_unknown_run_is_refused(world, read_log):
    reason = "runId must be the id of an existing run; there is no 20200101T000000Z"
    with pytest.raises(InvalidRequest, match=reason):
        world.produce({"trigger": "continue", "runId": "20200101T000000Z", "hop": 1})
    assert read_log() == [("ERROR", f"Refused: {reason}", "20200101T000000Z")]


def test_incomplete_environment_names_each_variable(monkeypatch, world):
    for name in ("COMMERCE_TABLE", "SYNC_QUEUE_URL", "STRIPE_SECRET", "STRIPE_SECRET_PARAMETER"):
        monkeypatch.delenv(name, raising=False)
    function.clients.cache_clear()
    with pytest.raises(ConfigError, match="COMMERCE_TABLE, SYNC_QUEUE_URL, STRIPE_SECRET or"):
        function.lambda_handler({}, LambdaContext(world.clock))


def test_request_that_could_outlast_the_invocation_is_not_started(world):
    """Half of a short invocation is kept for the handover. The other half has to hold a whole request."""
    with pytest.raises(OutOfTime):
        world.produce(timeout=2 * world.stripe_timeout - 0.01)
    assert world.produce(timeout=2 * world.stripe_timeout + 0.01)["statusCode"] == 200


# Responses


def test_run_without_created_orders_reads_no_outcomes(world):
    world.body()
    before = len(world.history.calls)
    world.body()
    queries = [str(call.arguments) for call in world.history.calls[before:] if call.method == "query"]
    assert queries
    assert not any(f"SYNC_RUN#{RUN}" in query for query in queries)


@pytest.mark.parametrize(
    ("event", "query"), [(scheduled(), 2), ({"trigger": "continue", "runId": RUN, "hop": 1}, 1)]
)
def test_created_orders_are_read_despite_throttling(world, event, query):
    sell(world, 2)
    world.night()
    world.dynamodb.plan = on("query", throttled(), nth=world.history.count("query") + query)
    assert sorted(world.body(event)["createdOrders"]) == ["BC-ST00000", "BC-ST00001"]
    assert world.history.faults().total() == 1


def test_response_lacks_the_created_orders_if_they_cannot_be_read(world):
    sell(world, 1)
    world.night()

    def plan(call):
        return throttled() if f"SYNC_RUN#{RUN}" in str(call.arguments) and call.method == "query" else None

    world.dynamodb.plan = plan
    body = world.body(scheduled())
    assert (body["status"], body["created"], body["createdOrders"]) == ("success", 1, [])


@pytest.mark.parametrize(
    ("status", "errors", "expected"),
    [
        ("done", 0, "success"),
        ("done", 1, "completed_with_errors"),
        ("running", 1, "running"),
        ("failed", 0, "running"),
    ],
)
def test_response_status(status, errors, expected):
    assert build_response(a_run(status=status, errors=errors), [])["status"] == expected


# Dry runs


def test_dry_run_predicts_the_run_and_writes_nothing(world):
    sell(world, 25)
    world.sells(session_spec("cs_test_known"))
    world.webhook_writes("cs_test_known", "u1", NOW - 10)
    world.sells(session_spec("cs_test_nobody", metadata={}))
    world.sells(session_spec("cs_test_setup", mode="setup"))
    table, queue = world.memory.dump(), world.memory_sqs.dump()
    body = world.body({"dryRun": True})
    assert (world.memory.dump(), world.memory_sqs.dump()) == (table, queue)
    assert (body["status"], body["dryRun"], body["enqueued"]) == ("success", True, 0)
    assert (body["processed"], body["created"], body["skipped"], body["errors"]) == (28, 25, 3, 0)
    assert len(body["createdOrders"]) == 20
    assert world.night()["created"] == body["created"]


def test_dry_run_ignores_the_setting_and_obeys_the_event(make_world):
    world = make_world(SYNC_MAX_SESSIONS="5", SYNC_DRY_RUN="true")
    sell(world, 130)
    for event, processed in (({}, 130), ({"maxSessions": 120}, 120)):
        body = world.body(event)
        assert (body["processed"], body["truncated"], body["dryRun"]) == (processed, processed < 130, True)
    assert world.body({"dryRun": False})["enqueued"] == 130


def test_dry_run_out_of_time_is_truncated_with_a_warning(world):
    sell(world, 1600, every=50, metadata={})

    def run_out_of_time(_request):
        # The window has 16 pages, in several ranges.
        if world.stripe.calls.count(Endpoint.LIST) >= 12:
            world.clock.now += 900

    world.stripe.on_request = run_out_of_time
    body = world.body({"dryRun": True})
    assert 0 < body["processed"] == body["skipped"] < 1600
    assert (body["truncated"], body["warnings"]) == (True, [TRUNCATED])


def test_dry_run_reads_the_table_despite_throttling(world):
    sell(world, 1)
    # The first query is for the run of the same request, the second for the customer's orders.
    world.dynamodb.plan = on("query", throttled(), nth=2)
    assert world.body({"dryRun": True})["created"] == 1
    assert world.history.faults().total() == 1


def test_only_a_scheduled_dry_run_leaves_out_the_grace_period(make_world):
    world = make_world(SYNC_DRY_RUN="true")
    world.sells(session_spec(completed_at=NOW - 60))
    assert world.body({"from": to_iso(NOW - 2 * HOUR), "to": to_iso(NOW - 600)})["created"] == 1
    assert world.body()["created"] == 0


def test_scheduled_dry_run_is_logged_with_its_warnings(make_world, read_log):
    world = make_world(SYNC_DRY_RUN="true")
    sell(world, 3)
    world.produce(scheduled(maxSessions=2))
    assert read_log() == [
        ("INFO", "Dry run: processed=2, created=2, skipped=0, errors=0", RUN),
        ("WARNING", TRUNCATED, RUN),
    ]
