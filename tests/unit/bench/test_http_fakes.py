"""The services of the benchmarks' functions: what boto3 sends them and reads from them."""

import json

import boto3
import pytest
from botocore.config import Config

from bench.http_fakes import BATCH, HttpFakes, serve
from testkit.builders import RUN, TABLE
from testkit.world import wire

KEYS = {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}


@pytest.fixture
def services():
    return HttpFakes()


@pytest.fixture
def client(services):
    with serve(services) as url:
        made = []

        def client(name):
            config = Config(retries={"total_max_attempts": 1})
            access = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
            made.append(boto3.Session(**access).client(name, endpoint_url=url, config=config))
            return made[-1]

        yield client
        for each in made:
            each.close()


def test_the_table_is_read_and_written(client, services):
    dynamodb = client("dynamodb")
    dynamodb.put_item(TableName=TABLE, Item=wire({**KEYS, "enqueued": 3}))
    assert dynamodb.get_item(TableName=TABLE, Key=wire(KEYS))["Item"]["enqueued"] == {"N": "3"}
    services.check_run(enqueued=3)
    with pytest.raises(RuntimeError, match="the run must have"):
        services.check_run(enqueued=4)


def test_a_transaction_that_is_cancelled_tells_its_reasons(client):
    dynamodb = client("dynamodb")
    put = {"TableName": TABLE, "Item": wire(KEYS), "ConditionExpression": "attribute_exists(PK)"}
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as raised:
        dynamodb.transact_write_items(TransactItems=[{"Put": put}])
    assert [reason["Code"] for reason in raised.value.response["CancellationReasons"]] == [
        "ConditionalCheckFailed"
    ]


def test_the_queue_counts_and_keeps_the_last_batch(client, services):
    count_night = []
    services.on_sent = count_night.append
    for start in range(0, 40, 10):
        entries = [{"Id": str(n), "MessageBody": f"body {n}"} for n in range(start, start + 10)]
        answer = client("sqs").send_message_batch(QueueUrl="http://queue", Entries=entries)
        assert len(answer["Successful"]) == 10
    assert count_night == [10, 20, 30, 40]
    assert [record["body"] for record in services.event()["Records"]] == [
        f"body {n}" for n in range(40 - BATCH, 40)
    ]


def test_what_the_producer_sends_itself_is_kept(client, services):
    payload = json.dumps({"hop": 1})
    answer = client("lambda").invoke(FunctionName="bench", InvocationType="Event", Payload=payload)
    assert (answer["StatusCode"], list(services.hops)) == (202, [{"hop": 1}])
