"""What is reported: each metric when it should be, once, under the dimensions that alarms look at."""

import json

import pytest

from recon.dynamodb.records import Run, State
from recon.errors import KeyNotAllowed, KeyRejected, KeyUnavailable, StripeThrottled, StripeUnavailable
from recon.telemetry import Metric, Telemetry
from recon.timestamps import DAY, HOUR, to_iso
from testkit.builders import NOW
from testkit.doubles.faults import killed_after, on
from testkit.fake_stripe import Endpoint, SessionSpec


def reported(capfd):
    """(metric, further dimensions) -> its values since the last call, over all functions."""
    values = {}
    for line in map(json.loads, capfd.readouterr().out.splitlines()):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                key = (metric["Name"], line["currency"]) if "currency" in line else metric["Name"]
                values.setdefault(key, []).extend(line[metric["Name"]])
    return values


def spec(session_id="cs_test_session1", created=NOW - HOUR, **changes):
    return SessionSpec(session_id, created, **{"metadata": {"userId": "u1"}} | changes)


def at_night(world, nights=0, **options):
    when = NOW + nights * DAY
    world.clock.now = max(world.clock.now, when)
    return world.night({"trigger": "scheduled", "scheduledTime": to_iso(when)} | options)


def a_run(**changes):
    fields = {
        "run_id": "r",
        "trigger": "scheduled",
        "started_at": to_iso(NOW),
        "lookback_hours": 25,
        "lookback_start": NOW - 25 * HOUR,
        "lookback_end": NOW,
    }
    return Run(**fields | changes)


# Dimensions


def test_every_metric_is_there_for_its_function_and_for_both_together(capfd):
    telemetry = Telemetry("producer", "shop-a")
    telemetry.count(Metric.ORDERS_CREATED, 3)
    telemetry.flush()
    line = json.loads(capfd.readouterr().out)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert sorted(map(sorted, directive["Dimensions"])) == [["service", "stack"], ["stack"]]
    assert (line["service"], line["stack"]) == ("stripe-nightly-sync-producer", "shop-a")
    assert line["OrdersCreated"] == [3]


def test_each_metric_has_its_unit(capfd):
    telemetry = Telemetry("producer")
    telemetry.count(Metric.ORDERS_CREATED)
    telemetry.record_open_run(a_run(), NOW)
    telemetry.add_recovered_money(1, "eur")
    telemetry.flush()
    units = {
        metric["Name"]: metric["Unit"]
        for line in map(json.loads, capfd.readouterr().out.splitlines())
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }
    assert units == {"OrdersCreated": "Count", "OpenRunSeconds": "Seconds", "MoneyRecovered": "Count"}


def test_money_is_reported_by_currency_and_never_added_up(capfd):
    telemetry = Telemetry("consumer", "shop-a")
    for amount, currency in ((1000, "eur"), (250, "jpy"), (1, "eur"), (0, "usd"), (None, "gbp"), (5, None)):
        telemetry.add_recovered_money(amount, currency)
    telemetry.flush()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {line["currency"]: line["MoneyRecovered"] for line in lines} == {"eur": [1001], "jpy": [250]}
    for line in lines:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert ["stack", "currency"] in directive["Dimensions"]
        assert all("currency" in names for names in directive["Dimensions"])


def test_what_was_reported_is_not_reported_again(capfd):
    telemetry = Telemetry("producer")
    telemetry.count(Metric.ORDERS_CREATED)
    telemetry.add_recovered_money(1, "eur")
    telemetry.record_open_run(a_run(), NOW)
    telemetry.flush()
    assert reported(capfd)
    telemetry.flush()
    assert capfd.readouterr().out == ""


# Runs that end


def test_a_run_is_completed_once_whoever_ends_it(capfd, world):
    world.sells(spec())
    at_night(world)
    assert reported(capfd)["RunsCompleted"] == [1]
    world.produce()
    world.drain()
    assert "RunsCompleted" not in reported(capfd)


def test_a_run_without_sessions_is_completed_by_its_producer(capfd, world):
    at_night(world)
    assert reported(capfd)["RunsCompleted"] == [1]


def test_a_run_that_an_earlier_producer_left_is_completed_by_the_next(capfd, world):
    """Its last consumer ended right after its commit; nobody has asked since."""
    world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", killed_after())
    world.deliver()
    world.dynamodb.plan = lambda call: None
    assert "RunsCompleted" not in reported(capfd)
    at_night(world, 1)
    assert reported(capfd)["RunsCompleted"] == [1, 1]


def test_neither_a_preview_nor_a_failed_run_is_completed(capfd, world):
    world.body({"dryRun": True})
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert "RunsCompleted" not in reported(capfd)


# Runs that are open


def test_each_batch_of_a_run_that_is_not_done_says_for_how_long_it_has_been_open(capfd, world):
    world.sells(spec())
    world.body()
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    reported(capfd)
    world.clock.now = NOW + HOUR
    world.deliver()
    assert reported(capfd)["OpenRunSeconds"] == [pytest.approx(HOUR, abs=60)]
    world.stripe.faults.clear()
    world.clock.now = NOW + 2 * HOUR
    world.deliver()
    assert "OpenRunSeconds" not in reported(capfd)


def test_a_producer_tells_of_other_runs_that_are_still_open(capfd, world):
    world.sells(spec())
    world.body()
    world.memory_sqs.purge_queue(QueueUrl=world.queue)
    reported(capfd)
    world.clock.now = NOW + DAY
    world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY)})
    assert DAY in reported(capfd)["OpenRunSeconds"]


def test_a_producer_tells_of_its_own_run_at_each_hop(capfd, make_world):
    world = make_world(SYNC_MAX_SESSIONS="1")
    for n in range(300):
        world.sells(spec(f"cs_test_session{n}", created=NOW - 20 * HOUR + 200 * n))
    world.produce()
    assert world.hops
    reported(capfd)
    world.clock.now = NOW + 300
    world.produce(world.hops.pop(0))
    assert reported(capfd)["OpenRunSeconds"] == [pytest.approx(300, abs=5)]


def test_a_run_of_which_nobody_knows_when_it_began_is_of_no_age(capfd):
    telemetry = Telemetry("consumer")
    telemetry.record_open_run(a_run(started_at=""), NOW)
    telemetry.flush()
    assert reported(capfd) == {"OpenRunSeconds": [0]}


# The watermark


@pytest.mark.parametrize("sold", [0, 1])  # ended by its producer, or by its consumer
def test_the_age_of_the_watermark_is_told_when_a_scheduled_run_begins_and_when_it_ends(sold, capfd, world):
    at_night(world)
    reported(capfd)
    for _ in range(sold):
        world.sells(spec(created=NOW + HOUR))
    at_night(world, 1)
    assert reported(capfd)["WatermarkAgeSeconds"] == [DAY + 600, 600]


def test_a_first_night_has_no_watermark_to_tell_of(capfd, world):
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce()
    assert "WatermarkAgeSeconds" not in reported(capfd)


def test_until_a_first_night_has_ended_the_beginning_of_its_window_counts(capfd, world):
    world.stripe.faults.server_error()
    for night in range(2):
        world.clock.now = NOW + night * DAY
        with pytest.raises(StripeUnavailable):
            world.produce({"trigger": "scheduled", "scheduledTime": to_iso(NOW + night * DAY)})
    assert reported(capfd)["WatermarkAgeSeconds"] == [DAY + 25 * HOUR]


def test_a_preview_says_nothing_of_the_watermark(capfd, world):
    at_night(world)
    reported(capfd)
    world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY), "dryRun": True})
    assert "WatermarkAgeSeconds" not in reported(capfd)


def test_without_a_watermark_the_beginning_of_the_first_window_has_an_age(capfd):
    telemetry = Telemetry("producer")
    telemetry.record_watermark(State(first_lookback_start=NOW - DAY), NOW)
    telemetry.record_watermark(State(first_lookback_start=NOW - DAY, covered_through=NOW - HOUR), NOW)
    telemetry.record_watermark(State(), NOW)
    telemetry.flush()
    assert reported(capfd) == {"WatermarkAgeSeconds": [DAY, HOUR]}


def test_a_watermark_that_is_ahead_has_no_age(capfd):
    telemetry = Telemetry("producer")
    telemetry.record_watermark(State(covered_through=NOW), NOW - DAY)
    telemetry.flush()
    assert reported(capfd) == {"WatermarkAgeSeconds": [0]}


# Truncated runs


def test_a_run_is_truncated_once_however_often_it_is_produced(capfd, world):
    for n in range(3):
        world.sells(spec(f"cs_test_session{n}"))
    at_night(world, maxSessions=2)
    assert reported(capfd)["TruncatedRuns"] == [1]
    world.produce({"trigger": "scheduled", "scheduledTime": to_iso(NOW), "maxSessions": 2})
    assert "TruncatedRuns" not in reported(capfd)


def test_a_run_that_is_cut_twice_is_truncated_once(capfd, world):
    """Among those that wait for their payment, and among those of its window."""
    for n in range(2):
        world.sells(spec(f"cs_test_waiting{n}", created=NOW - 5 * HOUR, payment_status="unpaid"))
    for night in range(2):
        at_night(world, night)
    world.sells(spec("cs_test_new", created=NOW + 2 * DAY - HOUR))
    reported(capfd)
    at_night(world, 2, maxSessions=1)
    assert reported(capfd)["TruncatedRuns"] == [1]


def test_a_maximum_that_suffices_truncates_nothing(capfd, world):
    world.sells(spec())
    at_night(world, maxSessions=2)
    assert "TruncatedRuns" not in reported(capfd)


# The key


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (KeyRejected("no"), True),
        (KeyNotAllowed("no"), True),
        (KeyUnavailable("no"), True),
        (StripeThrottled("no"), False),
        (StripeUnavailable("no"), False),
        (None, False),
    ],
)
def test_only_failures_for_the_key_count_as_such(error, counted, capfd):
    telemetry = Telemetry("consumer")
    telemetry.count_key_failure(error)
    telemetry.flush()
    assert reported(capfd) == ({"KeyRejected": [1]} if counted else {})


def test_a_key_that_stripe_rejects_is_counted_by_the_producer(capfd, world):
    world.stripe.faults.unauthorized()
    with pytest.raises(KeyRejected):
        world.produce()
    assert reported(capfd)["KeyRejected"] == [1]


def test_a_key_that_stripe_rejects_is_counted_by_the_consumer_for_each_session_that_waits(capfd, world):
    for n in range(3):
        world.sells(spec(f"cs_test_session{n}"))
    world.body()
    world.stripe.faults.unauthorized()
    reported(capfd)
    world.deliver()
    assert reported(capfd)["KeyRejected"] == [3]


def test_a_key_that_stripe_rejects_at_the_last_attempt_is_counted_too(capfd, make_world):
    world = make_world(SYNC_MAX_RECEIVE_COUNT="1")
    world.sells(spec())
    world.body()
    world.stripe.faults.unauthorized()
    reported(capfd)
    world.deliver()
    found = reported(capfd)
    assert (found["KeyRejected"], found["SessionErrors"]) == ([1], [1])


def test_a_key_that_was_rotated_meanwhile_is_none(capfd, world):
    world.sells(spec())
    world.connect().key.read()
    world.stripe.accept_keys({"sk_test_new"})
    world.ssm.value = "sk_test_new"
    at_night(world)
    assert world.stripe.calls.count(status=401) > 0
    assert "KeyRejected" not in reported(capfd)


def test_an_optional_permission_that_is_missing_is_none(capfd, world):
    world.stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    world.sells(spec())
    at_night(world)
    found = reported(capfd)
    assert found["RunWarnings"] == [1]
    assert "KeyRejected" not in found


# Money


def test_money_is_recovered_with_the_order_that_was_written_and_only_then(capfd, world):
    lost, known = world.sells(spec()), world.sells(spec("cs_test_known"))
    world.webhook_writes(known.id, "u1", NOW - HOUR)
    at_night(world)
    [order] = world.orders(lost.id)
    assert reported(capfd)["MoneyRecovered", order["currency"]] == [order["amount"]]
    at_night(world, 1)
    assert "MoneyRecovered" not in {key[0] for key in reported(capfd) if isinstance(key, tuple)}


def test_an_order_that_could_not_be_written_recovers_nothing(capfd, world):
    world.sells(spec())
    world.stripe.faults.missing(endpoint=Endpoint.RETRIEVE)
    at_night(world)
    found = reported(capfd)
    assert found["SessionErrors"] == [1]
    assert not any(isinstance(key, tuple) for key in found)
