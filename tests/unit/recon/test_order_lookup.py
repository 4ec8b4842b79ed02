"""The lookup of a shop's own layout: the errors that name what does not fit its table."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from recon.domain.shape import parse_shape
from recon.dynamodb.order_lookup import ShapeLookup
from recon.errors import ShapeMismatch, TableUnavailable
from testkit.builders import TABLE, a_message
from testkit.doubles.faults import on, service_error, throttled

MESSAGE = a_message()
KEYS = 'key = { order = "{id}", at = "x" }\n'
STATUS = 'done = { state = ["x"] }\nopen = { due = [true] }\n'
BY_SESSION = 'index = "by-session"\n'


@pytest.fixture
def look_up(table, time):
    def find(lines):
        with ThreadPoolExecutor(1) as pool:
            return ShapeLookup(table, parse_shape("[find]\n" + lines), pool).find([MESSAGE], time.deadline(9))

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
