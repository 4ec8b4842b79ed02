"""Finding a user's orders: under every id, whatever sort key the webhook chose, since the session's start."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.domain.reconcile import ExistingOrder
from recon.dynamodb.orders import CLOCK_SKEW_SECONDS, MAX_KEY_BYTES, find_orders, find_orders_by_user
from recon.errors import TableUnavailable
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
    order("u1", NOW - 5000)
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
    order("u1", NOW)
    order("u2", NOW)
    faults = [throttled()] * failures
    memory.plan = lambda call: faults.pop() if faults and "USER#u1" in str(call.arguments) else None
    found = find_by_user(a_message(user_id="u1"), a_message(user_id="u2"))
    assert len(found["u2",]) == 1
    assert isinstance(found["u1",], TableUnavailable) is (failures > 1)
    assert failures > 1 or len(found["u1",]) == 1
