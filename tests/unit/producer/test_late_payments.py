"""Sessions that are paid late, and webhooks that are still at work."""

from dataclasses import replace

import pytest

from recon.timestamps import DAY, HOUR, MINUTE
from testkit.builders import NOW
from testkit.doubles.faults import Killed, killed_before, on
from testkit.fake_stripe import Endpoint
from tests.unit.producer.nights import run_id, run_night, scheduled, session_spec


def pending_entry(world, session):
    return world.item("SYSTEM", f"PENDING#{session.id}")


@pytest.fixture
def unpaid(world):
    return world.sells(session_spec(payment_status="unpaid", event_delivered=False))


@pytest.fixture
def pay(world):
    def mark_paid(session, at):
        return world.sells(replace(session, payment_status="paid", async_paid_at=at))

    return mark_paid


def test_unpaid_session_is_pending_until_it_is_paid(world, unpaid, pay):
    run_night(world)
    entry = pending_entry(world, unpaid)
    assert entry["expiresAt"] > unpaid.created + 400 * DAY
    assert world.outcome(unpaid.id)["reason"] == "unpaid"
    for night in (1, 2, 3):
        run_night(world, night)
    world.stripe.calls.clear()
    run_night(world, 4)
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == 1
    assert world.orders() == []
    assert pending_entry(world, unpaid)["expiresAt"] == entry["expiresAt"]
    pay(unpaid, NOW + 4 * DAY + HOUR)
    run_night(world, 5)
    assert len(world.orders(unpaid.id)) == 1
    assert pending_entry(world, unpaid) is None
    assert world.counters(run_id(5)) == (1, 1, 1, 0, 0)
    run_night(world, 6)
    assert world.counters(run_id(6)) == (0, 0, 0, 0, 0)


def test_pending_session_paid_in_the_grace_waits_for_the_next_run(world, unpaid, pay):
    for night in range(3):
        run_night(world, night)
    pay(unpaid, NOW + 3 * DAY - 5 * MINUTE)
    run_night(world, 3)
    assert world.orders() == []
    run_night(world, 4)
    assert len(world.orders(unpaid.id)) == 1


def test_session_paid_in_the_grace_before_it_was_pending_is_kept(world, pay):
    """The missed nights stored no pending entry, and the next window starts after the session's creation."""
    run_night(world)
    session = pay(session_spec(created=NOW + 8 * HOUR), NOW + 4 * DAY - MINUTE)
    run_night(world, 4)
    assert world.orders() == []
    assert pending_entry(world, session)
    run_night(world, 5)
    assert len(world.orders(session.id)) == 1


def test_payment_after_the_listing_waits_for_the_next_run(world, unpaid, pay):
    """The message has no event of the payment, so the order would be written without a fence."""
    for night in (0, 1):
        run_night(world, night)
    world.clock.now = NOW + 4 * DAY
    world.body(scheduled(4))
    paid = pay(unpaid, NOW + 4 * DAY + 20)
    world.clock.now += 25
    world.drain()
    assert world.orders() == []
    run_night(world, 5)
    assert len(world.orders(unpaid.id)) == 1
    assert world.item(f"EVENT#{paid.async_paid_event_id}", "METADATA")


def test_pending_session_settled_before_it_was_counted_is_counted(world, unpaid, pay):
    for night in (0, 1):
        run_night(world, night)
    pay(unpaid, NOW + 2 * DAY)
    world.clock.now = NOW + 4 * DAY
    count = world.history.count("transact_write_items") + 2
    world.dynamodb.plan = on("transact_write_items", killed_before(), nth=count)
    with pytest.raises(Killed):
        world.produce(scheduled(4))
    world.dynamodb.plan = lambda call: None
    world.drain()
    assert len(world.orders(unpaid.id)) == 1
    run = run_night(world, 4)
    assert world.counters(run_id(4)) == (1, 1, 1, 0, 0)
    assert run["status"] == "done"


def test_session_completed_in_the_grace_is_left_to_the_next_run(world):
    young = world.sells(session_spec(created=NOW - 5 * HOUR, completed_at=NOW - 5 * MINUTE))
    run_night(world)
    assert world.outcome(young.id) is None
    run_night(world, 1)
    assert len(world.orders(young.id)) == 1


def test_session_completed_during_the_listing_is_left_to_the_next_run(world):
    session = session_spec(status="open")
    world.sells(session)

    def complete(request):
        if request.endpoint is Endpoint.LIST:
            world.clock.now = NOW + 5
            world.sells(replace(session, status="complete", completed_at=NOW + 4))

    world.stripe.on_request = complete
    run_night(world)
    world.stripe.on_request = None
    assert world.outcome(session.id) is None
    run_night(world, 1)
    assert len(world.orders(session.id)) == 1


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "completed"),
        ({"created": NOW - 3 * HOUR, "async_paid_at": NOW - HOUR}, "async_payment_succeeded"),
    ],
)
def test_undelivered_event_is_marked_as_handled_with_the_order(world, changes, name):
    session = world.sells(session_spec(event_delivered=False, **changes))
    run_night(world)
    event_id = session.completed_event_id if name == "completed" else session.async_paid_event_id
    marker = world.item(f"EVENT#{event_id}", "METADATA")
    assert (marker["eventType"], marker["sessionId"]) == (f"checkout.session.{name}", session.id)
    assert marker["orderNumber"] == world.orders()[0]["orderNumber"]
    assert marker["expiresAt"] == pytest.approx(NOW + 90 * DAY, abs=60)


def test_unpaid_order_of_the_webhook_does_not_end_the_wait(world, unpaid, pay):
    fields = {"amount": unpaid.amount_total, "currency": unpaid.currency}
    world.webhook_writes(unpaid.id, "u1", NOW - HOUR, stripePaymentStatus="unpaid", **fields)
    for night in range(4):
        run_night(world, night)
        assert world.outcome(unpaid.id, run_id(night))["reason"] == "unpaid"
        # Each later night also reads the proof session.
        assert world.stripe.calls.count(Endpoint.RETRIEVE) == max(0, night - 1) + night
    orders = world.orders(unpaid.id)
    pay(unpaid, NOW + 3 * DAY + HOUR)
    for night in (4, 5):
        run_night(world, night)
        outcome = world.outcome(unpaid.id, run_id(night))
        assert outcome["drift"] == ["payment_status: the order says unpaid, Stripe paid"]
        assert (outcome["reason"], outcome["attention"]) == ("exists", ["order_says_unpaid"])
    assert world.orders(unpaid.id) == orders
    world.webhook_writes(unpaid.id, "u1", NOW - HOUR, stripePaymentStatus="paid", **fields)
    run_night(world, 6)
    assert world.outcome(unpaid.id, run_id(6))["reason"] == "exists"
    assert "attention" not in world.outcome(unpaid.id, run_id(6))
    assert pending_entry(world, unpaid) is None
