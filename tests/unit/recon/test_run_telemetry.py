"""Metrics and log lines of whole runs through both functions."""

import pytest

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from recon.dynamodb.records import REPORT_SECONDS
from recon.dynamodb.table import TRANSACTION_ATTEMPTS
from recon.errors import ConfigError, KeyRejected, StripeUnavailable
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.batches import parse_log, parse_metrics
from testkit.builders import NOW, RUN
from testkit.doubles.faults import killed_after, on, throttled
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import SCHEDULED, LambdaContext


@pytest.fixture
def read_metrics(capfd):
    """Return a function that returns the metrics since its last call."""
    return lambda: parse_metrics(capfd.readouterr().out)


def spec(session_id="cs_test_session1", created=NOW - HOUR, **changes):
    return SessionSpec(session_id, created, **{"metadata": {"userId": "u1"}} | changes)


def a_scheduled_event(nights=0, **options):
    return {"trigger": "scheduled", "scheduledTime": to_iso(NOW + nights * DAY)} | options


def run_night(world, nights=0, **options):
    world.clock.now = max(world.clock.now, NOW + nights * DAY)
    return world.night(a_scheduled_event(nights, **options))


def fail_at_stripe(world, event):
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce(event)


# Runs


@pytest.mark.parametrize("sold", [0, 1])  # completed by the producer, or by the consumer
def test_run_is_completed_once(read_metrics, world, sold):
    for _ in range(sold):
        world.sells(spec())
    run_night(world)
    assert read_metrics()["RunsCompleted"] == [1]
    world.produce()
    world.drain()
    assert "RunsCompleted" not in read_metrics()


def test_run_of_a_killed_consumer_is_completed_by_the_next_one(read_metrics, world):
    world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", killed_after())
    world.deliver()
    world.dynamodb.plan = lambda call: None
    assert "RunsCompleted" not in read_metrics()
    run_night(world, 1)
    assert read_metrics()["RunsCompleted"] == [1, 1]


@pytest.mark.parametrize("next_invocation", ["consumer", "producer"])
def test_run_that_a_killed_consumer_completed_is_reported_once(read_metrics, world, next_invocation):
    world.sells(spec())
    world.body()
    # The transactions of this process: start, enqueued, outcome, and the end of the run.
    world.dynamodb.plan = on("transact_write_items", killed_after(), nth=4)
    world.deliver()
    world.dynamodb.plan = lambda call: None
    assert (world.run()["status"], world.run()["unreported"]) == ("done", True)
    assert "RunsCompleted" not in read_metrics()
    world.clock.now += HOUR
    if next_invocation == "consumer":
        world.deliver()
    else:
        world.produce()
    metrics = read_metrics()
    assert (metrics["RunsCompleted"], metrics["RunSeconds"]) == ([1], [0])
    assert "unreported" not in world.run()
    world.clock.now += HOUR
    world.drain()
    world.produce()
    assert "RunsCompleted" not in read_metrics()


def test_run_that_another_function_is_reporting_is_left_to_it(read_metrics, world):
    world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", killed_after(), nth=4)
    world.deliver()
    world.dynamodb.plan = lambda call: None
    world.clock.now += REPORT_SECONDS - 1
    world.produce()
    assert "RunsCompleted" not in read_metrics()


def test_run_is_reported_if_the_report_cannot_be_stored(read_metrics, world):
    world.dynamodb.plan = on("transact_write_items", throttled(), nth=range(4, 4 + TRANSACTION_ATTEMPTS))
    assert world.body()["status"] == "success"
    assert read_metrics()["RunsCompleted"] == [1]
    assert world.run()["unreported"]


def test_dry_or_failed_run_is_not_completed(read_metrics, world):
    world.body({"dryRun": True})
    fail_at_stripe(world, a_scheduled_event())
    assert "RunsCompleted" not in read_metrics()


def test_producer_records_the_age_of_other_open_runs(read_metrics, world):
    world.sells(spec())
    world.body()
    world.memory_sqs.purge_queue(QueueUrl=world.queue)
    read_metrics()
    world.clock.now = NOW + DAY
    world.produce(a_scheduled_event(1))
    assert DAY in read_metrics()["OpenRunSeconds"]


def test_producer_records_the_age_of_its_run_at_each_hop(read_metrics, make_world):
    world = make_world(SYNC_MAX_SESSIONS="1")
    for n in range(300):
        world.sells(spec(f"cs_test_session{n}", created=NOW - 20 * HOUR + 200 * n))
    world.produce()
    assert world.hops
    read_metrics()
    world.clock.now = NOW + 300
    world.produce(world.hops.pop(0))
    assert read_metrics()["OpenRunSeconds"] == [pytest.approx(300, abs=5)]


@pytest.mark.parametrize("event", [{"maxSessions": 2}, {}])
def test_truncated_run_is_counted_once(read_metrics, world, event):
    for n in range(3):
        world.sells(spec(f"cs_test_session{n}"))
    run_night(world, **event)
    assert read_metrics().get("TruncatedRuns") == ([1] if event else None)
    world.produce(a_scheduled_event(**event))
    assert "TruncatedRuns" not in read_metrics()


def test_run_truncated_in_pending_and_in_window_is_counted_once(read_metrics, world):
    for n in range(2):
        world.sells(spec(f"cs_test_waiting{n}", created=NOW - 5 * HOUR, payment_status="unpaid"))
    for night in range(2):
        run_night(world, night)
    world.sells(spec("cs_test_new", created=NOW + 2 * DAY - HOUR))
    read_metrics()
    run_night(world, 2, maxSessions=1)
    assert read_metrics()["TruncatedRuns"] == [1]


# The watermark


@pytest.mark.parametrize("sold", [0, 1])  # completed by the producer, or by the consumer
def test_watermark_age_is_recorded_at_start_and_end(read_metrics, world, sold):
    run_night(world)
    read_metrics()
    for _ in range(sold):
        world.sells(spec(created=NOW + HOUR))
    run_night(world, 1)
    assert read_metrics()["WatermarkAgeSeconds"] == [DAY + 600, 600]


def test_watermark_age_before_the_first_completed_run(read_metrics, world):
    fail_at_stripe(world, a_scheduled_event())
    assert "WatermarkAgeSeconds" not in read_metrics()
    world.clock.now = NOW + DAY
    fail_at_stripe(world, a_scheduled_event(1))
    assert read_metrics()["WatermarkAgeSeconds"] == [DAY + 25 * HOUR + 10 * MINUTE]


def test_dry_run_records_no_watermark_age(read_metrics, world):
    run_night(world)
    read_metrics()
    world.clock.now = NOW + DAY
    world.body(a_scheduled_event(1, dryRun=True))
    assert "WatermarkAgeSeconds" not in read_metrics()


# The key


def test_key_rejected_for_the_producer_is_counted(read_metrics, world):
    world.stripe.faults.unauthorized()
    with pytest.raises(KeyRejected):
        world.produce()
    assert read_metrics()["KeyRejected"] == [1]


def test_rotated_key_is_not_counted(read_metrics, world):
    world.sells(spec())
    world.connect().key.read()
    world.stripe.accept_keys({"sk_test_new"})
    world.ssm.value = "sk_test_new"
    run_night(world)
    assert world.stripe.calls.count(status=401) > 0
    assert "KeyRejected" not in read_metrics()


def test_missing_optional_permission_is_a_warning_of_the_run(read_metrics, world):
    world.stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    world.sells(spec())
    run_night(world)
    metrics = read_metrics()
    assert metrics["RunWarnings"] == [1]
    assert "KeyRejected" not in metrics


# Log lines of the handlers


@pytest.mark.parametrize(
    ("function", "event", "beginning", "run_id"),
    [
        (consumer_function, {"Records": []}, "Batch refused", "-"),
        (producer_function, SCHEDULED, "Sync failed", RUN),
    ],
)
def test_wrong_settings_are_logged_and_raised(
    capfd, make_world, monkeypatch, function, event, beginning, run_id
):
    world = make_world()

    def clients():
        raise ConfigError("missing environment variables: COMMERCE_TABLE")

    monkeypatch.setattr(function, "clients", clients)
    monkeypatch.setattr(function, "telemetry", lambda: world.telemetry)
    with pytest.raises(ConfigError):
        function.lambda_handler(event, LambdaContext(world.clock))
    [line] = parse_log(capfd.readouterr().out)
    assert (line["level"], line["message"]) == (
        "ERROR",
        f"{beginning}: missing environment variables: COMMERCE_TABLE",
    )
    assert (line["run_id"], line["session_id"], line["error_type"]) == (run_id, "-", "ConfigError")


def test_refused_event_is_logged(capfd, make_world):
    world = make_world()
    assert world.produce({"trigger": "?"})["statusCode"] == 400
    [line] = parse_log(capfd.readouterr().out)
    assert (line["level"], line["run_id"], line["session_id"]) == ("WARNING", "-", "-")
    assert line["message"] == 'Refused: trigger must be "scheduled", or absent for a manual run'
