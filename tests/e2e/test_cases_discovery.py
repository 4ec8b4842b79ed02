"""Through the deployed stack: which sessions a run looks at, and that nothing is missed or doubled.

Where it matters that one night comes after the other, as they do in a shop, they are those of `calendar`:
each begins where the one before it ended, and looks once more at what that one has seen.
"""

import json
import time
from dataclasses import replace

import pytest

from recon.timestamps import DAY, HOUR
from testkit.fake_stripe import Endpoint
from tests.e2e.shop import GRACE, Night, Shop, iso

pytestmark = pytest.mark.e2e

MINUTE = 60
COMPLETED = "checkout.session.completed"
# Lambda runs so many invocations in one chain of a function that calls itself, then it stops the chain.
LONGEST_CHAIN = 16


class Calendar(Shop):
    """A shop whose nights are a day apart."""

    def __init__(self, shop):
        super().__init__(shop.stack, shop.stripe)
        self._tonight = 0

    def night(self):
        self._tonight += 1
        return CalendarNight(self, self._tonight)


class CalendarNight(Night):
    @property
    def end(self):
        return 1_735_696_800 + DAY * self.number  # from 2025-01-02T02:00:00Z on


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop()


@pytest.fixture(scope="module")
def calendar(open_shop):
    calendar = Calendar(open_shop())
    calendar.night().passes()  # nothing was covered before the first one
    return calendar


@pytest.fixture
def night(shop):
    yield shop.night()
    shop.stripe.faults.clear()


@pytest.fixture
def tonight(calendar):
    return calendar.night()


def by_hand(shop, **event):
    """The first answer of a run by hand, when it is done."""
    body = shop.body(event)
    shop.settled(body["runId"])
    return body


def marker_of(shop, event_id):
    return shop.item(f"EVENT#{event_id}", "METADATA")


def pending(shop, spec):
    return shop.item("SYSTEM", f"PENDING#{spec.id}")


def kinds(warnings):
    return [warning.partition(":")[0] for warning in warnings]


def one_order_each(shop, specs):
    orders = shop.orders(*(spec.id for spec in specs))
    return sorted(order["orderId"] for order in orders) == sorted(spec.id for spec in specs)


def invocations(shop, run_id):
    """How many invocations of the producer sent a part of the run."""
    lines = shop.logged(shop.stack.producer)
    return [line["enqueued"] for line in lines if line["run_id"] == run_id and "enqueued" in line]


# --- volume and running out -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_parts(open_shop):
    """A shop whose producer goes on in another invocation after few sessions."""
    return open_shop(MaxSessions=10)


def test_a_run_of_more_than_one_invocation_goes_on_by_itself_to_the_last_session(small_parts):
    shop, night = small_parts, small_parts.night()
    specs = [night.sells(f"{n:04}", created=night.end - HOUR - 180 * n) for n in range(450)]
    for spec in specs[::9]:
        night.webhook_writes(spec)
    first = night.produce()
    shop.settled(night.run_id)
    run = shop.run(night.run_id)
    assert first["enqueued"] < 450
    assert (first["status"], first["truncated"]) == ("running", False)
    assert len(invocations(shop, night.run_id)) > 1
    assert night.counters() == shop.state_counters() == (450, 450, 400, 50, 0)
    assert (run["status"], run["listed"], run["truncated"], run["warnings"]) == ("done", True, False, [])
    assert len(shop.outcomes(night.run_id)) == 450
    assert one_order_each(shop, specs)
    assert shop.state()["lastCoveredThrough"] == night.end - GRACE
    assert shop.queues() == (0, 0)


def test_a_hop_that_is_delivered_twice_neither_doubles_nor_ends_the_run(small_parts):
    shop, night = small_parts, small_parts.night()
    specs = [night.sells(f"{n:04}", created=night.end - HOUR - 180 * n) for n in range(450)]
    for spec in specs:
        night.webhook_writes(spec)
    night.produce()
    for _ in range(3):
        shop.stack.start_producer({"trigger": "continue", "runId": night.run_id, "hop": 1})
    shop.settled(night.run_id)
    assert night.counters() == shop.state_counters() == (450, 450, 0, 450, 0)
    assert len(shop.outcomes(night.run_id)) == 450


def test_a_maximum_that_is_asked_for_is_a_hard_limit_and_no_hop_goes_beyond_it(small_parts):
    shop, night = small_parts, small_parts.night()
    specs = [night.sells(f"{n:04}", created=night.end - HOUR - 180 * n) for n in range(150)]
    covered = shop.state()["lastCoveredThrough"]
    body = shop.body(night.event | {"maxSessions": 120})
    shop.settled(night.run_id)
    assert (body["enqueued"], body["truncated"]) == (120, True)
    assert night.counters() == (120, 120, 120, 0, 0)
    assert one_order_each(shop, specs[30:])  # the oldest
    assert shop.orders(*(spec.id for spec in specs[:30])) == []
    assert shop.state()["lastCoveredThrough"] == covered


def test_lambda_lets_the_producer_and_nobody_else_call_itself_as_often_as_it_needs_to(shop):
    client = shop.stack.client("lambda")
    ends = {"producer": "Allow", "consumer": "Terminate"}
    for name, loop in ends.items():
        function = getattr(shop.stack, name)
        assert client.get_function_recursion_config(FunctionName=function)["RecursiveLoop"] == loop


def test_the_producer_runs_on_where_lambda_would_stop_a_chain(shop, night):
    """The emulator counts a chain's invocations in a header, as Lambda does in its own."""
    client = shop.stack.client("lambda")

    def far_down_the_chain(request, **_):
        request.headers["X-Ministack-Invoke-Depth"] = str(LONGEST_CHAIN)

    events = client.meta.events
    events.register("before-sign.lambda.Invoke", far_down_the_chain)
    try:
        body = shop.body(night.event)
        with pytest.raises(client.exceptions.RecursiveInvocationException):
            client.invoke(FunctionName=shop.stack.consumer, Payload=b'{"Records": []}')
    finally:
        events.unregister("before-sign.lambda.Invoke", far_down_the_chain)
    assert body["status"] == "success"


# --- delayed payment ------------------------------------------------------------------------------------


def test_an_unpaid_session_waits_is_paid_days_later_and_becomes_an_order_that_ends_the_wait(
    calendar, tonight
):
    unpaid = tonight.sells("later", payment_status="unpaid")
    tonight.passes()
    assert tonight.outcome(unpaid)["reason"] == "unpaid"
    waiting = pending(calendar, unpaid)
    assert waiting["sessionId"] == unpaid.id
    assert 89 * DAY < int(waiting["expiresAt"]) - time.time() <= 90 * DAY
    assert calendar.orders(unpaid.id) == []

    seen_again = calendar.night()
    seen_again.passes()  # lists it once more, and need not ask
    assert calendar.stripe.calls.count(Endpoint.RETRIEVE, session=unpaid.id) == 0
    for asked in (1, 2):
        later = calendar.night()
        later.passes()
        assert later.outcome(unpaid)["reason"] == "unpaid"
        assert calendar.stripe.calls.count(Endpoint.RETRIEVE, session=unpaid.id) == asked
    assert pending(calendar, unpaid)["expiresAt"] == waiting["expiresAt"]

    after_payment = calendar.night()
    calendar.sells(replace(unpaid, payment_status="paid", async_paid_at=after_payment.end - HOUR))
    after_payment.passes()
    assert after_payment.outcome(unpaid)["outcome"] == "created"
    order = calendar.order(unpaid)
    assert (order["stripePaymentStatus"], order["syncRunId"]) == ("paid", after_payment.run_id)
    assert pending(calendar, unpaid) == {}

    one_more = calendar.night()
    one_more.passes()
    assert one_more.outcome(unpaid) == {}
    assert one_order_each(calendar, [unpaid])


def test_a_session_whose_webhook_writes_its_order_in_the_end_waits_no_longer(calendar, tonight):
    unpaid = tonight.sells("webhook", payment_status="unpaid")
    tonight.passes()
    calendar.night().passes()  # lists it once more
    later = calendar.night()
    tonight.webhook_writes(unpaid)
    later.passes()
    assert later.outcome(unpaid)["reason"] == "exists"
    assert pending(calendar, unpaid) == {}
    assert one_order_each(calendar, [unpaid])


# --- the race with the webhook --------------------------------------------------------------------------


def test_an_order_is_written_with_the_marker_of_the_event_that_its_webhook_may_still_get(shop, night):
    lost = night.sells("lost", event_delivered=False)
    delivered = night.sells("delivered")
    async_paid = night.sells("paidlate", event_delivered=False, async_paid_at=night.end - HOUR // 2)
    night.passes()
    assert night.counters() == (3, 3, 3, 0, 0)
    marker = marker_of(shop, lost.completed_event_id)
    processed_at, expires_at = marker.pop("processedAt"), marker.pop("expiresAt")
    assert marker == {
        "PK": f"EVENT#{lost.completed_event_id}",
        "SK": "METADATA",
        "eventType": COMPLETED,
        "sessionId": lost.id,
        "status": "completed",
        "orderCreated": True,
        "orderNumber": shop.order(lost)["orderNumber"],
        "source": "nightly_sync",
    }
    assert processed_at == shop.order(lost)["syncedAt"]
    assert 89 * DAY < int(expires_at) - time.time() <= 90 * DAY
    assert marker_of(shop, delivered.completed_event_id) == {}
    kinds = [
        marker_of(shop, event)["eventType"]
        for event in (async_paid.completed_event_id, async_paid.async_paid_event_id)
    ]
    assert kinds == [COMPLETED, "checkout.session.async_payment_succeeded"]


def test_a_webhook_that_acknowledged_and_wrote_nothing_keeps_its_marker_and_gets_its_order(shop, night):
    spec = night.sells("silent", event_delivered=False)
    marker = {
        "PK": {"S": f"EVENT#{spec.completed_event_id}"},
        "SK": {"S": "METADATA"},
        "sessionId": {"S": spec.id},
        "orderCreated": {"BOOL": False},
    }
    shop.stack.client("dynamodb").put_item(TableName=shop.stack.table, Item=marker)
    night.passes()
    assert night.counters() == (1, 1, 1, 0, 0)
    assert one_order_each(shop, [spec])
    assert shop.dump()[(f"EVENT#{spec.completed_event_id}", "METADATA")] == marker


def test_what_was_completed_in_the_grace_is_left_to_the_next_run_which_finds_it(calendar, tonight):
    opened = tonight.end - 5 * HOUR
    just_in_time = tonight.sells("intime", created=opened, completed_at=tonight.end - GRACE)
    young = [
        tonight.sells("early", created=opened, completed_at=tonight.end - GRACE + 1),
        tonight.sells("paid", created=opened - 1, async_paid_at=tonight.end - 5 * MINUTE),
        tonight.sells("late", created=tonight.end - GRACE + 1),
    ]
    tonight.passes()
    assert one_order_each(calendar, [just_in_time])
    assert calendar.orders(*(spec.id for spec in young)) == []
    calendar.night().passes()
    assert one_order_each(calendar, [just_in_time, *young])


def test_a_session_that_completes_after_the_run_it_was_open_in_is_found_by_the_next(calendar, tonight):
    """Completed 22 hours later, when it is 27 hours old: older than the 25 hours of the setting."""
    opened = tonight.end - 3 * HOUR
    session = tonight.sells("open", created=opened, status="open", payment_status="unpaid")
    tonight.passes()
    done = replace(session, status="complete", payment_status="paid", completed_at=opened + 22 * HOUR)
    calendar.sells(done)
    following = calendar.night()
    run = following.passes()
    assert following.outcome(done)["outcome"] == "created"
    assert run["lookbackStart"] == tonight.end - GRACE - DAY - 10 * MINUTE


def test_a_key_that_may_not_read_events_loses_the_fence_and_not_the_run(shop, night):
    spec = night.sells("sold", event_delivered=False)
    shop.stripe.faults.forbidden(endpoint=Endpoint.EVENTS)
    body = night.produce()
    shop.settled(night.run_id)
    assert night.counters() == (1, 1, 1, 0, 0)
    assert kinds(body["warnings"]) == ["no_events"]
    assert marker_of(shop, spec.completed_event_id) == {}


def test_the_fence_can_be_turned_off(open_shop):
    shop = open_shop(WebhookFence="false", GraceMinutes=30)
    night = shop.night()
    spec = night.sells("sold", event_delivered=False)
    body = night.produce()
    shop.settled(night.run_id)
    assert one_order_each(shop, [spec])
    assert marker_of(shop, spec.completed_event_id) == {}
    assert body["lookbackWindow"]["to"] == iso(night.end - 30 * MINUTE)


# --- refunds --------------------------------------------------------------------------------------------


def test_what_was_refunded_or_lost_in_a_dispute_before_the_run_is_not_shipped(shop, night):
    gone = [
        night.sells("refunded", amount_refunded=1500),
        night.sells("lost", dispute_status="lost"),
    ]
    stands = [
        night.sells("partly", amount_refunded=1499),
        night.sells("won", dispute_status="won"),
        night.sells("open", dispute_status="needs_response"),
    ]
    night.passes()
    assert night.counters() == shop.state_counters() == (5, 5, 3, 2, 0)
    assert {night.outcome(spec)["reason"] for spec in gone} == {"refunded"}
    assert shop.orders(*(spec.id for spec in gone)) == []
    assert one_order_each(shop, stands)


@pytest.mark.parametrize("expanding", ["payment_intent", "payment_intent.latest_charge"])
def test_a_key_that_may_not_read_charges_writes_the_orders_and_says_so_once(shop, night, expanding):
    specs = [night.sells(f"sold{n}") for n in range(3)]
    refunded = night.sells("refunded", amount_refunded=1500)
    shop.stripe.faults.forbidden(endpoint=Endpoint.RETRIEVE, expanding=expanding)
    run = night.passes()
    assert night.counters() == (4, 4, 4, 0, 0)
    assert one_order_each(shop, [*specs, refunded])
    assert kinds(run["warnings"]) == ["no_charges"]


def test_a_key_that_may_not_read_disputes_writes_the_order(shop, night):
    disputed = night.sells("disputed", dispute_status="lost")
    shop.stripe.faults.forbidden(endpoint=Endpoint.DISPUTES)
    night.passes()
    assert one_order_each(shop, [disputed])


# --- drift ----------------------------------------------------------------------------------------------


def test_an_order_that_says_something_else_than_stripe_is_counted_named_and_left_alone(shop, night):
    wrong_amount, wrong_currency, unpaid, doubled, right, lacking = (
        night.sells(name) for name in ("amount", "currency", "unpaid", "doubled", "right", "lacking")
    )
    night.webhook_writes(wrong_amount, amount=1499)
    night.webhook_writes(wrong_currency, currency="eur")
    night.webhook_writes(unpaid, stripePaymentStatus="unpaid")
    night.webhook_writes(doubled)
    shop.webhook_writes(doubled, night.user, doubled.created + 99)
    night.webhook_writes(right, currency="USD", stripePaymentStatus="paid")
    night.webhook_writes(lacking)
    orders = {key: item for key, item in shop.dump().items() if key[0].startswith("USER#")}
    run = night.passes()
    drift = {
        spec.id: [what.partition(":")[0] for what in night.outcome(spec).get("drift", [])]
        for spec in (wrong_amount, wrong_currency, unpaid, doubled, right, lacking)
    }
    assert drift == {
        wrong_amount.id: ["amount"],
        wrong_currency.id: ["currency"],
        unpaid.id: ["payment_status"],
        doubled.id: ["duplicate"],
        right.id: [],
        lacking.id: [],
    }
    assert night.counters() == (6, 6, 0, 6, 0)
    assert run["drifted"] == shop.state()["lastSyncDrifted"] == 4
    (named,) = night.outcome(doubled)["drift"]
    assert all(f"#{at}#{doubled.id}" in named for at in (doubled.created + 41, doubled.created + 99))
    after = shop.dump()
    assert {key: after[key] for key in orders} == orders
    logged = [line["message"] for line in shop.logged(shop.stack.consumer)]
    assert sum(message.startswith("Order drifts from Stripe: ") for message in logged) == 4


def test_a_night_without_drift_counts_none(shop, night):
    night.webhook_writes(night.sells("sold"))
    night.passes()
    assert shop.state()["lastSyncDrifted"] == 0


# --- windows and the watermark --------------------------------------------------------------------------


def test_a_backfill_looks_at_exactly_the_period_and_leaves_the_watermark(shop, night):
    begin, end = night.end - 300 * DAY, night.end - 299 * DAY
    inside = [night.sells("first", created=begin), night.sells("last", created=end)]
    outside = [night.sells("before", created=begin - 1), night.sells("after", created=end + 1)]
    covered = shop.state()["lastCoveredThrough"]
    body = by_hand(shop, **{"from": iso(begin), "to": iso(end)})
    assert (body["trigger"], body["lookbackWindow"]) == ("manual", {"from": iso(begin), "to": iso(end)})
    assert shop.counters(body["runId"]) == (2, 2, 2, 0, 0)
    assert one_order_each(shop, inside)
    assert shop.orders(*(spec.id for spec in outside)) == []
    assert shop.state()["lastCoveredThrough"] == covered


MARCH = {"from": "2025-03-01T00:00:00Z", "to": "2025-03-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"from": MARCH["from"]}, "to"),
        ({"to": MARCH["to"]}, "from"),
        (MARCH | {"from": "yesterday"}, "from"),
        (MARCH | {"to": "2025-03-02T00:00:00"}, "to"),
        (MARCH | {"to": None}, "to"),
        (MARCH | {"from": 1_740_787_200}, "from"),
        ({"from": MARCH["to"], "to": MARCH["from"]}, "from"),
        ({"from": MARCH["from"], "to": MARCH["from"]}, "from"),
        (MARCH | {"lookbackHours": 24}, "lookbackHours"),
        (MARCH | {"trigger": "scheduled", "scheduledTime": MARCH["to"]}, "from"),
    ],
    ids=json.dumps,
)
def test_a_wrong_period_is_answered_400_names_the_field_and_nothing_is_written(shop, event, named):
    before, asked = shop.dump(), len(shop.stripe.calls)
    answer = shop.stack.invoke_producer(event)
    assert (answer["statusCode"], answer["body"]["error"]) == (400, "InvalidRequest")
    assert named in answer["body"]["message"]
    assert (shop.dump(), len(shop.stripe.calls)) == (before, asked)


def test_the_watermark_moves_with_a_scheduled_run_and_with_no_shorter_one(calendar, tonight):
    def covered():
        return calendar.state()["lastCoveredThrough"]

    before = covered()
    assert before < tonight.end - GRACE
    by_hand(calendar, requestedAt=tonight.scheduled_time, lookbackHours=1)
    calendar.body(tonight.event | {"dryRun": True})
    assert covered() == before
    tonight.passes()
    assert covered() == tonight.end - GRACE
    tonight.produce()  # the same schedule once more
    by_hand(calendar, requestedAt=iso(tonight.end + HOUR), lookbackHours=1)
    assert covered() == tonight.end - GRACE


def test_after_nights_without_a_run_the_next_one_covers_them_all(calendar, tonight):
    missed = [tonight, *(calendar.night() for _ in range(4))]
    specs = [night.sells("missed") for night in missed]
    covered = int(calendar.state()["lastCoveredThrough"])
    back = calendar.night()
    body = back.produce()
    calendar.settled(back.run_id)
    window = {"from": iso(covered - DAY - 10 * MINUTE), "to": iso(back.end - GRACE)}
    assert (body["lookbackWindow"], body["warnings"]) == (window, [])
    assert one_order_each(calendar, specs)
    assert calendar.state()["lastCoveredThrough"] == back.end - GRACE


def test_after_more_than_thirty_nights_the_run_says_what_nobody_has_looked_at(calendar, tonight):
    for _ in range(33):
        calendar.night()
    back = calendar.night()
    back.sells("sold")
    covered = int(calendar.state()["lastCoveredThrough"])
    body = back.produce()
    calendar.settled(back.run_id)
    assert body["lookbackWindow"]["from"] == iso(back.end - 30 * DAY)
    assert kinds(body["warnings"]) == ["gap"]
    assert iso(covered - DAY - 10 * MINUTE) in body["warnings"][0]
    logged = [line["message"] for line in calendar.logged(calendar.stack.producer)]
    assert body["warnings"][0] in logged


def test_a_scheduled_run_that_finds_nothing_after_nights_that_found_something_says_so(calendar, tonight):
    tonight.sells("sold")
    tonight.passes()
    calendar.stripe.store.clear()
    empty = calendar.night()
    assert empty.produce()["enqueued"] == 0
    calendar.settled(empty.run_id)
    assert kinds(calendar.run(empty.run_id)["warnings"]) == ["no_sessions"]


def test_the_logs_name_run_and_session_and_no_customer_and_no_key(shop, calendar, small_parts):
    for each in (shop, calendar, small_parts):
        each.check_logs()
