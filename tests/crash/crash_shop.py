"""A world whose every external call is recorded, can fail, and is made in one thread and in one order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import stripe as library

from producer import session_lister
from recon.stripe.connection import StripeConnection
from recon.telemetry import Telemetry
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.errors import ClientMeta, client_exceptions
from testkit.doubles.executor import SerialExecutor
from testkit.doubles.faults import Faulty
from testkit.fake_stripe import FakeStripe
from testkit.invariants import TableRecords
from testkit.world import FakeLambda, FakeSSM, World
from tests.crash.stripe_transport import InProcessTransport, Stripe

MAX_RECEIVES = 3
PAGE_SIZE = 4


class RecordingTelemetry(Telemetry):
    """Keeps log lines in `lines`; drops metrics, which other tests check."""

    def __init__(self) -> None:
        super().__init__("crash")
        self.lines: list[str] = []

    def info(self, text: str, **facts: Any) -> None:
        self.lines.append(f"INFO {text} {facts}")

    def warning(self, text: str, **facts: Any) -> None:
        self.lines.append(f"WARNING {text} {facts}")

    def error(self, text: str, **facts: Any) -> None:
        self.lines.append(f"ERROR {text} {facts}")

    def flush(self) -> None:
        """Do nothing."""


class ModelledClient:
    """A double with the botocore model of its service, from which a test derives its errors."""

    def __init__(self, service: str, double: Any) -> None:
        self.meta = ClientMeta(service)
        self.exceptions = client_exceptions(service)
        self._double = double

    def __getattr__(self, name: str) -> Any:
        return getattr(self._double, name)


class CrashShop(World):
    """A world on a dump of an in-memory table. `clients_by_service` are all that the functions call."""

    def __init__(
        self, account: FakeStripe, table: bytes | None = None, *, page_size: int | None = None, **env: str
    ) -> None:
        super().__init__(account, SYNC_MAX_RECEIVE_COUNT=str(MAX_RECEIVES), **env)
        if table:
            self.memory.load(table)
        self.pool.shutdown()
        self.pool = SerialExecutor()  # type: ignore[assignment]
        self.telemetry = self.log = RecordingTelemetry()
        ssm = ModelledClient("ssm", FakeSSM(clock=self.clock))
        self.ssm = Faulty(ssm, history=self.history)  # type: ignore[assignment]
        self.lambda_client = Faulty(ModelledClient("lambda", FakeLambda()), history=self.history)
        self.transport = InProcessTransport(Stripe(account, page_size), self.history)
        self.clients_by_service = {
            "dynamodb": self.dynamodb,
            "sqs": self.sqs,
            "ssm": self.ssm,
            "lambda": self.lambda_client,
            "Stripe": self.transport.stripe,
        }

    def _memory(self) -> MemoryDynamoDB:
        memory = MemoryDynamoDB(self.clock, validate=False)
        for name in {self.table, self.ledger}:
            memory.add_table(name)
        return memory

    def connect(self, _timeout: float = 0) -> StripeConnection:
        with mock.patch.object(library, "RequestsClient", return_value=self.transport):
            return super().connect()

    def set_plan(self, plan: Any) -> None:
        """Let `plan` decide what each external call meets from now on."""
        for client in self.clients_by_service.values():
            client.plan = plan

    def restart_process(self) -> None:
        """Forget what a process keeps between invocations: its connection and its key."""
        self.connection = None

    def records(self) -> TableRecords:
        tables = dict.fromkeys((self.table, self.ledger))
        return TableRecords(item for table in tables for item in self.memory.items(table))


@contextmanager
def small_pages() -> Iterator[None]:
    """Make pages so small that twenty sessions take as many parts and invocations as thousands."""
    with mock.patch.object(session_lister, "PAGE", PAGE_SIZE):
        yield
