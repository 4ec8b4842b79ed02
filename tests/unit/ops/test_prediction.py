"""The prediction agrees with what the consumer then does, and writes nothing."""

from dataclasses import replace

import pytest

from ops.format.money import Money
from ops.runs.prediction import PredictedAction, predict
from recon.domain.outcome import SkipReason
from recon.stripe.source import StripeSource
from testkit.builders import NOW, a_message
from testkit.doubles.faults import on, service_error
from testkit.fake_stripe import Endpoint, SessionSpec

SESSION, USER = "cs_test_a1b2c3d4", "user-1"
MESSAGE = a_message(session_id=SESSION, user_id=USER, event_ids=())
TWO_DAYS_AGO = NOW - 2 * 86_400


def sell(world, **fields):
    return world.sells(SessionSpec(SESSION, NOW - 3600, **({"metadata": {"userId": USER}} | fields)))


def predict_now(world, message=MESSAGE):
    def stripe():
        return StripeSource(world.connect(), world.clock.deadline(3600), lambda: None)

    table = world.open_table()
    return predict(message, table, stripe, world.settings, int(world.clock()))


def consume(world, message=MESSAGE):
    """Return the outcome that the consumer writes."""
    world.sends(message)
    world.drain()
    return world.outcome(message.session_id, message.run_id)


def test_missing_order_is_predicted_as_the_consumer_writes_it(world):
    sell(world, currency="jpy")
    before = world.memory.dump(), world.memory_sqs.dump()
    prediction = predict_now(world)
    assert (world.memory.dump(), world.memory_sqs.dump()) == before
    consume(world)
    [order] = world.orders(SESSION)
    assert prediction.would is PredictedAction.CREATE
    assert prediction.amount == Money("jpy", order["amount"])
    assert (prediction.order_number, prediction.charges_known) == (order["orderNumber"], True)


@pytest.mark.parametrize(
    ("message", "sale", "reason"),
    [
        ({"user_id": None}, None, SkipReason.NO_USER),
        ({"mode": "setup"}, None, SkipReason.NOT_A_SALE),
        ({"payment_status": "unpaid"}, {"payment_status": "unpaid"}, SkipReason.UNPAID),
        ({}, {"intent_status": "requires_capture"}, SkipReason.AWAITING_CAPTURE),
        ({}, {"intent_status": "canceled"}, SkipReason.PAYMENT_FAILED),
        ({"created": TWO_DAYS_AGO - 600}, None, SkipReason.EXPIRED),
        ({}, {"amount_refunded": 1500}, SkipReason.REFUNDED),
        # Paid since the run listed it: left to the next run
        ({"payment_status": "unpaid", "pending": TWO_DAYS_AGO}, {}, SkipReason.UNPAID),
    ],
)
def test_skip_has_the_reason_of_the_consumer(make_world, message, sale, reason):
    world = make_world(ORDER_TTL_DAYS="1")
    if sale is not None:
        sell(world, **sale)
    message = replace(MESSAGE, **message)
    prediction = predict_now(world, message)
    assert (prediction.would, prediction.reason) == (PredictedAction.SKIP, reason)
    assert world.stripe.calls.count(Endpoint.RETRIEVE) == (sale is not None)
    assert consume(world, message)["reason"] == reason


def test_existing_order_is_skipped_with_its_drift(world):
    world.webhook_writes(SESSION, USER, NOW - 1800, amount=1)
    prediction = predict_now(world)
    assert (prediction.would, prediction.reason) == (PredictedAction.SKIP, SkipReason.EXISTS)
    assert prediction.drift == tuple(consume(world)["drift"])


def test_permanent_failure_has_the_message_of_the_outcome(world):
    prediction = predict_now(world)
    assert (prediction.would, prediction.is_permanent) == (PredictedAction.FAIL, True)
    outcome = consume(world)
    assert prediction.error_type == outcome["errorType"] == "SessionNotFound"
    texts = [text.partition(", request")[0] for text in (prediction.error_message, outcome["errorMessage"])]
    assert texts[0] == texts[1]


def break_stripe(world):
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)


def break_table(world):
    world.dynamodb.plan = on("query", service_error("ProvisionedThroughputExceededException"))


def drop_lines(world):
    sell(world, lines=())


@pytest.mark.parametrize(
    ("break_it", "error_type", "is_permanent"),
    [
        (break_stripe, "StripeUnavailable", False),
        (break_table, "TableUnavailable", False),
        (drop_lines, "LineItemsMissing", False),
    ],
)
def test_transient_failure_is_predicted_and_not_raised(world, break_it, error_type, is_permanent):
    sell(world)
    break_it(world)
    prediction = predict_now(world)
    assert prediction.would is PredictedAction.FAIL
    assert (prediction.error_type, prediction.is_permanent) == (error_type, is_permanent)


def test_malformed_message_fails_permanently(world):
    prediction = predict_now(world, replace(MESSAGE, mode=None))
    assert (prediction.error_type, prediction.error_message) == ("MalformedMessage", "mode is missing")
    assert prediction.is_permanent


def test_unexpected_error_is_reported_without_its_text(world, monkeypatch):
    def broken(*_, **_named):
        raise RuntimeError("jane@example.com")

    sell(world)
    monkeypatch.setattr("consumer.stripe_decision.build_order", broken)
    prediction = predict_now(world)
    assert prediction.error_type == "Unexpected"
    assert prediction.error_message == "RuntimeError while the order was built"


def test_key_without_access_to_charges_is_reported(world):
    sell(world)
    world.stripe.faults.forbidden(expanding="payment_intent.latest_charge")
    prediction = predict_now(world)
    assert (prediction.would, prediction.charges_known) == (PredictedAction.CREATE, False)
