"""The producer's invocations over a shop of any size, on simulated time, in a process of their own.

    python -m bench.simulated_producer '{"sessions": 1000000, "memory": 1769}'

Handler, botocore and Stripe's library are the real ones, and their CPU time counts as on the share of a core
that Lambda gives the memory. The services take their latency and no CPU time. It prints its results as JSON.
"""

import json
import os
import sys
from collections import deque
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from bench.aws_json import call_double
from bench.harness.framing import Frame
from bench.harness.harness import SETTINGS
from bench.harness.transports import LATENCY, DelayedTransport, install_in_botocore, install_in_stripe
from bench.lambda_process import peak_mb
from bench.simulation import SimulatedLock, SimulatedPool, Simulation
from bench.wide_shop import WideShop
from producer import lambda_function as function
from recon.aws import clients as aws
from recon.bootstrap import connect_stripe
from recon.dynamodb.keys import run_key
from recon.retry import STRIPE_TIMEOUT_SECONDS
from recon.stripe import source
from recon.stripe.pace import ANNOUNCED_SECONDS
from recon.stripe.pages import PAGE_SIZE
from testkit.builders import NOW, RUN
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.world import SCHEDULED, confirm_table, plain, wire

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
CORE_MB = 1769
TIMEOUT_SECONDS = 900
# From the end of an invocation to the next one's first line, if no function is warm.
HAND_OVER_SECONDS = 1.5
FIRST_PEAK = 100_000
TABLE = SETTINGS["COMMERCE_TABLE"]


@dataclass(frozen=True)
class Stage:
    """What is simulated: the producer's memory in MB, `STRIPE_MAX_RPS`, and what `WideShop` takes."""

    sessions: int
    memory: int = CORE_MB
    rps: float = 12
    undelivered: bool = False
    sales: float = 0.0


@dataclass(frozen=True)
class SimulatedListing:
    """What a run came to.

    `seconds` are simulated, from the event to the last message; `cpu` are seconds of a whole core. `rate` is
    the sessions listed a second once the consumers knew of the listing, hand-overs included. `early_peak` is
    the process's peak memory in MB after 100,000 sessions, and `peak` that at the end.
    """

    seconds: float
    rate: float
    cpu: float
    invocations: int
    pages: int
    event_pages: int
    early_peak: float
    peak: float


class SimulatedServices:
    """Stripe, DynamoDB, SQS and Lambda. The queue keeps no message and counts those of each session."""

    def __init__(self, stage: Stage, simulation: Simulation) -> None:
        self.shop = WideShop(stage.sessions, NOW, undelivered=stage.undelivered, sales=stage.sales)
        self.hops: deque[Any] = deque()
        self.messages = bytearray(stage.sessions)
        self.sent = 0
        self.last_sent = 0.0
        self.early_peak = 0.0
        self._simulation = simulation
        self._dynamodb = MemoryDynamoDB(simulation.clock, validate=False)
        self._dynamodb.add_table(TABLE)
        confirm_table(self._dynamodb, TABLE)

    def handle(self, frame: Frame) -> Frame:
        with self._simulation.uncharged():
            return self._answer(frame)

    def _answer(self, frame: Frame) -> Frame:
        service, _, operation = frame.name.partition(".")
        if service == "stripe":
            return Frame("200", self.shop.answer(frame.body.decode(), self._simulation.clock()))
        request = json.loads(frame.body)
        if service == "lambda":
            self.hops.append(request)
            return Frame("202", b"")
        if service == "sqs":
            return Frame("200", self._accept(request["Entries"]))
        code, answer = call_double(self._dynamodb, operation, request)
        return Frame(str(code.value), json.dumps(answer).encode())

    def _accept(self, entries: list[dict[str, str]]) -> bytes:
        for entry in entries:
            self.messages[self.shop.number_of(json.loads(entry["MessageBody"])["sessionId"])] += 1
        self.sent += len(entries)
        self.last_sent = self._simulation.clock()
        if not self.early_peak and self.sent >= FIRST_PEAK:
            self.early_peak = peak_mb()
        done = [{"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for entry in entries]
        return json.dumps({"Successful": done, "Failed": []}).encode()

    def check(self) -> None:
        """Raise RuntimeError unless each session was sent once and counted."""
        pk, sk = run_key(RUN)
        run = plain(self._dynamodb.get_item(TableName=TABLE, Key=wire({"PK": pk, "SK": sk}))["Item"])
        if set(self.messages) != {1} or (run["enqueued"], run["listed"]) != (len(self.messages), True):
            raise RuntimeError(f"{self.sent} messages for {len(self.messages)} sessions: {run}")


def simulate(stage: Stage) -> SimulatedListing:
    """Run all invocations. Raise RuntimeError unless each session was sent once."""
    simulation = Simulation(min(1.0, stage.memory / CORE_MB), NOW)
    services = SimulatedServices(stage, simulation)
    transport = DelayedTransport(
        services.handle, LATENCY, simulation.clock, simulation.sleep, keep_calls=False
    )
    install_in_botocore(aws.session(), transport)
    install_in_stripe(transport)
    events, invocations = deque[Any]([SCHEDULED]), 0
    environment = {**SETTINGS, "SYNC_QUEUE_URL": "https://sqs.test/sync", "STRIPE_MAX_RPS": f"{stage.rps:g}"}
    with mock.patch.dict(os.environ, environment), use_simulation(simulation):
        while events:
            function.lambda_handler(events.popleft(), cast("Any", _Context(simulation)))
            invocations += 1
            if services.hops:
                simulation.sleep(HAND_OVER_SECONDS)
                events.append(services.hops.popleft())
    services.check()
    shop = services.shop
    known = [at for at in shop.page_times if at > NOW + ANNOUNCED_SECONDS]
    rate = PAGE_SIZE * (len(known) - 1) / (known[-1] - known[0]) if len(known) > 1 else 0.0
    return SimulatedListing(
        services.last_sent - NOW,
        rate,
        simulation.cpu,
        invocations,
        len(shop.page_times),
        shop.event_pages,
        services.early_peak,
        peak_mb(),
    )


class _Context:
    """The part of Lambda's context that the handler uses."""

    aws_request_id = "8f3c1d2e-0000-4000-8000-000000000000"
    function_name = "producer"

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._ends = simulation.clock() + TIMEOUT_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends - self._simulation.clock()) * 1000)


def use_simulation(simulation: Simulation) -> ExitStack:
    """Return a context in which the producer uses the simulated clock and threads."""
    clients = replace(function.clients(), pool=SimulatedPool(simulation, function.THREADS))
    settings = clients.settings
    connection = connect_stripe(
        settings, requests_per_second=settings.stripe_max_rps, timeout=STRIPE_TIMEOUT_SECONDS
    )
    clock = SimpleNamespace(time=simulation.clock, monotonic=simulation.clock, sleep=simulation.sleep)
    limiter = connection.rate_limiter
    stack = ExitStack()
    stack.enter_context(simulation.installed())
    stack.enter_context(mock.patch.object(limiter, "_clock", simulation.clock))
    stack.enter_context(mock.patch.object(limiter, "_turn", SimulatedLock(simulation)))
    locks = SimpleNamespace(Lock=partial(SimulatedLock, simulation))
    stack.enter_context(mock.patch.object(source, "threading", locks))
    stack.enter_context(mock.patch.object(function, "time", clock))
    stack.enter_context(mock.patch.object(function, "clients", return_value=clients))
    stack.enter_context(mock.patch.object(function, "stripe_connection", return_value=connection))
    return stack


def main(stage: str) -> None:
    with Path(os.devnull).open("w") as log, redirect_stdout(log):
        listing = simulate(Stage(**json.loads(stage)))
    sys.stdout.write(json.dumps(asdict(listing)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
