"""A producer that fails says so on the run's record and in its log, and loses nothing by it."""

import json

import pytest

from recon.errors import (
    HopFailed,
    InvalidRequest,
    KeyRejected,
    NotAllowed,
    QueueUnavailable,
    StripeUnavailable,
    TableUnavailable,
    Unexpected,
)
from testkit.builders import NOW, RUN
from testkit.doubles.faults import connection_refused, on, service_error, throttled
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import SCHEDULED, LambdaContext

HOUR, DAY = 3600, 86_400
MANUAL = "20241127T020000Z-8f3c1d"
REQUEST = LambdaContext.aws_request_id
GONE = ("failureType", "failureMessage", "failedAt", "failedRequestId", "syncCompletedAt")


def sells(world, count, *, every=50):
    for n in range(count):
        created = NOW - 700 - n * every
        world.sells(SessionSpec(f"cs_test_{n:05}", created, metadata={"userId": f"u{n % 7}"}))


def lines(capfd, level):
    """(text, run) of each line of a level."""
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [(line["message"], line["run_id"]) for line in said if line.get("level") == level]


def failure(world, run_id=RUN):
    run = world.run(run_id)
    return tuple(run.get(name) for name in ("status", "failureType", "failedAttempts", "failedRequestId"))


# What is kept and said


def test_a_wrong_key_is_on_the_record_the_state_and_the_log_at_once(capfd, make_world):
    world = make_world()
    world.stripe.accept_keys({"sk_test_new"})
    world.clock.now += 7
    with pytest.raises(KeyRejected) as raised:
        world.produce()
    run, state = world.run(), world.state()
    assert failure(world) == ("failed", "KeyRejected", 1, REQUEST)
    assert run["failureMessage"] == str(raised.value)
    assert (run["failedAt"], run["syncCompletedAt"]) == ("2024-11-27T02:00:07Z",) * 2
    assert (state["lastSyncStatus"], state["lastSyncCompletedAt"]) == ("failed", "2024-11-27T02:00:07Z")
    assert "lastCoveredThrough" not in state
    assert lines(capfd, "ERROR") == [(f"Sync failed: {raised.value}", RUN)]


def test_a_manual_run_that_fails_is_kept_under_its_own_id(capfd, make_world):
    world = make_world()
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable) as raised:
        world.produce({"lookbackHours": 1})
    assert failure(world, MANUAL) == ("failed", "StripeUnavailable", 1, REQUEST)
    assert lines(capfd, "ERROR") == [(f"Sync failed: {raised.value}", MANUAL)]


def test_a_bug_is_kept_by_its_kind_and_without_its_text(capfd, make_world, monkeypatch):
    world = make_world()

    def breaks(*_):
        raise ZeroDivisionError("jane@example.com")

    monkeypatch.setattr("producer.sync_run.build_message", breaks)
    sells(world, 1)
    with pytest.raises(Unexpected):
        world.produce()
    assert failure(world) == ("failed", "Unexpected", 1, REQUEST)
    assert world.run()["failureMessage"] == "ZeroDivisionError"
    assert "jane" not in str(world.items())
    assert lines(capfd, "ERROR") == [("Unexpected ZeroDivisionError", RUN)]


def test_a_missing_permission_is_named_on_the_record(world):
    text = "User: x is not authorized to perform: dynamodb:Query on resource: y"
    world.dynamodb.plan = on("query", service_error("AccessDeniedException", text))
    with pytest.raises(NotAllowed):
        world.produce()
    assert failure(world)[:2] == ("failed", "NotAllowed")
    assert "no permission for dynamodb:Query" in world.run()["failureMessage"]


def test_a_continuation_that_fails_names_its_run_and_is_kept_on_it(capfd, make_world):
    world = make_world(SYNC_MAX_SESSIONS="120")
    sells(world, 1700)
    world.produce()
    [hop] = world.hops
    capfd.readouterr()
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable) as raised:
        world.produce(hop)
    assert failure(world) == ("failed", "StripeUnavailable", 1, REQUEST)
    assert lines(capfd, "ERROR") == [(f"Sync failed: {raised.value}", RUN)]


def test_a_run_that_cannot_go_on_in_another_invocation_has_failed(make_world):
    world = make_world(SYNC_MAX_SESSIONS="120")
    sells(world, 1700)
    world.lambda_client.plan = on("invoke", connection_refused())
    with pytest.raises(HopFailed):
        world.produce()
    assert failure(world)[:2] == ("failed", "HopFailed")


def test_a_preview_that_fails_leaves_no_record_and_names_itself(capfd, make_world):
    world = make_world()
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce({"dryRun": True})
    assert world.items() == []
    assert [run_id for _, run_id in lines(capfd, "ERROR")] == [MANUAL]


# What comes after it


def test_a_retry_reopens_the_run_and_ends_it_once(capfd, make_world):
    world = make_world()
    sells(world, 3)
    world.stripe.faults.unauthorized()
    for attempt in (1, 2):
        with pytest.raises(KeyRejected):
            world.produce()
        assert failure(world) == ("failed", "KeyRejected", attempt, REQUEST)
    world.stripe.faults.clear()
    world.produce()
    assert world.run()["status"] == world.state()["lastSyncStatus"] == "running"
    assert not set(GONE) & world.run().keys()
    world.drain()
    world.produce()
    assert world.counters() == world.state_counters() == (3, 3, 3, 0, 0)
    assert (world.run()["status"], world.run()["failedAttempts"]) == ("done", 2)
    assert world.state()["lastCoveredThrough"] == NOW - 600
    done = [text for text, _ in lines(capfd, "INFO") if text.startswith("Sync completed")]
    assert len(done) == 1


def test_a_slice_that_another_invocation_sends_reopens_the_run(world):
    """Two invocations of one run: one fails while the other one waits for its first page."""
    sells(world, 3)
    raced = []

    def the_other_one_fails(request):
        if request.endpoint is Endpoint.LIST and not raced:
            raced.append(True)
            world.memory_sqs.rejects = lambda operation, entry: True
            with pytest.raises(QueueUnavailable):
                world.produce()
            world.memory_sqs.rejects = lambda operation, entry: False

    world.stripe.on_request = the_other_one_fails
    world.produce()
    assert raced
    assert world.run()["status"] == world.state()["lastSyncStatus"] == "running"
    assert not set(GONE) & world.run().keys()
    world.drain()
    assert world.run()["status"] == "done"


def test_messages_of_a_failed_run_are_settled_and_do_not_end_it(make_world):
    world = make_world(SYNC_MAX_SESSIONS="120")
    sells(world, 1700)
    world.produce()
    world.stripe.faults.server_error(endpoint=Endpoint.LIST)
    with pytest.raises(StripeUnavailable):
        world.produce(world.hops.pop())
    world.stripe.faults.clear()
    world.drain()
    enqueued, processed, *_ = world.counters()
    assert 120 <= enqueued == processed < 1700
    assert world.run()["status"] == "failed"
    assert "lastCoveredThrough" not in world.state()
    world.check_books()


def test_the_next_night_covers_what_a_failed_one_left_out(world):
    world.night()
    world.clock.now = NOW + DAY
    world.stripe.faults.unauthorized()
    with pytest.raises(KeyRejected):
        world.produce({"trigger": "scheduled", "scheduledTime": "2024-11-28T02:00:00Z"})
    world.stripe.faults.clear()
    assert world.state()["lastCoveredThrough"] == NOW - 600
    lost = world.sells(SessionSpec("cs_test_lost", NOW + HOUR, metadata={"userId": "u1"}))
    world.clock.now = NOW + 3 * DAY
    world.night({"trigger": "scheduled", "scheduledTime": "2024-11-30T02:00:00Z"})
    assert len(world.orders(lost.id)) == 1
    assert world.run("20241128T020000Z")["status"] == "failed"


# What is no failure of the run


def reads_the_run(call):
    """The run's record, and not the state, which keeping a failure has to read."""
    return call.method == "get_item" and call.arguments["Key"]["SK"]["S"].endswith(f"#{RUN}")


def test_a_run_that_is_listed_is_not_failed_by_what_comes_after(world):
    sells(world, 3)
    world.dynamodb.plan = lambda call: (
        throttled() if reads_the_run(call) and world.run().get("listed") else None
    )
    with pytest.raises(TableUnavailable):
        world.produce()
    assert world.run()["status"] == "running"
    assert "failureType" not in world.run()


def test_a_run_that_was_handed_over_is_not_failed_by_what_comes_after(make_world):
    world = make_world(SYNC_MAX_SESSIONS="120")
    sells(world, 1700)
    world.dynamodb.plan = lambda call: throttled() if reads_the_run(call) and world.hops else None
    with pytest.raises(TableUnavailable):
        world.produce()
    assert len(world.hops) == 1
    assert world.run()["status"] == "running"
    assert "failureType" not in world.run()


def test_a_run_that_another_invocation_has_moved_is_not_failed(world):
    sells(world, 3)
    raced = []

    def the_other_one_is_faster(request):
        if request.endpoint is Endpoint.LIST and not raced:
            raced.append(True)
            world.clock.now += 1
            world.produce()
            world.stripe.faults.server_error()

    world.stripe.on_request = the_other_one_is_faster
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert raced
    assert world.run()["status"] == "running"


def test_a_run_that_another_invocation_lists_is_not_failed_by_what_comes_after(make_world):
    """Both within one second, so that the time of the last move does not tell them apart."""
    world = make_world(SYNC_MAX_SESSIONS="120")
    sells(world, 1700)
    raced = []

    def the_other_one_is_faster(request):
        if request.endpoint is Endpoint.LIST and not raced:
            raced.append(True)
            world.produce()
            world.dynamodb.plan = lambda call: throttled() if reads_the_run(call) else None

    world.stripe.on_request = the_other_one_is_faster
    with pytest.raises(TableUnavailable):
        world.produce()
    assert len(world.hops) == 1
    assert world.run()["status"] == "running"


def test_a_failure_after_the_first_slices_is_kept_however_long_they_took(world):
    sells(world, 1700)

    def slow_and_then_down(request):
        world.clock.now += 3
        if world.run().get("cursor"):
            world.stripe.faults.server_error()

    world.stripe.on_request = slow_and_then_down
    with pytest.raises(StripeUnavailable):
        world.produce()
    run = world.run()
    assert 0 < run["enqueued"] < 1700
    assert run["listingMovedAt"] > NOW
    assert failure(world)[:2] == ("failed", "StripeUnavailable")


def test_a_state_that_another_run_holds_stays_as_it_is(world):
    sells(world, 3)
    raced = []

    def another_run_begins(request):
        if request.endpoint is Endpoint.LIST and not raced:
            raced.append(True)
            world.clock.now += 1
            world.produce({"lookbackHours": 1})
            world.stripe.faults.server_error()

    world.stripe.on_request = another_run_begins
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert failure(world)[:2] == ("failed", "StripeUnavailable")
    state = world.state()
    assert (state["lastSyncRunId"][:-7], state["lastSyncStatus"]) == ("20241127T020001Z", "running")


def test_a_record_that_cannot_be_written_hides_no_error(capfd, make_world):
    world = make_world()
    sells(world, 3)
    world.stripe.faults.unauthorized()
    world.dynamodb.plan = lambda call: (
        throttled() if call.method == "transact_write_items" and call.nth > 1 else None
    )
    with pytest.raises(KeyRejected) as raised:
        world.produce()
    assert "failureType" not in world.run()
    out = capfd.readouterr().out.splitlines()
    said = [
        (line["level"], line["message"], line["run_id"]) for line in map(json.loads, out) if "level" in line
    ]
    assert said[0] == ("ERROR", f"Sync failed: {raised.value}", RUN)
    assert [level for level, *_ in said] == ["ERROR", "WARNING"]
    assert said[1][1].startswith("The failure is not on the run's record: DynamoDB: ")


# Events that are refused


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
def test_an_event_that_nobody_waits_for_is_raised_when_it_is_refused(capfd, make_world, event):
    world = make_world()
    with pytest.raises(InvalidRequest) as raised:
        world.produce(event)
    assert lines(capfd, "ERROR") == [(f"Refused: {raised.value}", "-")]
    assert world.items() == []


@pytest.mark.parametrize("event", [{"source": "shop", "lookbackHours": 1}, {"trigger": "?"}, {"trigger": []}])
def test_an_event_of_a_caller_is_answered_when_it_is_refused(world, event):
    assert world.produce(event)["statusCode"] == 400
