"""What only the in-memory DynamoDB has; what it shares with the service is in the contract suite."""

import pytest
from botocore.exceptions import ClientError

from testkit.doubles.clock import ManualClock
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.errors import UnsupportedRequest

TABLE = "commerce"


def new_client(**options) -> MemoryDynamoDB:
    client = MemoryDynamoDB(**options)
    client.add_table(TABLE)
    return client


def key(sk):
    return {"PK": {"S": "a"}, "SK": {"S": sk}}


def put(client, *sort_keys, **attributes):
    for sk in sort_keys:
        client.put_item(TableName=TABLE, Item={**key(sk), **attributes})


def get(client, sk="1", **request):
    return client.get_item(TableName=TABLE, Key=key(sk), **request)["Item"]


QUERY = {
    "TableName": TABLE,
    "KeyConditionExpression": "PK = :p",
    "ExpressionAttributeValues": {":p": {"S": "a"}},
}


def test_pages_can_be_short():
    client = new_client(page_items=2)
    put(client, *"12345")
    assert client.query(**QUERY)["LastEvaluatedKey"] == key("2")
    assert [page["Count"] for page in client.get_paginator("query").paginate(**QUERY)] == [2, 2, 1]


def test_short_page_at_the_end_has_no_last_key():
    client = new_client(page_items=2)
    put(client, *"1234")
    assert "LastEvaluatedKey" not in client.query(**QUERY, ExclusiveStartKey=key("2"))


def test_batch_may_leave_keys_unprocessed():
    client = new_client(batch_items=2)
    put(client, *"123")
    first = client.batch_get_item(
        RequestItems={TABLE: {"Keys": [key(sk) for sk in "123"], "ConsistentRead": True}}
    )
    assert len(first["Responses"][TABLE]) == 2
    assert first["UnprocessedKeys"] == {TABLE: {"Keys": [key("3")], "ConsistentRead": True}}
    second = client.batch_get_item(RequestItems=first["UnprocessedKeys"])
    assert second["Responses"][TABLE] == [key("3")]
    assert second["UnprocessedKeys"] == {}


def test_equal_tables_have_equal_dumps():
    one, other = new_client(), new_client()
    put(one, "1", a={"S": "x"}, b={"S": "y"})
    put(one, "2")
    put(other, "3", "2")
    put(other, "1", b={"S": "y"}, a={"S": "x"})
    assert one.dump() != other.dump()
    other.delete_item(TableName=TABLE, Key=key("3"))
    assert one.dump() == other.dump()


def test_dump_can_be_loaded():
    client, copy = new_client(), MemoryDynamoDB()
    put(client, "1", n={"N": "1.5"})
    copy.load(client.dump())
    assert copy.dump() == client.dump()
    assert copy.items(TABLE) == client.items(TABLE)
    put(copy, "2")
    assert len(client.items(TABLE)) == 1


def test_caller_shares_no_data_with_the_table():
    client = new_client()
    item = {**key("1"), "m": {"M": {"k": {"S": "x"}}}}
    client.put_item(TableName=TABLE, Item=item)
    for shared in (item, get(client), client.items(TABLE)[0]):
        shared["m"]["M"]["k"]["S"] = "changed"
    assert get(client)["m"] == {"M": {"k": {"S": "x"}}}


def test_token_expires_after_ten_minutes():
    clock = ManualClock()
    client = new_client(clock=clock.time)
    add = {
        "TableName": TABLE,
        "Key": key("1"),
        "UpdateExpression": "ADD c :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for seconds in (0, 599, 2):
        clock.advance(seconds)
        client.transact_write_items(TransactItems=[{"Update": add}], ClientRequestToken="token")
    assert get(client)["c"] == {"N": "2"}


@pytest.mark.parametrize(
    "request_",
    [
        {"FilterExpression": "a.b = :p"},
        {"FilterExpression": "a[0] = :p"},
        {"FilterExpression": "a IN (:p)"},
        {"FilterExpression": "size(a) = :p"},
        {"FilterExpression": "attribute_type(a, :p)"},
        {"FilterExpression": "a BETWEEN :p AND :p"},
        {"KeyConditionExpression": "PK = :p AND SK > :p"},
        {"ProjectionExpression": "a.b"},
    ],
)
def test_query_it_does_not_implement_is_refused(request_):
    with pytest.raises(UnsupportedRequest):
        new_client().query(**QUERY | request_)


@pytest.mark.parametrize("expression", ["SET a = a + :v", "SET a = a - :v", "DELETE a :v", "REMOVE a[0]"])
def test_update_it_does_not_implement_is_refused(expression):
    values = {":v": {"N": "1"}}
    with pytest.raises(UnsupportedRequest):
        new_client().update_item(
            TableName=TABLE, Key=key("1"), UpdateExpression=expression, ExpressionAttributeValues=values
        )


def test_argument_it_does_not_implement_is_refused():
    with pytest.raises(TypeError):
        new_client().query(**QUERY, ReturnConsumedCapacity="TOTAL")


def test_repeated_history_has_the_same_request_ids():
    answers = []
    for _ in range(2):
        client = new_client()
        with pytest.raises(ClientError):
            client.get_item(TableName="none", Key=key("1"))
        answers.append(client.get_item(TableName=TABLE, Key=key("1")))
    assert answers[0] == answers[1]
