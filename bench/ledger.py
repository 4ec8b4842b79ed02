"""The section `ledger`: conflicts, transactions and write units a session with more and more consumers.

The consumer's real handler commits batches on simulated time, in which its CPU time counts. A transaction
takes its latency, and one that meets another at an item is cancelled with a conflict, as in DynamoDB. Before,
each session had a separate transaction, which a batch of one session is still.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from botocore.exceptions import ClientError

from bench.harness.transports import LATENCY
from bench.http_fakes import build_event
from bench.meter import MeteredTable, find_action_key
from bench.night import BATCH
from bench.page import table
from bench.sections import SectionResult
from bench.shops import UniformShop, open_world
from bench.simulation import SimulatedPool, Simulation
from consumer import lambda_function as function
from testkit.world import World

SESSIONS, CONSUMERS = 2_000, (5, 10, 20)
SHARE_OF_A_CORE = 512 / 1769
TIMEOUT_SECONDS = 120
TRANSACTION = 0.015  # seconds
# Of a session in a full batch, of which a transaction holds 98.
MOST_TRANSACTIONS = 0.05


@dataclass(frozen=True)
class Contention:
    """What the commits of all sessions came to.

    `tries` are the transactions, with those that met a conflict; `returned` counts the messages that went
    back to the queue, since theirs met ten.
    """

    seconds: float
    tries: int
    conflicts: int
    returned: int
    write_units: int


class ContendedTable:
    """A table whose calls take their latency, and whose transactions conflict while they overlap."""

    def __init__(self, metered: MeteredTable, simulation: Simulation) -> None:
        self._metered = metered
        self._simulation = simulation
        self._changing: set[tuple[str, str]] = set()
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
        method = getattr(self._metered, name)

        def call(**request: Any) -> Any:  # noqa: ANN401 - boto3's arguments and answer
            self._simulation.sleep(LATENCY["dynamodb"])
            with self._simulation.uncharged():
                return method(**request)

        return call

    def transact_write_items(self, **request: Any) -> Any:  # noqa: ANN401 - boto3's arguments and answer
        keys = {(key["PK"]["S"], key["SK"]["S"]) for key in map(find_action_key, request["TransactItems"])}
        self.calls["tries"] += 1
        if keys & self._changing:
            self._simulation.sleep(LATENCY["dynamodb"])
            self.calls["conflicts"] += 1
            reasons = [{"Code": "TransactionConflict"} for _ in request["TransactItems"]]
            error = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(cast("Any", error), "TransactWriteItems")
        self._changing |= keys
        self._simulation.sleep(TRANSACTION)
        self._changing -= keys
        with self._simulation.uncharged():
            return self._metered.transact_write_items(**request)


def measure() -> SectionResult:
    found = {(consumers, size): contend(consumers, size) for consumers in CONSUMERS for size in (1, BATCH)}
    return SectionResult(render(found), tuple(find_missed(found)))


def contend(consumers: int, batch: int, sessions: int = SESSIONS) -> Contention:
    """Consume a shop without missing orders in batches of a size, with so many consumers."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        open_world(UniformShop(sessions, missing=0)) as (
            world,
            metered,
        ),
    ):
        world.produce()
        bodies = world.memory_sqs.bodies(world.queue)
        metered.reset()
        simulation = Simulation(SHARE_OF_A_CORE, world.clock() + 60)
        contended = ContendedTable(metered, simulation)
        world.dynamodb = cast("Any", contended)
        with use_simulation(world, simulation, consumers):
            began = simulation.clock()
            pool, returned = SimulatedPool(simulation, consumers), 0
            while bodies:
                batches = list(batched(bodies, batch))
                done = [pool.submit(consume, build_event(each), simulation) for each in batches]
                simulation.wait(done)
                bodies = [
                    body
                    for each, answer in zip(batches, done, strict=True)
                    for body in find_returned(each, answer.result())
                ]
                returned += len(bodies)
            seconds = simulation.clock() - began
        run = world.run()
    if (run["status"], run["skipped"]) != ("done", sessions):
        raise RuntimeError(f"the run is wrong: {run}")
    calls = contended.calls
    return Contention(seconds, calls["tries"], calls["conflicts"], returned, metered.writes)


def consume(event: dict[str, Any], simulation: Simulation) -> Any:  # noqa: ANN401 - what the handler answers
    ends = simulation.clock() + TIMEOUT_SECONDS
    context = SimpleNamespace(
        aws_request_id="8f3c1d2e-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: int((ends - simulation.clock()) * 1000),
    )
    return function.lambda_handler(event, cast("Any", context))


@contextlib.contextmanager
def use_simulation(world: World, simulation: Simulation, consumers: int) -> Iterator[None]:
    """Let the consumer use the world's services and the simulated clock and threads inside the block."""
    clients = replace(world.clients(), pool=SimulatedPool(simulation, consumers * function.THREADS))
    clock = SimpleNamespace(time=simulation.clock, monotonic=simulation.clock, sleep=simulation.sleep)
    with (
        simulation.installed(),
        mock.patch.object(function, "time", clock),
        mock.patch.object(function, "clients", return_value=clients),
        mock.patch.object(function, "telemetry", return_value=world.telemetry),
    ):
        yield


def find_returned(bodies: Sequence[str], answer: Any) -> list[str]:  # noqa: ANN401 - the handler's
    return [bodies[int(one["itemIdentifier"].rpartition("-")[2])] for one in answer["batchItemFailures"]]


def find_missed(found: Mapping[tuple[int, int], Contention]) -> Iterator[str]:
    for (consumers, size), contention in found.items():
        tries = contention.tries / SESSIONS
        if size == BATCH and tries > MOST_TRANSACTIONS:
            yield (
                f"{consumers} consumers make at most {MOST_TRANSACTIONS} transactions a session; "
                f"it was {tries:.3f}"
            )


def render(found: Mapping[tuple[int, int], Contention]) -> str:
    head = (
        "consumers",
        "sessions in a batch",
        "transactions a session",
        "of them conflicts",
        "messages that came back",
        "write units a session",
        "sessions a second",
    )
    rows = [row(consumers, size, contention) for (consumers, size), contention in found.items()]
    return f"""{SESSIONS:,} sessions with their orders, committed on simulated time: a transaction takes
{TRANSACTION * 1000:.0f} ms, and one that meets another at an item is cancelled. In batches of one session,
each moves the counters in a separate transaction, as before sessions were grouped. At most
{MOST_TRANSACTIONS} transactions a session are demanded of batches of {BATCH}.

{table(head, rows)}"""


def row(consumers: int, size: int, contention: Contention) -> tuple[str, ...]:
    return (
        str(consumers),
        str(size),
        f"{contention.tries / SESSIONS:.3f}",
        f"{contention.conflicts / contention.tries:.0%}",
        str(contention.returned),
        f"{contention.write_units / SESSIONS:.2f}",
        f"{SESSIONS / contention.seconds:.0f}",
    )
