"""The pipeline on a deployed stack: its wiring, its permissions, retries by SQS, and real concurrency.

The unit tests cover each kind of session and failure; this module has one story for each connection.
"""

import re
import signal
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from recon.timestamps import HOUR
from testkit.fake_stripe import Endpoint, LineSpec, SessionSpec, ShippingSpec
from tests.e2e.shop import GRACE, WATERMARK, is_order, plain

pytestmark = pytest.mark.e2e

NAME, PHONE, STREET = "Ada Lovelace", "+491701234567", "Lindenweg 7"
PRODUCT = {"sku": "MUG", "collection": "C1", "variant_id": "V1", "color": "red"}
MEETING_SECONDS = 15


@pytest.fixture(scope="module", autouse=True)
def crash(open_shop, workers):
    """Start a run with a session that freezes its consumer. It mostly waits, so it starts first."""
    # Enough for a cold start on a busy machine: only the frozen session may run out of time.
    shop = open_shop(ConsumerTimeout=10, MaxReceiveCount=2)
    night = shop.night()
    neighbours = [night.sells(f"neighbour{n}") for n in range(3)]
    killer = night.sells("killer")
    crash = SimpleNamespace(shop=shop, night=night, killer=killer, neighbours=neighbours, frozen=[])

    def freeze(request):
        if request.session == killer.id:
            process = shop.find_caller(workers(shop.stack.consumer))
            crash.frozen.append(process.pid)
            process.send_signal(signal.SIGSTOP)

    shop.stripe.on_request = freeze
    shop.stack.pause_consumer()  # so that all sessions are one batch
    night.produce()
    shop.stack.resume_consumer()
    return crash


@pytest.fixture(scope="module")
def shop(story):
    return story.shop


@pytest.fixture
def night(shop):
    yield shop.night()
    shop.stripe.faults.clear()
    shop.stripe.on_request = None
    shop.stack.resume_consumer()
    shop.purge_queues()


# --- a night ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def story(open_shop):
    """Return the responses of a preview and a run, and the table before, between and after them.

    It is the first night of its shop, whichever test runs first.
    """
    shop = open_shop(ConsumerConcurrency=3)
    night = shop.night()
    sold = sell_everything(night)
    shop.stack.pause_consumer()
    before = shop.dump()
    preview = shop.body(night.event | {"dryRun": True})
    between, queues = shop.dump(), shop.queues()
    shop.stack.resume_consumer()
    response = night.produce()
    shop.settled(night.run_id)
    return SimpleNamespace(
        shop=shop,
        night=night,
        sold=sold,
        before=before,
        preview=preview,
        between=between,
        queues=queues,
        response=response,
        after=shop.dump(),
        repeated=night.produce(),
        state=shop.state(),
    )


def sell_everything(night):
    """Add a session for each kind of decision, and return them by name."""
    repeat = {"userId": "repeat"}
    repeats = [night.sells(f"repeat{n:02}", metadata=repeat) for n in range(30)]
    for spec in repeats:
        night.webhook_writes(spec)
    shipped = night.sells("shipped", metadata={"userId": "shipped"})
    night.webhook_writes(shipped, status="shipped", trackingNumber="1Z", amount=5, items=[{"name": "x"}])
    return SimpleNamespace(
        repeats=repeats,
        shipped=shipped,
        no_user=night.sells("nobody", metadata={}),
        not_a_sale=night.sells("setup", mode="setup", payment_status="no_payment_required"),
        refunded=night.sells("refunded", amount_refunded=1500),
        missing=night.sells("missing", metadata=repeat),
        many_lines=night.sells("lines", lines=tuple(LineSpec(f"line {n}") for n in range(250))),
        email=night.sells("email", metadata={}, email="a+b@x.com"),
        complete=night.sells(
            "full_a1B2c3D4",
            lines=(LineSpec("A mug", quantity=2, unit_amount=2300, discount=100, product_metadata=PRODUCT),),
            shipping_amount=499,
            currency="eur",
            metadata={"userId": "complete", "quoteSignature": "sig", "campaign": "autumn"},
            email="complete@example.com",
            name=NAME,
            phone=PHONE,
            customer="cus_1",
            shipping=ShippingSpec(name=NAME, line1=STREET, city="Bonn", place="collected_information"),
            event_delivered=False,
        ),
    )


def find_order(story, spec):
    """Return the one order of a session after the run."""
    items = [plain(item) for item in story.after.values()]
    (order,) = [item for item in items if is_order(item) and item["orderId"] == spec.id]
    return order


def test_run_counts_every_session_once(story, shop):
    created, skipped = 4, 30 + 4
    assert story.night.counters() == (created + skipped, created + skipped, created, skipped, 0)
    run, state = shop.run(story.night.run_id), story.state
    assert (run["status"], run["listed"], run["truncated"]) == ("done", True, False)
    assert (state["lastSyncStatus"], state["lastSyncRunId"]) == ("done", story.night.run_id)
    assert state["lastSyncCompletedAt"] == run["syncCompletedAt"] >= run["syncStartedAt"]
    assert state["lastLookbackEnd"] == state["lastCoveredThrough"] == story.night.end - GRACE
    assert len(shop.outcomes(story.night.run_id)) == created + skipped
    assert shop.queues() == (0, 0)


def test_run_changes_no_existing_item(story):
    before = {key: item for key, item in story.before.items() if key != WATERMARK}
    assert {key: story.after[key] for key in before} == before


def test_dry_run_predicts_the_run_and_writes_nothing(story):
    """A dry run does not fetch sessions, so it cannot know that one was refunded."""
    preview = story.preview
    _, processed, created, skipped, errors = story.night.counters()
    assert (preview["status"], preview["dryRun"], preview["enqueued"]) == ("success", True, 0)
    assert [preview[name] for name in ("processed", "created", "skipped", "errors")] == [
        *(processed, created + 1, skipped - 1, errors)
    ]
    assert set(story.repeated["createdOrders"]) < set(preview["createdOrders"])
    assert story.between == story.before
    assert story.queues == (0, 0)


def test_repeated_invocation_returns_the_final_result(story):
    assert (story.response["status"], story.response["syncCompletedAt"]) == ("running", None)
    counters = story.night.counters()
    repeated = story.repeated
    names = ("enqueued", "processed", "created", "skipped", "errors")
    assert tuple(repeated[name] for name in names) == counters
    assert (repeated["status"], story.response["enqueued"]) == ("success", counters[0])
    sold = story.sold
    created = [sold.missing, sold.many_lines, sold.email, sold.complete]
    assert sorted(repeated["createdOrders"]) == sorted(
        find_order(story, spec)["orderNumber"] for spec in created
    )


def test_skipped_session_has_its_reason_and_no_new_order(story):
    sold = story.sold
    for reason, spec in {
        "exists": sold.shipped,
        "no_user": sold.no_user,
        "not_a_sale": sold.not_a_sale,
        "refunded": sold.refunded,
    }.items():
        outcome = story.night.outcome(spec)
        assert (outcome["outcome"], outcome["reason"]) == ("skipped", reason)
    orders = [plain(item) for item in story.after.values() if is_order(plain(item))]
    assert len(orders) == 31 + 4


def test_recovered_order_is_stored_under_the_webhooks_user_id(story):
    spec = story.sold.email
    order = find_order(story, spec)
    assert (order["PK"], order["SK"]) == ("USER#ab@x.com", f"ORDER#{spec.created}#{spec.id}")


def test_recovered_order_has_all_line_items_of_all_pages(story):
    order = find_order(story, story.sold.many_lines)
    assert [item["name"] for item in order["items"]] == [f"line {n}" for n in range(250)]


def test_recovered_order_has_every_attribute(story):
    spec, run_id = story.sold.complete, story.night.run_id
    order = find_order(story, spec)
    (time,) = {order.pop(name) for name in ("updatedAt", "completedAt", "syncedAt")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time)
    assert order.pop("createdAt").endswith("Z")
    assert order.pop("paidAt").endswith("Z")
    assert order.pop("shippingAddress")["city"] == "Bonn"
    (line,) = order.pop("items")
    assert line == {
        "name": "A mug",
        "quantity": 2,
        "unitPrice": 2300,
        "currency": "eur",
        "amountTotal": 4500,
        "amountSubtotal": 4600,
        "amountDiscount": 100,
        "stripePriceId": spec.lines[0].price_id("eur"),
        "stripeProductId": spec.lines[0].product_id,
        "sku": "MUG",
        "collectionId": "C1",
        "variantId": "V1",
        "color": "red",
    }
    assert order == {
        "PK": "USER#complete",
        "SK": f"ORDER#{spec.created}#{spec.id}",
        "orderId": spec.id,
        "orderNumber": "BC-A1B2C3D4",
        "userId": "complete",
        "status": "completed",
        "amount": 4999,
        "amountSubtotal": 4600,
        "amountDiscount": 100,
        "amountShipping": 499,
        "shippingMethod": {"amount": 499},
        "stripeMode": "payment",
        "customerName": "Ada Lovelace",
        "currency": "eur",
        "itemCount": 1,
        "syncRunId": run_id,
        "source": "nightly_sync",
        "stripeSessionId": spec.id,
        "stripePaymentIntentId": spec.payment_intent,
        "stripeCustomerId": "cus_1",
        "stripePaymentStatus": "paid",
        "customerEmail": "complete@example.com",
        "customerPhone": PHONE,
        "quoteSignature": "sig",
        "metadata": {"campaign": "autumn"},
    }


def test_events_of_recovered_orders_are_marked_as_handled(story, shop):
    marker = shop.item(f"EVENT#{story.sold.complete.completed_event_id}", "METADATA")
    assert (marker["orderCreated"], marker["orderNumber"]) == (True, "BC-A1B2C3D4")
    # Its event was delivered, and may be sent again by hand.
    assert shop.item(f"EVENT#{story.sold.missing.completed_event_id}", "METADATA")["orderCreated"] is True


def test_logs_have_a_summary_and_no_customer(story, shop):
    shop.check_logs(NAME, PHONE, STREET, "a+b@", "lovelace")
    consumer, producer = (
        shop.structured_lines(shop.stack.consumer),
        shop.structured_lines(shop.stack.producer),
    )
    _, processed, created, skipped, errors = story.night.counters()
    summary = f"Sync completed: processed={processed}, created={created}, skipped={skipped}, errors={errors}"
    assert [line["message"] for line in consumer + producer].count(summary) == 1
    (line,) = [one for one in consumer if one["message"] == "Created order snapshot BC-A1B2C3D4 via sync"]
    assert (line["run_id"], line["session_id"]) == (story.night.run_id, story.sold.complete.id)


# --- several invocations and nights -------------------------------------------------------------------------


def test_long_run_continues_in_further_invocations(open_shop):
    shop = open_shop(MaxSessions=10)
    night = shop.night()
    specs = night.sells_many(120, spacing=600)
    for spec in specs[::5]:
        night.webhook_writes(spec)
    first = night.produce()
    shop.settled(night.run_id)
    assert first["enqueued"] < 120
    assert (first["status"], first["truncated"]) == ("running", False)
    lines = shop.structured_lines(shop.stack.producer)
    assert len([line for line in lines if line["run_id"] == night.run_id and "enqueued" in line]) > 1
    assert night.counters() == (120, 120, 96, 24, 0)
    run = shop.run(night.run_id)
    assert (run["status"], run["listed"], run["truncated"], run["warnings"]) == ("done", True, False, [])
    assert shop.have_one_order_each(specs)
    assert shop.queues() == (0, 0)
    shop.check_logs()


def test_lambda_stops_long_chains_except_the_producers(shop, night):
    """Lambda counts a chain's invocations in a header and stops at the sixteenth; so does the emulator."""
    client = shop.stack.client("lambda")

    def pretend_long_chain(request, **_):
        request.headers["X-Ministack-Invoke-Depth"] = "16"

    events = client.meta.events
    events.register("before-sign.lambda.Invoke", pretend_long_chain)
    try:
        body = shop.body(night.event)
        with pytest.raises(client.exceptions.RecursiveInvocationException):
            client.invoke(FunctionName=shop.stack.consumer, Payload=b'{"Records": []}')
    finally:
        events.unregister("before-sign.lambda.Invoke", pretend_long_chain)
    assert body["status"] == "success"


def test_unpaid_session_becomes_an_order_after_its_payment(shop, night):
    later, first = night, shop.night()  # nights are numbered backwards
    unpaid = first.sells("later", payment_status="unpaid")
    assert first.play() == (1, 1, 0, 1, 0)
    assert first.outcome(unpaid)["reason"] == "unpaid"
    assert shop.item("SYSTEM", f"PENDING#{unpaid.id}")["sessionId"] == unpaid.id
    shop.sells(replace(unpaid, payment_status="paid", async_paid_at=later.end - HOUR))
    assert later.play() == (1, 1, 1, 0, 0)
    assert shop.order(unpaid)["syncRunId"] == later.run_id
    assert shop.item("SYSTEM", f"PENDING#{unpaid.id}") == {}


# --- retries ------------------------------------------------------------------------------------------------


def test_transient_stripe_errors_are_retried_through_the_queue(shop, night):
    throttled, failing, dropped, hanging = (
        night.sells(name) for name in ("throttled", "failing", "dropped", "hanging")
    )
    faults = shop.stripe.faults
    faults.rate_limit(session=throttled.id, times=4)  # one more than the attempts of an invocation
    faults.server_error(session=failing.id, times=4)
    faults.drop(session=dropped.id, times=2)
    faults.hang(session=hanging.id, times=1)
    assert night.play() == (4, 4, 4, 0, 0)
    assert shop.have_one_order_each([throttled, failing, dropped, hanging])
    assert [night.outcome(spec)["attempts"] for spec in (throttled, failing, dropped)] == [2, 2, 1]
    assert shop.queues() == (0, 0)


def test_failed_session_is_an_error_until_its_redrive_succeeds(shop, night):
    """An unknown session fails at once, one without line items after its last attempt."""
    unknown, without_lines, well = night.sells("dead"), night.sells("ill", lines=()), night.sells("well")
    shop.stripe.faults.missing(session=unknown.id, endpoint=Endpoint.RETRIEVE)
    night.produce()
    shop.wait_for_dead_letters(2)
    assert [
        (night.outcome(spec)["errorType"], night.outcome(spec)["attempts"])
        for spec in (unknown, without_lines)
    ] == [
        ("SessionNotFound", 1),
        ("LineItemsMissing", 3),
    ]
    assert night.counters() == (3, 3, 1, 0, 2)
    assert shop.run(night.run_id)["status"] == "done"
    assert shop.dead_sessions() == sorted([unknown.id, without_lines.id])
    assert shop.orders(unknown.id, without_lines.id) == []
    assert night.produce()["status"] == "completed_with_errors"
    shop.stripe.faults.clear()
    shop.sells(SessionSpec(without_lines.id, without_lines.created, metadata=without_lines.metadata))
    shop.redrive()
    assert night.counters() == (3, 3, 3, 0, 0)
    assert shop.have_one_order_each([unknown, without_lines, well])
    assert night.produce()["status"] == "success"
    assert shop.queues() == (0, 0)


def test_rotated_key_is_read_from_the_parameter_after_a_401(shop, night):
    specs = night.sells_many(20)
    shop.stripe.accept_keys({"sk_test_second"})
    shop.stack.set_stripe_key("sk_test_second")
    rejected = shop.stripe.calls.count(status=401)
    assert night.play() == (20, 20, 20, 0, 0)
    assert {outcome["attempts"] for outcome in shop.outcomes(night.run_id)} == {1}
    assert shop.stripe.calls.count(status=401) > rejected  # the key that the processes had kept
    assert shop.have_one_order_each(specs)


def test_malformed_message_fails_without_its_neighbours(shop, night):
    """A message with readable ids is recorded as an error of its session, any other one is not."""
    neighbour, ill = night.sells("neighbour"), night.sells("ill")
    shop.stack.pause_consumer()
    night.produce()
    shop.purge_queues()
    bodies = ["not json", '{"v": 2}']
    shop.send(*bodies, night.message(ill, created="soon"), night.message(neighbour))
    shop.stack.resume_consumer()
    shop.wait_for_dead_letters(3)
    assert set(bodies) < set(shop.dead())
    assert night.outcome(ill)["errorType"] == "MalformedMessage"
    assert night.outcome(neighbour)["attempts"] == 1
    assert night.counters() == (2, 2, 1, 0, 1)
    shop.send(night.message(ill))
    shop.drain()
    assert night.counters() == (2, 2, 2, 0, 0)
    assert shop.have_one_order_each([neighbour, ill])


def test_message_in_three_consumers_at_once_is_one_order(shop, night):
    """All three have read the table and asked Stripe before any of them may commit."""
    spec = night.sells("sold")
    meeting = threading.Barrier(3)
    met = set()

    def wait_for_the_others(request):
        if request.session == spec.id:
            met.add(meeting.wait(MEETING_SECONDS))

    shop.stack.pause_consumer()
    night.produce()
    shop.send(*[night.message(spec)] * 29)
    shop.stripe.on_request = wait_for_the_others
    shop.stack.resume_consumer()
    shop.settled(night.run_id)
    assert met == {0, 1, 2}
    assert night.counters() == (1, 1, 1, 0, 0)
    assert shop.have_one_order_each([spec])


@pytest.mark.timeout(420)  # several visibility timeouts, beside other tests on a machine that may be busy
def test_timeout_of_the_consumer_fails_only_its_cause(crash):
    shop, night, neighbours = crash.shop, crash.night, crash.neighbours
    shop.wait_for_dead_letters(1, timeout=300)
    assert len(crash.frozen) >= 2
    assert night.counters() == (4, 4, 3, 0, 1)
    assert night.outcome(crash.killer)["errorType"] == "Unfinished"
    assert shop.dead_sessions() == [crash.killer.id]
    assert shop.have_one_order_each(neighbours)
    assert shop.orders(crash.killer.id) == []
    assert shop.run(night.run_id)["status"] == shop.state()["lastSyncStatus"] == "done"
    shop.stripe.on_request = None
    shop.redrive()
    assert night.counters() == (4, 4, 4, 0, 0)
    assert shop.have_one_order_each([*neighbours, crash.killer])
    assert shop.queues() == (0, 0)
    shop.check_logs()
