"""What Stripe says of a payment, through the listing, the fetch, the nights after it and `explain`."""

import pytest

from ops.explain.verdict_types import VerdictCase
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW
from testkit.cases import CREATED
from testkit.fake_stripe import Endpoint

CS = "cs_test_payment001"
PAID = {"id": CS, "metadata": {"userId": "u1"}, "email": "buyer@example.com"}
HELD = PAID | {"payment_status": "unpaid", "intent_status": "requires_capture", "amount_captured": 0}


def is_waiting(player):
    return player.world.item("SYSTEM", f"PENDING#{CS}") is not None


def read_words(player, session_id=CS):
    return player.outcome(session_id).get("attention")


# The case files


def test_case_of_a_hold_that_is_never_captured(play_case):
    player = play_case("01")
    outcome = player.outcome("cs_test_hold000001", 0)
    assert (outcome["reason"], outcome["attention"]) == ("awaiting_capture", ["awaiting_capture"])
    assert player.outcome("cs_test_hold000001") | {"pending": True} == player.outcome("cs_test_hold000001")
    [(_, verdict)] = player.answers
    assert verdict.case is VerdictCase.AWAITING_CAPTURE
    assert "delayed" not in verdict.why


def test_case_of_subscriptions_whose_money_went_back(play_case):
    player = play_case("05")
    for session_id in ("cs_test_subrefund1", "cs_test_sublost001"):
        assert player.outcome(session_id)["reason"] == "refunded"
    assert player.world.orders() == []


def test_case_of_a_part_refund(play_case):
    order = play_case("09").order("cs_test_partref001")
    assert (order["amountRefunded"], order["attention"]) == (3000, ["partly_refunded"])
    assert (order["amount"], order["status"]) == (8000, "completed")


def test_case_of_words_of_a_later_version(play_case):
    player = play_case("22")
    words = {"1": "partially_paid", "2": "processing", "3": "reservation"}
    for number, word in words.items():
        outcome = player.outcome(f"cs_test_words0000{number}")
        assert (outcome["outcome"], outcome["errorType"]) == ("error", "UnknownState")
        assert f'"{word}"' in outcome["errorMessage"]
    assert player.world.orders() == []


# The same kinds


@pytest.mark.parametrize("mode", ["payment", "subscription"])
@pytest.mark.parametrize(
    ("fields", "reason", "waits"),
    [
        ({"amount_refunded": 1500}, "refunded", False),
        ({"dispute_status": "lost"}, "refunded", False),
        ({"payment_status": "unpaid"}, "unpaid", True),
        ({"payment_status": "unpaid", "intent_status": "requires_action"}, "unpaid", True),
        ({"payment_status": "unpaid", "intent_status": "succeeded"}, "unpaid", True),
        ({"payment_status": "unpaid", "intent_status": "requires_payment_method"}, "payment_failed", True),
        ({"payment_status": "unpaid", "intent_status": "canceled"}, "payment_failed", False),
        ({"payment_status": "unpaid", "intent_status": "requires_capture"}, "awaiting_capture", True),
        ({"payment_status": "paid", "intent_status": "requires_capture"}, "awaiting_capture", True),
        ({"payment_status": "paid", "intent_status": "canceled"}, "payment_failed", False),
    ],
)
def test_session_without_a_sale_is_skipped_from_the_first_night(player, mode, fields, reason, waits):
    player.sell(PAID | {"mode": mode} | fields)
    player.night(0)
    assert (player.outcome(CS)["outcome"], player.outcome(CS)["reason"]) == ("skipped", reason)
    assert is_waiting(player) is waits
    assert (player.world.orders(), player.world.dead()) == ([], [])


@pytest.mark.parametrize("mode", ["payment", "subscription"])
@pytest.mark.parametrize(
    ("fields", "words", "amounts"),
    [
        ({}, None, {}),
        ({"payment_status": "no_payment_required"}, None, {}),
        ({"amount_captured": 1000}, ["partly_captured"], {"amountCaptured": 1000}),
        ({"amount_refunded": 300}, ["partly_refunded"], {"amountRefunded": 300}),
        ({"dispute_status": "warning_needs_response"}, ["disputed"], {}),
        ({"dispute_status": "lost", "dispute_amount": 100}, ["disputed"], {}),
        ({"dispute_status": "won"}, None, {}),
        ({"dispute_status": "prevented"}, ["disputed"], {}),
        ({"review": "open"}, ["under_review"], {}),
        ({"review": "approved"}, None, {}),
        ({"is_fraud_reported": True}, ["fraud_reported"], {}),
    ],
)
def test_order_and_outcome_say_what_a_person_has_to_know(player, mode, fields, words, amounts):
    player.sell(PAID | {"mode": mode} | fields)
    player.night(0)
    order = player.order(CS)
    assert order.get("attention") == words == read_words(player)
    names = ("amountCaptured", "amountRefunded")
    assert {name: order[name] for name in names if name in order} == amounts


def test_hold_is_written_when_it_is_captured(player):
    player.sell(HELD | {"capture_before": CREATED + 7 * DAY})
    for _ in range(3):
        player.night(1)
        assert read_words(player) == ["awaiting_capture"]
    assert is_waiting(player)
    captured = {"payment_status": "paid", "intent_status": "succeeded", "amount_captured": 1000}
    player.change({"id": CS} | captured)
    player.night(1)
    assert player.order(CS)["amountCaptured"] == 1000
    assert not is_waiting(player)


@pytest.mark.parametrize("payment_status", ["paid", "unpaid"])
def test_released_hold_ends_the_wait(player, payment_status):
    player.sell(HELD | {"payment_status": payment_status})
    player.night(0)
    assert is_waiting(player)
    player.change({"id": CS, "intent_status": "canceled"})
    player.night(1)
    assert player.outcome(CS)["reason"] == "payment_failed"
    assert not is_waiting(player)
    assert player.world.orders() == []


def test_hold_listed_as_paid_again_ends_its_wait_when_it_is_released(player):
    player.sell(HELD | {"payment_status": "paid", "created": NOW - HOUR})
    player.night(0)
    player.change({"id": CS, "intent_status": "canceled"})
    player.world.night({})
    assert not is_waiting(player)


def test_failed_payment_that_is_confirmed_again_is_written(player):
    player.sell(PAID | {"payment_status": "unpaid", "intent_status": "requires_payment_method"})
    player.night(0)
    player.change({"id": CS, "payment_status": "paid", "intent_status": None, "async_paid_at": 2 * HOUR})
    player.night(1)
    assert player.order(CS)["stripePaymentStatus"] == "paid"


def test_unpaid_session_with_an_order_waits_without_a_request(player):
    player.sell(PAID | {"payment_status": "unpaid"})
    player.world.webhook_writes(CS, "u1", NOW - 1800, stripePaymentStatus="unpaid")
    player.night(0)
    assert (player.outcome(CS)["reason"], is_waiting(player)) == ("unpaid", True)
    assert player.world.stripe.calls.count(Endpoint.RETRIEVE) == 0


@pytest.mark.parametrize(("mode", "requests"), [("payment", 1), ("subscription", 2)])
def test_order_takes_one_request_and_a_subscription_two(player, mode, requests):
    player.sell(PAID | {"mode": mode})
    player.night(0)
    calls = player.world.stripe.calls
    assert calls.count(Endpoint.RETRIEVE) + calls.count(Endpoint.INVOICE_PAYMENTS) == requests


def test_unknown_word_leaves_the_entry_as_it_was(player):
    player.sell(PAID | {"payment_status": "unpaid"})
    player.night(0)
    entry = player.world.item("SYSTEM", f"PENDING#{CS}")
    player.change({"id": CS, "objects": {"payment_intent": {"status": "requires_source"}}})
    player.night(1)
    assert player.outcome(CS)["errorType"] == "UnknownState"
    assert player.world.item("SYSTEM", f"PENDING#{CS}") == entry


def test_unknown_word_of_a_session_with_an_order_is_no_error(player):
    player.sell(PAID | {"objects": {"session": {"payment_status": "processing"}}})
    player.world.webhook_writes(CS, "u1", NOW - 1800)
    player.night(0)
    assert player.outcome(CS)["reason"] == "exists"
