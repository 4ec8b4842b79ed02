"""The system under test, whole: both real functions on an in-memory AWS and a Stripe without sockets, each of
their calls in the hands of whoever plays the history."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import tenacity

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.source import StripeConnection
from recon.telemetry import Telemetry
from recon.timestamps import DAY, HOUR
from testkit import world
from testkit.builders import NOW, TABLE
from testkit.doubles.faults import Faulty
from testkit.doubles.queues import Queue
from testkit.doubles.sqs import MemorySQS
from testkit.doubles.sqs_requests import BatchEntry
from testkit.shapes import JsonObject
from testkit.world import KEY, LambdaContext, World
from tests.model.books import ObservedDynamoDB
from tests.model.invocations import Invocations
from tests.model.stripe_account import StripeApi, connected
from tests.simulation.history import Inline

PRODUCER_SECONDS = 900
DEAD_LETTER_SECONDS = str(14 * DAY)
# Of the entries of a batch that SQS answers with 200.
REJECTED_ENTRIES = 0.03
OPENING = NOW - 22 * HOUR


@dataclass(frozen=True)
class Shape:
    """How one shop is set up. In small pieces, few sessions take many pages, slices and invocations."""

    small_pieces: bool = False
    max_receives: int = 3
    settings: Mapping[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        parts = {"SYNC_MAX_SESSIONS": "2"} if self.small_pieces else {}
        return parts | {"SYNC_MAX_RECEIVE_COUNT": str(self.max_receives)} | dict(self.settings)


class Silent(Telemetry):
    """Log lines and metrics say nothing that the table does not."""

    def __init__(self) -> None:
        super().__init__("model")
        self._logger.setLevel("CRITICAL")

    def flush(self) -> None:
        for kept in (self._counts, self._seconds, self._money):
            kept.clear()


_SILENT = Silent()


class ObservedSQS(MemorySQS):
    """Tells `observe` of each message that it takes from a batch."""

    observe: Callable[[str], None] | None = None

    def _send_entry(self, queue: Queue, entry: BatchEntry) -> JsonObject:
        answer = super()._send_entry(queue, entry)
        if self.observe:
            self.observe(entry["MessageBody"])
        return answer


class ModelWorld(World):
    """A World whose functions run where the model says, each in a process that remembers its key."""

    memory_sqs: ObservedSQS

    def __init__(self, seed: int, shape: Shape) -> None:
        self.account = StripeApi(KEY)
        memory = ObservedDynamoDB(validate=False)
        memory.add_table(TABLE)
        with mock.patch.object(world, "MemorySQS", ObservedSQS):
            super().__init__(self.account, memory, **shape.env())  # type: ignore[arg-type]
        self.clock.now = OPENING
        memory._clock = self.clock
        self.rng = random.Random(seed)
        self.memory_sqs._validate = False
        self.memory_sqs._rng = self.rng
        self.memory_sqs.rejects = lambda operation, entry: self.rng.random() < REJECTED_ENTRIES
        self.memory_sqs.set_queue_attributes(
            QueueUrl=self.dlq, Attributes={"MessageRetentionPeriod": DEAD_LETTER_SECONDS}
        )
        self.telemetry = _SILENT
        self.pool.shutdown()
        self.pool = Inline()  # type: ignore[assignment]
        self.invocations = Invocations(self.clock, self._process)
        self.endpoints, self.parameter = Faulty(self.account), Faulty(self.ssm)
        for client in (self.dynamodb, self.sqs, self.lambda_client, self.endpoints, self.parameter):
            client.plan = self.invocations

    def _process(self) -> StripeConnection:
        """What a process keeps from one invocation to the next."""
        return connected(self.settings, self.endpoints, self.parameter, RateLimiter(10_000, self.clock))

    def bodies(self) -> list[str]:
        """Of all messages that are there, dead letters too."""
        return [body for queue in (self.queue, self.dlq) for body in self.memory_sqs.bodies(queue)]

    def connect(self, _timeout: float = 0) -> StripeConnection:
        return self.invocations.process

    def produce(self, event: object, *, timeout: float = PRODUCER_SECONDS) -> Any:
        return producer_function.lambda_handler(event, LambdaContext(self.clock, timeout))  # type: ignore[arg-type]

    def handle(self, event: dict[str, Any], context: Any = None) -> Any:
        return consumer_function.lambda_handler(event, context)

    @contextmanager
    def wired(self) -> Iterator[None]:
        """Once for a whole history, whatever runs in it and however it overlaps."""
        clock = SimpleNamespace(time=self.clock, monotonic=self.clock, sleep=self.clock.sleep)
        clients = self.clients()
        patched = [(tenacity.wait, "random", self.rng), (consumer_function, "random", self.rng)]
        patched.append((producer_function, "lambda_client", lambda: self.lambda_client))
        for module in (consumer_function, producer_function):
            patched += [(module, "time", clock), (module, "stripe_connection", self.connect)]
            patched += [(module, "clients", lambda: clients), (module, "telemetry", lambda: self.telemetry)]
        with ExitStack() as stack:
            for target, name, value in patched:
                stack.enter_context(mock.patch.object(target, name, value))
            yield
