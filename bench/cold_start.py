"""Cold starts: a fresh process of a function that makes its clients and answers its first event."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.functions import Built, Process, Told, environment, started
from bench.http_fakes import BATCH, Services, served
from testkit.builders import NOW, TABLE
from testkit.fake_stripe import FakeStripe, RateLimits, SessionSpec
from testkit.world import KEY, SCHEDULED, wire

BARE, PRODUCER, CONSUMER = "bare", "producer", "consumer"


@dataclass(frozen=True)
class Start:
    """`made`: everything is imported, the clients are made. `answered`: the first event; None without one."""

    made: Told
    answered: Told | None = None


@contextmanager
def shop(functions: Built) -> Iterator["Starts"]:
    """A batch of sessions, and all their orders in the table."""
    services = Services()
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe, served(services) as aws:
        for n in range(BATCH):
            sale = SessionSpec(f"cs_live_{n:050}", NOW - 3600 - n, metadata={"userId": f"user-{n}"})
            stripe.store.add(sale)
            services.dynamodb.put_item(TableName=TABLE, Item=_order(sale))
        yield Starts(functions, services, environment(aws, stripe.url), services.dynamodb.dump())


def _order(sale: SessionSpec) -> dict[str, object]:
    """As the webhook wrote it."""
    user, moment = sale.metadata["userId"], sale.created + 5
    keys = {"PK": f"USER#{user}", "SK": f"ORDER#{moment}#{sale.id}"}
    return wire({**keys, "orderId": sale.id, "stripeSessionId": sale.id, "amount": sale.amount_total})


@dataclass
class Starts:
    """Starts a function; its first event is a whole run for the producer, its batch for the consumer.

    `night` is the table before the run, `produced` after it, once there was one.
    """

    functions: Built
    services: Services
    env: Mapping[str, str]
    night: bytes
    produced: bytes = b""

    def __call__(self, kind: str) -> Start:
        if kind == CONSUMER and not self.produced:
            self(PRODUCER)
        with started(self.functions, kind, self.env) as (process, made):
            if kind == BARE:
                return Start(made)
            return Start(made, self._produces(process) if kind == PRODUCER else self._consumes(process))

    def _produces(self, process: Process) -> Told:
        self.services.dynamodb.load(self.night)
        told = process.asks(SCHEDULED)
        self.services.must_show(enqueued=BATCH)
        self.produced = self.services.dynamodb.dump()
        return told

    def _consumes(self, process: Process) -> Told:
        self.services.dynamodb.load(self.produced)
        told = process.asks(self.services.event())
        self.services.must_show(enqueued=BATCH, skipped=BATCH)
        return told
