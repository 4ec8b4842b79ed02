"""The reads of a shop's own table on an engine with real keys and indexes."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.layout.table_sample import ITEMS_OF_A_KEY, ITEMS_OF_A_SEGMENT, SCAN_SEGMENTS, TableSample
from recon.domain.shape import parse_shape
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.order_lookup import ShapeLookup
from recon.dynamodb.table import Table
from recon.errors import ShapeMismatch
from recon.retry import Deadline
from testkit.builders import a_message
from testkit.world import wire

INDEX = 'key = { session = "{id}" }\nindex = "by-session"\n'
KEY = 'key = { tenant = "{metadata.tenant}", status = "{id}" }\n'  # `status` is a reserved word
DONE = 'done = { state = ["PAID"] }\n'


def deadline():
    return Deadline(time.monotonic() + 30, time.monotonic, time.sleep)


@pytest.fixture(scope="module")
def orders(real_engine):
    """Make a table with two keys and an index, and 120 orders, of which every second one is paid."""
    client, name = real_engine.client, "orders-of-another-shop"
    text = [{"AttributeName": one, "AttributeType": "S"} for one in ("tenant", "status", "session")]
    text.append({"AttributeName": "number", "AttributeType": "N"})
    key = [{"AttributeName": "tenant", "KeyType": "HASH"}, {"AttributeName": "status", "KeyType": "RANGE"}]
    indexes = [
        {
            "IndexName": f"by-{name}",
            "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
            "Projection": {"ProjectionType": projection},
        }
        for name, projection in {"session": "ALL", "number": "ALL", "status": "KEYS_ONLY"}.items()
    ]
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=text,
        KeySchema=key,
        GlobalSecondaryIndexes=indexes,
    )
    for number in range(120):
        session, state = f"cs_test_{number:03}", "PENDING" if number % 2 else "PAID"
        item = {"tenant": "t", "status": session, "session": session, "state": state}
        client.put_item(TableName=name, Item=wire(item))
    yield client, name
    client.delete_table(TableName=name)


def find(orders, lines, messages):
    client, name = orders
    with ThreadPoolExecutor(8) as pool:
        table = Table(client, name, ledger="books")
        lookup = ShapeLookup(table, parse_shape(f"[find]\n{lines}"), pool)
        return lookup.find(messages, deadline())


@pytest.mark.parametrize("lines", [KEY, INDEX])
def test_done_orders_are_found_by_key_and_by_index(orders, lines):
    values = (("metadata.tenant", "t"),)
    messages = [a_message(session_id=f"cs_test_{n:03}", key_values=values) for n in range(130)]
    found = find(orders, lines + DONE, messages)
    done = [message.session_id for message in messages if found[message] != []]
    assert done == [f"cs_test_{n:03}" for n in range(0, 120, 2)]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('key = { tenant = "{id}" }', "not the string keys of table"),
        ('key = { other = "{id}" }\nindex = "by-session"', "not the string keys of index by-session"),
        ('key = { session = "{id}" }\nindex = "by-nothing"', "not the string keys of index by-nothing"),
        ('key = { number = "{id}" }\nindex = "by-number"', "not the string keys of index by-number"),
        ('key = { status = "{id}" }\nindex = "by-status"\n' + DONE, "or the index does not project state"),
    ],
)
def test_keys_of_another_table_name_the_file(orders, lines, named):
    message = a_message()
    error = find(orders, lines, [message])[message]
    assert isinstance(error, ShapeMismatch)
    assert named in str(error)


def test_operator_reads_bounded_parts_by_key_and_index(orders):
    client, name = orders
    with ThreadPoolExecutor(8) as pool:
        sample = TableSample(client, name, pool)
        by_key = (None, (("tenant", "t"), ("status", "cs_test_007")))
        places = [by_key, (None, (("tenant", "t"),)), ("by-session", (("session", "cs_test_008"),))]
        found = sample.find(places)
        assert [len(found[place]) for place in places] == [1, ITEMS_OF_A_KEY, 1]
        assert found[by_key] == [
            {"tenant": "t", "status": "cs_test_007", "session": "cs_test_007", "state": "PENDING"}
        ]
        assert len(sample.scan()) <= SCAN_SEGMENTS * ITEMS_OF_A_SEGMENT
        assert sample.counts.queries == len(places)


def test_table_with_other_keys_holds_no_ledger(orders, real_table):
    client, name = orders
    check_ledger_table(Table(client, name, ledger=real_table), "stack", deadline())
