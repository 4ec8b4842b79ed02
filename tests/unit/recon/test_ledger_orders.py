"""A user's orders: found under every id, whatever sort key the webhook chose, since the session began."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.domain.reconcile import ExistingOrder
from recon.dynamodb.orders import CLOCK_SKEW_SECONDS, MAX_KEY_BYTES, find_orders, find_orders_by_user
from recon.errors import TableUnavailable
from testkit.builders import NOW, a_message
from testkit.doubles.faults import on, throttled


@pytest.fixture
def order(put):
    def write(user, at, **fields):
        put((f"USER#{user}", f"ORDER#{at}#x"), **fields)

    return write


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as made:
        yield made


def keys(found):
    return [(one.pk, one.sk) for one in found]


def test_an_order_is_read_with_all_that_is_compared(table, order):
    fields = {
        "orderId": "o",
        "stripeSessionId": "s",
        "amount": 1,
        "currency": "eur",
        "stripePaymentStatus": "paid",
    }
    order("u1", NOW, **fields, customerEmail="jane@example.com")
    order("u1", NOW + 1)
    first, second = f"ORDER#{NOW}#x", f"ORDER#{NOW + 1}#x"
    assert find_orders(table, ["u1"], NOW) == [
        ExistingOrder("USER#u1", first, "o", "s", 1, "eur", "paid"),
        ExistingOrder("USER#u1", second, None, None),
    ]


def test_only_what_is_needed_of_an_order_is_read(table, order, memory):
    order("u1", NOW)
    find_orders(table, ["u1"], NOW)
    [asked] = [call.arguments for call in memory.history.calls if call.method == "query"]
    assert (
        asked["ProjectionExpression"]
        == "PK, SK, orderId, stripeSessionId, amount, currency, stripePaymentStatus"
    )
    assert "Limit" not in asked


def test_the_orders_of_every_id_are_found_and_of_nobody_else(table, order, put):
    for user in ("u1", "u 1", "u2"):
        order(user, NOW)
    put(("USER#u1", "PROFILE"))
    put(("USER#u1", "ORDERS#1"))
    assert [pk for pk, _ in keys(find_orders(table, ["u1", "u 1"], NOW))] == ["USER#u1", "USER#u 1"]


def test_the_webhooks_clock_may_be_five_minutes_behind(table, order):
    for at in (NOW - CLOCK_SKEW_SECONDS - 1, NOW - CLOCK_SKEW_SECONDS, NOW + 10**8):
        order("u1", at)
    assert [sk for _, sk in keys(find_orders(table, ["u1"], NOW))] == [
        f"ORDER#{NOW - CLOCK_SKEW_SECONDS}#x",
        f"ORDER#{NOW + 10**8}#x",
    ]


@pytest.mark.parametrize("since", [0, 999_999_999 + CLOCK_SKEW_SECONDS, 10_000_000_000 + CLOCK_SKEW_SECONDS])
def test_where_text_does_not_sort_like_time_all_orders_are_looked_at(since, table, order):
    for at in (5, NOW):
        order("u1", at)
    assert len(find_orders(table, ["u1"], since)) == 2


def test_a_user_id_that_no_key_holds_has_no_orders_and_asks_nobody(table, memory):
    longest = "x" * (MAX_KEY_BYTES - len("USER#"))
    assert find_orders(table, [longest], NOW) == []
    assert memory.history.count("query") == 1
    assert find_orders(table, [longest + "x", "ä" * MAX_KEY_BYTES], NOW) == []
    assert memory.history.count("query") == 1


@pytest.mark.parametrize("sessions", [(NOW, NOW - 5000), (NOW - 5000, NOW)])
def test_each_user_is_asked_for_once_from_the_earliest_session_on(sessions, table, order, memory, pool, time):
    order("u1", NOW - 5000)
    messages = [
        *(a_message(session_id=f"cs_{at}", user_id="u1", created=at) for at in sessions),
        a_message(session_id="cs_3", user_id="u 2", created=NOW),
        a_message(session_id="cs_4", user_id=None),
    ]
    found = find_orders_by_user(table, messages, pool, time.deadline(60))
    assert {ids: keys(orders) for ids, orders in found.items()} == {
        ("u1",): [("USER#u1", f"ORDER#{NOW - 5000}#x")],
        ("u2", "u 2"): [],
    }
    assert memory.history.count("query") == 3


def test_a_lookup_that_fails_is_its_users_answer_and_nobody_elses(table, order, memory, pool, time):
    def plan(call):
        return throttled() if "USER#u1" in str(call.arguments) else None

    order("u2", NOW)
    memory.plan = lambda call: plan(call) if call.method == "query" else None
    found = find_orders_by_user(
        table, [a_message(user_id="u1"), a_message(user_id="u2")], pool, time.deadline(60)
    )
    assert isinstance(found["u1",], TableUnavailable)
    assert len(found["u2",]) == 1


def test_a_lookup_that_is_throttled_once_is_made_again(table, order, memory, pool, time):
    order("u1", NOW)
    memory.plan = on("query", throttled(), nth=1)
    found = find_orders_by_user(table, [a_message(user_id="u1")], pool, time.deadline(60))
    assert len(found["u1",]) == 1
