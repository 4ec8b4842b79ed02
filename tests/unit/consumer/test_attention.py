"""What a batch does about sessions that a person has to look at or has dismissed."""

import pytest

from recon.dynamodb.keys import attention_key, dismissed_key, pending_key
from testkit.batches import USER, a_fetched_session
from testkit.builders import NOW, RUN, a_message
from testkit.runs import BEGAN

KEY = attention_key("cs_1")


def message(run_id=RUN, **changes):
    return a_message(**{"session_id": "cs_1", "user_id": USER, "run_id": run_id} | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["no_user_paid"]),
        ({"user_id": " ? "}, ["no_user_paid"]),
        ({"amount_total": 0}, None),
        ({"amount_total": None}, None),
        ({"payment_status": "unpaid"}, None),
        ({"payment_status": "no_payment_required"}, None),
        ({"mode": "setup"}, None),
    ],
)
def test_paid_session_without_a_user_needs_a_person(changes, words, consumer):
    assert consumer.process(consumer.receive(message(**{"user_id": None} | changes))) == []
    assert consumer.outcome("cs_1").get("attention") == words
    assert consumer.item(KEY).get("words") == words


def test_session_without_a_user_is_no_news_the_next_night(consumer):
    consumer.process(consumer.receive(message(user_id=None)))
    first = consumer.item(KEY)
    assert first["since"] == BEGAN
    assert (first["amount"], first["currency"]) == (4999, "eur")
    consumer.clock.sleep(86_400)
    consumer.process(consumer.receive(message("R2", user_id=None)))
    assert consumer.item(KEY) == first


@pytest.mark.parametrize(("status", "left"), [("paid", {}), ("unpaid", {"words": ["order_says_unpaid"]})])
def test_order_that_says_paid_ends_the_words_about_it(status, left, consumer):
    consumer.put(KEY, words=["order_says_unpaid"])
    consumer.put_webhook_order("cs_1", stripePaymentStatus=status)
    consumer.answers["cs_1"] = a_fetched_session("cs_1")
    consumer.process(consumer.receive(message()))
    assert consumer.outcome("cs_1")["reason"] == "exists"
    item = consumer.item(KEY)
    assert {name: item[name] for name in left} == left
    assert bool(item) is bool(left)


@pytest.mark.parametrize(
    "changes", [{}, {"pending": NOW - 60}, {"mode": "setup"}, {"user_id": None}, {"payment_status": "unpaid"}]
)
def test_dismissed_session_is_skipped_without_a_call(changes, consumer):
    consumer.put(dismissed_key("cs_1"), dismissedBy="jane")
    consumer.put(pending_key("cs_1"), message="{}")
    consumer.put(KEY, words=["disputed", "awaiting_capture"])
    assert consumer.process(consumer.receive(message(**changes))) == []
    assert (consumer.outcome("cs_1")["outcome"], consumer.outcome("cs_1")["reason"]) == (
        "skipped",
        "dismissed",
    )
    assert (consumer.asked, consumer.orders(), consumer.item(KEY)) == ([], [], {})
    if changes.keys() & {"pending", "payment_status"}:
        assert consumer.item(pending_key("cs_1")) == {}


def test_session_dismissed_during_the_fetch_is_not_written(consumer):
    def dismiss_and_fetch(session_id, _listed=None):
        consumer.put(dismissed_key(session_id), dismissedBy="jane")
        return a_fetched_session(session_id)

    consumer.stripe.fetch = dismiss_and_fetch
    assert consumer.process(consumer.receive(message())) == []
    assert (consumer.orders(), consumer.outcome("cs_1")["reason"]) == ([], "dismissed")


def test_items_are_read_with_the_batch(consumer):
    consumer.answers |= {f"cs_{n}": a_fetched_session(f"cs_{n}") for n in range(20)}
    consumer.process(*[consumer.receive(message(session_id=f"cs_{n}")) for n in range(20)])
    assert len(consumer.orders()) == 20
    reads = [call for call in consumer.dynamodb.history.calls if call.method == "batch_get_item"]
    assert len(reads) == 1
