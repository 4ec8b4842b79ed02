"""Which guards and markers are read beside the orders, when they did not fit into the first read."""

from dataclasses import replace

import pytest

from consumer.prior_orders import load_orders
from recon.config import FenceMode
from recon.domain.shape import parse_shape
from recon.dynamodb.keys import guard_key, marker_key
from recon.dynamodb.outcomes import PriorState
from recon.errors import TableUnavailable
from testkit.batches import USER
from testkit.builders import a_message
from testkit.doubles.faults import first_of, on, throttled

GUARD, MARKER, OTHER = guard_key("cs_1"), marker_key("evt_1"), guard_key("cs_other")
PRIOR = PriorState({}, None, unread=frozenset({GUARD, MARKER, OTHER}))
MESSAGE = a_message(session_id="cs_1", user_id=USER, event_ids=("evt_1",))
FOUND, WRITTEN_HERE = {}, {"syncRunId": "another"}


@pytest.mark.parametrize(
    ("mode", "order", "read"),
    [
        (FenceMode.WRITTEN, None, {GUARD, MARKER}),
        (FenceMode.OFF, None, {GUARD}),
        (FenceMode.ALL, None, {GUARD, MARKER}),
        (FenceMode.WRITTEN, FOUND, set()),
        (FenceMode.ALL, FOUND, {MARKER}),
        (FenceMode.WRITTEN, WRITTEN_HERE, {GUARD}),
        (FenceMode.ALL, WRITTEN_HERE, {GUARD, MARKER}),
    ],
)
def test_guards_and_markers_are_read_where_they_decide(consumer, mode, order, read):
    consumer.settings = replace(consumer.settings, webhook_fence=mode)
    consumer.put(GUARD)
    consumer.put(MARKER, status="completed")
    if order is not None:
        consumer.put_webhook_order("cs_1", **order)
    consumer.dynamodb.plan = first_of(
        on("query", throttled(), nth=1), on("batch_get_item", throttled(), nth=1)
    )
    orders, loaded = load_orders(consumer.context(), [MESSAGE], PRIOR)
    assert len(orders[MESSAGE]) == (order is not None)
    queries = [call.arguments for call in consumer.dynamodb.history.calls if call.method == "query"]
    assert all(str(query["ExpressionAttributeValues"][":first"]).count("ORDER#1") for query in queries)
    assert PRIOR.unread - loaded.unread == read
    assert (loaded.guarded, loaded.markers) == (
        {"cs_1"} if GUARD in read else set(),
        {"evt_1": True} if MARKER in read else {},
    )


@pytest.mark.parametrize(
    ("message", "dismissed"), [(replace(MESSAGE, mode="setup"), set()), (MESSAGE, {"cs_1"})]
)
def test_session_whose_order_is_not_due_needs_neither(consumer, message, dismissed):
    prior = replace(PRIOR, dismissed=frozenset(dismissed))
    assert load_orders(consumer.context(), [message], prior) == ({message: []}, prior)


def test_failed_lookup_or_read_is_the_error_of_its_sessions(consumer):
    found = replace(MESSAGE, session_id="cs_found")
    consumer.put_webhook_order("cs_found")
    consumer.dynamodb.plan = on("batch_get_item", throttled())
    orders, prior = load_orders(consumer.context(), [MESSAGE, found], PRIOR)
    assert (type(orders[MESSAGE]), len(orders[found]), prior) == (TableUnavailable, 1, PRIOR)
    consumer.dynamodb.plan = on("query", throttled())
    orders, prior = load_orders(consumer.context(), [MESSAGE], PRIOR)
    assert (type(orders[MESSAGE]), prior) == (TableUnavailable, PRIOR)


def test_order_that_was_put_with_its_guard_after_the_lookup_is_found(consumer):
    def plan(call):
        if call.method == "batch_get_item":
            consumer.put(GUARD)
            consumer.put_webhook_order("cs_1", **WRITTEN_HERE)
        return throttled() if call.method == "query" and call.nth == 2 else None

    consumer.dynamodb.plan = plan
    orders, loaded = load_orders(consumer.context(), [MESSAGE], PRIOR)
    assert (len(orders[MESSAGE]), loaded.guarded) == (1, {"cs_1"})


def test_orders_of_another_layout_are_found_by_its_key(consumer):
    shape = parse_shape('[find]\nkey = { PK = "{id}", SK = "x" }')
    consumer.settings = replace(consumer.settings, shape=shape)
    consumer.put(("cs_1", "x"))
    [orders] = load_orders(consumer.context(), [MESSAGE], PriorState({}, None))[0].values()
    assert [(order.pk, order.sk) for order in orders] == [("cs_1", "x")]
