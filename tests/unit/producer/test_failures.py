"""A producer that fails records the cause on its run and in the log, and loses nothing."""

import json

import pytest

from recon.errors import (
    InvalidRequest,
    KeyRejected,
    NotAllowed,
    QueueUnavailable,
    StripeUnavailable,
    TableUnavailable,
    Unexpected,
)
from recon.timestamps import DAY
from testkit.builders import NOW, RUN
from testkit.doubles.faults import on, service_error, throttled
from testkit.fake_stripe import Endpoint
from testkit.world import SCHEDULED, LambdaContext
from tests.unit.producer.nights import MANUAL_RUN, at_first_listing, delay_requests, run_id, scheduled, sell

REQUEST = LambdaContext.aws_request_id
FAILURE_FIELDS = {"failureType", "failureMessage", "failedAt", "failedRequestId", "syncCompletedAt"}


@pytest.fixture
def large(make_world):
    """Return the world of a shop whose run takes several invocations."""
    world = make_world(SYNC_MAX_SESSIONS="120")
    sell(world, 800, every=200, metadata={})
    return world


def failure(world, run_id=RUN):
    run = world.run(run_id)
    return tuple(run.get(name) for name in ("status", "failureType", "failedAttempts", "failedRequestId"))


def assert_running(world):
    assert world.run()["status"] == "running"
    assert not FAILURE_FIELDS & world.run().keys()


def throttle_reads_of_the_run(world, condition):
    """Throttle reads of the run's record, not of the sync state, while the condition holds."""

    def plan(call):
        is_read = call.method == "get_item" and call.arguments["Key"]["SK"]["S"].endswith(f"#{RUN}")
        return throttled() if is_read and condition() else None

    world.dynamodb.plan = plan


# What is recorded


def test_failure_is_on_the_record_the_state_and_the_log(world, read_log):
    world.stripe.accept_keys({"sk_test_new"})
    world.clock.now += 7
    with pytest.raises(KeyRejected) as raised:
        world.produce()
    run, state = world.run(), world.state()
    assert failure(world) == ("failed", "KeyRejected", 1, REQUEST)
    assert run["failureMessage"] == str(raised.value)
    assert "sk_test" not in str(raised.value)
    assert (run["failedAt"], run["syncCompletedAt"]) == ("2024-11-27T02:00:07Z",) * 2
    assert (state["lastSyncStatus"], state["lastSyncCompletedAt"]) == ("failed", "2024-11-27T02:00:07Z")
    assert "lastCoveredThrough" not in state
    assert read_log("ERROR") == [("ERROR", f"Sync failed: {raised.value}", RUN)]


def test_failed_manual_run_is_recorded_under_its_id(world, read_log):
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable) as raised:
        world.produce({"lookbackHours": 1})
    assert failure(world, MANUAL_RUN) == ("failed", "StripeUnavailable", 1, REQUEST)
    assert read_log("ERROR") == [("ERROR", f"Sync failed: {raised.value}", MANUAL_RUN)]


@pytest.mark.parametrize(
    ("place", "recorded"),
    [
        ("run_lister.build_message", ("failed", "Unexpected", 1, REQUEST)),
        ("lambda_function.plan_run", (None,) * 4),
    ],
)
def test_bug_is_located_without_its_text(capfd, make_world, monkeypatch, place, recorded):
    def fail(*_):
        raise ZeroDivisionError("jane@example.com")

    world = make_world()
    monkeypatch.setattr(f"producer.{place}", fail)
    sell(world, 1)
    with pytest.raises(Unexpected, match=r"^ZeroDivisionError$") as raised:
        world.produce()
    assert raised.value.__cause__ is None
    assert failure(world) == recorded
    assert world.run().get("failureMessage") == (recorded[0] and "ZeroDivisionError")
    printed = "".join(capfd.readouterr())
    assert "jane" not in str(world.items()) + printed
    lines = [json.loads(line) for line in printed.splitlines()]
    [line] = [line for line in lines if line.get("level") == "ERROR"]
    assert (line["message"], line["run_id"]) == ("Unexpected ZeroDivisionError", RUN)
    assert (line["error_type"], line["frames"][-1].endswith(" fail")) == ("ZeroDivisionError", True)


def test_missing_permission_is_named_on_the_record(world):
    world.produce()
    world.clock.now = NOW + DAY
    text = "User: x is not authorized to perform: dynamodb:Query on resource: y"
    world.dynamodb.plan = on("query", service_error("AccessDeniedException", text))
    with pytest.raises(NotAllowed):
        world.produce(scheduled(1))
    assert failure(world, run_id(1))[:2] == ("failed", "NotAllowed")
    assert "no permission for dynamodb:Query" in world.run(run_id(1))["failureMessage"]


def test_failed_continuation_is_recorded_on_its_run(large, read_log):
    large.produce()
    read_log("ERROR")
    large.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable) as raised:
        large.produce(large.hops.pop())
    assert failure(large) == ("failed", "StripeUnavailable", 1, REQUEST)
    assert read_log("ERROR") == [("ERROR", f"Sync failed: {raised.value}", RUN)]


def test_failed_dry_run_is_logged_under_its_id_and_writes_nothing(world, read_log):
    before = world.items()
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce({"dryRun": True})
    assert world.items() == before
    assert [run_id for *_, run_id in read_log("ERROR")] == [MANUAL_RUN]


def test_failure_after_some_pages_is_recorded(world):
    sell(world, 1200, every=120, metadata={})
    delay_requests(world, 3)
    advance = world.stripe.on_request

    def fail_after_the_first_page(request):
        advance(request)
        if world.run().get("enqueued"):
            world.stripe.faults.server_error()

    world.stripe.on_request = fail_after_the_first_page
    with pytest.raises(StripeUnavailable):
        world.produce()
    run = world.run()
    assert 0 < run["enqueued"] < 1200
    assert run["listingMovedAt"] > NOW
    assert failure(world)[:2] == ("failed", "StripeUnavailable")


def test_unwritten_failure_does_not_hide_the_error(world, read_log):
    sell(world, 3)
    world.stripe.faults.unauthorized()
    world.dynamodb.plan = lambda call: (
        throttled() if call.method == "transact_write_items" and call.nth > 1 else None
    )
    with pytest.raises(KeyRejected) as raised:
        world.produce()
    assert "failureType" not in world.run()
    error, warning = read_log()
    assert error == ("ERROR", f"Sync failed: {raised.value}", RUN)
    assert warning[0] == "WARNING"
    assert warning[1].startswith("The failure could not be recorded on the run: DynamoDB: ")


# What follows


def test_retry_reopens_the_run_and_completes_it_once(world, read_log):
    sell(world, 3)
    world.stripe.faults.unauthorized()
    for attempt in (1, 2):
        with pytest.raises(KeyRejected):
            world.produce()
        assert failure(world) == ("failed", "KeyRejected", attempt, REQUEST)
    world.stripe.faults.clear()
    world.produce()
    assert_running(world)
    assert world.state()["lastSyncStatus"] == "running"
    world.drain()
    world.produce()
    assert world.counters() == world.state_counters() == (3, 3, 3, 0, 0)
    assert (world.run()["status"], world.run()["failedAttempts"]) == ("done", 2)
    assert world.state()["lastCoveredThrough"] == NOW - 600
    assert sum(text.startswith("Sync completed") for _, text, _ in read_log("INFO")) == 1


def test_range_of_another_invocation_reopens_the_run(world):
    sell(world, 3)

    def fail_another_invocation():
        world.memory_sqs.rejects = lambda operation, entry: True
        with pytest.raises(QueueUnavailable):
            world.produce()
        world.memory_sqs.rejects = lambda operation, entry: False

    raced = at_first_listing(world, fail_another_invocation)
    world.produce()
    assert raced
    assert_running(world)
    assert world.state()["lastSyncStatus"] == "running"
    world.drain()
    assert world.run()["status"] == "done"


def test_messages_of_a_failed_run_are_settled_and_do_not_end_it(large):
    large.produce()
    large.stripe.faults.server_error(endpoint=Endpoint.LIST)
    with pytest.raises(StripeUnavailable):
        large.produce(large.hops.pop())
    large.stripe.faults.clear()
    large.drain()
    enqueued, processed, *_ = large.counters()
    assert 120 <= enqueued == processed < 800
    assert large.run()["status"] == "failed"
    assert "lastCoveredThrough" not in large.state()
    large.check_books()


# Failures of an invocation that are not failures of the run


def test_listed_run_is_not_failed_by_a_later_error(world):
    sell(world, 3)
    throttle_reads_of_the_run(world, lambda: world.run().get("listed"))
    with pytest.raises(TableUnavailable):
        world.produce()
    assert_running(world)


@pytest.mark.parametrize("in_another_invocation", [False, True])
def test_continued_run_is_not_failed_by_a_later_error(large, in_another_invocation):
    """The other invocation acts within the same second, so that the time does not tell them apart."""
    throttle_reads_of_the_run(large, lambda: large.hops and not in_another_invocation)

    def produce_in_another_invocation():
        large.produce()
        throttle_reads_of_the_run(large, lambda: True)

    if in_another_invocation:
        at_first_listing(large, produce_in_another_invocation)
    with pytest.raises(TableUnavailable):
        large.produce()
    assert len(large.hops) == 1
    assert_running(large)


def test_run_moved_by_another_invocation_is_not_failed(world):
    sell(world, 3)

    def list_in_another_invocation():
        world.clock.now += 1
        world.produce()
        world.stripe.faults.server_error()

    raced = at_first_listing(world, list_in_another_invocation)
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert raced
    assert_running(world)


def test_failed_run_leaves_the_state_of_another_run_alone(world):
    sell(world, 3)

    def start_another_run():
        world.clock.now += 1
        world.produce({"lookbackHours": 1})
        world.stripe.faults.server_error()

    at_first_listing(world, start_another_run)
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert failure(world)[:2] == ("failed", "StripeUnavailable")
    state = world.state()
    assert (state["lastSyncRunId"][:-7], state["lastSyncStatus"]) == ("20241127T020001Z", "running")


# Refused events


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": "scheduled"},
        {**SCHEDULED, "lookbackHours": 0},
        {**SCHEDULED, "unknown": 1},
        {"source": "aws.events", "time": "soon"},
        {"trigger": "continue", "runId": "?", "hop": 1},
    ],
)
def test_refused_event_without_a_caller_is_raised(world, read_log, event):
    before = world.items()
    with pytest.raises(InvalidRequest) as raised:
        world.produce(event)
    assert read_log("ERROR") == [("ERROR", f"Refused: {raised.value}", "-")]
    assert world.items() == before


@pytest.mark.parametrize(
    "event",
    [
        {"source": "shop", "lookbackHours": 1},
        {"trigger": "?"},
        {"trigger": []},
        scheduled(1) | {"trigger": 1},
        [],
    ],
)
def test_refused_event_of_a_caller_is_answered(world, event):
    assert world.produce(event)["statusCode"] == 400
