"""One group of sessions: what is committed of each, and what is seen by the look before the commit."""

import pytest

from consumer.batch import SessionTask
from consumer.session_group import NO_CHARGES
from recon.domain.order import order_number
from recon.domain.reconcile import Outcome
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.records import STATE_KEY, OutcomeRecord, marker_key, outcome_key, pending_key
from recon.errors import KeyUnavailable, MalformedMessage, OutOfTime, StripeUnavailable, Unexpected
from testkit.batches import USER, Batches, fetched
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import on, throttled


@pytest.fixture
def batches():
    return Batches()


def work(session_id="cs_1", *, receives=1, **changes):
    message = a_message(**{"session_id": session_id, "user_id": USER} | changes)
    return SessionTask(message.run_id, session_id, message, None, f"m-{session_id}", receives)


def broken(session_id="cs_9"):
    return SessionTask(RUN, session_id, None, MalformedMessage("mode is missing"), f"m-{session_id}", 1)


def sold(batches, *session_ids, **options):
    batches.answers |= {session: fetched(session, **options) for session in session_ids}


# What is committed


def test_every_session_of_a_group_gets_the_outcome_that_is_its_own(batches):
    sold(batches, "cs_new", "cs_open")
    batches.answers["cs_open"] = fetched("cs_open", status="open")
    batches.answers["cs_down"] = StripeUnavailable("no")
    batches.webhook_wrote("cs_known")
    works = [broken(), *map(work, ("cs_new", "cs_known", "cs_open", "cs_down"))]
    settled = batches.settle(*works, work("cs_nobody", user_id=None))
    told = {session: result.outcome for session, result in settled.committed.applied.items()}
    assert told == {
        "cs_9": Outcome.ERROR,
        "cs_new": Outcome.CREATED,
        "cs_known": Outcome.SKIPPED,
        "cs_open": Outcome.ERROR,
        "cs_nobody": Outcome.SKIPPED,
    }
    assert settled.later == {"cs_down": batches.answers["cs_down"]}
    assert settled.warning is None
    assert batches.outcome("cs_9")["errorMessage"] == "mode is missing"
    assert batches.outcome("cs_nobody")["reason"] == "no_user"
    assert [order["orderId"] for order in batches.orders() if "orderId" in order] == ["cs_new"]


def test_an_outcome_says_what_the_session_was_worth_and_by_which_message(batches):
    batches.settle(work(payment_status="unpaid", amount_total=700, currency="JPY", receives=3), broken())
    outcome = batches.outcome("cs_1")
    assert (outcome["amount"], outcome["currency"]) == (700, "jpy")
    assert (outcome["attempts"], outcome["messageId"]) == (3, "m-cs_1")
    assert not {"amount", "currency", "pending"} & batches.outcome("cs_9").keys()


def test_the_outcome_of_an_order_says_what_stripe_says_it_is_worth(batches):
    sold(batches, "cs_1", amount_total=5, currency="usd")
    batches.settle(work(amount_total=700, currency="jpy"))
    outcome = batches.outcome("cs_1")
    assert (outcome["amount"], outcome["currency"], outcome["orderNumber"]) == (
        5,
        "usd",
        order_number("cs_1", "BC"),
    )


@pytest.mark.parametrize(
    ("types", "marked"),
    [
        ((), ["checkout.session.completed"] * 2),
        (("a",), ["a", "checkout.session.completed"]),
        (("a", "b", "c"), ["a", "b"]),
    ],
)
def test_every_event_of_a_written_order_is_marked_under_its_type(batches, types, marked):
    sold(batches, "cs_1")
    batches.settle(work(event_ids=("evt_1", "evt_2"), event_types=types))
    assert [batches.item(marker_key(f"evt_{n}"))["eventType"] for n in (1, 2)] == marked


def test_an_order_that_is_there_already_marks_no_event(batches):
    batches.webhook_wrote("cs_1")
    batches.settle(work())
    assert batches.item(marker_key("evt_1")) == {}


def test_the_sync_state_counts_only_for_the_run_that_holds_it(batches):
    batches.settle(work("cs_1", payment_status="unpaid"), known=PriorState({}, "another"))
    assert batches.item(STATE_KEY) == {}
    batches.runs(enqueued=2)
    batches.settle(work("cs_2", payment_status="unpaid"), known=PriorState({}, RUN))
    assert batches.item(STATE_KEY)["lastSyncProcessed"] == 1


def test_an_error_that_was_read_is_replaced(batches):
    sold(batches, "cs_1")
    batches.put(outcome_key(RUN, "cs_1"), outcome="error", errorType="SessionNotFound", messageId="old")
    before = OutcomeRecord("cs_1", Outcome.ERROR, error_type="SessionNotFound", message_id="old")
    settled = batches.settle(work(), known=PriorState({(RUN, "cs_1"): before}, None))
    assert settled.committed.applied["cs_1"].previous == before
    assert batches.outcome("cs_1")["outcome"] == "created"


def test_drift_is_kept_of_an_order_that_is_there_for_a_sale_and_of_nothing_else(batches):
    for session in ("cs_1", "cs_2"):
        batches.webhook_wrote(session, amount=1)
    batches.settle(work("cs_1"), work("cs_2", mode="setup"))
    assert batches.outcome("cs_1")["drift"] == ["amount: the order says 1, Stripe 4999"]
    assert batches.outcome("cs_2")["reason"] == "not_a_sale"
    assert "drift" not in batches.outcome("cs_2")


# Waiting for payment


def waits(batches):
    return bool(batches.item(pending_key("cs_1")))


def test_what_is_not_paid_waits_for_it(batches):
    batches.settle(work(payment_status="unpaid"))
    assert waits(batches)
    assert "pending" not in batches.outcome("cs_1")


@pytest.mark.parametrize(
    ("answer", "outcome", "still"),
    [
        ({}, {"outcome": "created"}, False),
        ({"mode": "setup"}, {"outcome": "skipped", "reason": "not_a_sale"}, False),
        ({"payment_status": "unpaid"}, {"outcome": "skipped", "reason": "unpaid"}, True),
        ({"status": "open"}, {"outcome": "error"}, True),
    ],
)
def test_what_waited_waits_until_it_is_known_what_became_of_it(batches, answer, outcome, still):
    batches.settle(work(payment_status="unpaid"))
    sold(batches, "cs_1", **answer)
    batches.settle(work(run_id="later", payment_status="unpaid", pending=NOW))
    found = batches.outcome("cs_1", "later")
    assert outcome.items() <= found.items()
    assert found["pending"] is True
    assert waits(batches) is still


@pytest.mark.parametrize("listed_as", ["unpaid", "paid"])
def test_what_waited_waits_no_longer_once_its_order_is_there(batches, listed_as):
    sold(batches, "cs_1", payment_status="unpaid")
    batches.settle(work(payment_status=listed_as))
    assert waits(batches)
    batches.webhook_wrote("cs_1")
    batches.settle(work(run_id="later", payment_status=listed_as, pending=NOW))
    assert batches.outcome("cs_1", "later")["reason"] == "exists"
    assert not waits(batches)


# Failures


@pytest.mark.parametrize(
    ("error", "receives", "given_up"),
    [
        (StripeUnavailable("no"), 9, False),
        (StripeUnavailable("no"), 10, True),
        (StripeUnavailable("no"), 11, True),
        (OutOfTime("no"), 11, False),
    ],
)
def test_what_may_succeed_later_is_given_up_at_the_last_attempt_if_it_had_its_turn(
    batches, error, receives, given_up
):
    batches.answers["cs_1"] = error
    settled = batches.settle(work(receives=receives))
    assert (settled.later == {}) is given_up
    assert (batches.outcome("cs_1").get("errorMessage") == "no") is given_up


def test_a_bug_of_one_session_is_its_own_failure(batches):
    sold(batches, "cs_1")
    batches.answers["cs_2"] = ZeroDivisionError("a secret")
    settled = batches.settle(work("cs_1"), work("cs_2"))
    assert list(settled.committed.applied) == ["cs_1"]
    [(session, error)] = settled.later.items()
    assert (session, type(error), str(error)) == (
        "cs_2",
        Unexpected,
        "ZeroDivisionError while the order was built",
    )


def test_without_stripe_each_session_that_needs_it_waits_and_no_other(batches):
    error = KeyUnavailable("no")

    def no_stripe():
        raise error

    batches.connect = no_stripe
    settled = batches.settle(work("cs_1"), work("cs_2"), work("cs_3", payment_status="unpaid"))
    assert settled.later == {"cs_1": error, "cs_2": error}
    assert list(settled.committed.applied) == ["cs_3"]


def test_a_group_that_is_known_needs_no_connection_to_stripe(batches):
    batches.connect = None  # calling it would raise
    batches.webhook_wrote("cs_1")
    assert list(batches.settle(work()).committed.applied) == ["cs_1"]


def test_a_key_that_may_not_read_charges_is_a_warning(batches):
    sold(batches, "cs_1", charges_known=False)
    sold(batches, "cs_2")
    assert batches.settle(work("cs_1"), work("cs_2")).warning == NO_CHARGES


# The look before the commit


def appears(batches, session_id):
    """The webhook writes its order while Stripe is asked."""
    fetch = batches.stripe.fetch

    def asked(about):
        batches.webhook_wrote(session_id)
        return fetch(about)

    batches.stripe.fetch = asked


def test_an_order_that_appears_while_stripe_is_asked_is_left_alone(batches):
    sold(batches, "cs_1", "cs_2")
    appears(batches, "cs_1")
    settled = batches.settle(work("cs_1"), work("cs_2"), work("cs_3", payment_status="unpaid"))
    outcomes = {session: result.outcome.value for session, result in settled.committed.applied.items()}
    assert outcomes == {"cs_1": "skipped", "cs_2": "created", "cs_3": "skipped"}
    assert batches.outcome("cs_1")["reason"] == "exists"
    assert len(batches.orders()) == 2


def test_a_look_that_fails_once_is_repeated(batches):
    sold(batches, "cs_1")
    batches.dynamodb.plan = on("query", throttled(), nth=2)
    settled = batches.settle(work())
    assert settled.committed.applied["cs_1"].outcome is Outcome.CREATED


def test_a_look_that_fails_leaves_its_user_for_later_and_nobody_else(batches):
    sold(batches, "cs_1", "cs_2")

    def plan(call):
        looks = call.method == "query" and batches.asked
        return throttled() if looks and "USER#u2" in str(call.arguments) else None

    batches.dynamodb.plan = plan
    settled = batches.settle(work("cs_1"), work("cs_2", user_id="u2"))
    assert list(settled.committed.applied) == ["cs_1"]
    assert {session: type(error).__name__ for session, error in settled.committed.failed.items()} == {
        "cs_2": "TableUnavailable"
    }


def test_nothing_is_looked_up_again_where_no_order_is_written(batches):
    batches.settle(work(payment_status="unpaid"), work("cs_2", payment_status="unpaid"))
    assert batches.dynamodb.history.count("query") == 1
