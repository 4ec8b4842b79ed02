"""Cases 6 and 7 through the deployed stack: what is delivered, invoked or killed twice is counted once."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest

from recon.timestamps import DAY
from sandbox.stack import InvocationError, wait_until
from testkit.fake_stripe import Endpoint
from tests.e2e.shop import GRACE, iso

pytestmark = pytest.mark.e2e

MEETING_SECONDS = 15


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop(ConsumerConcurrency=3)


@pytest.fixture
def night(shop):
    yield shop.night()
    shop.stripe.on_request = None
    shop.stack.resume_consumer()


def bounds(request):
    """The seconds that a list of sessions is asked for."""
    query = parse_qs(request.query)
    return int(query["created[gte]"][0]), int(query["created[lte]"][0])


def is_first_page(night, request):
    """The first request of a run is about its whole window."""
    return request.endpoint is Endpoint.LIST and bounds(request) == (night.begin, night.end - GRACE)


def is_second_slice(night, request):
    """It is asked for while the first one is, and needed when what that one held has been sent."""
    return request.endpoint is Endpoint.LIST and bounds(request)[0] != night.begin


def sells_in_two_slices(night):
    """Fifty sessions at the window's beginning and 150 at its end, every other with the webhook's order."""
    early = [night.sells(f"early{n:02}", created=night.end - DAY - n) for n in range(50)]
    specs = early + night.sells_many(150, customers=5)
    for spec in specs[::2]:
        night.webhook_writes(spec)
    return specs


def one_order_each(shop, specs):
    orders = shop.orders(*(spec.id for spec in specs))
    return sorted(order["orderId"] for order in orders) == sorted(spec.id for spec in specs)


def test_the_message_is_the_contracts(shop, night):
    specs = [
        night.sells("plain"),
        night.sells("free", currency=None, payment_status="no_payment_required"),
        night.sells("other", currency="eur", metadata={"userId": "a+b"}),
    ]
    shop.stack.pause_consumer()
    night.produce()
    received = sorted(shop.received(), key=lambda message: message["sessionId"])
    assert received == sorted(map(night.message, specs), key=lambda message: message["sessionId"])
    shop.stack.resume_consumer()
    shop.settled(night.run_id)
    assert night.counters() == (3, 3, 3, 0, 0)


def test_case_6_the_same_message_several_times_in_one_batch_is_one_outcome(shop, night):
    spec, known = night.sells("sold"), night.sells("known")
    night.webhook_writes(known)
    shop.stack.pause_consumer()
    night.produce()
    shop.sends(*[night.message(spec)] * 4, *[night.message(known)] * 4)
    assert shop.waiting() == 10
    shop.stack.resume_consumer()
    shop.settled(night.run_id)
    assert night.counters() == shop.state_counters() == (2, 2, 1, 1, 0)
    assert one_order_each(shop, [spec, known])
    assert shop.queues() == (0, 0)


def test_case_6_the_same_message_with_three_consumers_at_once_is_one_order_and_one_count(shop, night):
    """All three have looked, found nothing and asked Stripe before any of them may commit."""
    spec = night.sells("sold")
    meeting = threading.Barrier(3)
    met = []

    def wait_for_the_others(request):
        if request.session == spec.id:
            met.append(meeting.wait(MEETING_SECONDS))

    shop.stack.pause_consumer()
    night.produce()
    shop.sends(*[night.message(spec)] * 29)
    shop.stripe.on_request = wait_for_the_others
    shop.stack.resume_consumer()
    shop.settled(night.run_id)
    assert sorted(met) == [0, 1, 2]
    assert night.counters() == shop.state_counters() == (1, 1, 1, 0, 0)
    assert one_order_each(shop, [spec])
    assert shop.queues() == (0, 0)


def test_case_6_the_same_message_after_the_run_is_done_changes_nothing(shop, night):
    spec, known, nobody = night.sells("sold"), night.sells("known"), night.sells("setup", mode="setup")
    night.webhook_writes(known)
    night.passes()
    before, asked = shop.dump(), len(shop.stripe.calls)
    shop.sends(*(night.message(each) for each in (spec, known, nobody)))
    shop.drained()
    assert shop.dump() == before
    assert len(shop.stripe.calls) == asked
    assert night.counters() == (3, 3, 1, 2, 0)
    assert shop.queues() == (0, 0)


def test_case_6_one_schedule_delivered_twice_at_the_same_time_counts_everything_once(shop, night):
    """Both producers hold the first page before either may send it."""
    specs = night.sells_many(150, customers=5)
    for spec in specs[::3]:
        night.webhook_writes(spec)
    meeting = threading.Barrier(2)
    met = []

    def wait_for_the_other(request):
        if is_first_page(night, request) and "starting_after" not in request.query:
            met.append(meeting.wait(MEETING_SECONDS))

    shop.stripe.on_request = wait_for_the_other
    with ThreadPoolExecutor(2) as both:
        bodies = [answer.result() for answer in [both.submit(night.produce) for _ in range(2)]]
    shop.settled(night.run_id)
    assert sorted(met) == [0, 1]
    assert {body["runId"] for body in bodies} == {night.run_id}
    assert night.counters() == shop.state_counters() == (150, 150, 100, 50, 0)
    assert one_order_each(shop, specs)
    assert len(shop.outcomes(night.run_id)) == 150
    assert shop.queues() == (0, 0)


def test_case_6_one_schedule_delivered_again_when_all_is_done_changes_nothing(shop, night):
    specs = night.sells_many(3)
    run = night.passes()
    state, asked = shop.state(), len(shop.stripe.calls)
    again = night.produce()
    assert (again["status"], again["enqueued"], again["created"]) == ("success", 3, 3)
    assert (shop.run(night.run_id), shop.state()) == (run, state)
    assert len(shop.stripe.calls) == asked
    assert one_order_each(shop, specs)


def test_case_6_two_runs_that_overlap_write_one_order_each_and_count_each_their_own(shop, night):
    specs = night.sells_many(20, customers=3)
    for spec in specs[:5]:
        night.webhook_writes(spec)
    shop.stack.pause_consumer()
    night.produce()
    second = shop.body({"requestedAt": iso(night.end + 60)})["runId"]
    shop.stack.resume_consumer()
    shop.settled(night.run_id, second)
    counters = [night.counters(), shop.counters(second)]
    for enqueued, processed, created, skipped, errors in counters:
        assert (enqueued, processed, created + skipped, errors) == (20, 20, 20, 0)
    assert sum(created for _, _, created, _, _ in counters) == 15
    assert shop.state()["lastSyncRunId"] == second
    assert shop.state_counters() == shop.counters(second)
    assert one_order_each(shop, specs)
    assert shop.queues() == (0, 0)


def test_case_7_a_producer_killed_after_its_first_slice_and_invoked_again_counts_everything_once(
    shop, night, workers
):
    specs = sells_in_two_slices(night)
    killed = []

    def kill_when_it_has_counted(request):
        if not killed and (shop.run(night.run_id) or {}).get("enqueued"):
            killed.append(shop.caller(workers(shop.stack.producer)))
            killed[0].kill()

    shop.stripe.on_request = kill_when_it_has_counted
    with pytest.raises(InvocationError):
        night.produce()
    run = shop.run(night.run_id)
    assert 0 < run["enqueued"] < 200
    assert (run["listed"], run["status"]) == (False, "running")
    assert night.produce()["enqueued"] == 200
    shop.settled(night.run_id)
    assert len(killed) == 1
    assert night.counters() == shop.state_counters() == (200, 200, 100, 100, 0)
    assert one_order_each(shop, specs)
    assert shop.queues() == (0, 0)


def test_case_7_a_producer_killed_in_the_middle_of_its_sends_and_invoked_again_counts_everything_once(
    shop, night, workers
):
    """Killed as soon as a message is in the queue, which is before or after it could note that it sent it."""
    specs = sells_in_two_slices(night)
    shop.stack.pause_consumer()
    dead = threading.Event()

    def go_no_further(request):
        if is_second_slice(night, request):
            dead.wait(MEETING_SECONDS)

    def kill_when_it_sends():
        wait_until(lambda: shop.waiting() > 0, "a message is sent")
        for producer in workers(shop.stack.producer):
            producer.kill()
        dead.set()

    shop.stripe.on_request = go_no_further
    with ThreadPoolExecutor(1) as watcher:
        watching = watcher.submit(kill_when_it_sends)
        with pytest.raises(InvocationError):
            night.produce()
        watching.result()
    sent, noted = shop.waiting(), shop.run(night.run_id)["enqueued"]
    assert 0 < sent <= 50
    assert noted in (0, 50)
    assert night.produce()["enqueued"] == 200
    assert shop.waiting() == sent + 200 - noted
    shop.stack.resume_consumer()
    shop.settled(night.run_id)
    assert night.counters() == shop.state_counters() == (200, 200, 100, 100, 0)
    assert one_order_each(shop, specs)
    assert shop.queues() == (0, 0)


def test_three_hundred_sessions_of_few_customers_with_several_consumers_are_one_order_each(
    shop, night, workers
):
    specs = night.sells_many(300, customers=4)
    known = specs[::2]
    for spec in known:
        night.webhook_writes(spec)
    before = shop.dump()
    shop.stack.pause_consumer()
    night.produce()
    assert shop.waiting() == 300
    shop.stack.resume_consumer()
    shop.settled(night.run_id)
    after = shop.dump()
    assert len(workers(shop.stack.consumer)) == 3
    assert night.counters() == shop.state_counters() == (300, 300, 150, 150, 0)
    assert one_order_each(shop, specs)
    orders = {key for key in before if key[0].startswith("USER#")}
    assert {key: after[key] for key in orders} == {key: before[key] for key in orders}
    assert len(shop.outcomes(night.run_id)) == 300
    assert shop.queues() == (0, 0)


def test_the_logs_name_run_and_session_and_no_customer_and_no_key(shop):
    shop.check_logs()
    messages = [line["message"] for line in shop.logged(shop.stack.consumer)]
    assert any(message.startswith("Sync completed: processed=") for message in messages)
    assert any(re.fullmatch(r"Created order snapshot \S+ via sync", message) for message in messages)
