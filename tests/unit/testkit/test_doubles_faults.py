"""Faults, the plans that inject them and the histories that record them."""

import random
from collections import Counter

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from testkit.doubles import faults
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import CallHistory, Faulty, Killed, at_call, first_of, never, on, randomly
from testkit.doubles.sqs import MemorySQS

TABLE = "commerce"


@pytest.fixture
def table() -> MemoryDynamoDB:
    made = MemoryDynamoDB()
    made.add_table(TABLE)
    return made


def put(client, sk: str = "1") -> None:
    client.put_item(TableName=TABLE, Item={"PK": {"S": "a"}, "SK": {"S": sk}})


def transact(client, count: int = 3) -> None:
    items = [{"PK": {"S": "a"}, "SK": {"S": str(number)}} for number in range(count)]
    client.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": item}} for item in items])


def test_empty_plan_records_every_call(table):
    client = Faulty(table, never)
    put(client)
    client.get_item(TableName=TABLE, Key={"PK": {"S": "a"}, "SK": {"S": "1"}})
    assert [(call.number, call.service, call.method) for call in client.history.calls] == [
        (1, "dynamodb", "put_item"),
        (2, "dynamodb", "get_item"),
    ]
    assert client.history.calls[0].arguments["TableName"] == TABLE


def test_fault_before_a_call_prevents_it(table):
    client = Faulty(table, on("put_item", faults.connection_closed(), nth=1))
    with pytest.raises(ConnectionClosedError):
        put(client)
    assert table.items(TABLE) == []
    put(client)
    assert len(table.items(TABLE)) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.lost_response(), ConnectionClosedError),
        (faults.timed_out(), ReadTimeoutError),
        (faults.internal_error(after=True), ClientError),
        (faults.killed_after(), Killed),
    ],
)
def test_fault_after_a_call_leaves_its_effect(table, fault, error):
    client = Faulty(table, on("put_item", fault))
    with pytest.raises(error):
        put(client)
    assert len(table.items(TABLE)) == 1


def test_killed_is_not_caught_as_exception(table):
    client = Faulty(table, on("put_item", faults.killed_before()))

    def put_catching_exceptions() -> None:
        try:
            put(client)
        except Exception:  # noqa: BLE001 - this is what is tested
            pytest.fail("caught by the program")

    with pytest.raises(Killed):
        put_catching_exceptions()
    assert table.items(TABLE) == []


def test_throttling_has_the_code_of_the_service(table):
    client = Faulty(table, on("put_item", faults.throttled()))
    with pytest.raises(client.exceptions.ProvisionedThroughputExceededException):
        put(client)
    sqs = MemorySQS()
    queue = Faulty(sqs, on("send_message", faults.throttled()))
    with pytest.raises(queue.exceptions.RequestThrottled):
        queue.send_message(QueueUrl=sqs.add_queue("sessions"), MessageBody="x")


def test_conflict_has_a_reason_at_its_position(table):
    client = Faulty(table, on("transact_write_items", faults.conflict(1)))
    with pytest.raises(client.exceptions.TransactionCanceledException) as raised:
        transact(client)
    reasons = raised.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "TransactionConflict", "None"]
    assert "[None, TransactionConflict, None]" in str(raised.value)
    assert table.items(TABLE) == []


def test_nth_call_of_a_method_or_of_all_fails(table):
    hit = faults.service_error("ThrottlingException")
    by_method = Faulty(table, on("put_item", hit, nth={2, 3}))
    put(by_method)
    for _ in range(2):
        with pytest.raises(ClientError):
            put(by_method)
    put(by_method)
    by_number = Faulty(table, at_call(2, hit))
    transact(by_number)
    with pytest.raises(ClientError):
        put(by_number)


def test_first_plan_with_a_fault_wins(table):
    plan = first_of(
        on("get_item", faults.killed_before()),
        on("put_item", faults.connection_closed()),
        on("put_item", faults.killed_before()),
    )
    with pytest.raises(ConnectionClosedError):
        put(Faulty(table, plan))


def test_seed_determines_the_history_at_its_rates(table):
    traces = []
    rates = {faults.throttled(): 0.2, faults.lost_response(): 0.1}
    for seed in (1, 1, 2):
        client = Faulty(table, randomly(random.Random(seed), rates))
        for number in range(1000):
            try:
                put(client, str(number))
            except (ClientError, ConnectionClosedError):
                continue
        traces.append(str(client.history))
        found = client.history.faults()
        assert 150 < found["throttled"] < 250
        assert 50 < found["lost response"] < 150
    assert traces[0] == traces[1] != traces[2]


def test_random_faults_hit_only_given_methods(table):
    plan = randomly(random.Random(1), {faults.killed_before(): 1.0}, methods={"get_item"})
    client = Faulty(table, plan)
    put(client)
    with pytest.raises(Killed):
        client.get_item(TableName=TABLE, Key={"PK": {"S": "a"}, "SK": {"S": "1"}})


def test_clients_can_share_a_history(table):
    history = CallHistory()
    sqs = MemorySQS()
    url = sqs.add_queue("sessions")
    plan = at_call(2, faults.killed_before())
    put(Faulty(table, plan, history))
    with pytest.raises(Killed):
        Faulty(sqs, plan, history).send_message(QueueUrl=url, MessageBody="x")
    assert str(history).splitlines() == [
        "   1 dynamodb.put_item #1",
        "   2 sqs.send_message #1  !! killed before",
    ]
    assert history.faults() == Counter({"killed before": 1})


def test_pages_of_a_paginator_are_calls(table):
    for sk in "123":
        put(table, sk)
    table.page_items = 1
    client = Faulty(table, on("query", faults.throttled(), nth=2))
    pages = client.get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="PK = :p", ExpressionAttributeValues={":p": {"S": "a"}}
    )
    with pytest.raises(ClientError):
        list(pages)
    assert client.history.count("query") == 2


def test_any_object_can_be_faulty():
    class Source:
        name = "stripe"

        def page(self, after: str) -> str:
            return f"page after {after}"

    source = Faulty(Source(), on("page", faults.raising(OSError("reset")), nth=2))
    assert source.name == "stripe"
    assert source.page("x") == "page after x"
    with pytest.raises(OSError, match="reset"):
        source.page("y")
    assert [call.positional for call in source.history.calls] == [("x",), ("y",)]


def test_boto3_client_raises_its_own_classes():
    client = boto3.client(
        "dynamodb", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    faulty = Faulty(client, on("transact_write_items", faults.conflict()))
    with pytest.raises(client.exceptions.TransactionCanceledException):
        transact(faulty)
    assert faulty.get_paginator("query") is not None
    client.close()


def test_every_listed_fault_can_be_raised(table):
    names = {fault.name for fault in faults.possible_faults(table, "transact_write_items")}
    assert names >= {
        "IdempotentParameterMismatchException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ResourceNotFoundException",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionInProgressException",
        "InternalServerError",
        "killed before",
        "killed after",
        "lost response",
        "timed out",
    }
    for fault in faults.possible_faults(table, "transact_write_items"):
        with pytest.raises(BaseException):  # noqa: B017, PT011 - any of them
            transact(Faulty(table, on("transact_write_items", fault)))
