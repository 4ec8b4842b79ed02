"""The table as the ledger sees it: requests as DynamoDB wants them, plain values, repeats, our errors."""

from decimal import Decimal

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from recon.dynamodb.table import (
    Action,
    CancellationReason,
    Table,
    TransactionCancelled,
    from_wire,
    to_domain_error,
    to_wire,
)
from recon.errors import NotAllowed, StripeUnavailable, TableRefused, TableUnavailable
from recon.retry import READ_ATTEMPTS, TRANSACTION_ATTEMPTS
from testkit.builders import NOW, TABLE, FakeTime
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
from testkit.world import wire

KEY = ("A", "1")


@pytest.fixture
def memory():
    made = MemoryDynamoDB(lambda: NOW, page_items=2)
    made.add_table(TABLE)
    return Faulty(made, never)


@pytest.fixture
def time():
    return FakeTime()


@pytest.fixture
def table(memory):
    return Table(memory, TABLE, lambda: "token-0000")


def fill(memory, count, pk="A"):
    for number in range(count):
        item = {"PK": pk, "SK": f"{number:03}", "size": number}
        memory.put_item(TableName=TABLE, Item=wire(item))


def requests(memory, method):
    return [call.arguments for call in memory.history.calls if call.method == method]


def test_reads_are_consistent_and_whole_numbers_come_back_as_such(table, memory):
    item = {"PK": "A", "SK": "1", "count": 7, "deep": [{"n": 1}, True, None], "share": Decimal("0.5")}
    memory.put_item(TableName=TABLE, Item=wire(item))
    got = table.get(KEY)
    assert got == item
    assert [type(got["count"]), type(got["deep"][0]["n"]), type(got["share"])] == [int, int, Decimal]
    assert table.get(("A", "2")) is None
    assert requests(memory, "get_item")[0]["ConsistentRead"] is True


def test_values_go_to_the_wire_and_back():
    assert from_wire(to_wire({"a": 1, "b": "x", "c": [1], "d": {"e": 2}})) == {
        "a": 1,
        "b": "x",
        "c": [1],
        "d": {"e": 2},
    }
    assert to_wire({"a": 1}) == {"a": {"N": "1"}}


def test_a_batch_of_more_than_a_hundred_keys_is_read_in_parts(table, memory, time):
    fill(memory, 201)
    found = table.get_many([("A", f"{number:03}") for number in range(201)], time.deadline(60))
    assert sorted(item["size"] for item in found) == list(range(201))
    asked = [request["RequestItems"][TABLE] for request in requests(memory, "batch_get_item")]
    assert [part["ConsistentRead"] for part in asked] == [True, True, True]


def test_keys_that_were_left_unread_are_asked_for_again_and_nothing_else(memory, time):
    memory.plan = on("batch_get_item", keys_unprocessed(), nth=1)
    fill(memory, 3)
    found = Table(memory, TABLE).get_many([("A", "000"), ("A", "001"), ("A", "009")], time.deadline(60))
    assert sorted(item["size"] for item in found) == [0, 1]
    assert len(time.slept) == 1


def test_an_answer_that_leaves_out_what_is_empty_is_an_empty_one(time):
    class Terse:
        def batch_get_item(self, **request):
            return {"Responses": {}}

    assert Table(Terse(), TABLE).get_many([KEY], time.deadline(60)) == []


def test_a_batch_that_is_never_read_whole_is_given_up_and_says_how_much_is_left(memory, time):
    memory.plan = on("batch_get_item", keys_unprocessed())
    with pytest.raises(TableUnavailable) as caught:
        Table(memory, TABLE).get_many([("A", "000"), ("A", "001")], time.deadline(600))
    assert str(caught.value) in {f"DynamoDB left {count} keys of a batch unread" for count in (1, 2)}
    assert memory.history.count("batch_get_item") == TRANSACTION_ATTEMPTS
    assert max(time.slept) <= 1.0


@pytest.mark.parametrize("method", ["get_item", "query"])
def test_a_read_with_a_deadline_is_repeated_and_one_without_is_not(method, table, memory, time):
    memory.plan = on(method, throttled())

    def read(deadline):
        if method == "get_item":
            return table.get(KEY, deadline)
        return list(table.query("PK = :pk", {":pk": "A"}, deadline=deadline))

    with pytest.raises(TableUnavailable):
        read(None)
    assert memory.history.count(method) == 1
    with pytest.raises(TableUnavailable):
        read(time.deadline(600))
    assert memory.history.count(method) == 1 + READ_ATTEMPTS
    assert max(time.slept) <= 1.0


CALLS = {
    "get_item": lambda table, deadline: table.get(KEY, deadline),
    "query": lambda table, deadline: list(table.query("PK = :pk", {":pk": "A"}, deadline=deadline)),
    "batch_get_item": lambda table, deadline: table.get_many([KEY], deadline),
    "transact_write_items": lambda table, deadline: table.transact([table.delete(KEY)], deadline),
}


@pytest.mark.parametrize("method", CALLS)
def test_what_dynamodb_refuses_is_not_repeated(method, table, memory, time):
    memory.plan = on(method, service_error("ValidationException", "no"))
    with pytest.raises(TableRefused):
        CALLS[method](table, time.deadline(600))
    assert memory.history.count(method) == 1


@pytest.mark.parametrize("method", CALLS)
def test_an_answer_that_never_comes_is_told_by_its_kind(method, table, memory, time):
    memory.plan = on(method, timed_out())
    with pytest.raises(TableUnavailable, match=r"^DynamoDB: ReadTimeoutError$"):
        CALLS[method](table, time.deadline(600))


@pytest.mark.parametrize(
    ("method", "longest"),
    [
        ("get_item", [0.05, 0.1, 0.2, 0.4]),
        ("batch_get_item", [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1]),
        ("transact_write_items", [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1]),
    ],
)
def test_a_busy_table_is_left_alone_twice_as_long_each_time_up_to_a_second(
    method, longest, table, memory, time, monkeypatch
):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    memory.plan = on(method, throttled())
    with pytest.raises(TableUnavailable):
        CALLS[method](table, time.deadline(600))
    assert time.slept == pytest.approx(longest)


def test_a_query_goes_through_all_pages_in_either_direction(table, memory):
    fill(memory, 5)
    fill(memory, 1, pk="B")
    assert [item["size"] for item in table.query("PK = :pk", {":pk": "A"})] == [0, 1, 2, 3, 4]
    assert [item["size"] for item in table.query("PK = :pk", {":pk": "A"}, newest_first=True)] == [
        4,
        3,
        2,
        1,
        0,
    ]
    assert all(asked["ConsistentRead"] is True for asked in requests(memory, "query"))


def test_a_query_filters_and_shows_what_is_asked_for(table, memory):
    fill(memory, 4)
    found = table.query(
        "PK = :pk",
        {":pk": "A", ":least": 2},
        names={"#size": "size"},
        only="#size >= :least",
        projection="SK",
    )
    assert list(found) == [{"SK": "002"}, {"SK": "003"}]


def test_actions_are_what_dynamodb_wants(table):
    assert table.put({"PK": "A", "SK": "1", "n": 1}, "attribute_not_exists(PK)") == Action(
        "Put",
        KEY,
        {"Item": wire({"PK": "A", "SK": "1", "n": 1}), "ConditionExpression": "attribute_not_exists(PK)"},
    )
    assert table.put({"PK": "A", "SK": "1"}, "n = :n", {":n": 1}).body["ExpressionAttributeValues"] == wire(
        {":n": 1}
    )
    assert table.update(KEY, "SET n = :n", {":n": 1}) == Action(
        "Update",
        KEY,
        {
            "Key": wire({"PK": "A", "SK": "1"}),
            "UpdateExpression": "SET n = :n",
            "ExpressionAttributeValues": wire({":n": 1}),
        },
    )
    named = table.update(KEY, "SET #n = :n", {":n": 1}, condition="#n = :n", names={"#n": "n"}).body
    assert (named["ConditionExpression"], named["ExpressionAttributeNames"]) == ("#n = :n", {"#n": "n"})
    assert table.delete(KEY) == Action("Delete", KEY, {"Key": wire({"PK": "A", "SK": "1"})})


def test_a_transaction_has_one_token_for_all_its_tries(table, memory, time):
    memory.plan = on("transact_write_items", lost_response(), nth=(1, 2))
    table.transact([table.update(KEY, "ADD n :n", {":n": 1})], time.deadline(60))
    assert {asked["ClientRequestToken"] for asked in requests(memory, "transact_write_items")} == {
        "token-0000"
    }
    assert memory.history.count("transact_write_items") == 3
    assert table.get(KEY)["n"] == 1


def test_each_transaction_has_a_token_of_its_own(memory, time):
    table = Table(memory, TABLE)
    for _ in range(2):
        table.transact([table.update(KEY, "ADD n :n", {":n": 1})], time.deadline(60))
    assert table.get(KEY)["n"] == 2
    tokens = {asked["ClientRequestToken"] for asked in requests(memory, "transact_write_items")}
    assert len(tokens) == 2
    assert all(len(token) <= 36 for token in tokens)


def test_a_busy_table_is_given_up_after_so_many_tries(table, memory, time):
    memory.plan = on("transact_write_items", cancelled("TransactionConflict", "busy"))
    with pytest.raises(TableUnavailable):
        table.transact([table.delete(KEY)], time.deadline(600))
    assert memory.history.count("transact_write_items") == TRANSACTION_ATTEMPTS
    assert max(time.slept) <= 1.0


@pytest.mark.parametrize("found", [KeyError, StripeUnavailable])
def test_a_check_runs_before_each_try_and_what_it_raises_ends_them(found, table, memory, time):
    checks = []

    def check():
        checks.append(memory.history.count("transact_write_items"))
        if len(checks) == 3:
            raise found

    memory.plan = on("transact_write_items", throttled())
    with pytest.raises(found):
        table.transact([table.delete(KEY)], time.deadline(600), check)
    assert checks == [0, 1, 2]


def test_a_condition_that_did_not_hold_says_which_and_what_stands_there(table, memory, time):
    memory.put_item(TableName=TABLE, Item=wire({"PK": "A", "SK": "1", "n": 1}))
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
def test_an_action_that_is_refused_says_which(code, table, memory, time):
    memory.plan = on("transact_write_items", cancelled(code, "too large", 1))
    with pytest.raises(TransactionCancelled) as caught:
        table.transact([table.delete(KEY), table.delete(("A", "2"))], time.deadline(60))
    assert [(reason.failed, reason.refused, reason.stops) for reason in caught.value.reasons] == [
        (False, False, False),
        (False, True, True),
    ]


def answered(operation, code):
    return ClientError({"Error": {"Code": code, "Message": "of jane@example.com"}}, operation)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (answered("GetItem", "ValidationException"), TableRefused, "GetItem: ValidationException"),
        (answered("Query", "ThrottlingException"), TableUnavailable, "Query: ThrottlingException"),
        (answered("Query", "AccessDeniedException"), NotAllowed, "Query: AccessDeniedException"),
        (ReadTimeoutError(endpoint_url="https://jane.test"), TableUnavailable, "ReadTimeoutError"),
    ],
)
def test_an_error_of_dynamodb_becomes_ours_without_its_text(error, kind, text):
    made = to_domain_error(error)
    assert (type(made), str(made)) == (kind, f"DynamoDB: {text}")
