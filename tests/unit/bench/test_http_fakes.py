"""The HTTP fakes of AWS, called with boto3."""

import json

import boto3
import pytest
from botocore.config import Config

from bench.http_fakes import HttpFakes, serve
from bench.night import BATCH
from testkit.builders import RUN, TABLE
from testkit.world import wire

KEYS = {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}
ACCESS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}


@pytest.fixture
def services():
    return HttpFakes()


@pytest.fixture
def client(services):
    clients = []

    def make_client(name):
        config = Config(retries={"total_max_attempts": 1})
        clients.append(boto3.Session(**ACCESS).client(name, endpoint_url=url, config=config))
        return clients[-1]

    with serve(services) as url:
        yield make_client
        for each in clients:
            each.close()


def test_table_is_read_and_written(client, services):
    dynamodb = client("dynamodb")
    dynamodb.put_item(TableName=TABLE, Item=wire({**KEYS, "enqueued": 3}))
    assert dynamodb.get_item(TableName=TABLE, Key=wire(KEYS))["Item"]["enqueued"] == {"N": "3"}
    services.check_run(enqueued=3)
    with pytest.raises(RuntimeError, match="the run must have"):
        services.check_run(enqueued=4)


def test_queue_counts_messages_and_keeps_the_last_batch(client, services):
    counts, sqs = [], client("sqs")
    services.on_sent = counts.append
    for start in range(0, BATCH + 20, 10):
        entries = [{"Id": str(n), "MessageBody": f"body {n}"} for n in range(start, start + 10)]
        answer = sqs.send_message_batch(QueueUrl="http://queue", Entries=entries)
        assert len(answer["Successful"]) == 10
    assert counts == list(range(10, BATCH + 30, 10))
    bodies = [record["body"] for record in services.batch_event()["Records"]]
    assert bodies == [f"body {n}" for n in range(20, BATCH + 20)]


def test_producers_own_event_is_kept(client, services):
    payload = json.dumps({"hop": 1})
    answer = client("lambda").invoke(FunctionName="bench", InvocationType="Event", Payload=payload)
    assert (answer["StatusCode"], list(services.hops)) == (202, [{"hop": 1}])
