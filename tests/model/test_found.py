"""Stories that the model found, told by themselves: a seed is a story only as long as the driver stays."""

import json
import random
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest

from recon.dynamodb.runs import Runs
from recon.timestamps import HOUR, MINUTE
from testkit.world import KEY
from tests.model.accidents import PAUSE
from tests.model.books import number, text
from tests.model.model_world import Shape
from tests.model.night_shop import night_shop
from tests.model.verdict import wrong_at_rest
from tests.simulation.history import iso
from tests.simulation.plans import Fate, night


def test_a_first_scheduled_run_that_is_overtaken_while_it_begins_and_fails_is_made_up_for():
    """Another run held the state when its record was made, so nobody remembered where it had begun."""
    rng = random.Random(1)
    with night_shop(0, Shape()) as shop:
        sale = shop.customers.opens(rng, shop.now)
        shop.waits(HOUR)
        shop.customers.completes(sale, shop.now)
        assert sale.wants_order
        shop.world.clock.now = night(0)
        shop.nights = 1
        shop.invokes({"trigger": "scheduled", "scheduledTime": iso(night(0))}, {("get_item", 1): PAUSE})
        shop.waits(1)
        shop.invokes({"lookbackHours": 1}, {})
        shop.world.account.keys = {"sk_test_other"}
        shop.goes_on(rng)
        shop.waiting.clear()
        shop.world.account.keys = {KEY}
        shop.comes_to_rest(rng)
        assert wrong_at_rest(shop) == []


def opened(shop, rng, *, pays_later=False):
    """Of a known user and for money, whatever the dice say."""
    sale = shop.customers.opens(rng, shop.now)
    sale.spec = replace(sale.spec, mode="payment", metadata={"userId": "user1"}, event_made=True)
    sale.pays_later, sale.completes_as = pays_later, "paid"
    return sale


def scheduled(shop, at, met):
    shop.invokes({"trigger": "scheduled", "scheduledTime": iso(night(at))}, met)


def messages_of(shop, session_id):
    there = shop.world.memory_sqs.messages(shop.world.queue)
    return [message for message in there if json.loads(message.body)["sessionId"] == session_id]


def webhook_hears_all(shop):
    for told in list(shop.customers.in_flight):
        shop._hears(told, Fate.WRITES)


@contextmanager
def two_producers_that_send_different_sessions():
    """The schedule fires twice. One producer has asked who paid, the other asks after a payment, and counts
    what it sends: the session that was paid is sent by the first one only. Gives shop, counted, uncounted."""
    rng = random.Random(1)
    with night_shop(0, Shape()) as shop:
        waits = opened(shop, rng, pays_later=True)
        shop.waits(HOUR)
        shop.customers.completes(waits, shop.now)
        for _ in range(2):
            shop.night_falls(rng)
            shop._works_off(rng)
        assert shop.books.pending == {waits.id}
        shop.waits(HOUR)
        sold = opened(shop, rng)
        shop.waits(HOUR)
        shop.customers.completes(sold, shop.now)
        shop.world.clock.now = night(2)
        shop.nights = 3
        scheduled(shop, 2, {("send_message_batch", 1): PAUSE})
        shop.customers.settles(waits, shop.now)
        shop.waits(1)
        scheduled(shop, 2, {})
        shop.goes_on(rng)
        yield shop, sold, waits


def works_only_on(shop, rng, session_id):
    """The other messages come later."""
    for message in shop.world.memory_sqs.messages(shop.world.queue):
        if json.loads(message.body)["sessionId"] != session_id:
            message.visible_at = shop.now + HOUR
    assert shop._consumes(rng, {})


def test_a_session_that_only_one_of_two_producers_sent_is_not_counted_and_nothing_is_lost():
    """Its outcome makes the run done one message early; that message is there, and is worked on."""
    rng = random.Random(1)
    with two_producers_that_send_different_sessions() as (shop, sold, waits):
        works_only_on(shop, rng, waits.id)
        run_id = text(shop.books.state, "lastSyncRunId")
        run = shop.books.runs[run_id]
        assert (text(run, "status"), number(run, "enqueued")) == ("done", 1)
        assert shop.books.outcomes[run_id].keys() == {waits.id}
        assert messages_of(shop, sold.id)
        shop.comes_to_rest(rng)
        assert wrong_at_rest(shop) == []
        assert len(shop.books.orders[sold.id]) == len(shop.books.orders[waits.id]) == 1


@pytest.mark.parametrize("before_the_end", [True, False])
def test_a_message_that_is_lost_beside_an_uncounted_one_is_called_wrong(before_the_end):
    rng = random.Random(1)
    with two_producers_that_send_different_sessions() as (shop, sold, waits):
        if not before_the_end:
            works_only_on(shop, rng, waits.id)
        for message in messages_of(shop, sold.id):
            shop.world.memory_sqs._queue(shop.world.queue).messages.remove(message)
        if before_the_end:
            works_only_on(shop, rng, waits.id)
        assert any("is behind the watermark" in wrong for wrong in shop.books.wrong) is before_the_end
        shop.comes_to_rest(rng)
        assert any("has no outcome of them" in wrong for wrong in wrong_at_rest(shop))


def test_an_outcome_of_a_session_that_nobody_sent_is_called_wrong():
    rng = random.Random(1)
    with two_producers_that_send_different_sessions() as (shop, _, waits):
        run_id = text(shop.books.state, "lastSyncRunId")
        shop.comes_to_rest(rng)
        assert wrong_at_rest(shop) == []
        shop.sendings._sent.clear()
        assert any(f"run {run_id} has outcomes of {[waits.id]}" in wrong for wrong in wrong_at_rest(shop))


@contextmanager
def a_session_in_the_windows_of_two_more_nights():
    """Completed in the night, unpaid, after the window of that night's run has ended. Gives shop and sale."""
    rng = random.Random(1)
    with night_shop(0, Shape()) as shop:
        shop.night_falls(rng)
        shop.waits(-6 * MINUTE)
        sale = opened(shop, rng, pays_later=True)
        shop.waits(6 * MINUTE)
        shop._works_off(rng)
        shop.customers.completes(sale, shop.now)
        yield shop, sale


def test_a_message_from_before_the_payment_leaves_nothing_waiting_beside_the_webhooks_order():
    rng = random.Random(1)
    with a_session_in_the_windows_of_two_more_nights() as (shop, sale):
        shop.waits(MINUTE)
        shop.invokes({"lookbackHours": 1}, {("send_message_batch", 1): PAUSE})
        shop.customers.settles(sale, shop.now)
        webhook_hears_all(shop)
        shop.goes_on(rng)
        shop._works_off(rng)
        assert shop.books.pending == set()
        shop.comes_to_rest(rng)
        assert wrong_at_rest(shop) == []


@pytest.mark.parametrize("asked", [True, False])
def test_what_waits_is_forgotten_by_the_first_run_whose_window_has_passed_it(asked):
    """While it lies in the windows it is found with its order, and nobody knows that it waits."""
    rng = random.Random(1)
    with a_session_in_the_windows_of_two_more_nights() as (shop, sale):
        shop.waits(MINUTE)
        shop.invokes({"lookbackHours": 1}, {})
        shop._works_off(rng)
        shop.customers.settles(sale, shop.now)
        webhook_hears_all(shop)
        assert shop.books.pending == {sale.id}
        with mock.patch.object(Runs, "pending", Runs.pending if asked else lambda self: iter(())):
            shop.comes_to_rest(rng)
        wrong = wrong_at_rest(shop)
        assert (wrong == []) is asked
        assert asked or f"{sale.id} still waits for its payment" in wrong
