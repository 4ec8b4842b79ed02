"""The facts of one session, gathered from Stripe, the table, the dead-letter queue and the schedule."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from ops.dlq.queue import DeadLetterQueue
from ops.errors import CommandError
from ops.explain.facts import Coverage
from ops.explain.gather import FactSources, gather_facts
from ops.explain.ids import describe_unknown_session, parse_session_id
from ops.explain.verdict import decide_verdict
from ops.explain.verdict_types import VerdictCase
from ops.runs.prediction import PredictedAction
from ops.runs.status import Schedule
from ops.stack.stripe_access import StripeAccess, key_livemode
from recon.domain.outcome import SkipReason
from recon.dynamodb.dismissals import Dismissal, dismiss
from recon.errors import StripeUnavailable
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, RUN
from testkit.doubles.faults import Killed, killed_before, on
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import SCHEDULED

SESSION, OTHER = "cs_test_explained1", "cs_test_another001"
JANE = "jane@example.com"
MORNING = NOW + 8 * HOUR
NIGHTLY = "cron(0 2 * * ? *)"
ON = Schedule(
    enabled=True, expression=NIGHTLY, timezone="UTC", next_due=datetime.fromtimestamp(NOW + DAY, UTC)
)
OFF = replace(ON, enabled=False, next_due=None)


@pytest.fixture
def sell(world):
    def sell(session_id=SESSION, **fields):
        spec = {"created": NOW - HOUR, "metadata": {"userId": "user-1"}} | fields
        return world.sells(SessionSpec(session_id, **spec))

    return sell


@pytest.fixture
def fail_night(world):
    """Run a night in which Stripe does not know the session."""

    def fail_night():
        world.stripe.faults.missing(session=SESSION)
        world.night()

    return fail_night


@pytest.fixture
def access(world):
    with StripeAccess(world.settings, lambda: world.ssm, world.clock.deadline(10**9)) as access:
        yield access


@pytest.fixture
def explain(world, access):
    """Return the facts and the case of a session on the next morning."""

    def explain(session_id=SESSION, now=MORNING, **changes):
        sources = FactSources(
            table=world.open_table(),
            queue=DeadLetterQueue(world.sqs, world.dlq, world.queue),
            stripe=access.source,
            settings=world.settings,
            producer=world.settings,
            schedule=ON,
            deadline=world.clock.deadline(3600),
        )
        facts = gather_facts(replace(sources, **changes), session_id, now)
        return facts, decide_verdict(facts).case if facts.is_known else None

    return explain


def test_webhook_order_is_found_by_session(world, sell, explain):
    sell()
    world.webhook_writes(SESSION, "user-1", NOW - HOUR + 41, orderNumber="BC-1", amount=1500, currency="usd")
    world.night()
    facts, case = explain()
    [order] = facts.orders
    assert (order.key, order.source) == (f"USER#user-1/ORDER#{NOW - HOUR + 41}#{SESSION}", "webhook")
    assert (order.order_number, str(order.amount)) == ("BC-1", "15.00 USD")
    assert [(run.run_id, run.outcome, run.reason) for run in facts.runs] == [(RUN, "skipped", "exists")]
    assert (case, facts.drift, facts.missing) == (VerdictCase.WEBHOOK, (), ())


def test_recovered_order_has_run_event_and_marker(world, sell, explain):
    spec = sell(event_delivered=False)
    world.night()
    facts, case = explain()
    [order], [event] = facts.orders, facts.events
    assert (order.source, order.run_id, case) == ("nightly_sync", RUN, VerdictCase.RECOVERED)
    assert (event.id, event.type) == (spec.completed_event_id, "checkout.session.completed")
    assert (event.delivered, event.marker.source, event.marker.order_created) == (False, "nightly_sync", True)
    assert [run.outcome for run in facts.runs] == ["created"]


def test_stripe_session_has_no_data_of_the_customer_but_the_user_id(sell, explain):
    sell(email=JANE, name="Jane Doe", phone="+15550100", metadata={}, payment_status="paid")
    session = explain()[0].stripe
    assert (session.status, session.payment_status, session.mode) == ("complete", "paid", "payment")
    assert (session.livemode, session.user_id, str(session.amount)) == (False, JANE, "15.00 USD")
    assert (session.line_items, session.refunded) == (1, False)
    assert "Jane Doe" not in repr(session)
    assert "+15550100" not in repr(session)


def test_new_session_is_written_by_the_next_run(sell, explain):
    sell(created=NOW + HOUR)
    facts, case = explain()
    assert (facts.runs, facts.orders, facts.prospect.would) == ((), (), PredictedAction.CREATE)
    assert (facts.next_run.looks, case) == (Coverage.IN_WINDOW, VerdictCase.WRITTEN_NEXT)


def test_dead_session_has_its_message_and_nothing_is_changed(world, sell, explain, fail_night):
    sell()
    sell(OTHER)
    world.stripe.faults.missing(session=OTHER)
    fail_night()
    world.stripe.faults.clear()
    before = world.items(), world.memory_sqs.bodies(world.dlq)
    facts, case = explain()
    assert (world.items(), world.memory_sqs.bodies(world.dlq)) == before
    [letter] = facts.dead_letters
    assert (letter.session_id, letter.run_id, letter.error_type) == (SESSION, RUN, "SessionNotFound")
    assert (facts.prospect.would, case) == (PredictedAction.CREATE, VerdictCase.DEAD)
    assert explain()[0].dead_letters == facts.dead_letters


def test_session_unknown_at_stripe_is_known_by_its_dead_message(world, sell, explain, fail_night):
    sell()
    world.webhook_writes("cs_test_other0001", "user-1", NOW)
    fail_night()
    facts, case = explain()
    assert (facts.stripe, facts.is_at_stripe) == (None, False)
    assert facts.stripe_problem.error_type == "SessionNotFound"
    assert (facts.orders_known, facts.orders, facts.session_created.timestamp()) == (True, (), NOW - HOUR)
    assert case is VerdictCase.DEAD


def test_unpaid_session_is_pending_until_paid(world, sell, explain):
    sell(payment_status="unpaid")
    world.night()
    world.clock.now = NOW + 2 * DAY
    world.night({"trigger": "scheduled", "scheduledTime": "2024-11-29T02:00:00Z"})
    later = {
        "now": MORNING + 2 * DAY,
        "schedule": replace(ON, next_due=datetime(2024, 11, 30, 2, tzinfo=UTC)),
    }
    facts, case = explain(**later)
    assert (facts.next_run.looks, case) == (Coverage.PENDING, VerdictCase.UNPAID)
    assert facts.pending.asked_until == datetime.fromtimestamp(NOW - HOUR + 400 * DAY, UTC)
    assert [run.reason for run in facts.runs] == ["unpaid", "unpaid"]
    sell(payment_status="paid", async_paid_at=NOW + 2 * DAY)
    facts, case = explain(**later)
    assert (facts.prospect.would, case) == (PredictedAction.CREATE, VerdictCase.WRITTEN_NEXT)


def test_window_is_the_one_of_the_producer(world, sell, explain):
    sell(created=NOW - 3 * DAY)
    world.night()
    facts, case = explain()
    # The watermark of the night less the life of a session and a margin.
    assert facts.next_run.window_from == datetime.fromtimestamp(NOW - 600 - DAY - 600, UTC)
    assert (facts.next_run.looks, facts.runs, case) == (Coverage.TOO_OLD, (), VerdictCase.OVERLOOKED)
    facts, case = explain(producer=replace(world.settings, lookback_hours=120))
    assert (facts.next_run.looks, case) == (Coverage.IN_WINDOW, VerdictCase.WRITTEN_NEXT)


def test_session_in_the_grace_is_left_to_a_later_run(sell, explain):
    completed = NOW + DAY - 300
    sell(created=NOW + DAY - HOUR, completed_at=completed)
    assert explain(now=completed + 60)[0].next_run.looks is Coverage.LATER
    sell(created=completed - 60, event_made=False)
    assert explain(now=completed + 60)[0].next_run.looks is Coverage.LATER


def test_unreadable_schedule_is_missing_and_due_in_a_day(world, sell, explain):
    world.night()
    sell()
    facts, case = explain(schedule=OFF)
    assert (facts.next_run.enabled, facts.next_run.due, case) == (False, None, VerdictCase.OVERLOOKED)
    facts, case = explain(schedule=None)
    assert ("the schedule: it could not be read" in facts.missing, case) == (True, VerdictCase.WRITTEN_NEXT)
    assert facts.next_run.window_to == datetime.fromtimestamp(MORNING + DAY - 600, UTC)


def test_deleted_order_is_not_written_again(world, sell, explain):
    sell()
    world.night()
    [order] = world.orders(SESSION)
    key = {name: {"S": order[name]} for name in ("PK", "SK")}
    world.memory.delete_item(TableName=world.table, Key=key)
    facts, case = explain()
    assert (facts.orders, facts.runs[0].order_number, case) == ((), order["orderNumber"], VerdictCase.REMOVED)


def test_two_orders_are_a_duplicate(world, sell, explain):
    sell()
    world.night()
    world.webhook_writes(SESSION, "user-1", NOW + 60)
    facts, case = explain()
    assert {order.source for order in facts.orders} == {"webhook", "nightly_sync"}
    assert (case, len(facts.drift)) == (VerdictCase.DUPLICATE, 1)


def test_order_under_the_raw_user_id_is_found(world, sell, explain):
    sell(metadata={"userId": "user 1"})
    world.webhook_writes(SESSION, "user 1", NOW)
    assert [order.key.partition("/")[0] for order in explain()[0].orders] == ["USER#user 1"]


def test_dismissed_session_has_operator_and_reason(world, sell, explain, fail_night):
    sell()
    fail_night()
    world.stripe.faults.clear()
    world.memory_sqs.purge_queue(QueueUrl=world.dlq)
    dismissal = Dismissal(RUN, SESSION, "ops", "refunded manually", "m-1")
    dismiss(world.open_table(), dismissal, NOW + HOUR, world.clock.deadline(60))
    facts, case = explain()
    assert (facts.runs[0].dismissed_by, facts.runs[0].dismissed_because) == ("ops", "refunded manually")
    assert (facts.runs[0].error_type, case) == ("SessionNotFound", VerdictCase.DISMISSED)


def test_outcomes_of_all_runs_are_newest_first(world, sell, explain):
    sell()
    world.night()
    world.clock.now = NOW + HOUR
    world.night({"requestedAt": "2024-11-27T03:00:00Z", "lookbackHours": 10})
    assert [(run.run_id, run.outcome) for run in explain()[0].runs] == [
        ("20241127T030000Z-8f3c1d", "skipped"),
        (RUN, "created"),
    ]


def test_open_run_includes_session_until_it_has_an_outcome(world, sell, explain):
    sell()
    sell(OTHER)
    world.produce(SCHEDULED)
    facts, case = explain(now=NOW + 60)
    assert (facts.open_run, case) == (RUN, VerdictCase.IN_PROGRESS)
    world.deliver(batch_size=1)
    assert world.run()["status"] == "running"
    seen = [explain(session, now=NOW + 60)[0] for session in (SESSION, OTHER)]
    assert sorted((bool(facts.runs), facts.open_run) for facts in seen) == [(False, RUN), (True, None)]
    world.drain()
    assert explain(now=NOW + 60)[0].open_run is None


def test_open_run_does_not_include_session_in_its_grace(world, sell, explain):
    sell(OTHER)
    sell(completed_at=NOW - 60)
    world.produce(SCHEDULED)
    facts, case = explain(now=NOW + 60)
    assert (world.run()["status"], facts.open_run, case) == ("running", None, VerdictCase.WRITTEN_NEXT)


def test_failed_run_is_not_open(world, sell, explain):
    sell()
    world.stripe.faults.server_error(endpoint=Endpoint.LIST)
    with pytest.raises(StripeUnavailable):
        world.produce(SCHEDULED)
    world.stripe.faults.clear()
    assert explain(now=NOW + 60)[0].open_run is None


def test_run_whose_producer_was_killed_is_open_until_it_is_stalled(world, sell, explain):
    sell()
    world.sqs.plan = on("send_message_batch", killed_before(), nth=1)
    with pytest.raises(Killed):
        world.produce(SCHEDULED)
    assert explain(now=NOW + 60)[0].open_run == RUN
    assert explain(now=NOW + 20 * 60)[0].open_run is None


@pytest.mark.parametrize(
    ("fields", "reason", "case"),
    [
        ({"metadata": {}}, SkipReason.NO_USER, VerdictCase.NO_USER),
        ({"dispute_status": "lost"}, SkipReason.REFUNDED, VerdictCase.REFUNDED),
        ({"intent_status": "requires_capture"}, SkipReason.AWAITING_CAPTURE, VerdictCase.AWAITING_CAPTURE),
        ({"intent_status": "canceled"}, SkipReason.PAYMENT_FAILED, VerdictCase.PAYMENT_FAILED),
        (
            {"mode": "subscription", "payment_status": "unpaid", "intent_status": "requires_payment_method"},
            SkipReason.PAYMENT_FAILED,
            VerdictCase.PAYMENT_FAILED,
        ),
    ],
)
def test_session_that_the_consumer_skips_is_explained(sell, explain, fields, reason, case):
    sell(**fields)
    facts, found = explain()
    assert (facts.prospect.would, facts.prospect.reason, found) == (PredictedAction.SKIP, reason, case)


def test_payment_of_a_session_is_part_of_its_facts(sell, explain):
    sell(intent_status="requires_capture", capture_before=NOW + 3 * DAY)
    session = explain()[0].stripe
    assert (session.payment_intent_status, session.skip_reason) == ("requires_capture", "awaiting_capture")
    assert (session.attention, session.capture_before) == (
        ("awaiting_capture",),
        datetime.fromtimestamp(NOW + 3 * DAY, UTC),
    )


def test_session_of_an_unknown_state_fails_and_is_explained(sell, explain):
    sell(objects={"session": {"payment_status": "partially_paid"}})
    facts, case = explain()
    assert (facts.prospect.error_type, case) == ("UnknownState", VerdictCase.FAILING)


def test_session_older_than_orders_are_kept_is_expired(world, sell, explain):
    sell(created=NOW - 40 * DAY)
    facts, case = explain(settings=replace(world.settings, order_ttl_days=30))
    assert (facts.prospect.reason, case) == (SkipReason.EXPIRED, VerdictCase.EXPIRED)
    assert "events: Stripe keeps them for 30 days, and the session is older" in facts.missing


@pytest.mark.parametrize(("status", "case"), [("open", VerdictCase.OPEN), ("expired", VerdictCase.ABANDONED)])
def test_incomplete_session_needs_no_events(stripe, sell, explain, status, case):
    sell(status=status, payment_status="unpaid")
    facts, found = explain()
    assert (found, facts.prospect, facts.next_run.looks) == (case, None, Coverage.NOT_COMPLETE)
    assert stripe.calls.count(Endpoint.EVENTS) == 0


def test_rejected_key_leaves_what_the_table_knows(world, sell, explain):
    sell()
    world.night()
    world.ssm.value = "sk_test_wrong"
    facts, case = explain()
    assert (facts.stripe, facts.is_at_stripe, facts.stripe_problem.error_type) == (None, None, "KeyRejected")
    assert [run.outcome for run in facts.runs] == ["created"]
    assert (facts.orders_known, case) == (False, VerdictCase.STRIPE_UNKNOWN)
    assert [gap.partition(":")[0] for gap in facts.missing] == ["Stripe", "orders"]


def test_missing_permissions_are_listed(stripe, sell, explain):
    sell()
    stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    stripe.faults.forbidden(expanding="payment_intent")
    facts, case = explain()
    assert (facts.stripe.refunded, facts.events, case) == (None, (), VerdictCase.WRITTEN_NEXT)
    assert [gap.partition(":")[0] for gap in facts.missing] == ["refunds", "events"]


def test_unreadable_queue_is_listed(world, sell, explain):
    class Denied:
        def get_queue_attributes(self, **_):
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueAttributes")

    sell()
    facts, case = explain(queue=DeadLetterQueue(Denied(), world.dlq, world.queue))
    assert "the dead-letter queue: GetQueueAttributes: AccessDenied" in facts.missing
    assert case is VerdictCase.WRITTEN_NEXT


@pytest.mark.parametrize(
    ("session_id", "key", "text"),
    [
        ("cs_live_unknown01", "sk_test_1", "it is a live session, and the sync's key is a test key"),
        ("cs_live_unknown01", "rk_live_1", "may be mistyped"),
        ("cs_live_unknown01", "ek_other", "may be mistyped"),
    ],
)
def test_unknown_session_is_described_by_its_mode(explain, session_id, key, text):
    facts, _ = explain(session_id)
    assert not facts.is_known
    assert text in describe_unknown_session(facts, key_livemode(key))


def test_unknown_session_without_stripe_is_described_by_the_error(world, explain):
    world.ssm.value = "sk_test_wrong"
    facts, _ = explain("cs_test_unknown01")
    assert "Stripe could not be read: Stripe: AuthenticationError" in describe_unknown_session(facts, None)


@pytest.mark.parametrize(
    "text", ["", "BC-1", "pi_3abc", "cs_", "cs_test_a b", "sk_live_abc", "cs_" + "x" * 300]
)
def test_invalid_session_id_is_refused(text):
    with pytest.raises(CommandError, match="is not a Checkout Session id"):
        parse_session_id(text)


def test_session_id_is_stripped():
    assert parse_session_id(f" {SESSION}\n") == SESSION
