"""Nothing is missed: late completions, missed nights, delayed payments, webhooks that come late, refunds."""

from dataclasses import replace

import pytest
from botocore.exceptions import EndpointConnectionError

from recon.errors import HopFailed, KeyNotAllowed, StripeUnavailable
from recon.stripe.connection import StripeConnection
from recon.timestamps import DAY, HOUR, MINUTE, to_iso, to_run_id
from testkit.builders import NOW, a_message
from testkit.doubles.faults import Killed, killed_after, killed_before, on, raising
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import wire

GRACE = 10 * MINUTE


def spec(session_id="cs_test_session1", created=NOW - HOUR, **changes):
    return SessionSpec(session_id, created, **{"metadata": {"userId": "u1"}} | changes)


def at_night(world, nights=0):
    """A scheduled run so many nights later, at its time."""
    when = NOW + nights * DAY
    world.clock.now = max(world.clock.now, when)
    return world.night({"trigger": "scheduled", "scheduledTime": to_iso(when)})


def run_id(nights):
    return to_run_id(NOW + nights * DAY)


def watermark(world):
    return world.state().get("lastCoveredThrough")


# Late completion and missed nights


def test_a_session_that_completes_after_the_run_it_was_open_in_is_found_by_the_next(world):
    session = spec(created=NOW - 4 * HOUR, status="open")
    world.sells(session)
    at_night(world)
    assert world.orders() == []
    world.sells(replace(session, status="complete", completed_at=NOW + HOUR))
    at_night(world, 1)
    assert len(world.orders(session.id)) == 1


def test_the_watermark_moves_with_each_scheduled_run_that_is_done(world):
    assert watermark(world) is None
    at_night(world)
    assert watermark(world) == NOW - GRACE
    at_night(world, 1)
    assert watermark(world) == NOW + DAY - GRACE


def test_it_moves_when_the_run_is_done_and_not_before(world):
    world.sells(spec())
    world.body()
    assert watermark(world) is None
    world.drain()
    assert watermark(world) == NOW - GRACE


@pytest.mark.parametrize(
    "event",
    [{"lookbackHours": 1}, {"from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z"}, {"dryRun": True}],
)
def test_a_run_that_saw_less_leaves_the_watermark(world, event):
    at_night(world)
    world.clock.now += 5 * HOUR
    world.body(event)
    world.drain()
    assert watermark(world) == NOW - GRACE


def test_a_failed_run_leaves_the_watermark_and_the_next_one_covers_its_night(world):
    at_night(world)
    lost = world.sells(spec(created=NOW + 20 * HOUR, completed_at=NOW + 21 * HOUR))
    world.stripe.faults.server_error()
    world.clock.now = NOW + DAY
    with pytest.raises(StripeUnavailable):
        world.produce({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY)})
    assert watermark(world) == NOW - GRACE
    world.stripe.faults.clear()
    for night in (4, 5):
        at_night(world, night)
    assert len(world.orders(lost.id)) == 1
    assert world.run(run_id(1))["status"] == "failed"
    assert watermark(world) == NOW + 5 * DAY - GRACE


def test_a_first_night_that_failed_is_covered_by_the_second(world):
    lost = world.sells(spec(created=NOW - 10 * HOUR))
    world.stripe.faults.server_error()
    with pytest.raises(StripeUnavailable):
        world.produce()
    world.stripe.faults.clear()
    world.clock.now += HOUR
    world.body({"lookbackHours": 1})
    world.drain()
    assert watermark(world) is None
    at_night(world, 1)
    assert len(world.orders(lost.id)) == 1
    assert watermark(world) == NOW + DAY - GRACE


def test_five_nights_of_outage_are_covered_by_the_next_run(world):
    at_night(world)
    for night in range(5):
        world.sells(spec(f"cs_test_night{night}", NOW + night * DAY + 8 * HOUR))
    at_night(world, 5)
    assert len(world.orders()) == 5


def test_more_than_thirty_days_are_said_loudly(capfd, make_world):
    world = make_world()
    at_night(world)
    run = at_night(world, 45)
    assert run["warnings"][0].startswith("gap: ")
    printed = capfd.readouterr().out
    assert '"level":"WARNING"' in printed
    assert '"RunWarnings":[1.0]' in printed or '"RunWarnings":[2.0]' in printed
    assert watermark(world) == NOW + 45 * DAY - GRACE


def test_a_truncated_scheduled_run_moves_the_watermark_to_where_its_listing_got_to(world):
    at_night(world)
    for n in range(10):
        world.sells(spec(f"cs_test_{n}", NOW + n * HOUR))
    world.clock.now = NOW + DAY
    world.night({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY), "maxSessions": 4})
    assert world.run(run_id(1))["truncated"] is True
    # Four were sent; the fifth was created four hours after the first.
    assert watermark(world) == NOW + 4 * HOUR - 1
    at_night(world, 2)
    assert len(world.orders()) == 10


def test_an_overtaken_run_still_moves_the_watermark_when_it_is_done(world):
    at_night(world)
    world.sells(spec(created=NOW + 20 * HOUR, completed_at=NOW + 21 * HOUR))
    world.clock.now = NOW + DAY
    world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + DAY)})
    world.clock.now += MINUTE
    world.body({"lookbackHours": 1})
    world.drain()
    assert world.state()["lastSyncRunId"] != run_id(1)
    assert watermark(world) == NOW + DAY - GRACE


# Delayed payment


def test_an_unpaid_session_waits_and_is_written_when_it_is_paid(world):
    session = world.sells(spec(payment_status="unpaid"))
    at_night(world)
    pending = world.item("SYSTEM", f"PENDING#{session.id}")
    assert pending["expiresAt"] == pytest.approx(NOW + 90 * DAY, abs=60)
    assert world.outcome(session.id)["reason"] == "unpaid"
    for night in (1, 2, 3, 4):
        at_night(world, night)
        assert world.orders() == []
    assert world.item("SYSTEM", f"PENDING#{session.id}")["expiresAt"] == pending["expiresAt"]
    world.sells(replace(session, payment_status="paid", async_paid_at=NOW + 4 * DAY + HOUR))
    at_night(world, 5)
    assert len(world.orders(session.id)) == 1
    assert world.item("SYSTEM", f"PENDING#{session.id}") is None
    assert world.counters(run_id(5)) == (1, 1, 1, 0, 0)
    at_night(world, 6)
    assert world.counters(run_id(6)) == (0, 0, 0, 0, 0)


def test_a_pending_session_that_was_paid_within_the_grace_is_left_to_the_next_run(world):
    """Its webhook may be at work, and it is older than what the run lists."""
    session = world.sells(spec(payment_status="unpaid"))
    for night in range(3):
        at_night(world, night)
    world.sells(replace(session, payment_status="paid", async_paid_at=NOW + 3 * DAY - 5 * MINUTE))
    at_night(world, 3)
    assert world.orders() == []
    at_night(world, 4)
    assert len(world.orders(session.id)) == 1


def test_a_pending_session_is_fetched_once_a_night_and_needs_no_events(world, monkeypatch):
    world.sells(spec(payment_status="unpaid"))
    at_night(world)
    at_night(world, 1)
    world.stripe.calls.clear()
    at_night(world, 4)
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == 1


def test_a_pending_session_whose_webhook_wrote_the_order_is_forgotten_without_asking_stripe(world):
    session = world.sells(spec(payment_status="unpaid"))
    at_night(world)
    at_night(world, 1)
    world.webhook_writes(session.id, "u1", NOW + 3 * DAY)
    world.stripe.calls.clear()
    at_night(world, 4)
    assert world.outcome(session.id, run_id(4))["reason"] == "exists"
    assert world.item("SYSTEM", f"PENDING#{session.id}") is None
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == 0


def test_a_message_from_before_the_payment_leaves_nothing_waiting_beside_the_order(world):
    session = world.sells(spec(payment_status="unpaid"))
    at_night(world)
    assert world.item("SYSTEM", f"PENDING#{session.id}")
    by_hand = world.body({"lookbackHours": 2})["runId"]
    world.webhook_writes(session.id, "u1", NOW + 60, stripePaymentStatus="paid")
    world.drain()
    assert world.outcome(session.id, by_hand)["reason"] == "exists"
    assert world.item("SYSTEM", f"PENDING#{session.id}") is None


def test_a_pending_session_in_the_window_is_counted_once(world):
    session = world.sells(spec(created=NOW - HOUR, payment_status="unpaid"))
    at_night(world)
    world.sells(replace(session, payment_status="paid", async_paid_at=NOW + HOUR))
    at_night(world, 1)
    assert world.counters(run_id(1)) == (1, 1, 1, 0, 0)
    assert world.item("SYSTEM", f"PENDING#{session.id}") is None


def test_a_run_by_hand_does_not_ask_about_pending_sessions(world):
    world.sells(spec(payment_status="unpaid"))
    at_night(world)
    world.clock.now = NOW + 5 * DAY
    assert world.body({"lookbackHours": 1})["enqueued"] == 0


def test_pending_sessions_beyond_a_hard_maximum_are_said_to_be_left_out(world):
    for n in range(3):
        world.sells(spec(f"cs_test_{n}", payment_status="unpaid"))
    at_night(world)
    at_night(world, 1)
    world.clock.now = NOW + 4 * DAY
    event = {"trigger": "scheduled", "scheduledTime": to_iso(NOW + 4 * DAY), "maxSessions": 2}
    body = world.body(event)
    assert (body["enqueued"], body["truncated"]) == (2, True)
    assert body["warnings"][0].startswith("truncated")


def test_a_pending_entry_that_cannot_be_read_stops_nobody(world):
    session = world.sells(spec())
    broken = {"PK": "SYSTEM", "SK": "PENDING#cs_broken", "message": "{}"}
    world.memory.put_item(TableName="commerce", Item=wire(broken))
    at_night(world)
    assert len(world.orders(session.id)) == 1


def test_a_payment_that_settled_while_nobody_knew_the_session_is_not_lost(world):
    """Complete and unpaid during missed nights, so nothing waits for it; it settles just before the run,
    whose grace leaves it out, and the next window begins after it was created."""
    at_night(world)
    session = world.sells(spec(created=NOW + 8 * HOUR, payment_status="unpaid"))
    paid = NOW + 4 * DAY - MINUTE
    world.sells(replace(session, payment_status="paid", async_paid_at=paid))
    at_night(world, 4)
    assert world.orders() == []
    assert world.item("SYSTEM", f"PENDING#{session.id}")
    at_night(world, 5)
    assert len(world.orders(session.id)) == 1


def test_a_payment_that_settles_between_listing_and_fetch_is_left_to_the_next_run(world):
    """The message knows nothing of its event, so the order would go in without a fence."""
    session = world.sells(spec(payment_status="unpaid", event_delivered=False))
    for night in (0, 1):
        at_night(world, night)
    world.clock.now = NOW + 4 * DAY
    world.body({"trigger": "scheduled", "scheduledTime": to_iso(NOW + 4 * DAY)})
    world.sells(replace(session, payment_status="paid", async_paid_at=NOW + 4 * DAY + 20))
    world.clock.now += 25
    world.drain()
    assert world.orders() == []
    at_night(world, 5)
    assert len(world.orders(session.id)) == 1
    assert world.item(f"EVENT#{session.async_paid_event_id}", "METADATA")


def test_a_pending_message_that_comes_back_after_days_is_left_to_the_next_run(world):
    """Redriven: the events of so many days would have to be asked for, and the next run does that anyway."""
    session = world.sells(spec(async_paid_at=NOW - HOUR))
    asked = a_message(
        session_id=session.id, user_id="u1", payment_status="unpaid", pending=NOW - 2 * DAY, event_ids=()
    )
    world.sends(asked)
    world.drain()
    assert world.outcome(session.id)["reason"] == "unpaid"
    assert world.item("SYSTEM", f"PENDING#{session.id}")
    assert world.orders() == []


def test_pending_sessions_that_were_sent_and_settled_before_they_were_counted_are_counted(world):
    session = world.sells(spec(payment_status="unpaid"))
    for night in (0, 1):
        at_night(world, night)
    world.sells(replace(session, payment_status="paid", async_paid_at=NOW + 2 * DAY))
    world.clock.now = NOW + 4 * DAY
    event = {"trigger": "scheduled", "scheduledTime": to_iso(NOW + 4 * DAY)}
    world.dynamodb.plan = on(
        "transact_write_items", killed_before(), nth=world.history.count("transact_write_items") + 2
    )
    with pytest.raises(Killed):
        world.produce(event)
    world.dynamodb.plan = lambda call: None
    world.drain()
    assert len(world.orders(session.id)) == 1
    world.night(event)
    assert world.counters(run_id(4)) == (1, 1, 1, 0, 0)
    assert world.run(run_id(4))["status"] == "done"


def test_a_session_that_completes_while_it_is_listed_is_left_to_the_next_run(world):
    session = world.sells(spec(created=NOW - HOUR, status="open"))

    def completes(request):
        if request.endpoint is Endpoint.LIST:
            world.clock.now = NOW + 5
            world.sells(replace(session, status="complete", completed_at=NOW + 4))

    world.stripe.on_request = completes
    at_night(world)
    world.stripe.on_request = None
    assert world.outcome(session.id) is None
    at_night(world, 1)
    assert len(world.orders(session.id)) == 1


# Running out


def sells_many(world, count):
    """Spread over the window, and of nobody, so that the consumer has nothing to fetch."""
    for n in range(count):
        created = NOW - GRACE - 1 - n * 85_000 // count
        world.sells(SessionSpec(f"cs_test_{n:04}", created, completed_at=NOW - GRACE))


@pytest.mark.parametrize("fault", [killed_before(), killed_after()], ids=lambda fault: fault.name)
@pytest.mark.parametrize("method", ["invoke", "transact_write_items", "send_message_batch"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_hop_that_dies_anywhere_is_retried_and_neither_doubles_nor_ends_the_chain(
    make_world, fault, method, nth
):
    world = make_world(SYNC_MAX_SESSIONS="300")
    sells_many(world, 1200)
    clients = {"invoke": world.lambda_client, "send_message_batch": world.sqs}
    clients.get(method, world.dynamodb).plan = on(method, fault, nth=nth)
    pending = [{"trigger": "scheduled", "scheduledTime": to_iso(NOW)}]
    while pending:
        event = pending.pop(0)
        try:
            world.produce(event)
        except Killed:
            pending.append(event)  # Lambda retries an asynchronous invocation that died
        pending += world.hops
        world.hops.clear()
    world.drain()
    assert world.counters() == (1200, 1200, 0, 1200, 0)
    assert world.run()["status"] == "done"


def test_a_hop_that_comes_after_its_run_was_given_up_goes_on_with_it(make_world):
    world = make_world(SYNC_MAX_SESSIONS="300")
    sells_many(world, 1500)
    world.produce({"trigger": "scheduled", "scheduledTime": to_iso(NOW)})
    hop = world.hops.pop()
    world.clock.now += HOUR
    world.body({"lookbackHours": 1})
    assert world.run()["status"] == "failed"
    world.produce(hop)
    world.hop_all()
    world.drain()
    assert world.run()["status"] == "done"
    assert world.counters() == (1500, 1500, 0, 1500, 0)


def test_a_hop_delivered_twice_counts_everything_once(make_world):
    world = make_world(SYNC_MAX_SESSIONS="300")
    sells_many(world, 1500)
    world.produce({"trigger": "scheduled", "scheduledTime": to_iso(NOW)})
    while world.hops:
        hop = world.hops.pop(0)
        world.produce(hop)
        world.produce(hop)
    world.drain()
    assert world.counters() == (1500, 1500, 0, 1500, 0)


def test_a_hop_that_cannot_be_invoked_raises_so_that_lambda_tries_again(make_world):
    world = make_world(SYNC_MAX_SESSIONS="300")
    sells_many(world, 1500)
    world.lambda_client.plan = on(
        "invoke", raising(EndpointConnectionError(endpoint_url="https://lambda.test"))
    )
    with pytest.raises(HopFailed, match="Lambda: EndpointConnectionError"):
        world.produce()
    world.lambda_client.plan = lambda call: None
    assert world.body()["enqueued"] == 1500


@pytest.mark.parametrize("event", [{}, {"from": "2024-11-20T00:00:00Z", "to": "2024-11-27T00:00:00Z"}])
def test_lambdas_retry_of_a_run_by_hand_is_the_same_run(make_world, event):
    """The same request id, a minute later: without a look for its run it would be a second one."""
    world = make_world(SYNC_MAX_SESSIONS="300")
    sells_many(world, 1200)
    first = world.produce(event)["body"]["runId"]
    world.clock.now += MINUTE
    assert world.produce(event)["body"]["runId"] == first
    world.hop_all()
    world.drain()
    run = world.run(first)
    assert run["status"] == "done"
    assert run["enqueued"] == run["processed"]
    assert sum(item["SK"].startswith("STRIPE_ORDER_SYNC#") for item in world.items()) == 1


def test_an_invocation_that_only_got_past_empty_time_hands_over_too(world):
    """Progress is the cursor, not what was sent."""
    world.sells(SessionSpec("cs_test_last", NOW - HOUR, metadata={"userId": "u1"}))
    for n in range(150):
        world.sells(SessionSpec(f"cs_test_{n:03}", NOW - GRACE - 1 - n, completed_at=NOW - GRACE))

    def slow(request):
        world.clock.now += 6

    world.stripe.on_request = slow
    world.produce({"from": "2024-01-01T00:00:00Z", "to": to_iso(NOW - GRACE)}, timeout=60)
    assert len(world.hops) == 1
    world.stripe.on_request = None
    assert world.hop_all()["enqueued"] == 151


def test_an_invocation_that_runs_out_of_time_hands_over(world):
    sells_many(world, 5000)

    def slow(request):
        world.clock.now += 1

    world.stripe.on_request = slow
    first = world.produce(timeout=100)["body"]
    assert 0 < first["enqueued"] < 5000
    assert len(world.hops) == 1


# Backfill


def test_any_period_can_be_run_by_hand(world):
    session = world.sells(spec(created=NOW - 300 * DAY))
    body = world.body({"from": "2024-01-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"})
    assert body["lookbackWindow"] == {"from": "2024-01-01T00:00:00Z", "to": "2024-03-01T00:00:00Z"}
    world.drain()
    assert len(world.orders(session.id)) == 1


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"from": "2024-01-01T00:00:00Z"}, "to must be"),
        ({"to": "2024-01-01T00:00:00Z"}, "from must be"),
        ({"from": "yesterday", "to": "2024-01-01T00:00:00Z"}, "from must be"),
        ({"from": "2024-02-01T00:00:00Z", "to": "2024-01-01T00:00:00Z"}, "from must be before to"),
        ({"from": "2024-01-01T00:00:00Z", "to": "2024-01-01T00:00:00Z"}, "from must be before to"),
        ({"from": "2024-01-01T00:00:00Z", "to": None}, "to must be"),
        (
            {"from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z", "lookbackHours": 5},
            "lookbackHours",
        ),
    ],
)
def test_a_period_that_is_wrong_is_refused_by_name(world, event, named):
    answer = world.produce(event)
    assert (answer["statusCode"], named in answer["body"]["message"]) == (400, True)
    assert world.history.calls == []


# The race with the webhook


def test_what_was_completed_within_the_grace_is_left_to_the_next_run_which_sees_it(world):
    young = world.sells(spec(created=NOW - 5 * HOUR, completed_at=NOW - 5 * MINUTE))
    at_night(world)
    assert world.outcome(young.id) is None
    at_night(world, 1)
    assert len(world.orders(young.id)) == 1


def test_a_payment_that_settled_within_the_grace_is_left_to_the_next_run(world):
    session = world.sells(spec(created=NOW - 4 * DAY, payment_status="unpaid"))
    world.night({"requestedAt": to_iso(NOW - 3 * DAY), "lookbackHours": 48})
    world.sells(replace(session, payment_status="paid", async_paid_at=NOW - MINUTE))
    at_night(world)
    assert world.orders() == []
    at_night(world, 1)
    assert len(world.orders(session.id)) == 1


def test_an_event_that_a_webhook_may_still_get_is_marked_as_handled_with_the_order(world):
    session = world.sells(spec(event_delivered=False))
    at_night(world)
    marker = world.item(f"EVENT#{session.completed_event_id}", "METADATA")
    assert marker == {
        "PK": f"EVENT#{session.completed_event_id}",
        "SK": "METADATA",
        "eventType": "checkout.session.completed",
        "sessionId": session.id,
        "status": "completed",
        "orderCreated": True,
        "orderNumber": world.orders()[0]["orderNumber"],
        "source": "nightly_sync",
        "processedAt": marker["processedAt"],
        "expiresAt": marker["expiresAt"],
    }
    assert marker["expiresAt"] == pytest.approx(NOW + 90 * DAY, abs=60)


def test_the_type_of_an_event_travels_with_it(world):
    session = world.sells(spec(created=NOW - 3 * HOUR, async_paid_at=NOW - HOUR, event_delivered=False))
    at_night(world)
    marker = world.item(f"EVENT#{session.async_paid_event_id}", "METADATA")
    assert marker["eventType"] == "checkout.session.async_payment_succeeded"


def test_a_marker_that_is_there_proves_nothing_and_is_left_alone(world):
    """Acknowledged and never persisted: the commonest silent loss."""
    session = world.sells(spec(event_delivered=False))
    marker = {"PK": f"EVENT#{session.completed_event_id}", "SK": "METADATA", "orderCreated": False}
    world.memory.put_item(TableName="commerce", Item=wire(marker))
    at_night(world)
    assert len(world.orders(session.id)) == 1
    assert world.item(marker["PK"], "METADATA") == marker


def test_a_webhook_that_handles_its_event_while_we_commit_is_seen(world):
    """Marker and order appear between our look and our commit."""
    session = world.sells(spec(event_delivered=False))
    world.body()

    def webhook_is_faster(call):
        if call.method == "transact_write_items" and not world.orders():
            world.webhook_writes(session.id, "u1", NOW)
            marker = {"PK": f"EVENT#{session.completed_event_id}", "SK": "METADATA", "orderCreated": True}
            world.memory.put_item(TableName="commerce", Item=wire(marker))

    world.dynamodb.plan = webhook_is_faster
    world.drain()
    assert [order.get("source") for order in world.orders()] == [None]
    assert world.outcome(session.id)["reason"] == "exists"


def test_the_fence_can_be_turned_off(make_world):
    world = make_world(SYNC_WEBHOOK_FENCE="false")
    session = world.sells(spec(event_delivered=False))
    at_night(world)
    assert len(world.orders(session.id)) == 1
    assert world.item(f"EVENT#{session.completed_event_id}", "METADATA") is None


def forbid(monkeypatch, refuses):
    get = StripeConnection.get

    def checked(self, path, params, key):
        if refuses(path, params):
            raise KeyNotAllowed("403")
        return get(self, path, params, key)

    monkeypatch.setattr(StripeConnection, "get", checked)


def test_a_key_that_may_not_read_events_goes_on_without_a_fence_and_says_so(world, monkeypatch):
    forbid(monkeypatch, lambda path, _: path == "/v1/events")
    session = world.sells(spec(event_delivered=False))
    run = at_night(world)
    assert len(world.orders(session.id)) == 1
    assert [warning.partition(":")[0] for warning in run["warnings"]] == ["no_events"]


# Refunded before the run


def test_a_fully_refunded_session_is_skipped(world):
    session = world.sells(spec(amount_refunded=1500))
    partly = world.sells(spec("cs_test_partly", amount_refunded=100))
    at_night(world)
    assert world.outcome(session.id)["reason"] == "refunded"
    assert len(world.orders(partly.id)) == 1


def test_a_key_that_may_not_read_charges_goes_on_without_and_warns_once_a_run(world, monkeypatch):
    forbid(monkeypatch, lambda _, params: "payment_intent.latest_charge" in params.get("expand", []))
    for n in range(30):
        world.sells(spec(f"cs_test_{n}"))
    run = at_night(world)
    assert len(world.orders()) == 30
    assert [warning.partition(":")[0] for warning in run["warnings"]] == ["no_charges"]


@pytest.mark.parametrize(
    ("status", "reason"), [("lost", "refunded"), ("won", None), ("needs_response", None)]
)
def test_a_sale_is_skipped_when_its_dispute_was_lost(world, status, reason):
    session = world.sells(spec(dispute_status=status))
    at_night(world)
    assert world.outcome(session.id).get("reason") == reason


def test_a_key_that_may_not_read_disputes_says_so_too(world):
    session = world.sells(spec(dispute_status="lost"))
    world.stripe.faults.forbidden(endpoint=Endpoint.DISPUTES)
    run = at_night(world)
    assert len(world.orders(session.id)) == 1
    assert [warning.partition(":")[0] for warning in run["warnings"]] == ["no_charges"]


# Drift


def test_an_order_that_differs_from_stripe_is_named_and_left_alone(world):
    session = world.sells(spec())
    order = world.webhook_writes(
        session.id, "u1", NOW - 1800, amount=1, currency="gbp", stripePaymentStatus="unpaid"
    )
    run = at_night(world)
    assert world.orders() == [order]
    kinds = [drift.partition(":")[0] for drift in world.outcome(session.id)["drift"]]
    assert kinds == ["amount", "currency", "payment_status"]
    assert (run["drifted"], world.state()["lastSyncDrifted"]) == (1, 1)


def test_two_orders_of_one_session_are_drift_and_both_keys_are_named(world):
    session = world.sells(spec())
    first = world.webhook_writes(session.id, "u1", NOW - 1800)
    second = world.webhook_writes(session.id, "u1", NOW - 1700)
    at_night(world)
    (drift,) = world.outcome(session.id)["drift"]
    assert drift == f"duplicate: USER#u1/{first['SK']}, USER#u1/{second['SK']}"


def test_an_order_that_says_the_same_does_not_drift(world):
    session = world.sells(spec())
    world.webhook_writes(
        session.id, "u1", NOW - 1800, amount=1500, currency="usd", stripePaymentStatus="paid"
    )
    run = at_night(world)
    assert "drift" not in world.outcome(session.id)
    assert run["drifted"] == 0


# Suspicious


def test_nothing_at_all_is_suspicious_where_there_used_to_be_something(world):
    world.sells(spec())
    at_night(world)
    at_night(world, 1)
    assert world.counters(run_id(1))[0] == 1  # seen once more, for those that complete late
    assert at_night(world, 2)["warnings"][0].startswith("no_sessions: ")
    for night in range(3, 10):
        run = at_night(world, night)
    assert run["warnings"] == []  # seven quiet nights are what the shop is like by now


def test_a_session_that_waits_for_its_payment_does_not_hide_that_nothing_was_listed(world):
    world.sells(spec(payment_status="unpaid"))
    at_night(world)
    at_night(world, 1)
    run = at_night(world, 2)
    assert run["enqueued"] == 1
    assert run["warnings"][0].startswith("no_sessions: ")


def test_a_key_of_the_other_mode_is_named(world, monkeypatch):
    world.sells(spec())
    at_night(world)
    get = StripeConnection.get

    def live(self, path, params, key):
        data = get(self, path, params, key)
        for session in data.get("data", []) if path.endswith("sessions") else []:
            session["livemode"] = True
        return data

    monkeypatch.setattr(StripeConnection, "get", live)
    world.sells(spec("cs_test_other", NOW + HOUR))
    run = at_night(world, 1)
    assert run["warnings"][0].startswith("livemode: this run reads live sessions, the last one read test")
