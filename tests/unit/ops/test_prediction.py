"""What the consumer would do: what a prospect says is what the consumer then does; nothing is written."""

from dataclasses import replace

import pytest

from ops.runs.prediction import PredictedAction, predict
from recon.domain.reconcile import SkipReason
from recon.dynamodb.table import Table
from recon.stripe.source import StripeSource
from testkit.builders import NOW, a_message
from testkit.doubles.faults import on, service_error
from testkit.fake_stripe import Endpoint, SessionSpec

SESSION, USER = "cs_test_a1b2c3d4", "user-1"
MESSAGE = a_message(session_id=SESSION, user_id=USER, event_ids=())


def sells(world, **fields):
    return world.sells(SessionSpec(SESSION, NOW - 3600, **({"metadata": {"userId": USER}} | fields)))


def seen(world, message=MESSAGE):
    def stripe():
        return StripeSource(world.connect(), world.clock.deadline(3600), lambda: None)

    table = Table(world.dynamodb, world.table)
    return predict(message, table, stripe, world.settings, int(world.clock()))


def done(world, message=MESSAGE):
    """The outcome by the consumer itself."""
    world.sends(message)
    world.drain()
    return world.outcome(message.session_id, message.run_id)


def test_a_missing_order_would_be_created_with_the_amount_that_the_consumer_writes(world):
    sells(world, currency="jpy")
    found = seen(world)
    assert found.would is PredictedAction.CREATE
    done(world)
    [order] = world.orders(SESSION)
    assert (found.amount, found.currency) == (order["amount"], "jpy")
    assert found.order_number == order["orderNumber"]


def test_nothing_is_written_and_nothing_is_sent(world):
    sells(world)
    before = world.memory.dump(), world.memory_sqs.dump()
    seen(world)
    assert (world.memory.dump(), world.memory_sqs.dump()) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": None}, SkipReason.NO_USER),
        ({"mode": "setup"}, SkipReason.NOT_A_SALE),
        ({"payment_status": "unpaid"}, SkipReason.UNPAID),
    ],
)
def test_a_skip_that_the_message_decides_names_the_reason_of_the_consumer(world, changes, reason):
    message = replace(MESSAGE, **changes)
    found = seen(world, message)
    assert (found.would, found.reason) == (PredictedAction.SKIP, reason)
    assert done(world, message)["reason"] == reason
    assert not world.stripe.calls.count(Endpoint.RETRIEVE)


def test_the_order_of_the_webhook_is_found_and_its_drift_is_told(world):
    world.webhook_writes(SESSION, USER, NOW - 1800, amount=1)
    found = seen(world)
    assert (found.would, found.reason) == (PredictedAction.SKIP, SkipReason.EXISTS)
    assert found.drift == tuple(done(world)["drift"])


def test_a_sale_that_was_refunded_by_now_would_be_skipped(world):
    sells(world, amount_refunded=1500)
    found = seen(world)
    assert (found.would, found.reason) == (PredictedAction.SKIP, SkipReason.REFUNDED)
    assert done(world)["reason"] == "refunded"


def test_a_session_too_old_for_an_order_would_be_skipped(make_world):
    world = make_world(ORDER_TTL_DAYS="1")
    message = replace(MESSAGE, created=NOW - 2 * 86_400)
    assert seen(world, message).reason is SkipReason.EXPIRED
    assert done(world, message)["reason"] == "expired"


def test_a_payment_that_settled_after_the_run_asked_is_left_to_the_next(world):
    sells(world)
    message = replace(MESSAGE, payment_status="unpaid", pending=NOW - 2 * 86_400)
    assert seen(world, message).reason is SkipReason.UNPAID
    assert done(world, message)["reason"] == "unpaid"


def test_a_failure_for_good_has_the_words_of_the_outcome(world):
    found = seen(world)
    assert (found.would, found.is_permanent) == (PredictedAction.FAIL, True)
    outcome = done(world)
    assert found.error_type == outcome["errorType"] == "SessionNotFound"
    assert found.error_message.partition(", request")[0] == outcome["errorMessage"].partition(", request")[0]


def test_a_passing_failure_is_told_from_one_for_good(world):
    sells(world)
    world.stripe.faults.server_error(endpoint=Endpoint.RETRIEVE)
    found = seen(world)
    assert (found.error_type, found.is_permanent) == ("StripeUnavailable", False)


def test_a_table_that_does_not_answer_is_a_failure_of_the_session_and_not_of_the_question(world):
    world.dynamodb.plan = on("query", service_error("ProvisionedThroughputExceededException"))
    found = seen(world)
    assert (found.would, found.error_type, found.is_permanent) == (
        PredictedAction.FAIL,
        "TableUnavailable",
        False,
    )


def test_a_session_without_line_items_would_fail(world):
    sells(world, lines=())
    assert seen(world).error_type == "LineItemsMissing"


def test_a_message_that_could_not_be_read_again_would_fail_as_one(world):
    found = seen(world, replace(MESSAGE, mode=None))
    assert (found.error_type, found.error_message) == ("MalformedMessage", "mode is missing")
    assert found.is_permanent


def test_a_bug_met_on_the_way_is_named_without_its_text(world, monkeypatch):
    sells(world)

    def broken(*_):
        raise RuntimeError("jane@example.com")

    monkeypatch.setattr("consumer.decisions.build_order", broken)
    found = seen(world)
    assert (found.error_type, found.error_message) == (
        "Unexpected",
        "RuntimeError while the order was built",
    )


def test_a_key_that_may_not_read_charges_is_told(world):
    sells(world)
    assert seen(world).charges_known
    world.stripe.faults.forbidden(expanding="payment_intent.latest_charge")
    found = seen(world)
    assert (found.would, found.charges_known) == (PredictedAction.CREATE, False)
