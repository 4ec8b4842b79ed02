"""What is gathered of one session: from Stripe, the table, the dead-letter queue and the schedule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from ops.dlq.queue import DeadLetterQueue
from ops.errors import CommandError
from ops.explain.facts import Look
from ops.explain.gather import Sources, gather
from ops.explain.ids import nobody_knows, session_id_of
from ops.explain.verdict import verdict_of
from ops.explain.verdict_types import Case
from ops.runs.prediction import PredictedAction
from ops.runs.status import Schedule
from ops.stack.stripe_access import StripeAccess, key_livemode
from recon.domain.message import dumps
from recon.domain.reconcile import SkipReason
from recon.dynamodb.dismissals import Dismissal, dismiss
from recon.dynamodb.table import Table
from recon.errors import StripeUnavailable
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import Killed, killed_before, on
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import SCHEDULED

SESSION = "cs_test_explained1"
JANE = "jane@example.com"
LATER = 8 * HOUR  # the next morning


@pytest.fixture
def sells(world):
    def sell(session_id=SESSION, **fields):
        given = {"created": NOW - HOUR, "metadata": {"userId": "user-1"}} | fields
        return world.sells(SessionSpec(session_id, **given))

    return sell


@pytest.fixture
def make_sources(world):
    opened = []

    def make(**changes):
        access = StripeAccess(world.settings, lambda: world.ssm, world.clock.deadline(3600))
        opened.append(access)
        due = datetime.fromtimestamp(NOW + DAY, UTC)
        whom = Sources(
            table=Table(world.dynamodb, world.table),
            box=DeadLetterQueue(world.sqs, world.dlq, world.queue),
            stripe=access,
            settings=world.settings,
            producer=world.settings,
            schedule=Schedule(enabled=True, expression="cron(0 2 * * ? *)", timezone="UTC", next_due=due),
            deadline=world.clock.deadline(3600),
        )
        return replace(whom, **changes)

    yield make
    for access in opened:
        access.__exit__()


@pytest.fixture
def explained(make_sources):
    """Facts and case of a session, the morning after."""

    def explain(session_id=SESSION, now=NOW + LATER, **changes):
        facts = gather(make_sources(**changes), session_id, now)
        return facts, verdict_of(facts).case if facts.is_known else None

    return explain


def test_a_webhooks_order_is_found_by_its_session_and_not_by_its_key(world, sells, explained):
    sells()
    world.webhook_writes(SESSION, "user-1", NOW - HOUR + 41, orderNumber="BC-1", amount=1500, currency="usd")
    world.night()
    facts, case = explained()
    [order] = facts.orders
    assert (order.key, order.source) == (f"USER#user-1/ORDER#{NOW - HOUR + 41}#{SESSION}", "webhook")
    assert (order.order_number, str(order.amount)) == ("BC-1", "15.00 USD")
    assert [(run.run_id, run.outcome, run.reason) for run in facts.runs] == [(RUN, "skipped", "exists")]
    assert (case, facts.drift, facts.missing) == (Case.WEBHOOK, (), ())


def test_a_recovered_order_is_told_with_its_run_its_event_and_its_fence(world, sells, explained):
    spec = sells(event_delivered=False)
    world.night()
    facts, case = explained()
    [order], [event] = facts.orders, facts.events
    assert (order.source, order.run_id, case) == ("nightly_sync", RUN, Case.RECOVERED)
    assert (event.id, event.type) == (spec.completed_event_id, "checkout.session.completed")
    assert (event.delivered, event.marker.source, event.marker.order_created) == (False, "nightly_sync", True)
    assert [run.outcome for run in facts.runs] == ["created"]


def test_what_stripe_says_is_told_without_the_customer(sells, explained):
    sells(email=JANE, name="Jane Doe", phone="+15550100", metadata={}, payment_status="paid")
    said = explained()[0].stripe
    assert (said.status, said.payment_status, said.mode, said.livemode) == (
        "complete",
        "paid",
        "payment",
        False,
    )
    assert (said.user_id, str(said.amount), said.line_items, said.refunded) == (JANE, "15.00 USD", 1, False)
    assert "Jane Doe" not in repr(said)
    assert "+15550100" not in repr(said)


def test_a_session_that_no_run_has_seen_is_written_by_the_next(sells, explained):
    sells(created=NOW + HOUR)
    facts, case = explained()
    assert (facts.runs, facts.orders, facts.prospect.would) == ((), (), PredictedAction.CREATE)
    assert (facts.next_run.looks, case) == (Look.IN_WINDOW, Case.WRITTEN_NEXT)


def test_explaining_writes_nothing_and_leaves_the_dead_letters(world, sells, explained):
    sells()
    world.stripe.faults.missing(session=SESSION)
    world.night()
    before = world.items(), world.memory_sqs.bodies(world.dlq)
    explained()
    assert (world.items(), world.memory_sqs.bodies(world.dlq)) == before
    assert explained()[0].dead_letters == explained()[0].dead_letters != ()


def test_a_dead_session_is_told_with_its_message_and_what_would_become_of_it(world, sells, explained):
    sells()
    sells("cs_test_another001")
    world.stripe.faults.missing(session=SESSION)
    world.stripe.faults.missing(session="cs_test_another001")
    world.night()
    world.stripe.faults.clear()
    facts, case = explained()
    [letter] = facts.dead_letters
    assert (letter.session_id, letter.run_id, letter.error_type) == (SESSION, RUN, "SessionNotFound")
    assert (facts.prospect.would, case) == (PredictedAction.CREATE, Case.DEAD)


def test_a_session_that_stripe_has_lost_is_found_by_its_dead_message(world, sells, explained):
    sells()
    world.webhook_writes("cs_test_other0001", "user-1", NOW)
    world.stripe.faults.missing(session=SESSION)
    world.night()
    facts, case = explained()
    assert (facts.stripe, facts.is_at_stripe, facts.stripe_problem.error_type) == (
        None,
        False,
        "SessionNotFound",
    )
    assert (facts.orders_known, facts.orders, facts.session_created.timestamp()) == (True, (), NOW - HOUR)
    assert case is Case.DEAD


def test_an_unpaid_session_waits_and_every_run_asks_about_it(world, sells, explained):
    sells(payment_status="unpaid")
    world.night()
    world.clock.now = NOW + 2 * DAY
    world.night({"trigger": "scheduled", "scheduledTime": "2024-11-29T02:00:00Z"})
    due = Schedule(True, "cron(0 2 * * ? *)", "UTC", datetime(2024, 11, 30, 2, tzinfo=UTC))
    facts, case = explained(now=NOW + 2 * DAY + LATER, schedule=due)
    assert (facts.next_run.looks, case) == (Look.PENDING, Case.UNPAID)
    assert facts.pending.asked_until == datetime.fromtimestamp(NOW + 90 * DAY, UTC)
    assert [run.reason for run in facts.runs] == ["unpaid", "unpaid"]
    sells(payment_status="paid", async_paid_at=NOW + 2 * DAY)
    facts, case = explained(now=NOW + 2 * DAY + LATER, schedule=due)
    assert (facts.prospect.would, case) == (PredictedAction.CREATE, Case.WRITTEN_NEXT)


def test_a_session_older_than_the_window_is_not_looked_at_again(world, sells, explained):
    sells(created=NOW - 3 * DAY)
    world.night()
    facts, case = explained()
    # The watermark of the night, less the life of a session and a margin.
    assert facts.next_run.window_from == datetime.fromtimestamp(NOW - 600 - DAY - 600, UTC)
    assert (facts.next_run.looks, facts.runs, case) == (Look.TOO_OLD, (), Case.OVERLOOKED)


def test_the_window_is_the_producers(world, sells, explained):
    sells(created=NOW - 3 * DAY)
    facts, case = explained(producer=replace(world.settings, lookback_hours=120))
    assert (facts.next_run.looks, case) == (Look.IN_WINDOW, Case.WRITTEN_NEXT)


def test_a_session_within_the_grace_of_the_next_run_is_left_to_the_one_after(sells, explained):
    completed = NOW + DAY - 300
    sells(created=NOW + DAY - HOUR, completed_at=completed)
    assert explained(now=completed + 60)[0].next_run.looks is Look.LATER
    sells(created=completed - 60, event_made=False)
    assert explained(now=completed + 60)[0].next_run.looks is Look.LATER


def test_a_schedule_that_is_off_writes_nothing_by_itself(sells, explained):
    sells()
    off = Schedule(enabled=False, expression="cron(0 2 * * ? *)", timezone="UTC", next_due=None)
    facts, case = explained(schedule=off)
    assert (facts.next_run.enabled, facts.next_run.due, case) == (False, None, Case.OVERLOOKED)


def test_a_schedule_that_may_not_be_looked_at_is_named(world, sells, explained):
    world.night()
    sells()
    facts, case = explained(schedule=None)
    assert ("the schedule: it could not be asked" in facts.missing, case) == (True, Case.WRITTEN_NEXT)


def test_an_order_that_was_deleted_is_told_with_the_run_that_wrote_it(world, sells, explained):
    sells()
    world.night()
    [order] = world.orders(SESSION)
    key = {name: {"S": order[name]} for name in ("PK", "SK")}
    world.memory.delete_item(TableName=world.table, Key=key)
    facts, case = explained()
    assert (facts.orders, facts.runs[0].order_number, case) == ((), order["orderNumber"], Case.GONE)


def test_two_orders_are_a_duplicate_of_which_both_keys_are_named(world, sells, explained):
    sells()
    world.night()
    world.webhook_writes(SESSION, "user-1", NOW + 60)
    facts, case = explained()
    assert {order.source for order in facts.orders} == {"webhook", "nightly_sync"}
    assert (case, len(facts.drift)) == (Case.DUPLICATE, 1)


def test_orders_are_found_under_the_raw_user_id_as_well(world, sells, explained):
    sells(metadata={"userId": "user 1"})
    world.webhook_writes(SESSION, "user 1", NOW)
    assert [order.key.partition("/")[0] for order in explained()[0].orders] == ["USER#user 1"]


def test_an_order_that_says_something_else_is_drift(world, sells, explained):
    sells()
    world.webhook_writes(SESSION, "user-1", NOW, amount=1)
    facts, case = explained()
    assert (facts.drift, case) == (("amount: the order says 1, Stripe 1500",), Case.DRIFT)


def test_a_dismissed_session_is_told_with_who_and_why(world, sells, explained):
    sells()
    world.stripe.faults.missing(session=SESSION)
    world.night()
    world.stripe.faults.clear()
    world.memory_sqs.purge_queue(QueueUrl=world.dlq)
    said = Dismissal(RUN, SESSION, "ops", "refunded by hand", "m-1")
    dismiss(Table(world.dynamodb, world.table), said, NOW + HOUR, world.clock.deadline(60))
    facts, case = explained()
    assert (facts.runs[0].dismissed_by, facts.runs[0].dismissed_because) == ("ops", "refunded by hand")
    assert (facts.runs[0].error_type, case) == ("SessionNotFound", Case.DISMISSED)


def test_outcomes_of_every_run_are_told_the_newest_first(world, sells, explained):
    sells()
    world.night()
    world.night({"requestedAt": "2024-11-27T03:00:00Z", "lookbackHours": 10})
    facts, _ = explained()
    assert [(run.run_id, run.outcome) for run in facts.runs] == [
        ("20241127T030000Z-8f3c1d", "skipped"),
        (RUN, "created"),
    ]


def test_a_run_that_is_going_on_and_holds_the_session_is_named(world, sells, explained):
    sells()
    world.produce(SCHEDULED)
    facts, case = explained(now=NOW + 60)
    assert (facts.open_run, case) == (RUN, Case.IN_PROGRESS)
    world.drain()
    assert explained(now=NOW + 60)[0].open_run is None


def test_a_run_that_goes_on_with_others_and_is_through_with_this_one_is_not_named(world, sells, explained):
    sells()
    sells("cs_test_another001")
    world.produce(SCHEDULED)
    world.deliver(batch_size=1)
    assert world.run()["status"] == "running"
    seen = {session: explained(session, now=NOW + 60)[0] for session in (SESSION, "cs_test_another001")}
    assert sorted((bool(facts.runs), facts.open_run) for facts in seen.values()) == [
        (False, RUN),
        (True, None),
    ]


def test_a_run_that_leaves_a_session_to_the_next_one_does_not_hold_it(world, sells, explained):
    sells("cs_test_another001")
    sells(completed_at=NOW - 60)
    world.produce(SCHEDULED)
    facts, case = explained(now=NOW + 60)
    assert (world.run()["status"], facts.open_run, case) == ("running", None, Case.WRITTEN_NEXT)


def test_a_run_whose_producer_failed_holds_nothing(world, sells, explained):
    sells()
    world.stripe.faults.server_error(endpoint=Endpoint.LIST)
    with pytest.raises(StripeUnavailable):
        world.produce(SCHEDULED)
    world.stripe.faults.clear()
    assert explained(now=NOW + 60)[0].open_run is None


def test_a_run_whose_producer_died_holds_nothing(world, sells, explained):
    sells()
    world.sqs.plan = on("send_message_batch", killed_before(), nth=1)
    with pytest.raises(Killed):
        world.produce(SCHEDULED)
    assert explained(now=NOW + 60)[0].open_run == RUN
    assert explained(now=NOW + 20 * 60)[0].open_run is None


@pytest.mark.parametrize(
    ("fields", "reason", "case"),
    [
        ({"metadata": {}}, SkipReason.NO_USER, Case.NO_USER),
        ({"amount_refunded": 1500}, SkipReason.REFUNDED, Case.REFUNDED),
        ({"dispute_status": "lost"}, SkipReason.REFUNDED, Case.REFUNDED),
        (
            {"mode": "setup", "payment_status": "no_payment_required", "lines": (), "currency": None},
            SkipReason.NOT_A_SALE,
            Case.NOT_A_SALE,
        ),
    ],
)
def test_what_the_consumer_leaves_alone_is_left_alone_here(sells, explained, fields, reason, case):
    sells(**fields)
    facts, told = explained()
    assert (facts.prospect.would, facts.prospect.reason, told) == (PredictedAction.SKIP, reason, case)


def test_an_order_older_than_orders_are_kept_is_not_raised_from_the_dead(world, sells, explained):
    sells(created=NOW - 40 * DAY)
    facts, case = explained(settings=replace(world.settings, order_ttl_days=30))
    assert (facts.prospect.reason, case) == (SkipReason.EXPIRED, Case.EXPIRED)
    assert "events: Stripe keeps them for 30 days, and the session is older" in facts.missing


@pytest.mark.parametrize(("status", "case"), [("open", Case.OPEN), ("expired", Case.ABANDONED)])
def test_a_session_that_is_not_complete_is_not_asked_about_further(stripe, sells, explained, status, case):
    sells(status=status, payment_status="unpaid")
    facts, told = explained()
    assert (told, facts.prospect, facts.next_run.looks) == (case, None, Look.NOT_COMPLETE)
    assert stripe.calls.count(Endpoint.EVENTS) == 0


def test_without_a_key_the_table_is_told_all_the_same(world, sells, explained):
    sells()
    world.night()
    world.ssm.value = "sk_test_wrong"
    facts, case = explained()
    assert (facts.stripe, facts.is_at_stripe, facts.stripe_problem.error_type) == (None, None, "KeyRejected")
    assert [run.outcome for run in facts.runs] == ["created"]
    assert (facts.orders_known, case) == (False, Case.STRIPE_UNKNOWN)
    assert [gap.partition(":")[0] for gap in facts.missing] == ["Stripe", "orders"]


def test_a_key_that_may_not_read_events_or_charges_is_told_with_the_rest(stripe, sells, explained):
    sells()
    stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    stripe.faults.forbidden(expanding="payment_intent")
    facts, case = explained()
    assert (facts.stripe.refunded, facts.events, case) == (None, (), Case.WRITTEN_NEXT)
    assert [gap.partition(":")[0] for gap in facts.missing] == ["refunds", "events"]


def test_a_queue_that_may_not_be_read_is_told_with_the_rest(world, sells, explained):
    sells()

    class Denied:
        def get_queue_attributes(self, **_):
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetQueueAttributes")

    facts, case = explained(box=DeadLetterQueue(Denied(), world.dlq, world.queue))
    assert ("the dead-letter queue: GetQueueAttributes: AccessDenied" in facts.missing) is True
    assert case is Case.WRITTEN_NEXT


def test_a_dead_message_of_another_session_is_nobodys_here(world, sells, explained):
    sells()
    world.memory_sqs.send_message(QueueUrl=world.dlq, MessageBody=dumps(a_message()))
    assert explained()[0].dead_letters == ()


def test_a_session_that_nobody_knows_is_not_known(explained):
    facts, _ = explained("cs_test_unheard001")
    assert not facts.is_known


def test_a_session_of_the_other_mode_says_so(explained):
    facts, _ = explained("cs_live_unheard001")
    assert "it is a live session, and the sync's key is a test key" in nobody_knows(
        facts, key_livemode("sk_test_1")
    )
    assert "may be mistyped" in nobody_knows(facts, key_livemode("rk_live_1"))
    assert "may be mistyped" in nobody_knows(facts, None)


def test_a_session_that_nobody_knows_and_stripe_cannot_be_asked_about_says_why(world, explained):
    world.ssm.value = "sk_test_wrong"
    facts, _ = explained("cs_test_unheard001")
    assert "Stripe could not be asked: Stripe: AuthenticationError" in nobody_knows(facts, None)


def test_the_key_tells_its_mode_and_nothing_else(make_sources):
    assert make_sources().stripe.livemode() is False
    assert key_livemode("rk_live_x") is True
    assert key_livemode("ek_other") is None


def test_stripe_is_connected_to_once(make_sources):
    access = make_sources().stripe
    assert access() is access()


@pytest.mark.parametrize(
    "text", ["", "BC-1", "pi_3abc", "cs_", "cs_test_a b", "sk_live_abc", "cs_" + "x" * 300]
)
def test_what_is_no_session_id_is_refused(text):
    with pytest.raises(CommandError, match="is no Checkout Session's id"):
        session_id_of(text)


def test_a_session_id_may_come_with_spaces_around_it():
    assert session_id_of(f" {SESSION}\n") == SESSION


def test_a_day_is_added_where_the_schedule_says_no_time(sells, explained):
    sells()
    soon = Schedule(enabled=True, expression="at(2030-01-01T00:00:00)", timezone="UTC", next_due=None)
    facts, _ = explained(schedule=soon)
    end = datetime.fromtimestamp(NOW + LATER, UTC) + timedelta(days=1) - timedelta(minutes=10)
    assert (facts.next_run.due, facts.next_run.window_to) == (None, end)
