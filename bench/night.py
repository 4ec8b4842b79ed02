"""One night of a shop in memory, with everything counted that AWS would charge for.

The functions are the real ones. DynamoDB, SQS and Lambda's poller are the doubles of testkit, which the
contract suite compares with the real engines.
"""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import ceil

from bench.meter import CallCounter, MeteredTable
from bench.shops import UniformShop, open_world
from consumer.lambda_function import THREADS
from recon.config import Settings
from recon.dynamodb.item_size import item_bytes
from testkit.builders import RUN
from testkit.doubles.poller import LambdaPoller
from testkit.world import SCHEDULED, World

BATCH = 200
CONSUMER_GB, PRODUCER_GB = 512 / 1024, 1769 / 1024
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
ITEM_OVERHEAD_BYTES = 100  # DynamoDB adds them to each stored item
STRIPE_REQUEST_BYTES = 1_000  # with headers, and the TLS around it


@dataclass(frozen=True)
class Counts:
    """The counts of one night. The seconds follow from the assumptions above; all others are counted."""

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
    stripe_events: float
    stripe_fetches: float


def count_night(sessions: int) -> Counts:
    """Run a night of so many sessions, of which every fiftieth has lost its webhook."""
    return run_night(UniformShop(sessions))


def run_night(shop: UniformShop) -> Counts:
    with capture_log() as log, open_world(shop) as (world, table):
        return NightCounter(world, table, log).run()


@contextlib.contextmanager
def capture_log() -> Iterator[io.StringIO]:
    """Capture the functions' log lines, which go to standard output."""
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        yield log


class NightCounter:
    """Runs the functions one invocation after the other, and counts."""

    def __init__(self, world: World, table: MeteredTable, log: io.StringIO) -> None:
        self._world = world
        self._table = table
        self._log = log
        self._sqs: Counter[str] = Counter()
        self._invocations = 0
        self._seconds = {"producer": 0.0, "consumer": 0.0}
        world.sqs = CallCounter(world.memory_sqs, self._sqs)  # type: ignore[assignment]  # in its place
        world.poller = LambdaPoller(CallCounter(world.memory_sqs, Counter()), world.queue)

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
        stripe_requests = len(self._world.stripe.calls) - stripe
        share = settings.stripe_max_rps / (settings.consumer_concurrency if function == "consumer" else 1)
        self._seconds[function] += estimate_seconds(made, stripe_requests, share)

    def _calls(self) -> Counter[str]:
        return self._table.calls + self._sqs

    def _counts(self, hops: int, batches: int) -> Counts:
        world, lines = self._world, self._log.getvalue().splitlines()
        lists, events, fetches = count_stripe_calls(world)
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
            metrics=len(set(find_metrics(lines))),
            outcome_bytes=sum(item_bytes(item) + ITEM_OVERHEAD_BYTES for item in outcomes),
            stripe_lists=lists,
            stripe_events=events,
            stripe_fetches=fetches,
        )


def count_stripe_calls(world: World) -> tuple[int, int, int]:
    """Return the number of lists of sessions, of lists of events, and of requests for single sessions."""
    names = Counter(call.endpoint.value for call in world.stripe.calls.log())
    lists, events = names["list"], names["events"]
    return lists, events, names.total() - lists - events


def estimate_seconds(made: Counter[str], stripe_requests: int, share: float) -> float:
    """Return an invocation's duration: parallel calls wait once, and Stripe's rate limit applies."""
    parallel = ceil(made["query"] / THREADS) + ceil(made["send_message_batch"] / MESSAGES_A_REQUEST)
    waits = SECONDS["invocation"] + SECONDS["query"] * parallel
    waits += sum(
        SECONDS[name] * made[name] for name in ("get_item", "batch_get_item", "transact_write_items")
    )
    return waits + (SECONDS["stripe"] + (stripe_requests - 1) / share if stripe_requests else 0.0)


def log_bytes(lines: list[str], invocations: int) -> int:
    ours = sum(len(line.encode()) + EVENT_BYTES for line in lines)
    return ours + invocations * LINES_AN_INVOCATION * (LINE_BYTES + EVENT_BYTES)


def find_metrics(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each metric with the values of its dimensions, which is what CloudWatch charges for."""
    for line in lines:
        if '"_aws"' in line:
            record = json.loads(line)
            for directive in record["_aws"]["CloudWatchMetrics"]:
                for dimensions in directive["Dimensions"]:
                    values = json.dumps({name: record[name] for name in dimensions}, sort_keys=True)
                    yield from ((metric["Name"], values) for metric in directive["Metrics"])


NAMES = tuple(field.name for field in fields(Counts))
