"""The alarms over nights of the real functions: raised when they should be, and never on a good night."""

import json

import pytest

from recon.errors import StripeUnavailable
from recon.timestamps import DAY, HOUR, MINUTE, to_iso
from testkit.builders import NOW
from testkit.doubles.faults import killed_before
from testkit.fake_stripe import Endpoint, FakeStripe, SessionSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.scheduler import envelop
from testkit.world import KEY, wire
from tests.infra.alarms import Datapoints
from tests.infra.nights import MonitoredNights
from tests.infra.resolved import ALARMS
from tests.infra.runbook_recipe import recover_event

FIRST_NIGHT, SECOND_NIGHT = (
    {"trigger": "scheduled", "scheduledTime": to_iso(NOW + night * DAY)} for night in range(2)
)
SCENARIOS = {}


@pytest.fixture
def make_nights():
    """Create shops deployed yesterday noon, each after the first manual run that the README requires."""
    made = []
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:

        def make(settings=(), **parameters):
            nights = MonitoredNights(stripe, **dict(settings))
            made.append(nights)
            nights.clock.now = NOW - 14 * HOUR
            nights.start_run({"lookbackHours": 25})
            nights.consume()
            nights.watch_alarms(**parameters)
            return nights

        yield make
        for nights in made:
            nights.close()


def sell(nights, night=0, *, lost=1, known=2, first=0):
    """Add sessions of the day before that night. The webhook has written the orders of the known ones."""
    made = []
    for n in range(lost + known):
        number = 100 * night + first + n
        created = NOW + night * DAY - 5 * HOUR + n
        spec = SessionSpec(f"cs_test_sale{number:04}", created, metadata={"userId": f"u{number}"})
        session = nights.sells(spec)
        made.append(session)
        if n >= lost:
            nights.webhook_writes(session.id, session.metadata["userId"], session.created + 40)
    return made


def scenario(*expected, **options):
    """Register a scenario with the alarms that it must raise."""

    def register(play):
        SCENARIOS[play.__name__] = (play, set(expected), options)
        return play

    return register


@scenario()
def good_nights(nights):
    for night in range(2):
        sell(nights, night)
        nights.play_night(night)
    nights.play_night(2)  # without any session
    assert len(nights.orders()) == 6


@scenario()
def transient_stripe_errors_and_a_rotated_key(nights):
    nights.stripe.accept_keys({"sk_test_new"})
    nights.ssm.value = "sk_test_new"
    sell(nights, lost=3)
    nights.stripe.faults.rate_limit(times=2)
    nights.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE, times=2)
    nights.play_night()
    assert len(nights.orders()) == 5


@scenario(ScheduleState="DISABLED")
def paused_schedule(nights):
    nights.advance(3 * DAY)


@scenario(DryRun="true", settings={"SYNC_DRY_RUN": "true"})
def dry_runs_only(nights):
    for night in range(3):
        nights.play_night(night)


@scenario("no-completed-run")
def missing_run(nights):
    nights.play_night()
    nights.advance_to(NOW + 25 * HOUR)
    assert nights.is_ok("no-completed-run")
    nights.advance_to(NOW + 27 * HOUR)
    assert not nights.is_ok("no-completed-run")
    nights.play_night(2)
    assert nights.is_ok("no-completed-run")


@scenario("queue-not-empty", "run-open", "no-completed-run")
def consumer_left_paused(nights):
    nights.play_night()
    nights.paused = True
    sell(nights, 1)
    nights.play_night(1)
    assert nights.raised == {"queue-not-empty", "no-completed-run"}
    nights.play_night(2)
    nights.paused = False
    nights.advance(4 * HOUR)
    assert nights.is_ok("queue-not-empty", "run-open", "no-completed-run")


@scenario("run-open", "no-completed-run")
def purged_queue(nights):
    sell(nights)
    nights.paused = True
    nights.advance_to(NOW)
    nights.produce(FIRST_NIGHT)
    nights.memory_sqs.purge_queue(QueueUrl=nights.queue)
    nights.paused = False
    nights.advance_to(NOW + 23 * HOUR)
    assert nights.raised == {"no-completed-run"}
    nights.play_night(1)  # its producer notices the open run


@scenario("run-open", "queue-not-empty", settings={"SYNC_MAX_RECEIVE_COUNT": "20"})
def stripe_outage_of_hours(nights):
    sell(nights)
    nights.advance_to(NOW)
    nights.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    nights.start_run(FIRST_NIGHT)
    nights.advance(3 * HOUR)
    assert nights.raised == set()
    nights.advance(2 * HOUR)
    assert nights.raised == {"run-open", "queue-not-empty"}
    nights.stripe.faults.clear()
    nights.advance(5 * HOUR)
    assert nights.is_ok("run-open", "queue-not-empty")
    assert len(nights.orders()) == 3


@scenario("key-rejected", "schedule-failed", "no-completed-run")
def rejected_key(nights):
    nights.stripe.faults.unauthorized()
    nights.play_night()
    nights.stripe.faults.clear()
    sell(nights, 1)
    nights.play_night(1)
    assert nights.is_ok(*ALARMS.keys() - {"watermark-old", "schedule-failed"})
    # The failed start is kept until an operator removes it.
    assert list(map(json.loads, nights.memory_sqs.bodies(nights.missed_starts))) == [FIRST_NIGHT]
    nights.memory_sqs.purge_queue(QueueUrl=nights.missed_starts)
    nights.advance(HOUR)
    assert nights.is_ok("schedule-failed")


@scenario("key-rejected", "session-errors", "dead-letters")
def key_without_permission_to_read_sessions(nights):
    sell(nights)
    nights.stripe.faults.forbidden(endpoint=Endpoint.RETRIEVE)
    nights.play_night()


@scenario()
def listing_that_fails_once(nights):
    sell(nights)
    nights.advance_to(NOW)
    nights.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        nights.produce(FIRST_NIGHT)
    nights.stripe.faults.clear()
    nights.play_night()
    assert len(nights.orders()) == 3


@scenario("schedule-failed", "no-completed-run", "watermark-old")
def failed_nights_covered_by_a_later_one(nights):
    """Let a run report two watermark ages, one when it starts and one when it ends: the lower one counts."""
    nights.play_night()
    nights.stripe.faults.server_error()
    for night in (1, 2):
        nights.play_night(night)
    assert nights.raised == {"schedule-failed", "no-completed-run"}
    nights.play_night(3)
    assert not nights.is_ok("watermark-old")
    nights.stripe.faults.clear()
    nights.play_night(4)
    assert nights.is_ok("watermark-old", "no-completed-run")


@scenario("schedule-failed", "no-completed-run")
def rejected_scheduled_event(nights):
    nights.play_night()
    nights.advance_to(NOW + DAY)
    nights.start_run(SECOND_NIGHT | {"lookbackHours": 0})
    nights.advance(HOUR)
    assert nights.raised == {"schedule-failed"}
    nights.advance(3 * HOUR)


@scenario("orders-recovered", "nothing-found")
def broken_webhook(nights):
    sell(nights, lost=26)
    nights.play_night()


@scenario("run-held", "no-completed-run", "watermark-old")
def key_of_another_account(nights):
    key = {"PK": "SYSTEM", "SK": "STRIPE_SYNC_WATERMARK", "provenBy": "cs_test_of_another_account"}
    nights.memory.put_item(TableName=nights.table, Item=wire(key))
    for night, event in enumerate((FIRST_NIGHT, SECOND_NIGHT)):
        sell(nights, night)
        nights.advance_to(NOW + night * DAY)
        assert nights.is_ok("run-held")
        nights.start_run(event)
        nights.advance(HOUR)
        assert not nights.is_ok("run-held")
    nights.advance_to(NOW + 2 * DAY - HOUR)


@scenario("stripe-throttled", AlarmStripeThrottled="3")
def throttling_stripe(nights):
    sell(nights)
    nights.stripe.faults.rate_limit(endpoint=Endpoint.RETRIEVE, times=4)
    nights.play_night()
    assert len(nights.orders()) == 3


@scenario("orders-drifted")
def order_that_differs_from_stripe(nights):
    [session] = sell(nights, lost=1, known=0)
    nights.webhook_writes(session.id, session.metadata["userId"], NOW - HOUR, amount=1, currency="eur")
    nights.play_night()


@scenario("needs-action")
def money_without_a_user(nights):
    sell(nights)
    nights.sells(SessionSpec("cs_test_nobody", NOW - 5 * HOUR, metadata={}, email=None))
    nights.play_night()


@scenario("session-errors", "dead-letters")
def session_that_kills_its_consumer(nights):
    killer, *_ = sell(nights)

    def kill(call):
        actions = call.arguments.get("TransactItems", [])
        puts = [action["Put"]["Item"] for action in actions if "Put" in action]
        return killed_before() if any(put.get("orderId") == {"S": killer.id} for put in puts) else None

    nights.dynamodb.plan = kill
    nights.play_night()


@scenario("session-errors", "dead-letters", "dead-letter-age", "no-completed-run")
def forgotten_dead_letter(nights):
    sell(nights)
    nights.stripe.faults.missing(endpoint=Endpoint.RETRIEVE)
    nights.play_night()
    nights.advance_to(NOW + 9 * DAY - HOUR)
    assert "dead-letter-age" not in nights.raised
    nights.advance(2 * HOUR)
    nights.stripe.faults.clear()
    nights.redrive()
    nights.advance(HOUR)
    assert nights.is_ok("dead-letters", "dead-letter-age")


@scenario("schedule-failed", "no-completed-run")
def start_that_lambda_did_not_accept(nights):
    nights.play_night()
    nights.advance_to(NOW + DAY + 4 * HOUR)
    message = envelop(SECOND_NIGHT, SECOND_NIGHT["scheduledTime"])
    nights.memory_sqs.send_message(QueueUrl=nights.missed_starts, MessageBody=message["Body"])
    nights.advance(HOUR)
    # As the runbook says.
    nights.start_run(recover_event(message))
    nights.memory_sqs.purge_queue(QueueUrl=nights.missed_starts)
    nights.advance(HOUR)
    assert nights.run("20241128T020000Z")["status"] == "done"
    assert nights.is_ok("schedule-failed")


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_raises_exactly_its_alarms(name, make_nights):
    play, expected, options = SCENARIOS[name]
    nights = make_nights(**options)
    play(nights)
    assert nights.raised == expected


def test_every_alarm_is_raised_in_a_scenario():
    assert set().union(*(expected for _, expected, _ in SCENARIOS.values())) == ALARMS.keys()


def test_nightly_alarm_lasts_until_the_morning(make_nights):
    nights = make_nights()
    sell(nights, lost=26)
    nights.play_night()
    assert nights.is_ok("orders-recovered")
    nights.advance_to(NOW + DAY)
    nights.raised.clear()
    sell(nights, 1, lost=26, first=50)
    nights.start_run(SECOND_NIGHT)
    nights.advance(6 * HOUR)
    assert not nights.is_ok("orders-recovered")
    assert nights.raised == {"orders-recovered"}


def test_stack_without_a_first_run_has_no_completed_run(make_nights):
    nights = make_nights()
    nights.points = Datapoints()
    nights.advance(5 * MINUTE)
    assert nights.raised == {"no-completed-run"}
