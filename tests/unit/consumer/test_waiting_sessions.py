"""Sessions that wait for their payment: unpaid orders of the webhook, the end of the wait, gone sessions."""

from dataclasses import replace

import pytest

from recon.domain.session_filter import parse_filter
from recon.dynamodb.keys import WATERMARK_KEY, attention_key, pending_key
from recon.errors import SessionNotFound, StripeUnavailable, UnknownState
from recon.timestamps import DAY, HOUR
from testkit.batches import USER, a_fetched_session
from testkit.builders import NOW, a_message
from testkit.doubles.faults import on, throttled

CS = "cs_1"
PROOF = "cs_proof"
FAILED = {"payment_intent": {"id": "pi_1", "status": "requires_payment_method"}, "payment_status": "unpaid"}
UNPAID = {"payment_status": "unpaid"}


@pytest.fixture
def look(consumer):
    """Return a function that processes one message and returns the outcome and the pending entry."""

    def process(*, answer=None, age=60, waits=True, receives=1, **message):
        if isinstance(answer, Exception):
            consumer.answers[CS] = answer
        elif answer is not None:
            consumer.answers[CS] = a_fetched_session(CS, **answer)
        sent = a_message(
            session_id=CS, user_id=USER, created=NOW - age, pending=NOW - 60 if waits else None, **message
        )
        consumer.process(consumer.receive(sent, receives=receives))
        return consumer.outcome(CS), consumer.item(pending_key(CS))

    return process


def says_unpaid(consumer, **fields):
    consumer.put_webhook_order(CS, stripePaymentStatus="unpaid", amount=4999, currency="eur", **fields)


def test_unpaid_order_waits_without_a_request_until_the_next_nights(consumer, look):
    says_unpaid(consumer)
    outcome, entry = look(waits=False, payment_status="unpaid")
    assert (outcome["reason"], bool(entry), consumer.asked) == ("unpaid", True, [])


def test_waiting_session_with_an_unpaid_order_is_asked_about(consumer, look):
    says_unpaid(consumer)
    outcome, entry = look(answer=UNPAID, payment_status="unpaid")
    assert (outcome["reason"], bool(entry), consumer.asked) == ("unpaid", True, [CS])
    assert "attention" not in outcome


@pytest.mark.parametrize(
    ("hours", "words"),
    [(47, ["awaiting_capture"]), (49, None), (None, None)],
    ids=["soon", "later", "unknown"],
)
def test_hold_beside_an_order_is_reported_shortly_before_it_lapses(consumer, look, hours, words):
    says_unpaid(consumer)
    card = {} if hours is None else {"capture_before": NOW + hours * HOUR}
    charge = {"id": "ch_1", "amount": 4999, "amount_captured": 0, "payment_method_details": {"card": card}}
    outcome, entry = look(
        answer=UNPAID
        | {"payment_intent": {"id": "pi_1", "status": "requires_capture", "latest_charge": charge}},
        payment_status="unpaid",
    )
    assert (outcome["reason"], bool(entry)) == ("awaiting_capture", True)
    assert outcome.get("attention") == words
    assert consumer.item(attention_key(CS)).get("until") == (NOW + hours * HOUR if words else None)


@pytest.mark.parametrize(("waits", "listed_as"), [(True, "unpaid"), (True, "paid"), (False, "paid")])
def test_unpaid_order_of_a_paid_session_is_drift_and_waits(consumer, look, waits, listed_as):
    says_unpaid(consumer)
    before = consumer.orders()
    outcome, entry = look(answer={}, waits=waits, payment_status=listed_as)
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", "exists")
    assert outcome["drift"] == ["payment_status: the order says unpaid, Stripe paid"]
    assert outcome["attention"] == ["order_says_unpaid"]
    assert entry
    assert consumer.orders() == before


def test_wait_ends_when_a_person_knows_that_the_order_says_unpaid(consumer, look):
    says_unpaid(consumer)
    consumer.put(pending_key(CS), message="stored")
    consumer.put(attention_key(CS), words=["order_says_unpaid"], acknowledgedBy="jane")
    outcome, entry = look(answer={}, payment_status="paid")
    assert (outcome["reason"], outcome.get("drift"), entry) == ("exists", None, {})


def test_wait_ends_when_the_order_says_paid(consumer, look):
    says_unpaid(consumer)
    look(answer={}, waits=False, payment_status="paid")
    consumer.put_webhook_order(CS, stripePaymentStatus="paid", amount=4999, currency="eur")
    _, entry = look(run_id="later", payment_status="paid")
    later = consumer.outcome(CS, "later")
    assert (later["reason"], entry) == ("exists", {})
    assert "drift" not in later
    assert "attention" not in later


@pytest.mark.parametrize("is_known", [False, True])
def test_unpaid_order_written_during_the_fetch_is_reported_too(consumer, look, is_known):
    if is_known:
        consumer.put(attention_key(CS), words=["order_says_unpaid"], acknowledgedBy="jane")

    def fetch(session_id, _listed=None):
        says_unpaid(consumer)
        return a_fetched_session(session_id)

    consumer.stripe.fetch = fetch
    outcome, entry = look(payment_status="paid", waits=False)
    drift = None if is_known else ["payment_status: the order says unpaid, Stripe paid"]
    assert outcome.get("drift") == drift
    assert (outcome["attention"], bool(entry)) == (["order_says_unpaid"], not is_known)
    assert len(consumer.orders()) == 1


@pytest.mark.parametrize(
    ("answer", "age", "reason", "attention", "waits"),
    [
        (UNPAID, 400 * DAY - 60, "unpaid", None, True),
        (UNPAID, 400 * DAY, "unpaid", ["gave_up_waiting"], False),
        (UnknownState("payment_status"), 400 * DAY, "unpaid", ["gave_up_waiting"], False),
        ({"payment_status": "later"}, 400 * DAY, "unpaid", ["gave_up_waiting"], False),
        (SessionNotFound("no"), 400 * DAY, "unpaid", ["gave_up_waiting"], False),
        (FAILED, 30 * DAY - 60, "payment_failed", None, True),
        (FAILED, 30 * DAY, "payment_failed", None, False),
    ],
)
def test_wait_ends_by_its_own_date(consumer, look, answer, age, reason, attention, waits):
    consumer.put(pending_key(CS), message="stored")
    outcome, entry = look(answer=answer, age=age, payment_status="unpaid")
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", reason)
    assert (outcome.get("attention"), bool(entry)) == (attention, waits)


@pytest.mark.parametrize(
    ("shop", "age", "end"), [("a", 399, "filtered"), ("a", 400, "filtered"), ("b", 9, "created")]
)
def test_session_that_the_filter_leaves_out_by_now_waits_on(consumer, look, shop, age, end):
    consumer.settings = replace(consumer.settings, session_filter=parse_filter("metadata.shop=b"))
    consumer.put(pending_key(CS), message="stored")
    outcome, entry = look(answer={"metadata": {"shop": shop}}, age=age * DAY, payment_status="paid")
    assert (outcome.get("reason") or outcome["outcome"], bool(entry)) == (end, age == 399)


def test_last_look_writes_the_order_of_a_paid_session(consumer, look):
    outcome, entry = look(answer={}, age=401 * DAY, payment_status="unpaid")
    assert (outcome["outcome"], entry, len(consumer.orders())) == ("created", {}, 1)


def test_old_session_that_never_waited_needs_no_attention(look):
    outcome, entry = look(answer=UNPAID, age=401 * DAY, waits=False, payment_status="unpaid")
    assert (outcome["reason"], outcome.get("attention"), entry) == ("unpaid", None, {})


def test_transient_error_does_not_end_the_wait(consumer, look):
    consumer.put(pending_key(CS), message="stored")
    outcome, entry = look(answer=StripeUnavailable("no"), age=401 * DAY, payment_status="unpaid")
    assert (outcome, bool(entry)) == ({}, True)


# Sessions that Stripe does not find


def test_waiting_session_is_gone_if_the_key_finds_the_proof(consumer, look):
    consumer.put(WATERMARK_KEY, provenBy=PROOF)
    consumer.put(pending_key(CS), message="stored")
    consumer.dynamodb.plan = on("get_item", throttled(), nth=1)
    outcome, entry = look(answer=SessionNotFound("no"), payment_status="unpaid")
    assert (outcome["outcome"], outcome["reason"], outcome["attention"]) == ("skipped", "gone", ["gone"])
    assert entry == {}
    assert consumer.asked == [CS, PROOF]


@pytest.mark.parametrize("proven_by", [None, PROOF])
def test_waiting_session_is_retried_without_proof(consumer, look, proven_by):
    consumer.put(WATERMARK_KEY, **({"provenBy": proven_by} if proven_by else {}))
    consumer.put(pending_key(CS), message="stored")
    consumer.stripe.is_gone = lambda session_id, proof_id: False
    outcome, entry = look(answer=SessionNotFound("no"), payment_status="unpaid")
    assert (outcome, bool(entry)) == ({}, True)
    outcome, entry = look(receives=10, payment_status="unpaid")
    assert (outcome["outcome"], outcome["errorType"], bool(entry)) == ("error", "KeyUnproven", True)


@pytest.mark.parametrize("waits", [True, False])
def test_only_a_listed_session_becomes_the_proof(consumer, waits):
    consumer.put_webhook_order(CS)
    message = a_message(session_id=CS, user_id=USER, pending=NOW if waits else None)
    consumer.process(consumer.receive(message))
    assert consumer.item(WATERMARK_KEY).get("provenBy") == (None if waits else CS)


@pytest.mark.parametrize("status", ["paid", "unpaid"])
def test_session_is_retried_with_a_newer_key(consumer, look, status):
    consumer.put(WATERMARK_KEY, provenBy=PROOF)
    consumer.put(pending_key(CS), message="stored")
    consumer.stripe.has_newer_key = lambda: True
    outcome, entry = look(answer=SessionNotFound("no"), payment_status=status)
    assert (outcome, bool(entry)) == ({}, True)
    assert consumer.asked == [CS]


def test_listed_session_that_stripe_does_not_find_is_an_error(consumer, look):
    consumer.put(WATERMARK_KEY, provenBy=PROOF)
    outcome, _ = look(answer=SessionNotFound("no"), waits=False, payment_status="paid")
    assert (outcome["outcome"], outcome["errorType"]) == ("error", "SessionNotFound")


# ORDER_TTL_DAYS


def paid(at):
    charge = {"id": "ch_1", "amount": 4999, "amount_captured": 4999, "amount_refunded": 0, "created": at}
    return {"payment_intent": {"id": "pi_1", "status": "succeeded", "latest_charge": charge}}


@pytest.mark.parametrize(
    ("waits", "has_entry", "paid_days_ago", "outcome"),
    [
        (True, True, 1, "created"),
        (False, True, 1, "created"),
        (True, True, 31, "expired"),
        (False, True, 31, "expired"),
        # The payment says no time: it has just settled.
        (True, True, None, "created"),
        (False, True, None, "created"),
        (False, False, 1, "expired"),
    ],
)
def test_late_payment_counts_from_its_time(consumer, look, waits, has_entry, paid_days_ago, outcome):
    consumer.settings = replace(consumer.settings, order_ttl_days=30)
    consumer.dynamodb.plan = on("get_item", throttled(), nth=1)
    if has_entry:
        consumer.put(pending_key(CS), message="stored")
    answer = {} if paid_days_ago is None else paid(NOW - paid_days_ago * DAY)
    stored, entry = look(answer=answer, age=60 * DAY, waits=waits, payment_status="paid")
    assert stored.get("reason", stored["outcome"]) == outcome
    assert bool(consumer.asked) is (waits or has_entry)
    for order in consumer.orders():
        assert order["expiresAt"] == NOW + 30 * DAY
        assert entry == {}
