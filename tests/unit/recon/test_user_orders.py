"""Finding a user's orders: under every id, whatever sort key the webhook chose, since the session's start."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from recon.domain.order_keys import OrderSortKey
from recon.domain.table_decision import ExistingOrder, find_drift
from recon.dynamodb import user_orders
from recon.dynamodb.user_orders import CLOCK_SKEW_SECONDS, MAX_KEY_BYTES, find_orders, find_orders_by_session
from recon.errors import OutOfTime, TableUnavailable, Unexpected
from testkit.builders import NOW, a_message
from testkit.doubles.faults import throttled


@pytest.fixture
def order(put):
    def write(user, at, **fields):
        put((f"USER#{user}", f"ORDER#{at}#x"), **fields)

    return write


@pytest.fixture
def find_by_session(table, time):
    with ThreadPoolExecutor(2) as pool:
        yield lambda *messages, sort_key=OrderSortKey.EPOCH: find_orders_by_session(
            table, messages, pool, time.deadline(60), sort_key=sort_key
        )


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
        "stripePaymentIntentId": "pi_1",
        "paymentIntentId": "pi_2",
    }
    order("u1", NOW, **fields, customerEmail="jane@example.com")
    order("u1", NOW + 1)
    assert find_orders(table, ["u1"], NOW) == [
        ExistingOrder("USER#u1", f"ORDER#{NOW}#x", "o", "s", 1, "eur", "paid", "BC-1", "run", 5, "pi_1"),
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
def test_each_user_is_queried_once_from_the_earliest_session(created, order, memory, find_by_session):
    order("u1", NOW - 5000, orderId=f"cs_{NOW}")
    order("u1", NOW - 4000, orderId="cs_of_another_session")
    found = find_by_session(
        *(a_message(session_id=f"cs_{at}", user_id="u1", created=at) for at in created),
        a_message(session_id="cs_3", user_id="u 2", created=NOW),
        a_message(session_id="cs_4", user_id=None),
    )
    assert {message.session_id: keys(orders) for message, orders in found.items()} == {
        f"cs_{NOW}": [("USER#u1", f"ORDER#{NOW - 5000}#x")],
        f"cs_{NOW - 5000}": [],
        "cs_3": [],
        "cs_4": [],
    }
    assert memory.history.count("query") == 3


@pytest.mark.parametrize("failures", [1, 100])
def test_failed_lookup_is_retried_and_reported_for_its_user(failures, order, memory, find_by_session):
    for user in ("u1", "u2"):
        order(user, NOW, stripeSessionId=a_message().session_id)
    faults = [throttled()] * failures
    memory.plan = lambda call: faults.pop() if faults and "USER#u1" in str(call.arguments) else None
    first, second = a_message(user_id="u1"), a_message(user_id="u2")
    found = find_by_session(first, second)
    assert len(found[second]) == 1
    assert isinstance(found[first], TableUnavailable) is (failures > 1)
    assert failures > 1 or len(found[first]) == 1


def test_user_with_very_many_orders_takes_little_memory(order, find_by_session):
    """A user such as `guest` may have hundreds of thousands; only the orders of the sessions are kept."""
    for number in range(3000):
        order("guest", NOW + number, orderId=f"cs_other{number}")
    order("guest", NOW + 5000, orderId="cs_wanted")
    tracemalloc.start()
    message = a_message(session_id="cs_wanted", user_id="guest")
    found = find_by_session(message)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.order_id for one in found[message]] == ["cs_wanted"]
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


def test_lookups_that_hang_end_at_the_deadline(table, time, memory, find_by_session):
    """One request of many may hang until its time-out, and the others still fit into the deadline."""
    memory.plan = lambda call: time.sleep(7) if call.method == "query" else None
    began, messages = time(), [a_message(session_id=f"cs_{n}", user_id=f"u{n}") for n in range(50)]
    found = find_by_session(*messages)
    assert time() - began < 60 + 2 * 7
    late = [orders for orders in found.values() if isinstance(orders, OutOfTime)]
    assert len(late) == 50 - memory.history.count("query")


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
def test_order_with_any_value_in_any_attribute_can_be_compared(value, order, put, find_by_session):
    """Another program writes these items, so nothing is certain about them but their keys."""
    message = a_message(user_id="u1")
    fields = ("orderId", "amount", "currency", "stripePaymentStatus")
    for number, name in enumerate(fields):
        order("u1", NOW + number, **{"stripeSessionId": message.session_id, name: value})
    order("u1", NOW + 9, stripeSessionId=value)
    orders = find_by_session(message)[message]
    assert len(orders) == len(fields)
    assert any(word.startswith("duplicate") for word in find_drift(message, orders))


def test_order_in_major_units_differs_from_stripe(order, find_by_session):
    message = a_message(user_id="u1", amount_total=1250)
    order("u1", NOW, stripeSessionId=message.session_id, amount=Decimal("12.5"))
    drift = find_drift(message, find_by_session(message)[message])
    assert drift == ("amount: the order says 12.5, Stripe 1250",)


def test_unreadable_item_is_the_error_of_its_user(order, find_by_session, monkeypatch):
    read = user_orders.read_text

    def fail(item, name):
        if item["PK"] == "USER#u1":
            raise KeyError(name)
        return read(item, name)

    monkeypatch.setattr(user_orders, "read_text", fail)
    order("u1", NOW)
    order("u2", NOW, orderId=a_message().session_id)
    first, second = a_message(user_id="u1"), a_message(user_id="u2")
    found = find_by_session(first, second)
    assert (type(found[first]), len(found[second])) == (Unexpected, 1)
    assert str(found[first]) == "KeyError while the orders of the user were read"


def queried(memory):
    calls = [call.arguments for call in memory.history.calls if call.method == "query"]
    return [call["ExpressionAttributeValues"][":pk"]["S"].removeprefix("USER#") for call in calls]


def test_order_under_the_chosen_id_costs_one_query_whatever_the_candidates(order, memory, find_by_session):
    message = a_message(user_id="u1", other_user_ids=("A@x.com", "cus_1"))
    order("u1", NOW, stripeSessionId=message.session_id)
    order("A@x.com", NOW, stripeSessionId="cs_of_another_session")
    assert keys(find_by_session(message)[message]) == [("USER#u1", f"ORDER#{NOW}#x")]
    assert queried(memory) == ["u1"]


@pytest.mark.parametrize("at", ["A@x.com", "a@x.com", "cus_1", "用户"])
def test_order_missing_under_the_chosen_id_is_found_under_any_candidate(at, order, memory, find_by_session):
    message = a_message(user_id="u1", other_user_ids=("A@x.com", "cus_1", "用户"))
    order(at, NOW, stripeSessionId=message.session_id)
    assert keys(find_by_session(message)[message]) == [(f"USER#{at}", f"ORDER#{NOW}#x")]
    assert queried(memory)[0] == "u1"
    assert sorted(queried(memory)) == sorted(["u1", "A@x.com", "a@x.com", "cus_1", "用户"])


def test_sessions_of_one_candidate_share_its_query(order, memory, find_by_session):
    first, second = (
        a_message(session_id=f"cs_{number}", user_id=f"u{number}", other_user_ids=("guest",))
        for number in (1, 2)
    )
    order("guest", NOW, stripeSessionId="cs_2")
    found = find_by_session(first, second)
    assert (len(found[first]), len(found[second])) == (0, 1)
    assert sorted(queried(memory)) == ["guest", "u1", "u2"]


def test_failed_lookup_of_a_candidate_fails_unless_another_has_the_order(order, memory, find_by_session):
    first, second = (
        a_message(session_id=f"cs_{number}", user_id="guest", other_user_ids=(f"a{number}", "busy"))
        for number in (1, 2)
    )
    order("a2", NOW, stripeSessionId="cs_2")
    memory.plan = lambda call: throttled() if "USER#busy" in str(call.arguments) else None
    found = find_by_session(first, second)
    assert (type(found[first]), len(found[second])) == (TableUnavailable, 1)


def test_id_that_no_key_can_hold_is_not_looked_up(memory, find_by_session):
    message = a_message(user_id="u\ud800")
    assert find_by_session(message)[message] == []
    assert queried(memory) == ["u"]


SORT_KEYS = {
    "ulid": "01JDNZQ8YV3V5F2R0B6TT8W4QK",
    "uuid": "0b7c0c1e-6f0e-4a55-9a43-0d3c1b8f4a10",
    "reversed": "0000007267330779",
}


@pytest.mark.parametrize("suffix", SORT_KEYS.values(), ids=SORT_KEYS)
def test_order_whose_sort_key_says_no_time_is_found_with_any(suffix, put, find_by_session):
    message = a_message(user_id="u1")
    put(("USER#u1", f"ORDER#{suffix}"), stripeSessionId=message.session_id)
    put(("USER#u1", "CART#1"), stripeSessionId=message.session_id)
    assert find_by_session(message)[message] == []
    found = find_by_session(message, sort_key=OrderSortKey.ANY)
    assert keys(found[message]) == [("USER#u1", f"ORDER#{suffix}")]


def test_lookup_with_any_is_a_consistent_query_of_the_orders_of_one_user(memory, order, find_by_session):
    order("u1", NOW, stripeSessionId=a_message().session_id)
    find_by_session(a_message(user_id="u1"), sort_key=OrderSortKey.ANY)
    [query] = [call.arguments for call in memory.history.calls if call.method == "query"]
    assert query["ConsistentRead"] is True
    assert "Limit" not in query


@pytest.mark.parametrize("name", ["stripePaymentIntentId", "paymentIntentId"])
def test_order_with_only_the_payment_intent_is_the_sessions(name, order, find_by_session):
    message = a_message(user_id="u1", payment_intent="pi_1")
    order("u1", NOW, orderId="shop-1", **{name: "pi_1"})
    order("u1", NOW + 1, orderId="shop-2", **{name: "pi_2"})
    order("u1", NOW + 2, stripeSessionId="cs_of_another_session", **{name: "pi_1"})
    assert keys(find_by_session(message)[message]) == [("USER#u1", f"ORDER#{NOW}#x")]


def test_order_without_payment_intent_is_not_that_of_a_session_without_one(order, find_by_session):
    order("u1", NOW, orderId="shop-1")
    message = a_message(user_id="u1", payment_intent=None)
    assert find_by_session(message)[message] == []
