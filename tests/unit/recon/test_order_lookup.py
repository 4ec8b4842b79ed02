"""The lookup of a shop's own layout: the errors that name what does not fit its table."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.domain.order_keys import OrderSortKey
from recon.domain.shape import parse_shape
from recon.domain.table_decision import ExistingOrder
from recon.dynamodb.order_lookup import ShapeLookup, make_lookup
from recon.errors import ShapeMismatch, TableUnavailable, Unexpected
from testkit.builders import TABLE, a_message
from testkit.doubles.faults import first_of, on, service_error, throttled

MESSAGE = a_message()
KEYS = 'key = { order = "{id}", at = "x" }\n'
STATUS = 'done = { state = ["x"] }\nopen = { due = [true] }\n'
BY_SESSION = 'index = "by-session"\n'


@pytest.fixture
def look_up(table, time):
    def find(lines, message=MESSAGE):
        shape = parse_shape("[find]\n" + lines)
        with ThreadPoolExecutor(1) as pool:
            return make_lookup(table, pool, shape, OrderSortKey.EPOCH).find([message], time.deadline(9))

    return find


@pytest.mark.parametrize(
    ("lines", "method", "where", "projection"),
    [
        (KEYS, "batch_get_item", "table", ""),
        (KEYS + STATUS, "batch_get_item", "table", ""),
        (KEYS + BY_SESSION, "query", "index by-session of table", ""),
        (
            KEYS + BY_SESSION + STATUS,
            "query",
            "index by-session of table",
            ", or the index does not project state or due",
        ),
    ],
)
def test_keys_that_dynamodb_refuses_are_named(look_up, memory, lines, method, where, projection):
    memory.plan = on(method, service_error("ValidationException", "no"))
    error = look_up(lines)[MESSAGE]
    assert type(error) is ShapeMismatch
    assert str(error) == (
        f"shape.toml: find.key has order and at, which are not the string keys of {where} "
        f"{TABLE}{projection}; compare them with `aws dynamodb describe-table`"
    )


@pytest.mark.parametrize(("lines", "method"), [(KEYS, "batch_get_item"), (KEYS + BY_SESSION, "query")])
def test_busy_table_is_the_error_of_the_session(look_up, memory, lines, method):
    memory.plan = on(method, throttled())
    assert type(look_up(lines)[MESSAGE]) is TableUnavailable


@pytest.mark.parametrize(("lines", "method"), [(KEYS, "batch_get_item"), (KEYS + BY_SESSION, "query")])
def test_lookup_outlasts_a_table_that_is_busy_once(look_up, memory, lines, method):
    memory.plan = first_of(
        on(method, throttled(), nth=1), on(method, service_error("ValidationException"), nth=2)
    )
    assert type(look_up(lines)[MESSAGE]) is ShapeMismatch
    if method == "query":
        [request, _] = [call.arguments for call in memory.history.calls]
        assert request["KeyConditionExpression"] == "#a0 = :a0 AND #a1 = :a1"


@pytest.mark.parametrize("values", [(), (("metadata.a", "1"),)])
def test_session_is_not_looked_up_before_all_of_its_key_is_known(look_up, memory, values):
    message = a_message(key_values=values)
    found = look_up('key = { order = "{metadata.a|metadata.b}" }', message)
    assert (found, memory.history.calls) == ({message: []}, [])


@pytest.mark.parametrize(
    ("sort_key", "first"), [(OrderSortKey.EPOCH, "ORDER#1"), (OrderSortKey.ANY, "ORDER#")]
)
def test_orders_of_this_layout_are_read_from_the_time_of_the_session(table, time, memory, sort_key, first):
    with ThreadPoolExecutor(1) as pool:
        make_lookup(table, pool, None, sort_key).find([MESSAGE], time.deadline(9))
    starts = [call.arguments["ExpressionAttributeValues"][":first"]["S"] for call in memory.history.calls]
    assert {start[:7] for start in starts} == {first}


def test_found_item_is_the_order_of_its_session(look_up, put):
    put(("cs_1", "x"), state="odd")
    [order] = look_up('key = { PK = "{id}", SK = "x" }\n' + STATUS.replace("due", "state"))[MESSAGE]
    assert order == ExistingOrder("cs_1", "x", "cs_1", "cs_1", foreign_word="state")


def test_item_of_a_table_with_one_key_has_no_sort_key_and_one_without_is_unreadable(table):
    lookup = ShapeLookup(table, parse_shape('[find]\nkey = { id = "{id}" }'), None)
    assert lookup._to_orders(MESSAGE, [{"id": 7}]) == [ExistingOrder("7", "", "cs_1", "cs_1")]
    error = lookup._to_orders(MESSAGE, [{}])
    assert (type(error), str(error)) == (Unexpected, "KeyError while the order of the session was read")
