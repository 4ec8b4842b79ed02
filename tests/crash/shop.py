"""A small shop on a bad night: one customer for each way that a session can go, and how it has to end.

Prepared once, by the product itself and undisturbed; each case then begins from the same bytes.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import stripe as library

from producer import session_lister as slices
from producer import sync_run as enqueue
from recon.stripe.source import StripeConnection
from recon.telemetry import Telemetry
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.errors import ClientMeta, client_exceptions
from testkit.doubles.faults import Faulty
from testkit.doubles.queues import Message
from testkit.fake_stripe import FakeStripe, LineSpec, SessionSpec
from testkit.shapes import JsonObject
from testkit.world import FakeLambda, FakeSSM, World, wire
from tests.crash.stripe_port import Transport

BEFORE = {"trigger": "scheduled", "scheduledTime": "2024-11-26T02:00:00Z", "lookbackHours": 120}
MAX_RECEIVES = 3
CREATED, SKIPPED, ERROR = "created", "skipped", "error"


class Told(Telemetry):
    """Keeps what is said instead of printing it."""

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
        """Metrics are checked elsewhere."""


@dataclass(frozen=True)
class Sale:
    """`ends`: the outcome, and why where it is no order. `before`: what was in the table already.
    `receives`: how often its message was received before. `paid_later`: it was unpaid a night ago."""

    spec: SessionSpec
    ends: tuple[str, str | None]
    before: tuple[JsonObject, ...] = ()
    receives: int = 0
    paid_later: bool = False
    vanishes: bool = False
    appears: bool = False

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def orders(self) -> int:
        """How many there have to be, whoever wrote them."""
        return int(self.ends in ((CREATED, None), (SKIPPED, "exists")))


def _spec(name: str, **changes: Any) -> SessionSpec:
    created = NOW - 3 * HOUR - 60 * (sum(name.encode()) % 97)  # some in one second, most apart
    fields: dict[str, Any] = {"created": created, "metadata": {"userId": name}} | changes
    return SessionSpec(f"cs_test_{name}", **fields)


def _webhooks(session_id: str, user: str, at: int = NOW - 2 * HOUR) -> JsonObject:
    return {
        "PK": f"USER#{user}",
        "SK": f"ORDER#{at}#{session_id}",
        "orderId": session_id,
        "stripeSessionId": session_id,
        "userId": user,
        "status": "shipped",
    }


def _handled(event_id: str) -> JsonObject:
    return {"PK": f"EVENT#{event_id}", "SK": "METADATA", "status": "failed", "orderCreated": False}


def cast() -> list[Sale]:
    lines = tuple(LineSpec(f"line {n}", quantity=n + 1) for n in range(25))
    met = _spec("met", event_delivered=False)
    collides = _spec("collides")
    own_key = {"PK": "USER#collides", "SK": f"ORDER#{collides.created}#{collides.id}", "orderId": "by hand"}
    return [
        Sale(_spec("plain"), (CREATED, None)),
        Sale(_spec("again", metadata={"userId": "regular"}), (CREATED, None)),
        Sale(
            _spec("there", metadata={"userId": "regular"}),
            (SKIPPED, "exists"),
            (_webhooks("cs_test_there", "regular"),),
        ),
        Sale(_spec("unpaid", payment_status="unpaid"), (SKIPPED, "unpaid")),
        Sale(_spec("late", created=NOW - 100 * HOUR), (CREATED, None), paid_later=True),
        Sale(_spec("long", lines=lines), (CREATED, None)),
        Sale(_spec("fenced", event_delivered=False), (CREATED, None)),
        Sale(met, (CREATED, None), (_handled(met.completed_event_id),)),
        Sale(_spec("refunded", amount_refunded=1500), (SKIPPED, "refunded")),
        Sale(_spec("lost", dispute_status="lost"), (SKIPPED, "refunded")),
        Sale(_spec("won", dispute_status="won"), (CREATED, None)),
        Sale(collides, (SKIPPED, "exists"), (own_key,)),
        Sale(_spec("setup", mode="setup", payment_status="no_payment_required"), (SKIPPED, "not_a_sale")),
        Sale(_spec("nobody", metadata={}), (SKIPPED, "no_user")),
        Sale(_spec("gone"), (ERROR, "SessionNotFound"), vanishes=True),
        Sale(_spec("strange", mode=None), (ERROR, "MalformedMessage")),
        Sale(_spec("second"), (CREATED, None), receives=1),
        Sale(_spec("final"), (CREATED, None), receives=MAX_RECEIVES - 1),
        Sale(_spec("redriven"), (CREATED, None), appears=True),
    ]


class Serially(Executor):
    """Runs what is submitted at once, so that calls have one order. A death is everybody's."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as every executor does
            done.set_exception(error)
        return done


class Modelled:
    """Gives a double the model of its service, from which a test learns its errors."""

    def __init__(self, service: str, double: Any) -> None:
        self.meta = ClientMeta(service)
        self.exceptions = client_exceptions(service)
        self._double = double

    def __getattr__(self, name: str) -> Any:
        return getattr(self._double, name)


class Shop(World):
    """A world whose every external call is one of `history`, in one thread and one order."""

    def __init__(
        self, account: FakeStripe, table: bytes | None = None, *, page: int | None = None, **env: str
    ) -> None:
        super().__init__(account, SYNC_MAX_RECEIVE_COUNT=str(MAX_RECEIVES), **env)
        if table:
            self.memory.load(table)
        self.pool.shutdown()
        self.pool = Serially()  # type: ignore[assignment]
        self.telemetry = self.told = Told()
        self.ssm = Faulty(Modelled("ssm", FakeSSM(clock=self.clock)), history=self.history)  # type: ignore[assignment]
        self.lambda_client = Faulty(Modelled("lambda", FakeLambda()), history=self.history)
        self.transport = Transport(account, self.history, page)
        self.faulty = {
            "dynamodb": self.dynamodb,
            "sqs": self.sqs,
            "ssm": self.ssm,
            "lambda": self.lambda_client,
            "Stripe": self.transport.port,
        }

    def _memory(self) -> MemoryDynamoDB:
        memory = MemoryDynamoDB(self.clock, validate=False)
        memory.add_table(self.table)
        return memory

    def connect(self, _timeout: float = 0) -> StripeConnection:
        with mock.patch.object(library, "RequestsClient", return_value=self.transport):
            return super().connect()

    def plans(self, plan: Any) -> None:
        for client in self.faulty.values():
            client.plan = plan

    def starts_anew(self) -> None:
        """The process is gone, and with it what it kept: the connection and the key."""
        self.connection = None


@contextmanager
def small_slices() -> Iterator[None]:
    """A listing of twenty sessions goes through as many slices, pages and invocations as one of thousands."""
    small = (
        (slices, "FIRST", 6),
        (slices, "AIM", 6),
        (slices, "PATIENCE", 1),
        (enqueue, "PAGE", 1),
        (enqueue, "MOST_PARTS", 1),
    )
    with ExitStack() as stack:
        for module, name, value in small:
            stack.enter_context(mock.patch.object(module, name, value))
        yield


@dataclass(frozen=True)
class Night:
    """Where cases begin: the account, the table's bytes, and what lies in the queue."""

    account: FakeStripe
    sales: list[Sale]
    table: bytes
    messages: tuple[tuple[str, int], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    page: int | None = None

    def opens(self) -> Shop:
        shop = Shop(self.account, self.table, page=self.page, **self.env)
        for body, receives in self.messages:
            shop.sends(body)
            shop.memory_sqs.messages(shop.queue)
            _received(shop.memory_sqs._queues[shop.queue].messages[-1], receives)
        return shop

    @property
    def webhooks(self) -> list[JsonObject]:
        """What somebody else wrote, and nobody may touch."""
        return [wire(item) for sale in self.sales for item in sale.before]


def _received(message: Message, times: int) -> None:
    message.receive_count = times
    message.first_received_at = message.sent_at if times else None


def before_the_run(account: FakeStripe, **env: str) -> Night:
    """The evening: a night ago one run went through, and what the webhook wrote is there."""
    sales = [replace(sale, receives=0) for sale in cast() if not sale.vanishes and not sale.appears]
    shop = _a_night_later(account, sales, **env)
    return Night(account, sales, shop.memory.dump(), env=env, page=4)


def before_the_batch(account: FakeStripe, **env: str) -> Night:
    """The moment when all messages of the night lie in the queue, to be received as one batch."""
    sales = cast()
    shop = _a_night_later(account, sales, **env)
    shop.body()
    bodies = {loads_id(body): body for body in shop.memory_sqs.bodies(shop.queue)}
    table = shop.memory.dump()
    for sale in sales:
        if sale.appears:
            table = _failed_once(account, sale, bodies[sale.id], table)
        if sale.vanishes:
            account.store.remove(sale.id)
    messages = [(bodies[sale.id], sale.receives) for sale in sales]
    beside = [(bodies[sales[0].id], 0), ("what is this", 0)]
    return Night(account, sales, table, (*messages, *beside), env)


def _a_night_later(account: FakeStripe, sales: list[Sale], **env: str) -> Shop:
    """The shop at the hour of its run, with a run of the night before behind it."""
    shop = Shop(account, **env)
    account.store.clear()
    account.store.add_all(replace(sale.spec, payment_status="unpaid") for sale in sales if sale.paid_later)
    shop.clock.now = NOW - DAY
    shop.night(BEFORE)
    shop.clock.now = NOW
    account.store.add_all(sale.spec for sale in sales)
    for sale in sales:
        for item in sale.before:
            shop.memory.put_item(TableName=shop.table, Item=wire(item))
    return shop


def _failed_once(account: FakeStripe, sale: Sale, body: str, table: bytes) -> bytes:
    """The table after the session failed for good, under a message that is dead by now."""
    shop = Shop(account, table)
    shop.memory_sqs._numbers = 1_000_000  # a redriven message has another id
    account.store.remove(sale.id)
    shop.sends(body)
    shop.drain()
    account.store.add(sale.spec)
    return shop.memory.dump()


def loads_id(body: str) -> str:
    return str(json.loads(body)["sessionId"])
