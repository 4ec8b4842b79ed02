"""DynamoDB, SQS and Lambda's Invoke over HTTP, for functions that run in processes of their own.

DynamoDB is the tests' double. The queue holds nothing: it counts what it is given, and keeps the last batch.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from recon.dynamodb.records import run_key
from testkit.builders import RUN, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.fake_stripe.wire import Answer, HttpServer
from testkit.world import plain, wire

BATCH = 25
_OK, _ACCEPTED, _BAD_REQUEST = 200, 202, 400
# What the client adds by itself.
_NOT_SENT = ("ResponseMetadata", "Error")


class Services:
    """`sent`: messages so far; `batch`: the bodies of the last ones; `hops`: events for the producer.
    `on_sent` is called with every number that `sent` comes to, on the thread that serves."""

    def __init__(self) -> None:
        # The client at the other end has checked the parameters.
        self.dynamodb = MemoryDynamoDB(validate=False)
        self.dynamodb.add_table(TABLE)
        self.sent = 0
        self.on_sent: Callable[[int], None] = lambda _: None
        self.batch: deque[str] = deque(maxlen=BATCH)
        self.hops: deque[Any] = deque()

    def answer(self, _method: str, _path: str, headers: Mapping[str, str], content: bytes) -> Answer:
        request = json.loads(content)
        service, _, operation = headers.get("x-amz-target", "").partition(".")
        if not operation:  # Lambda's Invoke, which is named by its path
            self.hops.append(request)
            return Answer(_ACCEPTED, {})
        if service == "AmazonSQS":
            return Answer(_OK, self._sends(request["Entries"]))
        try:
            answer = getattr(self.dynamodb, xform_name(operation))(**request)
        except ClientError as error:
            said = error.response["Error"]
            return Answer(
                _BAD_REQUEST, _sent(error.response) | {"__type": said["Code"], "message": said["Message"]}
            )
        return Answer(_OK, _sent(answer))

    def _sends(self, entries: list[dict[str, str]]) -> dict[str, Any]:
        self.sent += len(entries)
        self.batch.extend(entry["MessageBody"] for entry in entries)
        self.on_sent(self.sent)
        done = [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for entry in entries]
        return {"Successful": done, "Failed": []}

    def must_show(self, **counters: int) -> None:
        """Of the night's run in the table; else what was measured is not what was to be measured."""
        pk, sk = run_key(RUN)
        run = plain(self.dynamodb.get_item(TableName=TABLE, Key=wire({"PK": pk, "SK": sk}))["Item"])
        if any(run.get(name) != value for name, value in counters.items()):
            raise RuntimeError(f"the run must have {counters}: {run}")

    def event(self) -> dict[str, Any]:
        """The last batch as Lambda would deliver it."""
        return {
            "Records": [
                {
                    "messageId": f"message-{n}",
                    "receiptHandle": f"receipt-{n}",
                    "body": body,
                    "attributes": {"ApproximateReceiveCount": "1"},
                }
                for n, body in enumerate(self.batch)
            ]
        }


def _sent(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in _NOT_SENT}


@contextmanager
def served(services: Services) -> Iterator[str]:
    """Its address; nobody is served after the block."""
    server = HttpServer(0, services.answer)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
