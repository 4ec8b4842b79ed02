"""Each alarm is on when it should be and silent on a good night: the template's numbers, evaluated over what
the real functions report."""

import json

import pytest

from recon.errors import StripeUnavailable
from recon.retry import BACKOFF_CAP_SECONDS
from recon.telemetry import Metric
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.builders import NOW
from testkit.doubles.faults import killed_before
from testkit.fake_stripe import Endpoint, FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.infra.alarms import ALARM, OK, UNKNOWN, Alarm, Points, metric
from tests.infra.nights import Nights
from tests.infra.resolved import PARAMETERS, RESOURCES, STACK, TEMPLATE, Deployed

ALARMS = {
    body["AlarmName"].removeprefix(f"{STACK}-"): body
    for body in Deployed().of_type("AWS::CloudWatch::Alarm").values()
}
[COMPOSITE] = Deployed().of_type("AWS::CloudWatch::CompositeAlarm").values()


@pytest.fixture
def make_nights():
    """A shop that was deployed yesterday noon, with the first run by hand that the README asks for."""
    made = []
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:

        def make(settings=(), **parameters):
            nights = Nights(stripe, **dict(settings))
            made.append(nights)
            nights.clock.now = NOW - 14 * HOUR
            nights.starts({"lookbackHours": 25})
            nights._consume()
            nights.watch(**parameters)
            return nights

        yield make
        for nights in made:
            nights.close()


def sale(number, created, **changes):
    return SessionSpec(
        f"cs_test_sale{number:04}", created, **{"metadata": {"userId": f"u{number}"}} | changes
    )


def sells(nights, night, *, lost=1, known=2, first=0, **changes):
    """Sessions of the day before that night; the webhook wrote the orders of those that are known."""
    made = []
    for n in range(lost + known):
        created = NOW + night * DAY - 5 * HOUR + n
        session = nights.sells(sale(100 * night + first + n, created, **changes))
        made.append(session)
        if n >= lost:
            nights.webhook_writes(session.id, session.metadata["userId"], session.created + 40)
    return made


# --- nights -------------------------------------------------------------------------------------------------

SCENARIOS = {}
FIRST_NIGHT, SECOND_NIGHT = (
    {"trigger": "scheduled", "scheduledTime": to_iso(NOW + night * DAY)} for night in range(2)
)


def scenario(*expected, **options):
    def keep(play):
        SCENARIOS[play.__name__] = (play, set(expected), options)
        return play

    return keep


@scenario()
def three_good_nights(nights):
    for night in range(3):
        sells(nights, night)
        nights.night(night)
    assert len(nights.orders()) == 9


@scenario()
def nights_in_which_nobody_bought_anything(nights):
    for night in range(3):
        nights.night(night)


@scenario()
def a_few_hiccups_of_stripe(nights):
    sells(nights, 0, lost=3)
    nights.stripe.faults.rate_limit(times=2)
    nights.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE, times=2)
    nights.night()
    assert len(nights.orders()) == 5


@scenario()
def a_key_that_was_rotated(nights):
    nights.stripe.accept_keys({"sk_test_new"})
    nights.ssm.value = "sk_test_new"
    sells(nights, 0)
    nights.night()
    assert len(nights.orders()) == 3


@scenario(ScheduleState="DISABLED")
def nights_that_are_paused(nights):
    nights.passes(3 * DAY)


@scenario(DryRun="true", settings={"SYNC_DRY_RUN": "true"})
def nights_that_only_preview(nights):
    for night in range(3):
        nights.night(night)


@scenario("no-completed-run")
def a_night_that_does_not_start(nights):
    nights.night()
    nights.passes_until(NOW + 25 * HOUR)
    assert nights.is_ok("no-completed-run")
    nights.passes_until(NOW + 27 * HOUR)
    assert not nights.is_ok("no-completed-run")
    nights.night(2)
    assert nights.is_ok("no-completed-run")


@scenario("queue-not-empty", "run-open", "no-completed-run")
def a_consumer_that_is_paused_and_forgotten(nights):
    nights.night()
    nights.paused = True
    sells(nights, 1)
    nights.night(1)
    assert nights.on == {"queue-not-empty", "no-completed-run"}
    nights.night(2)
    nights.paused = False
    nights.passes(4 * HOUR)
    assert nights.is_ok("queue-not-empty")
    assert nights.is_ok("run-open")
    assert nights.is_ok("no-completed-run")


@scenario("run-open", "no-completed-run")
def messages_that_were_lost_from_the_queue(nights):
    """Purged by hand, say. Nobody will ever work on the run again; the next night's producer sees it."""
    sells(nights, 0)
    nights.paused = True
    nights.passes_until(NOW)
    nights.produce(FIRST_NIGHT)
    nights.memory_sqs.purge_queue(QueueUrl=nights.queue)
    nights.paused = False
    nights.passes_until(NOW + 23 * HOUR)
    assert nights.on == {"no-completed-run"}
    nights.night(1)


@scenario("run-open", "queue-not-empty", settings={"SYNC_MAX_RECEIVE_COUNT": "20"})
def an_outage_of_stripe_that_lasts_for_hours(nights):
    sells(nights, 0)
    nights.passes_until(NOW)
    nights.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    nights.starts(FIRST_NIGHT)
    nights.passes(3 * HOUR)
    assert nights.on == set()
    nights.passes(2 * HOUR)
    assert nights.on == {"run-open", "queue-not-empty"}
    nights.stripe.faults.clear()
    nights.passes(5 * HOUR)
    assert nights.is_ok("run-open")
    assert nights.is_ok("queue-not-empty")
    assert len(nights.orders()) == 3


@scenario("key-rejected", "producer-failed", "schedule-failed", "no-completed-run")
def a_key_that_stripe_rejects(nights):
    nights.stripe.faults.unauthorized()
    nights.night()
    nights.stripe.faults.clear()
    sells(nights, 1)
    nights.night(1)
    assert all(map(nights.is_ok, ALARMS.keys() - {"watermark-old", "schedule-failed"}))
    # The start that failed is kept until a person has taken note of it.
    assert list(map(json.loads, nights.memory_sqs.bodies(nights.missed_starts))) == [FIRST_NIGHT]
    nights.memory_sqs.purge_queue(QueueUrl=nights.missed_starts)
    nights.passes(HOUR)
    assert nights.is_ok("schedule-failed")


@scenario("key-rejected", "session-errors", "dead-letters")
def a_key_that_may_list_sessions_and_not_read_one(nights):
    sells(nights, 0)
    nights.stripe.faults.forbidden(endpoint=Endpoint.RETRIEVE)
    nights.night()


@scenario("producer-failed")
def a_listing_that_fails_once_and_is_tried_again(nights):
    sells(nights, 0)
    nights.passes_until(NOW)
    nights.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        nights.produce(FIRST_NIGHT)
    nights.stripe.faults.clear()
    nights.night()
    assert len(nights.orders()) == 3


@scenario("producer-failed", "schedule-failed", "no-completed-run", "watermark-old")
def nights_that_all_fail(nights):
    nights.night()
    nights.stripe.faults.server_error()
    for night in (1, 2):
        nights.night(night)
    assert nights.on == {"producer-failed", "schedule-failed", "no-completed-run"}
    nights.night(3)
    assert not nights.is_ok("watermark-old")
    nights.stripe.faults.clear()
    nights.starts({"lookbackHours": 120})
    nights.passes(HOUR)
    assert nights.is_ok("watermark-old")
    assert nights.is_ok("no-completed-run")


@scenario("producer-failed", "schedule-failed", "no-completed-run", "watermark-old")
def a_night_that_covers_those_that_failed(nights):
    """It tells of the old watermark when it begins and of the new one a moment later."""
    nights.stripe.faults.server_error()
    for night in range(3):
        nights.night(night)
    assert not nights.is_ok("watermark-old")
    nights.stripe.faults.clear()
    nights.night(3)
    assert nights.is_ok("watermark-old")


@scenario("producer-failed", "schedule-failed", "no-completed-run")
def a_schedule_whose_event_is_refused(nights):
    """Answered with 400, it would be a night that nobody misses for a day."""
    nights.night()
    nights.passes_until(NOW + DAY)
    nights.starts(SECOND_NIGHT | {"lookbackHours": 0})
    nights.passes(HOUR)
    assert nights.on == {"producer-failed", "schedule-failed"}
    nights.passes(3 * HOUR)


@scenario("run-truncated")
def a_run_that_leaves_sessions_out(nights):
    sells(nights, 0)
    nights.night(maxSessions=2)


@scenario("orders-recovered")
def a_webhook_that_is_broken(nights):
    sells(nights, 0, lost=26)
    nights.night()


@scenario("stripe-throttled", AlarmStripeThrottled="3")
def a_stripe_that_throttles(nights):
    sells(nights, 0)
    nights.stripe.faults.rate_limit(endpoint=Endpoint.RETRIEVE, times=4)
    nights.night()
    assert len(nights.orders()) == 3


@scenario("orders-drifted")
def an_order_that_says_something_else_than_stripe(nights):
    [session] = sells(nights, 0, lost=1, known=0)
    nights.webhook_writes(session.id, session.metadata["userId"], NOW - HOUR, amount=1, currency="eur")
    nights.night()


@scenario("consumer-errors", "session-errors", "dead-letters")
def a_session_that_kills_its_consumer(nights):
    killer, *_ = sells(nights, 0)

    def kills(call):
        actions = call.arguments.get("TransactItems", [])
        puts = [action["Put"]["Item"] for action in actions if "Put" in action]
        return killed_before() if any(put.get("orderId") == {"S": killer.id} for put in puts) else None

    nights.dynamodb.plan = kills
    nights.night()


@scenario("session-errors", "dead-letters", "dead-letter-age", "no-completed-run")
def a_dead_letter_that_is_forgotten(nights):
    sells(nights, 0)
    nights.stripe.faults.missing(endpoint=Endpoint.RETRIEVE)
    nights.night()
    nights.passes_until(NOW + 9 * DAY - HOUR)
    assert "dead-letter-age" not in nights.on
    nights.passes(2 * HOUR)
    nights.stripe.faults.clear()
    nights.redrive()
    nights.passes(HOUR)
    assert nights.is_ok("dead-letters")
    assert nights.is_ok("dead-letter-age")


@scenario("schedule-failed", "no-completed-run")
def a_start_that_lambda_never_took(nights):
    nights.night()
    nights.passes_until(NOW + DAY)
    nights.passes(4 * HOUR)
    nights.memory_sqs.send_message(QueueUrl=nights.missed_starts, MessageBody=json.dumps(SECOND_NIGHT))
    nights.passes(HOUR)
    # What the runbook says: the body is the event.
    [missed] = nights.memory_sqs.bodies(nights.missed_starts)
    nights.starts(json.loads(missed))
    nights.memory_sqs.purge_queue(QueueUrl=nights.missed_starts)
    nights.passes(HOUR)
    assert nights.run("20241128T020000Z")["status"] == "done"
    assert nights.is_ok("schedule-failed")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_alarms_that_are_on_after(name, make_nights):
    play, expected, options = SCENARIOS[name]
    nights = make_nights(**options)
    play(nights)
    assert nights.on == expected


def test_each_alarm_is_on_in_at_least_one_of_them():
    assert set().union(*(expected for _, expected, _ in SCENARIOS.values())) == ALARMS.keys()


def test_what_happened_in_a_night_is_seen_in_the_morning_and_over_before_the_next(make_nights):
    nights = make_nights()
    sells(nights, 0, lost=26)
    nights.night()
    assert nights.is_ok("orders-recovered")
    nights.passes_until(NOW + DAY)
    nights.on.clear()
    sells(nights, 1, lost=26, first=50)
    nights.starts(SECOND_NIGHT)
    nights.passes(6 * HOUR)
    assert not nights.is_ok("orders-recovered")
    assert nights.on == {"orders-recovered"}


def test_without_a_first_run_nobody_has_completed_one(make_nights):
    nights = make_nights()
    nights.points = Points()
    nights.passes(5 * MINUTE)
    assert nights.on == {"no-completed-run"}


# --- numbers ------------------------------------------------------------------------------------------------

SEVEN_DAYS = 7 * DAY
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
OF_AWS = {
    ("AWS/SQS", "QueueName"): {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateAgeOfOldestMessage",
    },
    ("AWS/Lambda", "FunctionName"): {"Errors", "Throttles", "Duration", "ConcurrentExecutions"},
}
MISSING = {
    "breaching": {"no-completed-run"},
    "ignore": {"watermark-old"},
    "notBreaching": ALARMS.keys() - {"no-completed-run", "watermark-old"},
}


def exists(key):
    """Whether somebody reports that metric of this very stack."""
    namespace, name, dimensions = key
    dimensions = dict(dimensions)
    if namespace == "StripeNightlySync":
        return name in {one.value for one in Metric} and dimensions == {"stack": STACK}
    ((dimension, of),) = dimensions.items()
    names = {
        f"{STACK}-{part}" for part in ("producer", "consumer", "sessions", "dead-letters", "missed-starts")
    }
    return name in OF_AWS[namespace, dimension] and of in names


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_watches_a_metric_that_exists(name):
    terms = Alarm(ALARMS[name]).terms
    assert terms
    assert all(exists(term.metric) for term in terms)


@pytest.mark.parametrize("treatment", MISSING)
def test_missing_data_mean_what_they_should(treatment):
    assert {name for name, body in ALARMS.items() if body["TreatMissingData"] == treatment} == MISSING[
        treatment
    ]


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_looks_no_further_back_than_cloudwatch_can(name):
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
    alarm = Alarm(ALARMS[name])
    assert alarm.period % MINUTE == 0
    assert alarm.period * alarm.periods <= (SEVEN_DAYS if alarm.period >= HOUR else DAY)


def test_the_longest_wait_for_a_run_that_can_be_chosen_fits_as_well():
    hours = PARAMETERS["AlarmNoRunHours"]["MaxValue"]
    assert RESOURCES["NoCompletedRunAlarm"]["Properties"]["Period"] * hours == SEVEN_DAYS


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_goes_to_the_topic_unless_only_the_sum_of_all_does(name):
    for mails, enabled in (("each", True), ("one", False)):
        bodies = Deployed(AlarmMails=mails).of_type("AWS::CloudWatch::Alarm").values()
        [body] = [body for body in bodies if body["AlarmName"] == f"{STACK}-{name}"]
        assert body["AlarmActions"] == ["arn:AlarmTopic"]
        assert body["ActionsEnabled"] is enabled


def test_the_sum_of_all_mails_only_where_they_do_not():
    assert COMPOSITE["ActionsEnabled"] is False
    [alone] = Deployed(AlarmMails="one").of_type("AWS::CloudWatch::CompositeAlarm").values()
    assert alone["ActionsEnabled"] is True
    assert alone["AlarmActions"] == alone["OKActions"] == ["arn:AlarmTopic"]


def test_the_sum_of_all_is_on_when_any_alarm_is():
    rule = COMPOSITE["AlarmRule"].split(" OR ")
    assert sorted(rule) == sorted(f'ALARM("{STACK}-{name}")' for name in ALARMS)


def test_only_what_ends_with_its_cause_mails_its_end():
    ends = {name for name, body in ALARMS.items() if "OKActions" in body}
    assert {name for name, body in ALARMS.items() if Alarm(body).period == 12 * HOUR} == ALARMS.keys() - ends


def test_a_dead_letter_is_told_of_at_ten_days_of_its_life_at_the_latest():
    """The metric begins when a message is moved; retries take so long before that at most."""
    receives = max(int(pair["Queue"]) for pair in TEMPLATE["Mappings"]["MaxReceiveCount"].values())
    assert float(ALARMS["dead-letter-age"]["Threshold"]) + receives * BACKOFF_CAP_SECONDS <= 10 * DAY


@pytest.mark.parametrize("name", [*ALARMS, "needs-a-person"])
def test_alarm_says_what_to_do_and_where_to_read_on(name):
    body = (ALARMS | {"needs-a-person": COMPOSITE})[name]
    text = body["AlarmDescription"]
    assert text.endswith(f" docs/runbook.md#{name}")
    assert "$" not in text
    assert 80 < len(text) < 1024 - 128 - 200  # a long name of the stack and a long address of the runbook


# --- the evaluation itself ----------------------------------------------------------------------------------

KEY_OF = metric("n", "m", {"d": "v"})


def alarm(missing, periods=2):
    return Alarm(
        {
            "AlarmName": "a",
            "Namespace": "n",
            "MetricName": "m",
            "Dimensions": [{"Name": "d", "Value": "v"}],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": periods,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 1,
            "TreatMissingData": missing,
        }
    )


@pytest.mark.parametrize(
    ("missing", "state"), [("breaching", ALARM), ("notBreaching", OK), ("ignore", UNKNOWN)]
)
def test_an_alarm_without_data(missing, state):
    assert alarm(missing).evaluate(Points(), 600) == state


def test_an_alarm_is_on_when_all_its_periods_breach():
    points = Points()
    points.add(KEY_OF, 2, 550)
    assert alarm("notBreaching").evaluate(points, 600) == OK
    assert alarm("breaching").evaluate(points, 600) == ALARM
    points.add(KEY_OF, 2, 600)
    assert alarm("notBreaching").evaluate(points, 610) == ALARM


def test_an_alarm_that_ignores_missing_data_stays_what_it_was():
    points, ignoring = Points(), alarm("ignore", periods=1)
    points.add(KEY_OF, 2, 600)
    assert ignoring.evaluate(points, 600) == ALARM
    assert ignoring.evaluate(points, 6000) == ALARM
