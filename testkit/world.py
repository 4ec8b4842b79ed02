"""Both handlers with doubles of everything that they call, on a clock that the test controls.

Stripe is the fake server over real HTTP with the real library. DynamoDB and SQS are in memory, unless
another DynamoDB client is given. Lambda's poller, batches and redrive behave as on AWS. Time passes only when
the code sleeps or the test advances the clock.
"""

import contextlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from unittest import mock
from zlib import crc32

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ConnectTimeoutError

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from recon.aws.queue import SessionQueue
from recon.bootstrap import Clients
from recon.config import Settings, load_settings
from recon.domain.message import SessionMessage, dumps
from recon.dynamodb.table import Table
from recon.stripe.connection import StripeConnection
from recon.stripe.key import StripeKey
from recon.stripe.rate_limiter import RateLimiter
from recon.telemetry import Telemetry
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE, FakeTime
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import CallHistory, Faulty
from testkit.doubles.poller import Delivery, LambdaPoller
from testkit.doubles.sqs import MemorySQS
from testkit.fake_stripe import FakeStripe, SessionSpec
from testkit.shapes import JsonObject

KEY = "sk_test_right"
SCHEDULED = {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"}
FUNCTION_TIMEOUT = 60
_numbers = itertools.count()


@dataclass
class LambdaContext:
    """The attributes of Lambda's context object that the handlers use."""

    clock: FakeTime
    timeout: float = FUNCTION_TIMEOUT
    function_name: str = "nightly-producer"
    aws_request_id: str = "8f3c1d2e-0000-4000-8000-000000000000"
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock.now

    def get_remaining_time_in_millis(self) -> int:
        return int((self.timeout - (self.clock.now - self.began)) * 1000)


class FakeLambda:
    """A Lambda client that stores the events that the producer sends to itself."""

    def __init__(self) -> None:
        self.events: list[JsonObject] = []

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: str) -> JsonObject:  # noqa: N803 - boto3's names
        assert (FunctionName, InvocationType) == ("nightly-producer", "Event")
        self.events.append(json.loads(Payload))
        return {"StatusCode": 202}


class FakeSSM:
    """An SSM client with one parameter. `reads` counts; `hangs` is how many seconds a read takes to fail."""

    def __init__(self, value: str = KEY, clock: FakeTime | None = None) -> None:
        self.value = value
        self.clock = clock
        self.hangs = 0.0
        self.reads = 0

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> JsonObject:  # noqa: N803 - boto3's names
        assert WithDecryption
        self.reads += 1
        if self.hangs and self.clock:
            self.clock.sleep(self.hangs)
            raise ConnectTimeoutError(endpoint_url="https://ssm.test")
        return {"Parameter": {"Name": Name, "Value": self.value}}


class World:
    """A shop at night. `dynamodb` is a client with a table of that name; `env` overrides settings.

    An operator has confirmed the table, so that runs go on although no webhook has written an order. Without
    `is_confirmed` they need a proof.
    """

    def __init__(
        self,
        stripe: FakeStripe,
        dynamodb: Any = None,
        table: str = TABLE,
        *,
        is_confirmed: bool = True,
        **env: str,
    ) -> None:
        self.table = table
        self.ledger = env.get("SYNC_LEDGER_TABLE", table)
        self.clock = FakeTime(NOW)
        self.rng = random.Random(7)
        self.stripe = stripe
        self.memory = dynamodb or self._memory()
        if is_confirmed:
            confirm_table(self.memory, self.ledger)
        self.history = CallHistory()
        self.dynamodb = Faulty(self.memory, history=self.history)
        self.memory_sqs = MemorySQS(self.clock)
        self.sqs = Faulty(self.memory_sqs, history=self.history)
        self.dlq = self.memory_sqs.add_queue("dlq", retention=14 * DAY)
        self.settings = self._settings(env)
        self.queue = self.memory_sqs.add_queue(
            "main",
            visibility=6 * FUNCTION_TIMEOUT,
            retention=10 * DAY,
            dead_letters=self.dlq,
            max_receives=self.settings.max_receive_count + 2,
        )
        self._name = crc32(f"{self.settings.stack} {self.ledger}".encode())
        self.poller = LambdaPoller(self.memory_sqs, self.queue)
        self.ssm = FakeSSM(clock=self.clock)
        self.lambda_client = Faulty(FakeLambda(), history=self.history)
        self.pool = ThreadPoolExecutor(8)
        self.rate_limiter = RateLimiter(10_000, self.clock)
        self.connection: StripeConnection | None = None
        # Long enough for a busy machine. A test in which Stripe hangs makes it shorter.
        self.stripe_timeout = 5.0

    @cached_property
    def telemetry(self) -> Telemetry:
        """Return a logger created within the test, since it keeps the standard output of its creation."""
        return Telemetry(f"test-{next(_numbers)}")

    def _memory(self) -> MemoryDynamoDB:
        memory = MemoryDynamoDB(self.clock)
        for name in {self.table, self.ledger}:
            memory.add_table(name)
        return memory

    def _settings(self, env: dict[str, str]) -> Settings:
        base = {
            "COMMERCE_TABLE": self.table,
            "SYNC_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/main",
            "STRIPE_SECRET_PARAMETER": "/shop/stripe",
            "STRIPE_API_BASE": self.stripe.url,
        }
        return load_settings(base | env)

    def connect(self, _timeout: float = 0) -> StripeConnection:
        """Return the connection, created on first use as in the functions."""
        if self.connection is None:
            key = StripeKey(self.settings, lambda: self.ssm)  # type: ignore[arg-type, return-value]
            self.connection = StripeConnection(
                key,
                self.rate_limiter,
                timeout=self.stripe_timeout,
                clock=self.clock,
                api_base=self.stripe.url,
            )
        return self.connection

    def close(self) -> None:
        self.pool.shutdown()
        if self.connection:
            self.connection.close()

    # Handlers

    def produce(self, event: object = SCHEDULED, *, timeout: float = 900) -> Any:
        """Return the producer's response to an event."""
        with self._wired():
            context = LambdaContext(self.clock, timeout)
            self.clock.limit = self.clock.now + timeout
            return producer_function.lambda_handler(event, context)  # type: ignore[arg-type]

    def body(self, event: object = SCHEDULED) -> JsonObject:
        """Return the body of the response after all invocations of a run."""
        answer = self.produce(event)
        assert answer["statusCode"] == 200, answer
        return self.hop_all() or answer["body"]

    @property
    def hops(self) -> list[JsonObject]:
        """Return the events that the producer sent to itself and that are not delivered yet."""
        events: list[JsonObject] = self.lambda_client.events
        return events

    def hop_all(self) -> JsonObject | None:
        """Deliver the producer's invocations of itself. Return the body of the last response."""
        body = None
        while self.hops:
            body = self.produce(self.hops.pop(0))["body"]
        return body

    def handle(self, event: JsonObject, context: Any = None) -> Any:
        with self._wired():
            context = context or LambdaContext(self.clock)
            self.clock.limit = self.clock.now + context.timeout
            return consumer_function.lambda_handler(event, context)

    def deliver(self, batch_size: int = 25) -> Delivery | None:
        """Invoke the consumer once with the messages that are visible."""
        return self.poller.deliver(self.handle, batch_size, LambdaContext(self.clock))

    def drain(self, batch_size: int = 25) -> int:
        """Consume until the queue is empty, waiting for hidden messages. Return how many invocations."""
        invocations = 0
        while self.memory_sqs.messages(self.queue):
            if self.deliver(batch_size):
                invocations += 1
            elif (at := self.memory_sqs.next_visible_at(self.queue)) is not None:
                self.clock.now = max(self.clock.now, at)
            assert invocations < 1000, "the queue never empties"
        return invocations

    def night(self, event: object = SCHEDULED) -> JsonObject:
        """Produce and consume a whole run. Return its record."""
        run_id = self.body(event)["runId"]
        self.drain()
        return self.run(run_id)

    def redrive(self) -> None:
        for message in self.memory_sqs.messages(self.dlq):
            self.memory_sqs.send_message(QueueUrl=self.queue, MessageBody=message.body)
        self.memory_sqs.purge_queue(QueueUrl=self.dlq)

    def clients(self) -> Clients:
        return Clients(
            settings=self.settings,
            # Worlds that share a table have the same random numbers, but no token in common.
            table=self.open_table(lambda: f"{self._name:08x}-{self.rng.random()}"),
            queue=SessionQueue(self.sqs, self.queue),  # type: ignore[arg-type]
            pool=self.pool,
        )

    def open_table(self, *new_token: Callable[[], str]) -> Table:
        """Return the shop's table with the ledger, as the functions and the operator's command read it."""
        return Table(self.dynamodb, self.settings.table, *new_token, ledger=self.ledger)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _wired(self) -> Iterator[None]:
        clients = self.clients()
        both: dict[str, Any] = {
            "time": SimpleNamespace(time=self.clock, monotonic=self.clock, sleep=self.clock.sleep),
            "stripe_connection": self.connect,
            "clients": lambda: clients,
            "telemetry": lambda: self.telemetry,
        }
        with (
            mock.patch.multiple(consumer_function, **both, random=self.rng),
            mock.patch.multiple(producer_function, **both, lambda_client=lambda: self.lambda_client),
        ):
            try:
                yield
            finally:
                self.clock.limit = float("inf")

    # The shop

    def sells(self, spec: SessionSpec) -> SessionSpec:
        self.stripe.store.add(spec)
        return spec

    def webhook_writes(self, session_id: str, user: str, at: int, **changes: Any) -> JsonObject:
        """Put an order as the webhook writes it: with another sort key and without `source`."""
        order = {
            "PK": f"USER#{user}",
            "SK": f"ORDER#{at}#{session_id}",
            "orderId": session_id,
            "stripeSessionId": session_id,
            "userId": user,
            "status": "completed",
        } | changes
        self.memory.put_item(TableName=self.table, Item=wire(order))
        return order

    def sends(self, message: SessionMessage | str, times: int = 1) -> None:
        body = message if isinstance(message, str) else dumps(message)
        for _ in range(times):
            self.memory_sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    # Reading the table and the queues

    def items(self) -> list[JsonObject]:
        """Return the items of the shop's table, and of the ledger if that is another one."""
        return [item for name in {self.table: None, self.ledger: None} for item in self._scan(name)]

    def _scan(self, table: str) -> Iterator[JsonObject]:
        request: JsonObject = {"TableName": table, "ConsistentRead": True}
        while True:
            answer = self.memory.scan(**request)
            yield from map(plain, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def item(self, pk: str, sk: str) -> JsonObject | None:
        table = self.table if pk.startswith(("USER#", "EVENT#")) else self.ledger
        answer = self.memory.get_item(TableName=table, Key=wire({"PK": pk, "SK": sk}), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    def orders(self, session_id: str | None = None) -> list[JsonObject]:
        return [
            item
            for item in self.items()
            if item["SK"].startswith("ORDER#") and session_id in (None, item["orderId"])
        ]

    def run(self, run_id: str = RUN) -> JsonObject:
        return self.item("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}") or {}

    def state(self) -> JsonObject:
        return self.item("SYSTEM", "STRIPE_ORDER_SYNC") or {}

    def outcome(self, session_id: str, run_id: str = RUN) -> JsonObject | None:
        return self.item(f"SYNC_RUN#{run_id}", f"SESSION#{session_id}")

    def counters(self, run_id: str = RUN) -> tuple[int, ...]:
        """Return (enqueued, processed, created, skipped, errors) of a run."""
        run = self.run(run_id)
        return tuple(run.get(name, 0) for name in COUNTERS)

    def state_counters(self) -> tuple[int, ...]:
        state = self.state()
        return tuple(state.get(f"lastSync{name.capitalize()}", 0) for name in COUNTERS)

    def check_books(self, run_id: str = RUN) -> None:
        """Assert that the counters of a run match its outcomes."""
        outcomes = [item["outcome"] for item in self.items() if item["PK"] == f"SYNC_RUN#{run_id}"]
        expected = [len(outcomes), *(outcomes.count(kind) for kind in ("created", "skipped", "error"))]
        assert list(self.counters(run_id)[1:]) == expected

    def dead(self) -> list[JsonObject]:
        return [json.loads(body) for body in self.memory_sqs.bodies(self.dlq)]


COUNTERS = ("enqueued", "processed", "created", "skipped", "errors")


def confirm_table(dynamodb: Any, table: str) -> None:
    """Let the watermark item say that an operator has confirmed the table, unless the table has the item."""
    key = {"PK": "SYSTEM", "SK": "STRIPE_SYNC_WATERMARK"}
    if "Item" not in dynamodb.get_item(TableName=table, Key=wire(key)):
        dynamodb.put_item(TableName=table, Item=wire(key | {"confirmedBy": "20241101T020000Z-before"}))


def wire(item: JsonObject) -> JsonObject:
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


def plain(item: JsonObject) -> JsonObject:
    return {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
