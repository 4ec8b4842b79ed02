"""DynamoDB, SQS and Lambda's Invoke over HTTP, for functions in other processes.

DynamoDB is the in-memory double. The queue stores no messages: it counts them and keeps the last batch.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from bench.aws_json import call_double
from bench.night import BATCH
from recon.dynamodb.keys import run_key
from testkit.builders import RUN, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.fake_stripe.wire import Answer, HttpServer
from testkit.world import plain, wire


def build_event(bodies: Sequence[str]) -> dict[str, Any]:
    """Return the event with which Lambda delivers messages for the first time."""
    return {
        "Records": [
            {
                "messageId": f"message-{n}",
                "receiptHandle": f"receipt-{n}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
            }
            for n, body in enumerate(bodies)
        ]
    }


class HttpFakes:
    """The services. `sent` counts messages, `batch` holds the last bodies, `hops` the producer's own events.

    `on_sent` is called with each new value of `sent`, on the server's thread.
    """

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
            return Answer(HTTPStatus.ACCEPTED, {})
        if service == "AmazonSQS":
            return Answer(HTTPStatus.OK, self._accept_messages(request["Entries"]))
        return Answer(*call_double(self.dynamodb, operation, request))

    def _accept_messages(self, entries: list[dict[str, str]]) -> dict[str, Any]:
        self.sent += len(entries)
        self.batch.extend(entry["MessageBody"] for entry in entries)
        self.on_sent(self.sent)
        done = [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for entry in entries]
        return {"Successful": done, "Failed": []}

    def check_run(self, **counters: int) -> None:
        """Raise RuntimeError if the run's record has other counters, since the figure is then meaningless."""
        pk, sk = run_key(RUN)
        run = plain(self.dynamodb.get_item(TableName=TABLE, Key=wire({"PK": pk, "SK": sk}))["Item"])
        if any(run.get(name) != value for name, value in counters.items()):
            raise RuntimeError(f"the run must have {counters}: {run}")

    def batch_event(self) -> dict[str, Any]:
        """Return the last batch as Lambda would deliver it."""
        return build_event(self.batch)


@contextmanager
def serve(services: HttpFakes) -> Iterator[str]:
    """Serve inside the block, and yield the URL."""
    server = HttpServer(0, services.answer)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
