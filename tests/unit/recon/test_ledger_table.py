"""The table as the ledger uses it: its requests, plain values, retries and domain errors."""

from decimal import Decimal

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from recon.dynamodb.table import CancellationReason, Table, TransactionCancelled, to_domain_error
from recon.errors import NotAllowed, StripeUnavailable, TableRefused, TableUnavailable
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import (
    Faulty,
    cancelled,
    keys_unprocessed,
    lost_response,
    never,
    on,
    service_error,
    throttled,
    timed_out,
)

KEY = ("A", "1")
CALLS = {
    "get_item": lambda table, deadline: table.get(KEY, deadline),
    "query": lambda table, deadline: list(table.query("PK = :pk", {":pk": "A"}, deadline=deadline)),
    "scan": lambda table, deadline: list(table.scan("size = :one", {":one": 1}, deadline)),
    "batch_get_item": lambda table, deadline: table.get_many([KEY], deadline),
    "transact_write_items": lambda table, deadline: table.transact([table.delete(KEY)], deadline),
}


@pytest.fixture
def memory():
    double = MemoryDynamoDB(lambda: NOW, page_items=2)
    double.add_table(TABLE)
    return Faulty(double, never)


@pytest.fixture
def fill(put):
    def write(count, pk="A"):
        for number in range(count):
            put((pk, f"{number:03}"), size=number)

    return write


def requests(memory, method):
    return [call.arguments for call in memory.history.calls if call.method == method]


def test_read_is_consistent_and_returns_whole_numbers_as_int(table, put, memory):
    fields = {"count": 7, "deep": [{"n": 1}, True, None], "share": Decimal("0.5")}
    put(KEY, **fields)
    item = table.get(KEY)
    assert item == {"PK": "A", "SK": "1"} | fields
    assert [type(item["count"]), type(item["deep"][0]["n"]), type(item["share"])] == [int, int, Decimal]
    assert table.get(("A", "2")) is None
    assert requests(memory, "get_item")[0]["ConsistentRead"] is True


def test_item_is_in_the_table_that_its_partition_key_names(memory, time):
    memory.add_table("books")
    table = Table(memory, TABLE, ledger="books")
    for key in (("USER#u", "ORDER#1"), ("SYSTEM", "USER#u")):
        table.get(key)
        table.transact([table.delete(key)], time.deadline(60))
    assert [request["TableName"] for request in requests(memory, "get_item")] == [TABLE, "books"]
    deletes = [request["TransactItems"][0] for request in requests(memory, "transact_write_items")]
    assert [action["Delete"]["TableName"] for action in deletes] == [TABLE, "books"]


def test_another_table_of_the_account_has_the_same_clients(memory, time):
    writes = MemoryDynamoDB(lambda: NOW)
    writes.add_table("other")
    writes = Faulty(writes, never)
    other = Table(memory, TABLE, lambda: "token", transactions=writes).at("other")
    other.transact([other.put({"PK": "SYSTEM", "SK": "1"})], time.deadline(60))
    assert [request["ClientRequestToken"] for request in requests(writes, "transact_write_items")] == [
        "token"
    ]
    assert (other.shop, other.ledger) == (TABLE, "other")


def test_batch_of_more_than_100_keys_is_read_in_parts(table, fill, memory, time):
    fill(201)
    items = table.get_many([("A", f"{number:03}") for number in range(201)], time.deadline(60))
    assert sorted(item["size"] for item in items) == list(range(201))
    parts = [request["RequestItems"][TABLE] for request in requests(memory, "batch_get_item")]
    assert [part["ConsistentRead"] for part in parts] == [True, True, True]


def test_unprocessed_keys_are_read_again(table, fill, memory, time):
    memory.plan = on("batch_get_item", keys_unprocessed(), nth=1)
    fill(3)
    items = table.get_many([("A", "000"), ("A", "001"), ("A", "009")], time.deadline(60))
    assert sorted(item["size"] for item in items) == [0, 1]
    assert len(time.slept) == 1


def test_batch_that_stays_incomplete_is_an_error(table, memory, time):
    memory.plan = on("batch_get_item", keys_unprocessed())
    with pytest.raises(TableUnavailable, match=r"^DynamoDB left [12] keys of a batch unread$"):
        table.get_many([("A", "000"), ("A", "001")], time.deadline(600))


def test_batch_response_without_empty_parts_is_empty(time):
    class TerseClient:
        def batch_get_item(self, **request):
            return {"Responses": {}}

    assert Table(TerseClient(), TABLE).get_many([KEY], time.deadline(60)) == []


@pytest.mark.parametrize("method", ["get_item", "query"])
def test_read_without_a_deadline_is_not_retried(method, table, memory):
    memory.plan = on(method, throttled())
    with pytest.raises(TableUnavailable):
        CALLS[method](table, None)
    assert memory.history.count(method) == 1


@pytest.mark.parametrize("method", CALLS)
def test_refused_request_is_not_retried(method, table, memory, time):
    memory.plan = on(method, service_error("ValidationException", "no"))
    with pytest.raises(TableRefused):
        CALLS[method](table, time.deadline(600))
    assert memory.history.count(method) == 1


@pytest.mark.parametrize("method", CALLS)
def test_lost_connection_is_named_by_its_class(method, table, memory, time):
    memory.plan = on(method, timed_out())
    with pytest.raises(TableUnavailable, match=r"^DynamoDB: ReadTimeoutError$"):
        CALLS[method](table, time.deadline(600))


READ_WAITS = [0.05, 0.1, 0.2, 0.4]
WRITE_WAITS = [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1]


@pytest.mark.parametrize(
    ("method", "fault", "waits"),
    [
        ("get_item", throttled(), READ_WAITS),
        ("query", throttled(), READ_WAITS),
        ("scan", throttled(), READ_WAITS),
        ("batch_get_item", throttled(), [*READ_WAITS, 0.8, 1, 1, 1, 1]),
        ("transact_write_items", throttled(), WRITE_WAITS),
        ("transact_write_items", cancelled("TransactionConflict", "busy"), WRITE_WAITS),
    ],
)
def test_retries_wait_twice_as_long_up_to_a_second(method, fault, waits, table, memory, time, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    memory.plan = on(method, fault)
    with pytest.raises(TableUnavailable):
        CALLS[method](table, time.deadline(600))
    assert time.slept == pytest.approx(waits)


def test_query_reads_all_pages_in_either_direction(table, fill, memory):
    fill(5)
    fill(1, pk="B")
    for newest_first, sizes in ((False, [0, 1, 2, 3, 4]), (True, [4, 3, 2, 1, 0])):
        items = table.query("PK = :pk", {":pk": "A"}, newest_first=newest_first)
        assert [item["size"] for item in items] == sizes
    assert all(query["ConsistentRead"] is True for query in requests(memory, "query"))


def test_scan_reads_the_items_of_the_ledger_consistently(table, fill, memory, time):
    fill(3)
    fill(3, pk="B")
    found = table.scan("size = :one", {":one": 1}, time.deadline(60))
    assert sorted(item["PK"] for item in found) == ["A", "B"]
    assert all(scan["ConsistentRead"] is True for scan in requests(memory, "scan"))


def test_query_filters_and_projects(table, fill):
    fill(4)
    items = table.query(
        "PK = :pk",
        {":pk": "A", ":least": 2},
        names={"#size": "size"},
        only="#size >= :least",
        projection="SK",
    )
    assert list(items) == [{"SK": "002"}, {"SK": "003"}]


def test_transaction_has_one_token_for_all_its_tries(table, memory, time):
    memory.plan = on("transact_write_items", lost_response(), nth=(1, 2))
    for _ in range(2):
        table.transact([table.update(KEY, "ADD n :n", {":n": 1})], time.deadline(60))
    assert table.get(KEY)["n"] == 2
    tokens = [request["ClientRequestToken"] for request in requests(memory, "transact_write_items")]
    assert (len(tokens), len(set(tokens)), tokens[0]) == (4, 2, tokens[2])
    assert all(len(token) <= 36 for token in tokens)


@pytest.mark.parametrize("error", [KeyError, StripeUnavailable])
def test_check_runs_before_each_try_and_may_end_them(error, table, memory, time):
    checks = []

    def check():
        checks.append(memory.history.count("transact_write_items"))
        if len(checks) == 3:
            raise error

    memory.plan = on("transact_write_items", throttled())
    with pytest.raises(error):
        table.transact([table.delete(KEY)], time.deadline(600), check)
    assert checks == [0, 1, 2]


def test_failed_condition_has_its_action_and_the_stored_item(table, put, time):
    put(KEY, n=1)
    actions = [
        table.put({"PK": "A", "SK": "1"}, "attribute_not_exists(PK)"),
        table.update(("A", "2"), "SET n = :n", {":n": 1}, condition="attribute_exists(PK)"),
        table.delete(("A", "3")),
    ]
    with pytest.raises(TransactionCancelled) as caught:
        table.transact(actions, time.deadline(60))
    assert caught.value.reasons == [
        CancellationReason(failed=True, refused=False, item={"PK": "A", "SK": "1", "n": 1}),
        CancellationReason(failed=True, refused=False, item=None),
        CancellationReason(failed=False, refused=False, item=None),
    ]
    assert [reason.stops for reason in caught.value.reasons] == [True, True, False]


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_refused_action_is_named(code, table, memory, time):
    memory.plan = on("transact_write_items", cancelled(code, "too large", 1))
    with pytest.raises(TransactionCancelled) as caught:
        table.transact([table.delete(KEY), table.delete(("A", "2"))], time.deadline(60))
    reasons = [(reason.failed, reason.refused, reason.stops) for reason in caught.value.reasons]
    assert reasons == [(False, False, False), (False, True, True)]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ValidationException", TableRefused),
        ("ThrottlingException", TableUnavailable),
        ("AccessDeniedException", NotAllowed),
        (None, TableUnavailable),
    ],
)
def test_domain_error_has_no_text_of_the_service(code, error):
    original = ReadTimeoutError(endpoint_url="https://jane.test")
    if code:
        original = ClientError({"Error": {"Code": code, "Message": "of jane@example.com"}}, "Query")
    converted = to_domain_error(original)
    expected = f"Query: {code}" if code else "ReadTimeoutError"
    assert (type(converted), str(converted)) == (error, f"DynamoDB: {expected}")
