"""What only the in-memory DynamoDB has; what it shares with the service is in the contract suite."""

import pytest
from botocore.exceptions import ClientError

from testkit.doubles.clock import Clock
from testkit.doubles.dynamodb import MemoryDynamoDB

TABLE = "commerce"


def table(**options) -> MemoryDynamoDB:
    made = MemoryDynamoDB(**options)
    made.add_table(TABLE)
    return made


def key(sk: str) -> dict:
    return {"PK": {"S": "a"}, "SK": {"S": sk}}


def put(client: MemoryDynamoDB, sk: str, **attributes) -> None:
    client.put_item(TableName=TABLE, Item={**key(sk), **attributes})


def query(client: MemoryDynamoDB, **request) -> dict:
    return client.query(
        TableName=TABLE,
        KeyConditionExpression="PK = :p",
        ExpressionAttributeValues={":p": {"S": "a"}},
        **request,
    )


def test_pages_can_be_forced_short():
    client = table(page_items=2)
    for sk in "12345":
        put(client, sk)
    assert query(client)["LastEvaluatedKey"] == key("2")
    pages = client.get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="PK = :p", ExpressionAttributeValues={":p": {"S": "a"}}
    )
    assert [page["Count"] for page in pages] == [2, 2, 1]


def test_a_forced_page_does_not_promise_more_where_nothing_follows():
    client = table(page_items=2)
    for sk in "1234":
        put(client, sk)
    assert "LastEvaluatedKey" not in query(client, ExclusiveStartKey=key("2"))


def test_a_batch_may_leave_keys_unprocessed():
    client = table(batch_items=2)
    for sk in "123":
        put(client, sk)
    request = {TABLE: {"Keys": [key(sk) for sk in "123"], "ConsistentRead": True}}
    first = client.batch_get_item(RequestItems=request)
    assert len(first["Responses"][TABLE]) == 2
    assert first["UnprocessedKeys"] == {TABLE: {"Keys": [key("3")], "ConsistentRead": True}}
    second = client.batch_get_item(RequestItems=first["UnprocessedKeys"])
    assert second["Responses"][TABLE] == [key("3")]
    assert second["UnprocessedKeys"] == {}


def test_reads_lag_behind_unless_they_are_consistent():
    client = table(replica_lag=1)
    put(client, "1", a={"N": "1"})
    put(client, "1", a={"N": "2"})
    put(client, "2")
    assert query(client)["Count"] == 1
    assert query(client, ConsistentRead=True)["Count"] == 2
    put(client, "1", a={"N": "3"})
    read = {"TableName": TABLE, "Key": key("1")}
    assert client.get_item(**read)["Item"]["a"] == {"N": "2"}
    assert client.get_item(**read, ConsistentRead=True)["Item"]["a"] == {"N": "3"}
    assert query(client)["Count"] == 2


def test_a_longer_lag_shows_the_oldest_of_several_writes():
    client = table(replica_lag=2)
    for number in "123":
        put(client, "1", a={"N": number})
    assert client.get_item(TableName=TABLE, Key=key("1"))["Item"]["a"] == {"N": "1"}


def test_a_transaction_becomes_visible_to_lagging_reads_as_a_whole():
    client = table(replica_lag=1)
    client.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": key(sk)}} for sk in "12"])
    assert query(client)["Count"] == 0
    put(client, "3")
    assert query(client)["Count"] == 2


def test_equal_tables_have_equal_dumps_whatever_their_history():
    one, other = table(), table()
    put(one, "1", a={"S": "x"}, raw={"B": b"\x00"})
    put(one, "2")
    put(other, "3")
    put(other, "2")
    put(other, "1", raw={"B": b"\x00"}, a={"S": "x"})
    assert one.dump() != other.dump()
    other.delete_item(TableName=TABLE, Key=key("3"))
    assert one.dump() == other.dump()


def test_a_dump_can_be_loaded():
    client, copy = table(), MemoryDynamoDB()
    put(client, "1", raw={"B": b"\x00\xff"}, n={"N": "1.5"})
    copy.load(client.dump())
    assert copy.dump() == client.dump()
    assert copy.items(TABLE) == client.items(TABLE)
    put(copy, "2")
    assert query(client)["Count"] == 1


def test_nothing_that_is_handed_in_or_out_is_shared():
    client = table()
    item = {**key("1"), "m": {"M": {"k": {"S": "x"}}}}
    client.put_item(TableName=TABLE, Item=item)
    item["m"]["M"]["k"]["S"] = "changed"
    client.get_item(TableName=TABLE, Key=key("1"))["Item"]["m"]["M"]["k"]["S"] = "changed"
    client.items(TABLE)[0]["m"]["M"]["k"]["S"] = "changed"
    assert client.get_item(TableName=TABLE, Key=key("1"))["Item"]["m"] == {"M": {"k": {"S": "x"}}}


def test_expired_items_go_when_their_time_has_come():
    clock = Clock(1000)
    client = table(clock=clock)
    client.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiresAt"}
    )
    put(client, "1", expiresAt={"N": "1500"})
    put(client, "2", expiresAt={"S": "1500"})
    put(client, "3")
    assert client.expire() == 0
    clock.advance(500)
    assert client.expire() == 1
    assert [item["SK"]["S"] for item in client.items(TABLE)] == ["2", "3"]


def test_a_token_is_forgotten_after_ten_minutes():
    clock = Clock()
    client = table(clock=clock)
    add = {
        "TableName": TABLE,
        "Key": key("1"),
        "UpdateExpression": "ADD c :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for seconds in (0, 599, 2):
        clock.advance(seconds)
        client.transact_write_items(TransactItems=[{"Update": add}], ClientRequestToken="token")
    assert client.get_item(TableName=TABLE, Key=key("1"))["Item"]["c"] == {"N": "2"}


def test_an_argument_that_the_double_does_not_know_is_not_ignored():
    with pytest.raises(TypeError):
        query(table(), ReturnConsumedCapacity="TOTAL")


def test_request_ids_make_a_history_repeatable():
    answers = []
    for _ in range(2):
        client = table()
        with pytest.raises(ClientError):
            client.get_item(TableName="none", Key=key("1"))
        answers.append(client.get_item(TableName=TABLE, Key=key("1")))
    assert answers[0] == answers[1]
