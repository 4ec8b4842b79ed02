"""A second stack on the shop's table, with a separate ledger: it syncs the same sessions."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from recon.aws.queue import SessionQueue
from recon.dynamodb.table import Table
from recon.timestamps import DAY, to_iso, to_run_id
from testkit.doubles.poller import LambdaPoller
from testkit.invariants import TableRecords, compare_counters, compare_state, find_unfinished_runs
from testkit.world import FUNCTION_TIMEOUT, FakeLambda, LambdaContext, confirm_table
from tests.model.invocations import Invocation
from tests.model.model_world import NEIGHBOUR_LEDGER, PRODUCER_SECONDS, ModelWorld

# Its runs have other ids, so that each order says who wrote it.
LATER = 60
MOST_RECORDS = 6
ACTS = 0.3  # of the moments between two actions of others


class Neighbour:
    """The second stack. It meets no accidents, and acts between the calls of the first one's functions.

    `runs` are the ids of its runs. `failures` says what its functions raised.
    """

    def __init__(self, world: ModelWorld, seed: int) -> None:
        self.runs: set[str] = set()
        self.failures: list[str] = []
        self._world = world
        self._rng = random.Random(f"neighbour {seed}")
        self._events: list[dict[str, Any]] = []
        self._lambda = FakeLambda()
        # It acts far less often than Lambda would, so that messages wait for days and must not expire.
        retention = 400 * DAY
        self._dlq = world.memory_sqs.add_queue("neighbour-dlq", visibility=30, retention=retention)
        self._queue = world.memory_sqs.add_queue(
            "neighbour",
            visibility=6 * FUNCTION_TIMEOUT,
            retention=retention,
            dead_letters=self._dlq,
            max_receives=world.settings.max_receive_count + 2,
        )
        tokens = random.Random(f"tokens {seed}")
        self._clients = replace(
            world.clients(),
            settings=replace(world.settings, stack="neighbour", ledger_table=NEIGHBOUR_LEDGER),
            table=Table(
                world.dynamodb,  # type: ignore[arg-type]
                world.table,
                lambda: f"neighbour-{tokens.random()}",
                ledger=NEIGHBOUR_LEDGER,
            ),
            queue=SessionQueue(world.sqs, self._queue),  # type: ignore[arg-type]
        )
        confirm_table(world.memory, NEIGHBOUR_LEDGER)

    def start_night(self, at: int) -> None:
        """Let its schedule fire, a minute after that of the first stack."""
        self.runs.add(to_run_id(at + LATER))
        self._events.append({"trigger": "scheduled", "scheduledTime": to_iso(at + LATER)})

    def act_now_and_then(self) -> bool:
        return self._rng.random() < ACTS and self.act()

    def act(self) -> bool:
        """Run one of its functions. Return False if nothing is queued for them, or if their key is wrong."""
        world = self._world
        if world.ssm.value not in world.account.keys:
            return False
        if self._events:
            event = self._events.pop(0)
            self._begin("producer", lambda: world.produce(event), PRODUCER_SECONDS)
            self._events += self._lambda.events
            self._lambda.events.clear()
            return True
        at = world.memory_sqs.next_visible_at(self._queue)
        if at is None or at > world.clock.now:
            return False
        poller, size = LambdaPoller(world.memory_sqs, self._queue), self._rng.randint(1, MOST_RECORDS)
        context = LambdaContext(world.clock)
        self._begin("consumer", lambda: poller.deliver(world.handle, size, context), FUNCTION_TIMEOUT)
        return True

    def finish(self) -> None:
        """Let everything end that its functions have begun."""
        while self.act() or self._wait_for_message():
            pass

    def check(self) -> Iterator[str]:
        """Yield what is wrong with its ledger when all is at rest."""
        records = TableRecords(self._world.memory.items(NEIGHBOUR_LEDGER))
        found = [*find_unfinished_runs(records), *compare_state(records)]
        found += [each for run_id in records.runs for each in compare_counters(records, run_id)]
        yield from (f"neighbour: {violation}" for violation in found)
        yield from (f"neighbour: {failure}" for failure in self.failures)
        if missing := self.runs - records.runs.keys():
            yield f"neighbour: no record of {sorted(missing)}"

    def _wait_for_message(self) -> bool:
        at = self._world.memory_sqs.next_visible_at(self._queue)
        self._world.clock.now = max(self._world.clock.now, at or 0)
        return at is not None

    def _begin(self, function: str, body: Callable[[], object], seconds: float) -> None:
        def run() -> object:
            with (
                mock.patch.object(producer_function, "clients", return_value=self._clients),
                mock.patch.object(consumer_function, "clients", return_value=self._clients),
                mock.patch.object(producer_function, "lambda_client", return_value=self._lambda),
            ):
                return body()

        self._world.invocations.begin(f"neighbour's {function}", run, {}, seconds, self._end)

    def _end(self, invocation: Invocation) -> None:
        if invocation.error:
            self.failures.append(f"{invocation.function} raises {invocation.error!r}")
