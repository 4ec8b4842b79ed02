"""One night of a shop, run for real in memory, and everything counted that AWS would charge for.

The functions are the real ones; DynamoDB, SQS and Lambda's poller are the doubles of the tests, which the
contract suite holds to what the real engines do. That is why bench imports tests: another set of doubles
would have to be held to it as well.
"""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import ceil

from bench.meter import CountedCalls, MeteredTable
from consumer.lambda_function import THREADS
from recon.config import Settings
from recon.dynamodb.item_size import item_bytes
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.poller import LambdaPoller
from testkit.fake_stripe import FakeStripe, LineSpec, SessionSpec, ShippingSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, SCHEDULED, World

MISSING_SHARE = 0.02
BATCH = 25
MEMORY_GB = 0.25
GRACE = 600
MESSAGES_A_REQUEST = 10
# Assumed, since only AWS can tell: seconds of one call in the region, and of Stripe's answers from there.
SECONDS = {
    "invocation": 0.02,
    "get_item": 0.005,
    "query": 0.008,
    "batch_get_item": 0.015,
    "transact_write_items": 0.04,
    "send_message_batch": 0.02,
    "stripe": 0.35,
}
COLD_START_SECONDS = 1.5
# Of Lambda's own START, END and REPORT lines, and what CloudWatch adds to each event it takes in.
LINES_AN_INVOCATION, LINE_BYTES, EVENT_BYTES = 3, 110, 26
STRIPE_REQUEST_BYTES = 1_000  # with headers, and the TLS around it


@dataclass(frozen=True)
class Counts:
    """Of one night. The seconds follow from counts by the assumptions above; all others are counted."""

    sessions: float
    created: float
    invocations: float
    batches: float
    hops: float
    lambda_seconds: float
    consumer_seconds: float
    reads: float
    read_units: float
    transactions: float
    write_units: float
    queue_requests: float
    log_bytes: float
    metrics: float
    outcome_bytes: float
    stripe_lists: float
    stripe_fetches: float


def counted(sessions: int) -> Counts:
    """A night with so many sessions, of which every fiftieth has lost its webhook."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe, told() as log:
        table = MeteredTable(MemoryDynamoDB(), TABLE)
        table.add_table(TABLE)
        world = World(stripe, table)
        try:
            open_shop(world, sessions)
            table.reset()
            return Night(world, table, log).run()
        finally:
            world.close()


@contextlib.contextmanager
def told() -> Iterator[io.StringIO]:
    """What the functions log, which goes to standard output."""
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        yield log


def open_shop(world: World, sessions: int) -> None:
    """One order a customer, evenly over the day; the webhook's orders look like the sync's own."""
    every = round(1 / MISSING_SHARE)
    for n in range(sessions):
        spec = a_sale(n, sessions)
        world.sells(spec)
        if n % every:
            order = {
                "createdAt": spec.created,
                "customerEmail": spec.email,
                "items": [{"name": "Poster"}] * 2,
            }
            world.webhook_writes(
                spec.id, f"user-{n:08}", spec.created + 5, amount=4500, currency="usd", **order
            )


def a_sale(n: int, sessions: int) -> SessionSpec:
    return SessionSpec(
        f"cs_live_{n:050}",
        NOW - GRACE - 60 - n * (DAY - GRACE) // sessions,
        lines=(LineSpec(product_metadata={"sku": "P-1"}), LineSpec("Mug", 2)),
        metadata={"userId": f"user-{n:08}"},
        email=f"customer-{n}@example.com",
        phone="+15550100",
        shipping=ShippingSpec(),
    )


class Night:
    """Counts while it runs the functions one invocation after the other."""

    def __init__(self, world: World, table: MeteredTable, log: io.StringIO) -> None:
        self._world = world
        self._table = table
        self._log = log
        self._sqs: Counter[str] = Counter()
        self._invocations = 0
        self._seconds = {"producer": 0.0, "consumer": 0.0}
        world.sqs = CountedCalls(world.memory_sqs, self._sqs)  # type: ignore[assignment]  # in its place
        world.poller = LambdaPoller(CountedCalls(world.memory_sqs, Counter()), world.queue)

    def run(self) -> Counts:
        world = self._world
        with self._invocation("producer", world.settings):
            world.produce(SCHEDULED)
        while world.hops:
            with self._invocation("producer", world.settings):
                world.produce(world.hops.pop(0))
        hops, batches = self._invocations - 1, 0
        while size := self._waiting():
            with self._invocation("consumer", world.settings):
                world.deliver(BATCH)
            # Lambda's poller receives and deletes ten at a time.
            self._sqs["receive and delete"] += 2 * ceil(min(size, BATCH) / MESSAGES_A_REQUEST)
            batches += 1
        return self._counts(hops, batches)

    def _waiting(self) -> int:
        return len(self._world.memory_sqs.messages(self._world.queue))

    @contextlib.contextmanager
    def _invocation(self, function: str, settings: Settings) -> Iterator[None]:
        before, stripe = self._calls(), len(self._world.stripe.calls)
        yield
        made = self._calls() - before
        self._invocations += 1
        asked = len(self._world.stripe.calls) - stripe
        share = settings.stripe_max_rps / (settings.consumer_concurrency if function == "consumer" else 1)
        self._seconds[function] += seconds_of(made, asked, share)

    def _calls(self) -> Counter[str]:
        return self._table.calls + self._sqs

    def _counts(self, hops: int, batches: int) -> Counts:
        world, lines = self._world, self._log.getvalue().splitlines()
        lists, fetches = stripe_calls(world)
        run, items = world.run(), world.items()
        outcomes = [item for item in items if item["PK"] == f"SYNC_RUN#{RUN}"]
        return Counts(
            sessions=int(run["enqueued"]),
            created=int(run["created"]),
            invocations=self._invocations,
            batches=batches,
            hops=hops,
            lambda_seconds=sum(self._seconds.values()),
            consumer_seconds=self._seconds["consumer"],
            reads=self._table.calls.total() - self._table.calls["transact_write_items"],
            read_units=self._table.reads,
            transactions=self._table.calls["transact_write_items"],
            write_units=self._table.writes,
            queue_requests=self._sqs.total(),
            log_bytes=log_bytes(lines, self._invocations),
            metrics=len(set(metrics_in(lines))),
            outcome_bytes=sum(
                item_bytes(item) + 100 for item in outcomes
            ),  # 100: DynamoDB's own, of each item
            stripe_lists=lists,
            stripe_fetches=fetches,
        )


def stripe_calls(world: World) -> tuple[int, int]:
    """Lists of sessions and events, and what is asked of single sessions."""
    names = Counter(call.endpoint.value for call in world.stripe.calls.log())
    lists = names["list"] + names["events"]
    return lists, names.total() - lists


def seconds_of(made: Counter[str], asked: int, share: float) -> float:
    """How long an invocation takes: what runs in parallel is waited for once, and Stripe's pace is kept."""
    parallel = ceil(made["query"] / THREADS) + ceil(made["send_message_batch"] / MESSAGES_A_REQUEST)
    waits = SECONDS["invocation"] + SECONDS["query"] * parallel
    waits += sum(
        SECONDS[name] * made[name] for name in ("get_item", "batch_get_item", "transact_write_items")
    )
    return waits + (SECONDS["stripe"] + (asked - 1) / share if asked else 0.0)


def log_bytes(lines: list[str], invocations: int) -> int:
    ours = sum(len(line.encode()) + EVENT_BYTES for line in lines)
    return ours + invocations * LINES_AN_INVOCATION * (LINE_BYTES + EVENT_BYTES)


def metrics_in(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each metric with its dimensions' values, which is what CloudWatch charges for."""
    for line in lines:
        if '"_aws"' in line:
            told = json.loads(line)
            for directive in told["_aws"]["CloudWatchMetrics"]:
                for dimensions in directive["Dimensions"]:
                    values = json.dumps({name: told[name] for name in dimensions}, sort_keys=True)
                    yield from ((metric["Name"], values) for metric in directive["Metrics"])


NAMES = tuple(field.name for field in fields(Counts))
