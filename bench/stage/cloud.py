"""The services as doubles in memory: what boto3 and Stripe's library ask is answered here, without a wait."""

import json
import queue
from collections import Counter
from collections.abc import Iterable
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from bench.stage.account import Account
from bench.stage.wire import Frame
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.sqs import MemorySQS
from testkit.fake_stripe import RateLimits, SessionSpec

TABLE, QUEUE_VISIBILITY, MAX_RECEIVES = "commerce", 360, 12


class Cloud:
    """`calls` counts by operation; in `events` is what the producer is invoked with, by itself too."""

    def __init__(self, limits: RateLimits) -> None:
        # boto3 has checked the parameters before they came here.
        self.dynamodb = MemoryDynamoDB(validate=False)
        self.dynamodb.add_table(TABLE)
        self.sqs = MemorySQS(validate=False)
        self.dead_letters = self.sqs.add_queue("dead")
        self.queue = self.sqs.add_queue(
            "sync", visibility=QUEUE_VISIBILITY, dead_letters=self.dead_letters, max_receives=MAX_RECEIVES
        )
        self.stripe = Account(limits)
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.calls: Counter[str] = Counter()

    def opens(self, sales: Iterable[SessionSpec], orders: Iterable[dict[str, Any]]) -> None:
        """What Stripe has sold, and the orders in the table, as boto3's client writes them."""
        self.stripe.store.add_all(sales)
        for order in orders:
            self.dynamodb.put_item(TableName=TABLE, Item=order)

    def answers(self, frame: Frame) -> Frame:
        """The status and the body of one request, named `service.Operation`; Stripe's is its target alone."""
        self.calls[frame.name] += 1
        service, _, operation = frame.name.partition(".")
        match service:
            case "stripe":
                status, body = self.stripe.answers(frame.body.decode())
                return Frame(str(status), body)
            case "lambda":
                self.events.put(json.loads(frame.body))
                return Frame("202", b"")
            case _:
                client = self.dynamodb if service == "dynamodb" else self.sqs
                return _asked(getattr(client, xform_name(operation)), json.loads(frame.body))


def _asked(method: Any, request: dict[str, Any]) -> Frame:  # noqa: ANN401 - an operation of a double
    """As the service says it in its JSON protocol, errors included."""
    try:
        answer = method(**request)
    except ClientError as error:
        told = {name: part for name, part in error.response.items() if name not in _OURS}
        fault = {"__type": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
        return Frame("400", json.dumps(fault | told).encode())
    return Frame(
        "200", json.dumps({name: part for name, part in answer.items() if name not in _OURS}).encode()
    )


# What boto3 adds to an answer by itself.
_OURS = ("ResponseMetadata", "Error")
