"""Stories that the model found, told step by step: a seed tells a story only as long as the driver stays."""

import json
import random
from dataclasses import replace
from unittest import mock

import pytest

from producer.undelivered_events import UndeliveredEvents
from recon.dynamodb.runs import Runs
from recon.stripe.source import StripeSource
from recon.timestamps import HOUR, MINUTE, to_iso
from testkit.world import KEY
from tests.model.accidents import PAUSE
from tests.model.function_actions import night
from tests.model.model_world import ShopConfig
from tests.model.night_shop import NightShop, open_night_shop
from tests.model.verdict import check_at_rest
from tests.model.webhook import Handling


class StoryShop(NightShop):
    """A night shop with steps that depend on no draw."""

    def open(self, *, pays_later=False):
        """Open a session of a known user for money."""
        sale = self.customers.open_session(self.rng, self.now)
        sale.spec = replace(sale.spec, mode="payment", metadata={"userId": "user1"}, event_made=True)
        sale.pays_after, sale.completes_as = 0 if pays_later else None, "paid"
        return sale

    def start_run(self, number, planned):
        """Invoke the producer with the schedule of a night."""
        self.nights = number + 1
        self.wait_until(night(number))
        self.invoke_producer({"trigger": "scheduled", "scheduledTime": to_iso(night(number))}, planned)

    def find_messages(self, session_id):
        messages = self.world.memory_sqs.messages(self.world.queue)
        return [message for message in messages if json.loads(message.body)["sessionId"] == session_id]

    def consume_only(self, session_id):
        """Consume the message of one session; the others become visible later."""
        for message in self.world.memory_sqs.messages(self.world.queue):
            if json.loads(message.body)["sessionId"] != session_id:
                message.visible_at = self.now + HOUR
        assert self._consume(self.rng, {})

    def deliver_all_events(self):
        for sent in list(self.customers.in_flight):
            self._deliver(sent, Handling.WRITES)

    def rest(self):
        self.come_to_rest(self.rng)
        return check_at_rest(self)


@pytest.fixture
def shop():
    with mock.patch("tests.model.night_shop.NightShop", StoryShop), open_night_shop(0, ShopConfig()) as shop:
        shop.rng = random.Random(1)
        yield shop


def test_overtaken_first_run_that_fails_is_made_up_for(shop):
    """Another run holds the state when the first run's record is made, so only the record knows its start."""
    sale = shop.open()
    shop.wait(HOUR)
    shop.customers.complete(sale, shop.now)
    shop.start_run(0, {("get_item", 1): PAUSE})
    shop.wait(1)
    shop.invoke_producer({"lookbackHours": 1}, {})
    shop.world.account.keys = {"sk_test_other"}
    shop.resume(shop.rng)
    shop.queued_events.clear()
    shop.world.account.keys = {KEY}
    assert shop.rest() == []


@pytest.fixture
def two_producers(shop):
    """Let a schedule fire twice, with two producers that send different sessions.

    One producer asks who paid, the other asks after a payment and counts what it sends: the paid session is
    sent by the first one only. Return the shop, the counted and the uncounted sale.
    """
    waits = shop.open(pays_later=True)
    shop.wait(HOUR)
    shop.customers.complete(waits, shop.now)
    for _ in range(2):
        shop.start_night(shop.rng)
        shop._drain(shop.rng)
    assert shop.checks.records.pending == {waits.id}
    shop.wait(HOUR)
    sold = shop.open()
    shop.wait(HOUR)
    shop.customers.complete(sold, shop.now)
    shop.start_run(2, {("send_message_batch", 1): PAUSE})
    shop.customers.settle(waits, shop.now)
    shop.wait(1)
    shop.start_run(2, {})
    shop.resume(shop.rng)
    return shop, sold, waits


def test_session_sent_by_one_of_two_producers_is_uncounted(two_producers):
    """Its outcome makes the run done one message early; that message exists and is processed."""
    shop, sold, waits = two_producers
    shop.consume_only(waits.id)
    records = shop.checks.records
    run = records.runs[records.last_run_id]
    assert (run["status"], run["enqueued"]) == ("done", 1)
    assert records.outcomes[records.last_run_id].keys() == {waits.id}
    assert shop.find_messages(sold.id)
    assert shop.rest() == []
    assert len(records.orders[sold.id]) == len(records.orders[waits.id]) == 1


@pytest.mark.parametrize("before_the_end", [True, False])
def test_lost_message_beside_an_uncounted_one_is_found(two_producers, before_the_end):
    shop, sold, waits = two_producers
    if not before_the_end:
        shop.consume_only(waits.id)
    for message in shop.find_messages(sold.id):
        shop.world.memory_sqs._queue(shop.world.queue).messages.remove(message)
    if before_the_end:
        shop.consume_only(waits.id)
    assert any("is behind the watermark" in wrong for wrong in shop.checks.violations) is before_the_end
    assert any("has no outcome of them" in wrong for wrong in shop.rest())


def test_outcome_of_a_session_that_was_not_sent_is_found(two_producers):
    shop, _, waits = two_producers
    run_id = shop.checks.records.last_run_id
    assert shop.rest() == []
    shop.sendings._sent.clear()
    assert any(f"run {run_id} has outcomes of {[waits.id]}" in wrong for wrong in check_at_rest(shop))


@pytest.fixture
def unpaid_sale(shop):
    """Complete a session unpaid in the night, after that run's window and inside those of two more nights."""
    shop.start_night(shop.rng)
    shop.wait(-6 * MINUTE)
    sale = shop.open(pays_later=True)
    shop.wait(6 * MINUTE)
    shop._drain(shop.rng)
    shop.customers.complete(sale, shop.now)
    shop.wait(MINUTE)
    return sale


def test_message_sent_before_the_payment_leaves_no_pending_entry(shop, unpaid_sale):
    """The webhook writes the order before the message is processed."""
    shop.invoke_producer({"lookbackHours": 1}, {("send_message_batch", 1): PAUSE})
    shop.customers.settle(unpaid_sale, shop.now)
    shop.deliver_all_events()
    shop.resume(shop.rng)
    shop._drain(shop.rng)
    assert shop.checks.records.pending == set()
    assert shop.rest() == []


@pytest.mark.parametrize("asked", [True, False])
def test_pending_entry_is_removed_by_the_first_later_window(shop, unpaid_sale, asked):
    """While the session is in the windows, it is found with its order and no run asks about its entry."""
    shop.invoke_producer({"lookbackHours": 1}, {})
    shop._drain(shop.rng)
    shop.customers.settle(unpaid_sale, shop.now)
    shop.deliver_all_events()
    assert shop.checks.records.pending == {unpaid_sale.id}
    with mock.patch.object(Runs, "pending", Runs.pending if asked else lambda self: iter(())):
        wrong = shop.rest()
    assert (wrong == []) is asked
    assert asked or f"{unpaid_sale.id}: still waits for its payment" in wrong


@pytest.mark.parametrize("is_read", [True, False])
def test_late_payment_is_fenced_beyond_the_undelivered_events_that_are_kept(is_read):
    """The webhook is down after a payment that settled a week after its session, in a shop with many events.

    The page that the consumer reads does not show the event.
    """
    payments = UndeliveredEvents._read_payments if is_read else lambda self, payments: None
    with (
        mock.patch("tests.model.night_shop.NightShop", StoryShop),
        mock.patch.object(UndeliveredEvents, "_read_payments", payments),
        mock.patch.object(StripeSource, "find_events_between", return_value=[]),
        open_night_shop(0, ShopConfig(small_pages=True)) as shop,
    ):
        shop.rng = random.Random(1)
        sale = shop.open(pays_later=True)
        shop.wait(HOUR)
        shop.customers.complete(sale, shop.now)
        for _ in range(7):
            shop.start_night(shop.rng)
            shop._drain(shop.rng)
        shop.customers.settle(sale, shop.now)
        shop.wait(HOUR)
        shop.start_night(shop.rng)
        shop._drain(shop.rng)
        assert len(shop.checks.records.orders[sale.id]) == 1
        shop.deliver_all_events()
        wrong = shop.rest()
    assert (wrong == []) is is_read
    assert is_read or any("is doubled by its webhook" in sentence for sentence in wrong)
