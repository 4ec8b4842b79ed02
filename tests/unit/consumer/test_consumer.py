"""The consumer, batch by batch: what is written, what comes back, and what must never happen."""

import json
from dataclasses import replace

import pytest

from recon.domain.message import dumps
from recon.stripe.source import StripeSource
from recon.timestamps import HOUR
from testkit.builders import NOW, RUN, TABLE, a_message
from testkit.doubles.faults import (
    conflict,
    connection_closed,
    killed_after,
    killed_before,
    lost_response,
    on,
    service_error,
    throttled,
)
from testkit.fake_stripe import Endpoint, LineSpec, SessionSpec, ShippingSpec
from testkit.world import plain, wire


def spec(session_id="cs_test_missing1", **changes):
    return SessionSpec(session_id, NOW - HOUR, **{"metadata": {"userId": "u1"}} | changes)


def items_of(world, pk):
    return [item for item in world.items() if item["PK"] == pk]


# What is missing is written, what is there is left alone


def test_a_missing_order_is_written_once_and_the_run_is_done(world):
    world.sells(spec())
    run = world.night()
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert run["status"] == "done"
    assert world.state()["lastSyncStatus"] == "done"
    assert world.state()["lastSyncCompletedAt"] == run["syncCompletedAt"]
    (order,) = world.orders()
    assert order["SK"] == f"ORDER#{NOW - HOUR}#cs_test_missing1"
    assert (order["source"], order["syncRunId"]) == ("nightly_sync", RUN)


def test_case_1_a_repeat_customer_with_thirty_orders_gets_the_one_that_is_missing(world):
    for n in range(30):
        session = world.sells(replace(spec(f"cs_test_repeat{n:02}"), created=NOW - 7200 + n))
        world.webhook_writes(session.id, "u1", session.created + 40)
    missing = world.sells(replace(spec("cs_test_repeat99"), created=NOW - 7100))
    before = world.orders()
    world.night()
    assert world.counters() == (31, 31, 1, 30, 0)
    assert [order for order in world.orders() if order["orderId"] != missing.id] == before
    assert len(world.orders(missing.id)) == 1


def test_case_1_the_order_is_found_on_the_last_of_many_pages(make_world):
    world = make_world()
    world.memory.page_items = 3
    for n in range(20):
        world.webhook_writes(f"cs_other{n:02}", "u1", NOW - HOUR + n)
    session = world.sells(spec())
    world.webhook_writes(session.id, "u1", NOW - HOUR + 500)
    world.night()
    assert world.outcome(session.id)["reason"] == "exists"


def test_case_2_a_webhook_order_under_its_own_key_is_left_byte_for_byte(world):
    session = world.sells(spec())
    order = world.webhook_writes(session.id, "u1", NOW - 1800, status="shipped", amount=5)
    before = world.memory.dump()
    world.night()
    assert world.orders() == [order]
    assert world.outcome(session.id)["reason"] == "exists"
    assert before != world.memory.dump()  # the run's own records


@pytest.mark.parametrize("field", ["orderId", "stripeSessionId"])
def test_case_2_either_id_of_the_order_will_do(world, field):
    session = world.sells(spec())
    world.webhook_writes(session.id, "u1", NOW - 1800, **{field: "something else"})
    world.night()
    assert world.counters()[2:4] == (0, 1)


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        ({"metadata": {"userId": "u1", "user_id": "u2"}}, "u1"),
        ({"metadata": {"user_id": "u2"}}, "u2"),
        ({"metadata": {}, "email": "only@example.com"}, "only@example.com"),
        ({"metadata": {}, "email": "a+b@example.com"}, "ab@example.com"),
    ],
)
def test_case_3_the_order_lies_under_the_id_that_the_webhook_would_use(world, changes, user):
    world.sells(spec(**changes))
    world.night()
    (order,) = world.orders()
    assert (order["PK"], order["userId"]) == (f"USER#{user}", user)


def test_case_3_an_order_under_the_raw_id_is_found_as_well(world):
    session = world.sells(spec(metadata={}, email="a+b@example.com"))
    world.webhook_writes(session.id, "a+b@example.com", NOW - 1800)
    world.night()
    assert world.outcome(session.id)["reason"] == "exists"


def test_case_3_a_session_of_nobody_is_skipped(world):
    session = world.sells(spec(metadata={}))
    world.night()
    assert world.outcome(session.id)["reason"] == "no_user"
    assert world.orders() == []


@pytest.mark.parametrize("count", [1, 10, 11, 100, 250])
def test_case_4_every_line_item_is_in_the_order(world, count):
    world.sells(spec(lines=tuple(LineSpec(f"line {n}") for n in range(count))))
    world.night()
    (order,) = world.orders()
    assert order["itemCount"] == count
    assert [item["name"] for item in order["items"]] == [f"line {n}" for n in range(count)]


def test_case_4_a_paid_session_without_line_items_is_retried_and_never_an_empty_order(world):
    session = world.sells(spec(lines=()))
    run_id = world.body()["runId"]
    delivery = world.deliver()
    assert len(delivery.returned) == 1
    assert world.outcome(session.id) is None
    world.drain()
    assert world.orders() == []
    assert world.outcome(session.id)["errorType"] == "LineItemsMissing"
    assert world.counters(run_id) == (1, 1, 0, 0, 1)


def test_case_4_product_metadata_present_missing_deleted_and_no_price(world):
    metadata = {"sku": "S", "collection": "C", "variant_id": "V", "color": "red"}
    world.sells(
        spec(
            lines=(
                LineSpec("full", product_metadata=metadata),
                LineSpec("bare"),
                LineSpec("gone", product="deleted", product_metadata=metadata),
                LineSpec("free", has_price=False),
            )
        )
    )
    world.night()
    full, bare, gone, free = world.orders()[0]["items"]
    assert (full["sku"], full["collectionId"], full["variantId"], full["color"]) == ("S", "C", "V", "red")
    assert "sku" not in bare
    assert "sku" not in gone
    assert gone["stripeProductId"].startswith("prod_")
    assert "stripePriceId" not in free
    assert free["name"] == "free"


def test_case_5_a_free_session_is_an_order_without_amounts(world):
    world.sells(spec(currency=None, payment_status="no_payment_required"))
    world.night()
    (order,) = world.orders()
    assert "amount" not in order
    assert order["stripePaymentStatus"] == "no_payment_required"


def test_case_5_yen_stay_yen(world):
    world.sells(spec(currency="jpy", lines=(LineSpec(unit_amount=5000),)))
    world.night()
    (order,) = world.orders()
    assert (order["amount"], order["currency"], order["items"][0]["unitPrice"]) == (5000, "jpy", 5000)


@pytest.mark.parametrize("place", ["shipping_details", "collected_information"])
def test_case_5_shipping_is_found_in_the_old_and_in_the_new_place(world, place):
    world.sells(spec(shipping=ShippingSpec(city="Ulm", place=place)))
    world.night()
    assert world.orders()[0]["shippingAddress"]["city"] == "Ulm"


def test_case_5_no_shipping_and_no_customer_details_are_no_error(world):
    world.sells(spec(shipping=None, has_customer_details=False))
    world.night()
    (order,) = world.orders()
    assert not {"shippingAddress", "customerEmail", "customerPhone"} & order.keys()


def test_case_5_setup_and_unpaid_sessions_are_skipped_without_asking_stripe(world):
    setup = world.sells(spec("cs_test_setup", mode="setup", payment_status="no_payment_required"))
    unpaid = world.sells(spec("cs_test_unpaid", payment_status="unpaid"))
    world.night()
    assert world.outcome(setup.id)["reason"] == "not_a_sale"
    assert world.outcome(unpaid.id)["reason"] == "unpaid"
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == 0
    assert world.orders() == []


def test_an_order_too_old_for_its_time_to_live_is_not_written(make_world):
    world = make_world(ORDER_TTL_DAYS="1")
    old = world.sells(replace(spec(), created=NOW - 25 * HOUR))
    fresh = world.sells(spec("cs_test_fresh"))
    world.night()
    assert world.outcome(old.id)["reason"] == "expired"
    assert world.orders(fresh.id)[0]["expiresAt"] == NOW + 86_400


def test_what_stripe_says_by_now_counts(world):
    """The message was sent while the session was paid; by the time it is fetched it is not."""
    session = world.sells(spec(payment_status="unpaid"))
    world.sends(a_message(session_id=session.id, user_id="u1"))
    world.drain()
    assert world.outcome(session.id)["reason"] == "unpaid"


@pytest.mark.parametrize("status", ["open", "expired"])
def test_a_session_that_never_completed_is_an_error_and_no_order(world, status):
    session = world.sells(spec(status=status))
    world.sends(a_message(session_id=session.id, user_id="u1"))
    world.drain()
    assert world.outcome(session.id)["errorMessage"] == "status must be complete"
    assert world.orders() == []


# Repeats, overlaps, crashes


def test_case_6_the_same_message_twice_in_one_batch_is_one_outcome(world):
    session = world.sells(spec())
    run_id = world.body()["runId"]
    world.sends(world.memory_sqs.bodies(world.queue)[0], times=3)
    world.drain()
    assert world.counters(run_id) == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1


def test_case_6_the_same_message_again_after_the_run_is_done_changes_nothing(world):
    world.sells(spec())
    world.body()
    body = world.memory_sqs.bodies(world.queue)[0]
    world.drain()
    before = world.memory.dump()
    world.sends(body)
    world.drain()
    assert world.memory.dump() == before


def test_case_6_a_session_committed_by_another_consumer_meanwhile_is_counted_once(world):
    """Two consumers hold the same message; the other one commits between our look and our commit."""
    session = world.sells(spec())
    world.body()
    message = json.loads(world.memory_sqs.bodies(world.queue)[0])
    raced = []

    def the_other_one_is_faster(request):
        if request.endpoint is Endpoint.RETRIEVE and not raced:
            raced.append(True)
            world.handle(event_of(json.dumps(message), message_id="other"))

    world.stripe.on_request = the_other_one_is_faster
    world.drain()
    assert raced
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1


def event_of(body, *, message_id="m1", receives=1):
    return {
        "Records": [
            {
                "messageId": message_id,
                "receiptHandle": f"handle-{message_id}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receives)},
            }
        ]
    }


def test_a_webhook_that_writes_while_stripe_is_asked_is_seen_by_the_second_look(world):
    session = world.sells(spec())
    world.stripe.on_request = lambda request: (
        request.endpoint is Endpoint.RETRIEVE and world.webhook_writes(session.id, "u1", NOW - 60)
    )
    world.night()
    assert [order.get("source") for order in world.orders()] == [None]
    assert world.outcome(session.id)["reason"] == "exists"


def test_an_order_under_our_own_key_is_never_overwritten(world):
    """It appears between the second look and the commit; only the condition can see it."""
    session = world.sells(spec())
    world.body()

    def appears(call):
        if call.method == "transact_write_items" and not world.orders():
            world.webhook_writes(session.id, "u1", session.created, note="first")

    world.dynamodb.plan = appears
    world.drain()
    (order,) = world.orders()
    assert order["note"] == "first"
    assert world.outcome(session.id)["reason"] == "exists"
    assert world.counters() == (1, 1, 0, 1, 0)


def test_case_6_two_runs_that_overlap_write_one_order_and_count_each_their_own(world):
    session = world.sells(spec())
    first = world.body()["runId"]
    world.clock.now += 60
    second = world.body({"requestedAt": "2024-11-27T02:00:30Z"})["runId"]
    world.drain()
    assert world.counters(first) == (1, 1, 1, 0, 0)
    assert world.counters(second) == (1, 1, 0, 1, 0)
    assert world.state()["lastSyncRunId"] == second
    assert world.state_counters() == (1, 1, 0, 1, 0)
    assert len(world.orders(session.id)) == 1


def test_case_9_two_runs_messages_for_one_session_in_one_batch(world):
    session = world.sells(spec())
    world.sends(a_message(run_id="run-a", session_id=session.id, user_id="u1"))
    world.sends(a_message(run_id="run-b", session_id=session.id, user_id="u1"))
    delivery = world.deliver()
    assert (len(delivery.deleted), len(delivery.returned)) == (2, 0)
    outcomes = sorted(world.outcome(session.id, run)["outcome"] for run in ("run-a", "run-b"))
    assert outcomes == ["created", "skipped"]
    assert len(world.orders(session.id)) == 1


def test_late_results_of_an_overtaken_run_leave_the_sync_state_alone(world):
    world.sells(spec())
    old = world.body()["runId"]
    world.clock.now += 60
    new = world.body({"requestedAt": "2024-11-26T00:00:00Z", "lookbackHours": 1})["runId"]
    assert world.state()["lastSyncRunId"] == new
    world.drain()
    assert world.counters(old) == (1, 1, 1, 0, 0)
    assert world.state_counters() == (0, 0, 0, 0, 0)


# Failures: nothing is lost, nothing is done twice


def test_case_8_three_429s_then_fine(world):
    session = world.sells(spec())
    world.stripe.faults.rate_limit(endpoint=Endpoint.RETRIEVE, times=3)
    world.night()
    assert world.counters() == (1, 1, 1, 0, 0)
    assert world.outcome(session.id)["attempts"] == 2


@pytest.mark.parametrize("kind", ["server_error", "drop", "hang", "rate_limit"])
def test_case_8_a_failing_stripe_sends_the_session_back_and_not_its_neighbours(world, kind):
    world.stripe_timeout = 0.5
    ill, well = world.sells(spec("cs_test_ill")), world.sells(spec("cs_test_well"))
    getattr(world.stripe.faults, kind)(session=ill.id)
    world.body()
    delivery = world.deliver()
    assert (delivery.size, len(delivery.returned)) == (2, 1)
    assert world.outcome(well.id)["outcome"] == "created"
    assert world.outcome(ill.id) is None
    world.stripe.faults.clear()
    world.drain()
    assert world.counters() == (2, 2, 2, 0, 0)


def test_case_8_the_wait_doubles_with_every_receive(world):
    world.sells(spec())
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    world.body()
    waits = []
    while world.memory_sqs.messages(world.queue) and len(waits) < 9:
        world.deliver()
        waits.append(world.memory_sqs.next_visible_at(world.queue) - world.clock.now)
        world.clock.now += waits[-1]
    longest = [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert all(0.74 * full <= wait <= full for wait, full in zip(waits, longest, strict=True))
    assert sum(waits) > 2 * 3600


def test_case_8_a_session_that_stripe_does_not_know_is_one_error_and_in_the_dlq_within_seconds(world):
    dead, well = world.sells(spec("cs_test_dead")), world.sells(spec("cs_test_well"))
    world.stripe.faults.missing(session=dead.id, endpoint=Endpoint.RETRIEVE)
    world.body()
    began = world.clock.now
    world.drain()
    assert world.clock.now - began < 10
    assert [message["sessionId"] for message in world.dead()] == [dead.id]
    assert world.outcome(dead.id)["errorType"] == "SessionNotFound"
    assert world.outcome(well.id)["outcome"] == "created"
    assert world.counters() == world.state_counters() == (2, 2, 1, 0, 1)
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == 2  # not again at every receive
    assert world.run()["status"] == "done"


def test_a_redrive_turns_the_error_into_an_order_and_corrects_run_and_state(world):
    session = world.sells(spec())
    world.stripe.faults.missing(session=session.id, endpoint=Endpoint.RETRIEVE)
    world.night()
    assert world.counters() == (1, 1, 0, 0, 1)
    world.stripe.faults.clear()
    world.redrive()
    world.drain()
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1
    assert world.outcome(session.id)["outcome"] == "created"


def test_a_redrive_that_fails_again_is_still_one_error(world):
    session = world.sells(spec())
    world.stripe.faults.missing(session=session.id, endpoint=Endpoint.RETRIEVE)
    world.night()
    world.redrive()
    world.drain()
    assert world.counters() == (1, 1, 0, 0, 1)
    assert [message["sessionId"] for message in world.dead()] == [session.id]


def test_case_8_after_a_401_the_new_key_is_read_once_and_used(world):
    world.sells(spec("cs_test_one"))
    world.sells(spec("cs_test_two"))
    world.body()
    world.stripe.accept_keys({"sk_test_new"})
    world.ssm.value = "sk_test_new"
    world.drain()
    assert world.counters() == (2, 2, 2, 0, 0)
    assert world.ssm.reads == 2  # once for the old key, once for the new


def test_case_8_a_key_rejected_for_good_fails_what_needs_stripe_and_not_its_neighbours(world):
    missing = [world.sells(spec(f"cs_test_missing{n}")) for n in range(5)]
    known = world.sells(spec("cs_test_known"))
    world.webhook_writes(known.id, "u1", NOW - 1800)
    world.body()
    world.stripe.accept_keys({"sk_test_new"})
    reads = world.ssm.reads
    world.stripe.calls.clear()
    delivery = world.deliver()
    assert len(delivery.returned) == 5
    assert world.outcome(known.id)["reason"] == "exists"
    assert world.ssm.reads == reads + 1
    assert world.stripe.calls.count(Endpoint.RETRIEVE) <= 5  # one each at most, none repeated
    world.drain()
    assert world.counters() == (6, 6, 0, 1, 5)
    assert {world.outcome(session.id)["errorType"] for session in missing} == {"KeyRejected"}


@pytest.mark.parametrize(
    "fault",
    [
        throttled(),
        conflict(0),
        conflict(),
        lost_response(),
        connection_closed(),
        service_error("InternalServerError"),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize("nth", [1, 2])
def test_case_8_a_transaction_that_fails_or_is_lost_is_repeated_and_counted_once(world, fault, nth):
    """The first transaction starts the run, the second is the cursor's or the batch's."""
    session = world.sells(spec())
    world.dynamodb.plan = on("transact_write_items", fault, nth=nth)
    world.night()
    world.dynamodb.plan = lambda call: None
    assert world.counters() == world.state_counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1
    assert world.history.faults().total() == 1


@pytest.mark.parametrize("method", ["batch_get_item", "query", "transact_write_items", "get_item"])
def test_case_8_an_outage_of_the_table_sends_everything_back_and_loses_nothing(world, method):
    world.sells(spec())
    world.sells(spec("cs_test_other", metadata={"userId": "u2"}))
    world.body()
    world.dynamodb.plan = on(method, throttled())
    delivery = world.deliver()
    assert delivery.error is None
    world.dynamodb.plan = lambda call: None
    world.drain()
    assert world.counters()[:4] == (2, 2, 2, 0)
    assert len(world.orders()) == 2


def test_a_lookup_of_orders_outlasts_a_burst_of_throttling_within_the_invocation(world):
    session = world.sells(spec())
    world.body()
    before = world.history.count("query")
    world.dynamodb.plan = on("query", throttled(), nth=range(before + 1, before + 5))
    delivery = world.deliver()
    assert not delivery.returned
    assert world.outcome(session.id)["outcome"] == "created"
    assert world.history.faults().total() == 4


def test_a_table_outage_of_one_user_does_not_touch_the_others(world):
    ill = world.sells(spec("cs_test_ill", metadata={"userId": "ill"}))
    well = world.sells(spec("cs_test_well"))
    world.body()

    def fails_for_one(call):
        pk = call.arguments.get("ExpressionAttributeValues", {}).get(":pk", {}).get("S")
        return throttled() if call.method == "query" and pk == "USER#ill" else None

    world.dynamodb.plan = fails_for_one
    world.deliver()
    assert world.outcome(well.id)["outcome"] == "created"
    assert world.outcome(ill.id) is None


def test_keys_that_a_batch_read_leaves_over_are_read_again(make_world):
    world = make_world()
    world.memory.batch_items = 2
    for n in range(7):
        world.sells(spec(f"cs_test_{n}"))
    world.night()
    assert world.counters() == (7, 7, 7, 0, 0)


def test_case_8_visibility_that_sqs_rejects_only_makes_a_message_later(world):
    world.sells(spec())
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE, times=3)
    world.body()
    world.memory_sqs.rejects = lambda operation, entry: operation == "ChangeMessageVisibilityBatch"
    world.deliver()
    assert world.memory_sqs.next_visible_at(world.queue) == pytest.approx(world.clock.now + 360, abs=5)
    world.memory_sqs.rejects = lambda operation, entry: False
    world.drain()
    assert world.counters() == (1, 1, 1, 0, 0)


# Messages that cannot be read


@pytest.mark.parametrize("body", ["not json", "[]", '{"v": 1}', '{"v": 1, "runId": "r"}'])
def test_case_9_an_unreadable_message_is_in_the_dlq_within_seconds_and_its_neighbours_are_done(world, body):
    session = world.sells(spec())
    world.body()
    world.sends(body)
    began = world.clock.now
    world.drain()
    assert world.clock.now - began < 10
    assert world.memory_sqs.bodies(world.dlq) == [body]
    assert world.outcome(session.id)["outcome"] == "created"
    assert world.counters() == (1, 1, 1, 0, 0)


@pytest.mark.parametrize(
    "changes", [{"v": 2}, {"created": "x"}, {"mode": None}, {"livemode": "no"}, {"eventIds": {}}]
)
def test_case_9_a_broken_message_whose_run_and_session_can_be_read_is_one_error(world, changes):
    body = json.dumps(json.loads(dumps(a_message())) | changes)
    world.sends(body)
    began = world.clock.now
    world.drain()
    assert world.clock.now - began < 10
    assert world.outcome("cs_1")["errorType"] == "MalformedMessage"
    assert world.memory_sqs.bodies(world.dlq) == [body]
    assert world.counters()[1:] == (1, 0, 0, 1)


def test_a_value_that_dynamodb_refuses_is_one_error_and_its_neighbours_are_written(world):
    ill = world.sells(spec("cs_test_ill", metadata={"userId": "u2", "note": "x"}))
    well = world.sells(spec("cs_test_well"))
    world.body()

    def refuses_the_ill_order(call):
        if call.method != "transact_write_items":
            return None
        puts = [plain(a["Put"]["Item"]) for a in call.arguments["TransactItems"] if "Put" in a]
        ill_order = any(put.get("orderId") == ill.id for put in puts)
        return service_error("ValidationException") if ill_order else None

    world.dynamodb.plan = refuses_the_ill_order
    world.deliver()
    assert world.outcome(well.id)["outcome"] == "created"
    assert world.outcome(ill.id)["errorType"] == "TableRefused"
    world.check_books()


def test_an_order_larger_than_an_item_is_an_error_that_says_so(world):
    huge = tuple(LineSpec("x" * 4000 + str(n)) for n in range(110))
    session = world.sells(spec(lines=huge))
    well = world.sells(spec("cs_test_well"))
    world.night()
    assert world.outcome(session.id)["errorType"] == "OrderTooLarge"
    assert "409600" in world.outcome(session.id)["errorMessage"]
    assert world.outcome(well.id)["outcome"] == "created"


def test_a_batch_of_large_orders_is_split_between_sessions(world):
    lines = tuple(LineSpec("y" * 3000 + str(n)) for n in range(100))
    for n in range(15):
        world.sells(spec(f"cs_test_large{n:02}", lines=lines))
    world.body()
    world.deliver()
    commits = [call for call in world.history.calls if call.method == "transact_write_items"]
    assert len(commits) >= 3
    assert world.counters() == (15, 15, 15, 0, 0)
    world.check_books()


# Crashes


def crash_whenever(world, session_id):
    """The function dies as often as it is about to commit this session's order."""

    def plan(call):
        if call.method != "transact_write_items":
            return None
        puts = [plain(a["Put"]["Item"]) for a in call.arguments["TransactItems"] if "Put" in a]
        return killed_before() if any(put.get("orderId") == session_id for put in puts) else None

    world.dynamodb.plan = plan


def test_case_10_a_killer_is_one_error_one_dead_message_and_takes_no_neighbour_along(world):
    killer = world.sells(spec("cs_test_killer"))
    neighbours = [world.sells(spec(f"cs_test_neighbour{n}")) for n in range(9)]
    world.body()
    crash_whenever(world, killer.id)
    world.drain()
    assert world.counters() == world.state_counters() == (10, 10, 9, 0, 1)
    assert world.outcome(killer.id)["errorType"] == "Unfinished"
    assert [message["sessionId"] for message in world.dead()] == [killer.id]
    assert all(len(world.orders(neighbour.id)) == 1 for neighbour in neighbours)
    assert world.run()["status"] == "done"
    world.dynamodb.plan = lambda call: None
    world.redrive()
    world.drain()
    assert world.counters() == world.state_counters() == (10, 10, 10, 0, 0)
    assert len(world.orders(killer.id)) == 1


def test_a_consumer_killed_right_after_its_commit_has_counted_once(world):
    session = world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", killed_after(), nth=3)
    assert world.deliver().error is not None
    world.dynamodb.plan = lambda call: None
    world.drain()
    assert world.counters() == (1, 1, 1, 0, 0)
    assert len(world.orders(session.id)) == 1
    assert world.run()["status"] == "done"  # found done by the batch that had nothing to commit


def test_messages_received_before_come_back_each_at_its_own_time(world):
    for n in range(10):
        world.sells(spec(f"cs_test_{n}"))
    world.body()
    world.dynamodb.plan = on("batch_get_item", killed_before())
    world.deliver()
    world.clock.now += 6 * 60
    world.deliver()
    world.dynamodb.plan = lambda call: None
    times = {message.visible_at - world.clock.now for message in world.memory_sqs.messages(world.queue)}
    assert len(times) > 5
    assert all(60 <= seconds <= 360 for seconds in times)


def test_from_the_last_attempt_on_the_error_is_written_before_it_is_tried(world):
    session = world.sells(spec())
    seen = []
    world.stripe.on_request = lambda request: (
        request.endpoint is Endpoint.RETRIEVE and seen.append(world.outcome(session.id))
    )
    for receives in (9, 10):
        world.handle(event_of(dumps(a_message(session_id=session.id, user_id="u1")), receives=receives))
        if receives == 9:
            assert seen == [None]
            # The ninth attempt settled it; the tenth of another message has to be tried again.
            world.memory.delete_item(
                TableName=TABLE,
                Key={"PK": {"S": f"SYNC_RUN#{RUN}"}, "SK": {"S": f"SESSION#{session.id}"}},
            )
            world.memory.delete_item(
                TableName=TABLE,
                Key={"PK": {"S": "USER#u1"}, "SK": {"S": f"ORDER#{NOW - HOUR}#{session.id}"}},
            )
    assert seen[1]["outcome"] == "error"
    assert seen[1]["errorType"] == "Unfinished"
    assert world.outcome(session.id)["outcome"] == "created"


@pytest.mark.parametrize("receives", [1, 10, 12])
def test_what_does_not_fit_in_the_time_left_goes_back_also_at_the_last_attempt(world, receives):
    session = world.sells(spec())
    world.stripe_timeout = 1000
    body = dumps(a_message(session_id=session.id, user_id="u1"))
    answer = world.handle(event_of(body, receives=receives))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    outcome = world.outcome(session.id)
    assert outcome is None if receives == 1 else outcome["errorType"] == "Unfinished"


def test_last_attempts_are_announced_before_the_first_is_tried(world):
    """A whole batch at its last receive, and a Stripe so slow that only few are tried before time is up."""
    sessions = [world.sells(spec(f"cs_test_{n:02}")) for n in range(25)]

    def slow(request):
        world.clock.now += 15

    world.stripe.on_request = slow
    records = [
        event_of(dumps(a_message(session_id=s.id, user_id="u1")), message_id=s.id, receives=12)["Records"][0]
        for s in sessions
    ]
    world.handle({"Records": records})
    assert all(world.outcome(session.id) for session in sessions)
    assert "Unfinished" in {world.outcome(session.id).get("errorType") for session in sessions}
    world.check_books()


def test_a_parameter_store_that_hangs_is_asked_once_an_invocation_and_kills_nobody(world):
    sessions = [world.sells(spec(f"cs_test_{n:02}")) for n in range(20)]
    known = world.sells(spec("cs_test_known"))
    world.webhook_writes(known.id, "u1", NOW - 1800)
    world.body()
    world.connection.key._cached = None  # a cold start
    world.ssm.hangs, world.ssm.reads = 6.0, 0
    delivery = world.deliver()
    assert delivery.error is None
    assert world.ssm.reads == 1
    assert len(delivery.returned) == 20
    world.drain()
    assert world.counters() == (21, 21, 0, 1, 20)
    assert {world.outcome(session.id)["errorType"] for session in sessions} == {"KeyUnavailable"}
    assert world.run()["status"] == "done"


def test_a_rejected_key_is_asked_about_once_also_for_messages_received_before(world):
    for n in range(10):
        world.sells(spec(f"cs_test_{n:02}"))
    world.body()
    world.stripe.accept_keys({"sk_test_new"})
    world.deliver()
    world.clock.now += 60
    world.ssm.reads = 0
    world.stripe.calls.clear()
    assert len(world.deliver().returned) == 10
    assert world.ssm.reads == 1
    assert world.stripe.calls.count(status=401) == 1


@pytest.mark.parametrize("fault", [conflict(), throttled()], ids=lambda fault: fault.name)
def test_a_webhook_that_writes_between_two_tries_of_a_commit_is_seen(world, fault):
    """The table is busy, the commit is repeated, and meanwhile the webhook arrives after all."""
    session = world.sells(spec())
    world.body()
    tries = []

    def busy(call):
        if call.method != "transact_write_items":
            return None
        tries.append(call)
        if len(tries) == 2:
            world.webhook_writes(session.id, "u1", NOW - 60)
        return fault if len(tries) < 3 else None

    world.dynamodb.plan = busy
    world.drain()
    assert [order.get("source") for order in world.orders()] == [None]
    assert world.outcome(session.id)["reason"] == "exists"
    assert world.counters() == (1, 1, 0, 1, 0)


def test_an_order_whose_commit_was_answered_by_nobody_is_known_to_be_ours(capfd, make_world):
    """The look before the repeat finds it under our own key: created and reported so, not there before."""
    world = make_world()
    session = world.sells(spec())
    world.body()
    world.dynamodb.plan = on("transact_write_items", lost_response(), nth=3)
    world.drain()
    assert world.history.faults().total() == 1
    assert world.outcome(session.id)["outcome"] == "created"
    assert world.counters() == (1, 1, 1, 0, 0)
    assert capfd.readouterr().out.count("Created order snapshot BC-MISSING1 via sync") == 1


def test_an_answer_about_another_session_is_an_error_and_no_order(world, monkeypatch):
    asked, other = world.sells(spec("cs_test_asked")), world.sells(spec("cs_test_other"))
    fetch = StripeSource.fetch
    monkeypatch.setattr(StripeSource, "fetch", lambda self, session_id: fetch(self, other.id))
    world.sends(a_message(session_id=asked.id, user_id="u1"))
    world.drain()
    assert world.outcome(asked.id)["errorType"] == "MalformedSession"
    assert world.orders() == []


def test_an_outcome_of_a_later_version_is_left_alone_and_stops_nobody(world):
    ill, well = world.sells(spec("cs_test_ill")), world.sells(spec("cs_test_well"))
    world.body()
    record = {"PK": f"SYNC_RUN#{RUN}", "SK": f"SESSION#{ill.id}", "outcome": "repaired"}
    world.memory.put_item(TableName=TABLE, Item=wire(record))
    delivery = world.deliver()
    assert delivery.returned == ()
    assert world.outcome(ill.id) == record
    assert world.outcome(well.id)["outcome"] == "created"


def test_a_batch_of_known_orders_asks_stripe_nothing(world):
    for n in range(10):
        session = world.sells(spec(f"cs_test_known{n}"))
        world.webhook_writes(session.id, "u1", NOW - 1800 + n)
    world.body()
    world.stripe.calls.clear()
    world.connection.close()
    world.connection = None
    world.drain()
    assert world.connection is None
    assert world.counters() == (10, 10, 0, 10, 0)


def test_each_user_is_looked_up_once_per_batch(world):
    for n in range(10):
        session = world.sells(spec(f"cs_test_known{n}"))
        world.webhook_writes(session.id, "u1", NOW - 1800 + n)
    world.body()
    before = world.history.count("query")
    world.deliver()
    assert world.history.count("query") == before + 1
    assert world.history.count("batch_get_item") == 1


def test_no_address_name_or_key_is_logged_or_stored_in_an_outcome(capfd, make_world):
    world = make_world()
    world.sells(spec(metadata={}, email="secret+tag@example.com", name="Ada Secret", phone="+49170999"))
    dead = world.sells(spec("cs_test_dead", metadata={}, email="other@example.com"))
    world.stripe.faults.missing(session=dead.id, endpoint=Endpoint.RETRIEVE)
    world.stripe.faults.unauthorized(endpoint=Endpoint.RETRIEVE, times=1)
    world.night()
    printed = "".join(capfd.readouterr())
    stored = json.dumps([item for item in world.items() if not item["SK"].startswith("ORDER#")], default=str)
    for secret in ("secret", "other@", "Ada", "+49170999", "sk_test"):
        assert secret not in printed
        assert secret not in stored
    assert "via sync" in printed
    assert "SessionNotFound" in printed


def test_every_log_line_names_run_and_session(capfd, make_world):
    world = make_world()
    world.sells(spec())
    world.night()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    logged = [line for line in lines if "level" in line]
    assert logged
    assert all("run_id" in line and "session_id" in line for line in logged)
    messages = [line["message"] for line in logged]
    assert "Sync completed: processed=1, created=1, skipped=0, errors=0" in messages
    assert "Created order snapshot BC-MISSING1 via sync" in messages


def test_metrics_go_out_in_the_embedded_format(capfd, make_world):
    world = make_world()
    world.sells(spec())
    world.stripe.faults.rate_limit(endpoint=Endpoint.RETRIEVE, times=1)
    world.night()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    metrics = {}
    for line in lines:
        if "_aws" in line:
            assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "StripeNightlySync"
            metrics |= {
                metric["Name"]: line[metric["Name"]]
                for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
            }
    assert {name: value[0] for name, value in metrics.items()} == {
        "SessionsEnqueued": 1,
        "StripeThrottled": 1,
        "OrdersCreated": 1,
        "MoneyRecovered": 1500,
        "RunsCompleted": 1,
        "RunSeconds": pytest.approx(0, abs=5),
        "OpenRunSeconds": 0,
        "WatermarkAgeSeconds": 600,
    }
