"""The system under test: both real functions on an in-memory AWS and a Stripe without sockets.

Every call of the functions is in the hands of the history that is played.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partialmethod
from types import SimpleNamespace
from typing import Any
from unittest import mock

import tenacity

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from producer import session_lister, undelivered_events
from recon.bootstrap import Clients
from recon.domain.session_filter import parse_filter
from recon.stripe import bulk
from recon.stripe.connection import StripeConnection
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.source import StripeSource
from recon.telemetry import Telemetry
from recon.timestamps import DAY, HOUR
from testkit import world
from testkit.builders import NOW, TABLE
from testkit.doubles.executor import SerialExecutor
from testkit.doubles.faults import Faulty
from testkit.doubles.queues import Queue
from testkit.doubles.sqs import MemorySQS
from testkit.doubles.sqs_requests import BatchEntry
from testkit.fake_stripe import api
from testkit.shapes import JsonObject
from testkit.world import KEY, LambdaContext, World
from tests.model.in_process_stripe import StripeApi, connect_process
from tests.model.invocations import Invocations
from tests.model.ledger_checks import ObservedDynamoDB

PRODUCER_SECONDS = 900
DEAD_LETTER_SECONDS = str(14 * DAY)
# The share of a batch's entries that SQS rejects in a 200.
REJECTED_ENTRIES = 0.03
# The ledger of a second stack on the shop's table.
NEIGHBOUR_LEDGER = "neighbour-ledger"
# What the shop's sessions pass, and what none of them passes.
FILTER, WRONG_FILTER = "!metadata.foreign", "metadata.shop=none"
OPENING = NOW - 22 * HOUR


@dataclass(frozen=True)
class ShopConfig:
    """How one shop is set up. With small pages, few sessions take many pages, parts and invocations."""

    small_pages: bool = False
    max_receives: int = 3
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_own_layout(self) -> bool:
        """Whether the shop keeps its orders in its own layout, into which nothing is written."""
        return "SYNC_SHAPE" in self.settings

    def env(self) -> dict[str, str]:
        parts = {"SYNC_MAX_SESSIONS": "4"} if self.small_pages else {}
        parts |= {"SYNC_ONLY": FILTER}
        return parts | {"SYNC_MAX_RECEIVE_COUNT": str(self.max_receives)} | dict(self.settings)


class SilentTelemetry(Telemetry):
    """Drops log lines and metrics: all that they say is in the table."""

    def __init__(self) -> None:
        super().__init__("model")
        self._logger.setLevel("CRITICAL")

    def flush(self) -> None:
        for kept in (self._counts, self._seconds, self._money):
            kept.clear()


_TELEMETRY = SilentTelemetry()


class ObservedSQS(MemorySQS):
    """Passes the body of each message that it accepts from a batch to `observe`."""

    observe: Callable[[str], None] | None = None

    def _send_entry(self, queue: Queue, entry: BatchEntry) -> JsonObject:
        answer = super()._send_entry(queue, entry)
        if self.observe:
            self.observe(entry["MessageBody"])
        return answer


class ModelWorld(World):
    """A World whose functions run when the model says, each in a process that remembers its key."""

    memory_sqs: ObservedSQS
    shared_clients: Clients

    def set_filter(self, text: str) -> None:
        """Deploy the functions with another filter."""
        changed = replace(self.shared_clients.settings, session_filter=parse_filter(text))
        self.shared_clients = replace(self.shared_clients, settings=changed)

    def __init__(self, seed: int, config: ShopConfig) -> None:
        self.account = StripeApi(KEY)
        # Botocore's validation takes most of a call's time, and other tests make the same calls with it.
        memory = ObservedDynamoDB(validate=False)
        for name in {TABLE, config.env().get("SYNC_LEDGER_TABLE", TABLE), NEIGHBOUR_LEDGER}:
            memory.add_table(name)
        with mock.patch.object(world, "MemorySQS", ObservedSQS):
            super().__init__(self.account, memory, is_confirmed=False, **config.env())  # type: ignore[arg-type]
        self.clock.now = OPENING
        memory._clock = self.clock
        self.rng = random.Random(seed)
        self.memory_sqs._validate = False
        self.memory_sqs._rng = self.rng
        self.memory_sqs.rejects = lambda operation, entry: self.rng.random() < REJECTED_ENTRIES
        self.memory_sqs.set_queue_attributes(
            QueueUrl=self.dlq, Attributes={"MessageRetentionPeriod": DEAD_LETTER_SECONDS}
        )
        self.telemetry = _TELEMETRY
        self.pool.shutdown()
        self.pool = SerialExecutor()  # type: ignore[assignment]
        self.invocations = Invocations(self.clock, self._connect_process)
        self.endpoints, self.parameter = Faulty(self.account), Faulty(self.ssm)
        for client in (self.dynamodb, self.sqs, self.lambda_client, self.endpoints, self.parameter):
            client.plan = self.invocations.plan

    def _connect_process(self) -> StripeConnection:
        limiter = RateLimiter(10_000, self.clock)
        return connect_process(self.settings, self.endpoints, self.parameter, limiter, self.clock)

    def read_bodies(self) -> list[str]:
        """Return the bodies of all messages that exist, dead letters included."""
        return [body for queue in (self.queue, self.dlq) for body in self.memory_sqs.bodies(queue)]

    def connect(self, _timeout: float = 0) -> StripeConnection:
        return self.invocations.process

    def produce(self, event: object, *, timeout: float = PRODUCER_SECONDS) -> Any:
        return producer_function.lambda_handler(event, LambdaContext(self.clock, timeout))  # type: ignore[arg-type]

    def handle(self, event: dict[str, Any], context: Any = None) -> Any:
        return consumer_function.lambda_handler(event, context)

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Connect both functions to this world for a whole history, however their invocations overlap."""
        clock = SimpleNamespace(time=self.clock, monotonic=self.clock, sleep=self.clock.sleep)
        self.shared_clients = self.clients()
        patches = [(tenacity.wait, "random", self.rng), (consumer_function, "random", self.rng)]
        patches.append((producer_function, "lambda_client", lambda: self.lambda_client))
        for module in (consumer_function, producer_function):
            patches += [(module, "time", clock), (module, "stripe_connection", self.connect)]
            patches += [
                (module, "clients", lambda: self.shared_clients),
                (module, "telemetry", lambda: self.telemetry),
            ]
        with ExitStack() as stack:
            for target, name, value in patches:
                stack.enter_context(mock.patch.object(target, name, value))
            yield


@contextmanager
def small_pages() -> Iterator[None]:
    """Make pages so small that a few sessions take as many pages and parts as thousands.

    Any undelivered event is one too many to keep them all.
    """
    listing = partialmethod(StripeSource.list_sessions, limit=2)
    expanded = partialmethod(StripeSource.list_expanded, limit=2)
    with (
        mock.patch.object(StripeSource, "list_sessions", listing),
        mock.patch.object(session_lister, "PAGE", 2),
        mock.patch.object(StripeSource, "list_expanded", expanded),
        mock.patch.object(bulk, "LEAST", 2),
        mock.patch.object(undelivered_events, "FEW", 0),
    ):
        yield


@contextmanager
def deliveries_by_event(acknowledged: set[str]) -> Iterator[None]:
    """Let the fake Stripe know of each event whether it was acknowledged; its own flag is one a session."""
    with mock.patch.object(api, "is_delivered", lambda _store, event: event.id in acknowledged):
        yield
