"""In-memory doubles of the services, which handle the requests of boto3 and Stripe's library at once."""

import json
import queue
import random
from collections import Counter
from collections.abc import Iterable

from bench.aws_json import call_double
from bench.harness.account import StripeAccount
from bench.harness.framing import Frame
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.sqs import MemorySQS
from testkit.fake_stripe import RateLimits, SessionSpec
from testkit.shapes import JsonObject
from testkit.world import confirm_table

TABLE, QUEUE_VISIBILITY, MAX_RECEIVES = "commerce", 360, 12
# SQS keeps no order: a receive takes any of so many oldest messages.
REACH = 500


class FakeCloud:
    """All services of a run. `calls` counts by operation; `events` are the producer's invocations."""

    def __init__(self, limits: RateLimits) -> None:
        # boto3 has checked the parameters before they came here.
        self.dynamodb = MemoryDynamoDB(validate=False)
        self.dynamodb.add_table(TABLE)
        self.sqs = MemorySQS(validate=False, rng=random.Random(1), reach=REACH)  # noqa: S311 - no secret
        self.dead_letters = self.sqs.add_queue("dead")
        self.queue = self.sqs.add_queue(
            "sync", visibility=QUEUE_VISIBILITY, dead_letters=self.dead_letters, max_receives=MAX_RECEIVES
        )
        self.stripe = StripeAccount(limits)
        self.events: queue.Queue[JsonObject | None] = queue.Queue()
        self.calls: Counter[str] = Counter()

    def load(self, sales: Iterable[SessionSpec], orders: Iterable[JsonObject]) -> None:
        """Add Stripe's sessions, and the table's orders in boto3's wire format.

        The table is confirmed, since a run that finds every order missing would be held.
        """
        confirm_table(self.dynamodb, TABLE)
        self.stripe.store.add_all(sales)
        for order in orders:
            self.dynamodb.put_item(TableName=TABLE, Item=order)

    def handle(self, frame: Frame) -> Frame:
        """Handle a request named `service.Operation`; the body of one to Stripe is its target."""
        self.calls[frame.name] += 1
        service, _, operation = frame.name.partition(".")
        match service:
            case "stripe":
                status, body = self.stripe.handle(frame.body.decode())
                return Frame(str(status), body)
            case "lambda":
                self.events.put(json.loads(frame.body))
                return Frame("202", b"")
            case _:
                client = self.dynamodb if service == "dynamodb" else self.sqs
                code, answer = call_double(client, operation, json.loads(frame.body))
                return Frame(str(code.value), json.dumps(answer).encode())
