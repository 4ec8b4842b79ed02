"""The retry of transactions has one owner: `check` runs before each request that reaches DynamoDB."""

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from recon.bootstrap import build_clients
from testkit.builders import FakeTime

ENV = {
    "COMMERCE_TABLE": "shop",
    "SYNC_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/q",
    "STRIPE_SECRET": "sk_test_x",
}


class _Body:
    def __init__(self, content):
        self._content = content

    def stream(self):
        yield self._content


def fail(code):
    body = f'{{"__type":"com.amazonaws.dynamodb.v20120810#{code}"}}'.encode()
    return AWSResponse(
        "https://dynamodb.test", 500 if code == "InternalServerError" else 400, {}, _Body(body)
    )


FIRST = {
    "lost response": ConnectionClosedError(endpoint_url="https://dynamodb.test"),
    "timeout": ReadTimeoutError(endpoint_url="https://dynamodb.test"),
    "server error": "InternalServerError",
    "throttled": "ThrottlingException",
    "in progress": "TransactionInProgressException",
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_each_request_of_a_transaction_has_its_own_check(monkeypatch, first):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    events = []

    def respond(**_):
        events.append("request")
        if events.count("request") > 1:
            return AWSResponse("https://dynamodb.test", 200, {}, _Body(b"{}"))
        if isinstance(first, Exception):
            raise first
        return fail(first)

    table = build_clients(ENV, threads=1).table
    table._transactions.meta.events.register("before-send.dynamodb.TransactWriteItems", respond)
    table.transact(
        [table.delete(("SYSTEM", "x"))], FakeTime().deadline(60), check=lambda: events.append("check")
    )
    assert events == ["check", "request", "check", "request"]
