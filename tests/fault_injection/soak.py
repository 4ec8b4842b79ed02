"""A long run at a steady load with rotating faults: `python -m tests.fault_injection.soak --minutes 60`.

New sessions arrive all the time, a run looks at them every half minute, and no process is killed, so that
leaks can grow. Prints a table; exit status 1 if a process grew or an order was lost, doubled or miscounted.
"""

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.arguments import ArgumentParser, positive_number, whole_number
from recon.timestamps import to_iso
from testkit.invariants import TableRecords
from testkit.shop import Shop, make_shop, seed_table
from tests.fault_injection.environment import StormEnvironment, StormScale, open_environment
from tests.fault_injection.fault_rules import CONFLICT, LOST, RESET, THROTTLED, TIMEOUT
from tests.fault_injection.lambda_runtime import LambdaRuntime
from tests.fault_injection.report import format_table
from tests.fault_injection.storm import check_logs
from tests.fault_injection.trend import Trend, fit_trend
from tests.fault_injection.verdict import judge

ROUND_SECONDS = 30
ROUND_SESSIONS = 100
# After so many rounds the account forgets a session, so that no run grows.
ROUNDS_LISTED = 3
SAMPLE_SECONDS = 2.0
TICK_SECONDS = 0.05
EMPTY_SECONDS = 3.0
# Pools and caches fill up; after this share of the time everything has happened once.
WARM_UP = 0.3
FAULTS = (
    (0.3, None),
    (0.3, THROTTLED),
    (0.3, RESET),
    (0.3, LOST),
    (0.05, TIMEOUT),
    (0.5, CONFLICT),
    (0.0, None),
)
# The allowed growth of a process in the time watched. Pages shared with its parent before and a larger batch
# are some MB; four KB kept of each message are 30 MB an hour.
ALLOWED = {"MB": 4.0, "threads": 2, "files": 4, "connections": 4}
MEMORY_SHARE = 0.1
# A consumer has a pool of 25 threads, the main one, and the one that watches the parent.
MOST_THREADS = 27
# Connection pools fill up to their size over time: 32 of each AWS client, one of each thread to Stripe, the
# poller's ten. Leaked connections exceed that within the hour.
MOST_CONNECTIONS = 2 * 32 + 25 + 10
POOLED = {"MB": 0, "threads": MOST_THREADS, "files": MOST_CONNECTIONS + 16, "connections": MOST_CONNECTIONS}

ALLOCATOR = "MALLOC_ARENA_MAX"


@dataclass(frozen=True)
class ProcessSample:
    """The measurements of one process at one moment."""

    at: float
    process: str
    numbers: dict[str, float]


class Soak:
    """A steady load in an environment whose table and queues are new."""

    def __init__(self, environment: StormEnvironment, minutes: float) -> None:
        self._environment = environment
        self._minutes = minutes
        self._runtime = LambdaRuntime(environment, random.Random(1), kill_seconds=None, duplicates=True)
        self._shops: list[Shop] = []
        self._listed: list[Shop] = []
        self._samples: list[ProcessSample] = []

    def run(self) -> list[str]:
        """Return everything that is wrong."""
        try:
            self._run_load()
            self._drain()
            wrong = self._find_leftovers()
        finally:
            self._runtime.stop()
        trends = self._fit_trends()
        print(_format_trends(trends))
        records = TableRecords.scan(self._environment.dynamodb, self._environment.table)
        wrong += judge(records, self._shops, runs_see_all=False).list_all()
        return wrong + _find_growth(trends) + check_logs(self._environment, "consumer")

    def _run_load(self) -> None:
        ends = time.monotonic() + 60 * self._minutes
        faults = itertools.cycle(FAULTS)
        next_round = next_sample = 0.0
        while (now := time.monotonic()) < ends:
            self._runtime.tick()
            if now >= next_round:
                next_round = now + ROUND_SECONDS
                self._environment.set_fault_rate(*next(faults))
                self._begin_round()
            if now >= next_sample:
                next_sample = now + SAMPLE_SECONDS
                self._take_samples(now)
            time.sleep(TICK_SECONDS)

    def _begin_round(self) -> None:
        """Add the sessions of half a minute, and start the run that finds them."""
        environment, now = self._environment, int(time.time())
        shop = make_shop(ROUND_SESSIONS, seed=len(self._shops), now=now)
        self._shops.append(shop)
        self._listed.append(shop)
        environment.stripe.request({"shop": json.loads(shop.to_json())})
        seed_table(environment.dynamodb, environment.table, shop)
        # Sessions that a producer has yet to list must not be forgotten.
        while len(self._listed) > ROUNDS_LISTED and not self._runtime.is_producing:
            environment.stripe.request({"forget": json.loads(self._listed.pop(0).to_json())})
        self._runtime.invoke({"trigger": "scheduled", "scheduledTime": to_iso(now)})

    def _drain(self) -> None:
        """Let the same processes continue without faults until nothing is left to do."""
        environment = self._environment
        environment.set_fault_rate(0)
        for shop in self._shops:
            environment.stripe.request({"shop": json.loads(shop.to_json())})
        environment.stripe.request({"heal": 1})
        while True:
            empty_since = time.monotonic()
            while time.monotonic() < empty_since + EMPTY_SECONDS:
                self._runtime.tick()
                time.sleep(10 * TICK_SECONDS)
                if self._runtime.is_producing or environment.count_queued():
                    empty_since = time.monotonic()
            if not environment.redrive():
                return

    def _take_samples(self, now: float) -> None:
        # A consumer that replaces another one has a new process id, and so a new name.
        consumers = {
            f"consumer {number} ({pid})": pid for number, pid in enumerate(sorted(self._runtime.consumers), 1)
        }
        for name, pid in (self._environment.engines | consumers).items():
            self._samples.append(ProcessSample(now, name, measure(pid)))

    def _find_leftovers(self) -> list[str]:
        """Return the consumers with too many threads or half-closed connections at rest."""
        threads = {pid: measure(pid)["threads"] for pid in self._runtime.consumers}
        wrong = [
            f"{pid} has {count} threads at rest" for pid, count in threads.items() if count > MOST_THREADS
        ]
        hanging = [
            f"{pid} keeps a connection that the other side has closed"
            for pid in self._runtime.consumers
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == psutil.CONN_CLOSE_WAIT
        ]
        # A pool notices a closed connection when it takes it again; only many of them are a leak.
        return wrong + (hanging if len(hanging) > len(self._runtime.consumers) * MOST_THREADS else [])

    def _fit_trends(self) -> dict[str, dict[str, Trend]]:
        """Return trends after the warm-up, by process and measure, of processes that lived half of that
        time."""
        began, ended = self._samples[0].at, self._samples[-1].at
        warm = began + WARM_UP * (ended - began)
        by_process: defaultdict[str, list[ProcessSample]] = defaultdict(list)
        for sample in self._samples:
            if sample.at >= warm:
                by_process[sample.process].append(sample)
        return {
            process: {name: fit_trend([(one.at, one.numbers[name]) for one in samples]) for name in ALLOWED}
            for process, samples in by_process.items()
            if samples[-1].at - samples[0].at >= (ended - warm) / 2
        }


def measure(pid: int) -> dict[str, float]:
    process = psutil.Process(pid)
    with process.oneshot():
        return {
            "MB": process.memory_info().rss / 2**20,
            "threads": process.num_threads(),
            "files": process.num_fds(),
            "connections": len(process.net_connections("tcp")),
        }


def _find_growth(trends: dict[str, dict[str, Trend]]) -> list[str]:
    """Return the consumers that grew; an engine in memory keeps what is written to it."""
    consumers = {process: one for process, one in trends.items() if process.startswith("consumer")}
    if not consumers:
        return ["no consumer lived long enough to be judged"]
    return [
        f"{process} grew by {one.growth:.1f} {name}"
        for process, measures in consumers.items()
        for name, one in measures.items()
        if one.highest > POOLED[name]
        and not one.is_flat(allowed=ALLOWED[name], share=MEMORY_SHARE if name == "MB" else 0)
    ]


def _format_trends(trends: dict[str, dict[str, Trend]]) -> str:
    head = ["process", *(f"{name}: typical, highest, growth" for name in ALLOWED), "MB an hour"]
    rows = [
        [
            process,
            *(f"{m[name].typical:.0f}, {m[name].highest:.0f}, {m[name].growth:+.1f}" for name in ALLOWED),
            f"{m['MB'].hourly:+.1f}",
        ]
        for process, m in sorted(trends.items())
    ]
    return format_table(head, rows)


def _restart_as_deployed() -> None:
    """Restart with the allocator's setting of the deployed functions, unless another one is given.

    It is read when a process starts, and the consumers are forks of this one.
    """
    if ALLOCATOR in os.environ:
        return
    # Imported here: the template's parser takes 50 MB, which every fork would have as well.
    from tests.infra.resolved import TEMPLATE  # noqa: PLC0415

    deployed = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"][ALLOCATOR]
    os.execve(sys.executable, sys.orig_argv, os.environ | {ALLOCATOR: deployed})  # noqa: S606 - this program


def main(arguments: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m tests.fault_injection.soak", description=__doc__)
    parser.add_argument("--minutes", type=positive_number, default=60)
    parser.add_argument("--consumers", type=whole_number(1), default=4)
    options = parser.parse_args(arguments)
    _restart_as_deployed()
    # As an exception, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scale = StormScale(consumers=options.consumers, timeout=20)
    with tempfile.TemporaryDirectory(prefix="nightly-sync-soak-") as home:
        with open_environment(Path(home), scale) as environment:
            wrong = Soak(environment, options.minutes).run()
        wrong += [f"{child} is left behind" for child in psutil.Process().children(recursive=True)]
    for sentence in wrong:
        print(f"- {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
