"""Finding a user's orders: under every id, whatever sort key the webhook chose, since the session's start."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from recon.domain.reconcile import ExistingOrder, find_drift
from recon.dynamodb import orders
from recon.dynamodb.orders import CLOCK_SKEW_SECONDS, MAX_KEY_BYTES, find_orders, find_orders_by_user
from recon.errors import OutOfTime, TableUnavailable, Unexpected
from testkit.builders import NOW, a_message
from testkit.doubles.faults import throttled


@pytest.fixture
def order(put):
    def write(user, at, **fields):
        put((f"USER#{user}", f"ORDER#{at}#x"), **fields)

    return write


@pytest.fixture
def find_by_user(table, time):
    with ThreadPoolExecutor(2) as pool:
        yield lambda *messages: find_orders_by_user(table, messages, pool, time.deadline(60))


def keys(found):
    return [(order.pk, order.sk) for order in found]


def test_order_is_read_with_the_compared_attributes_only(table, order, memory):
    fields = {
        "orderId": "o",
        "stripeSessionId": "s",
        "amount": 1,
        "currency": "eur",
        "stripePaymentStatus": "paid",
        "orderNumber": "BC-1",
        "syncRunId": "run",
        "expiresAt": 5,
    }
    order("u1", NOW, **fields, customerEmail="jane@example.com")
    order("u1", NOW + 1)
    assert find_orders(table, ["u1"], NOW) == [
        ExistingOrder("USER#u1", f"ORDER#{NOW}#x", "o", "s", 1, "eur", "paid", "BC-1", "run", 5),
        ExistingOrder("USER#u1", f"ORDER#{NOW + 1}#x", None, None),
    ]
    [query] = [call.arguments for call in memory.history.calls if call.method == "query"]
    assert query["ProjectionExpression"] == ", ".join(("PK, SK", *fields))
    assert "Limit" not in query


def test_orders_of_every_id_and_of_no_other_user_are_found(table, order, put):
    for user in ("u1", "u 1", "u2"):
        order(user, NOW)
    put(("USER#u1", "PROFILE"))
    put(("USER#u1", "ORDERS#1"))
    assert [pk for pk, _ in keys(find_orders(table, ["u1", "u 1"], NOW))] == ["USER#u1", "USER#u 1"]


def test_clock_of_the_webhook_may_be_behind(table, order):
    for at in (NOW - CLOCK_SKEW_SECONDS - 1, NOW - CLOCK_SKEW_SECONDS, NOW + 10**8):
        order("u1", at)
    assert [sk for _, sk in keys(find_orders(table, ["u1"], NOW))] == [
        f"ORDER#{NOW - CLOCK_SKEW_SECONDS}#x",
        f"ORDER#{NOW + 10**8}#x",
    ]


@pytest.mark.parametrize("since", [0, 999_999_999 + CLOCK_SKEW_SECONDS, 10_000_000_000 + CLOCK_SKEW_SECONDS])
def test_all_orders_are_read_where_text_does_not_sort_like_time(since, table, order):
    for at in (5, NOW):
        order("u1", at)
    assert len(find_orders(table, ["u1"], since)) == 2


def test_user_id_too_long_for_a_key_has_no_orders(table, memory):
    longest = "x" * (MAX_KEY_BYTES - len("USER#"))
    assert find_orders(table, [longest, longest + "x", "ä" * MAX_KEY_BYTES], NOW) == []
    assert memory.history.count("query") == 1


@pytest.mark.parametrize("created", [(NOW, NOW - 5000), (NOW - 5000, NOW)])
def test_each_user_is_queried_once_from_the_earliest_session(created, order, memory, find_by_user):
    order("u1", NOW - 5000, orderId=f"cs_{NOW}")
    order("u1", NOW - 4000, orderId="cs_of_another_session")
    found = find_by_user(
        *(a_message(session_id=f"cs_{at}", user_id="u1", created=at) for at in created),
        a_message(session_id="cs_3", user_id="u 2", created=NOW),
        a_message(session_id="cs_4", user_id=None),
    )
    assert {ids: keys(orders) for ids, orders in found.items()} == {
        ("u1",): [("USER#u1", f"ORDER#{NOW - 5000}#x")],
        ("u2", "u 2"): [],
    }
    assert memory.history.count("query") == 3


@pytest.mark.parametrize("failures", [1, 100])
def test_failed_lookup_is_retried_and_reported_for_its_user(failures, order, memory, find_by_user):
    for user in ("u1", "u2"):
        order(user, NOW, stripeSessionId=a_message().session_id)
    faults = [throttled()] * failures
    memory.plan = lambda call: faults.pop() if faults and "USER#u1" in str(call.arguments) else None
    found = find_by_user(a_message(user_id="u1"), a_message(user_id="u2"))
    assert len(found["u2",]) == 1
    assert isinstance(found["u1",], TableUnavailable) is (failures > 1)
    assert failures > 1 or len(found["u1",]) == 1


def test_user_with_very_many_orders_takes_little_memory(order, find_by_user):
    """A user such as `guest` may have hundreds of thousands; only the orders of the sessions are kept."""
    for number in range(3000):
        order("guest", NOW + number, orderId=f"cs_other{number}")
    order("guest", NOW + 5000, orderId="cs_wanted")
    tracemalloc.start()
    found = find_by_user(a_message(session_id="cs_wanted", user_id="guest"))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.order_id for one in found["guest",]] == ["cs_wanted"]
    assert kept < 1_000_000


def test_lookup_ends_between_two_pages_at_its_deadline(table, order, time, memory):
    for number in range(30):
        order("u1", NOW + number, filler="x" * 100_000)

    def wait(call):
        if call.method == "query":
            time.sleep(40)

    memory.plan = wait
    with pytest.raises(OutOfTime):
        find_orders(table, ["u1"], NOW, time.deadline(60))
    assert memory.history.count("query") == 2


@pytest.mark.parametrize(
    "value",
    [5, Decimal("12.5"), True, None, b"x", {"a", "b"}, {1, 2}, ["x"], {"k": "v"}, "text", ""],
    ids=[
        "integer",
        "decimal",
        "boolean",
        "null",
        "binary",
        "texts",
        "numbers",
        "list",
        "map",
        "text",
        "empty",
    ],
)
def test_order_with_any_value_in_any_attribute_can_be_compared(value, order, put, find_by_user):
    """Another program writes these items, so nothing is certain about them but their keys."""
    message = a_message(user_id="u1")
    fields = ("orderId", "amount", "currency", "stripePaymentStatus")
    for number, name in enumerate(fields):
        order("u1", NOW + number, **{"stripeSessionId": message.session_id, name: value})
    order("u1", NOW + 9, stripeSessionId=value)
    orders = find_by_user(message)["u1",]
    assert len(orders) == len(fields)
    assert any(word.startswith("duplicate") for word in find_drift(message, orders))


def test_order_in_major_units_differs_from_stripe(order, find_by_user):
    message = a_message(user_id="u1", amount_total=1250)
    order("u1", NOW, stripeSessionId=message.session_id, amount=Decimal("12.5"))
    assert find_drift(message, find_by_user(message)["u1",]) == ("amount: the order says 12.5, Stripe 1250",)


def test_unreadable_item_is_the_error_of_its_user(order, find_by_user, monkeypatch):
    read = orders.read_text

    def fail(item, name):
        if item["PK"] == "USER#u1":
            raise KeyError(name)
        return read(item, name)

    monkeypatch.setattr(orders, "read_text", fail)
    order("u1", NOW)
    order("u2", NOW, orderId=a_message().session_id)
    found = find_by_user(a_message(user_id="u1"), a_message(user_id="u2"))
    assert (type(found["u1",]), len(found["u2",])) == (Unexpected, 1)
