"""A long run at a steady load with rotating faults: `python -m tests.fault_injection.soak --minutes 60`.

New sessions arrive all the time, a run looks at them every half minute, and nobody is killed: what a process
leaves behind can grow. Prints a table; ends with 1 where something grew or an order came to harm.
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
from datetime import UTC, datetime
from pathlib import Path

import psutil

from infra.arguments import ArgumentParser, positive_number, whole_number
from sandbox.stack import STRIPE_KEY
from testkit.shop import Shop, make_shop, seed_table
from tests.fault_injection.crew import Crew
from tests.fault_injection.flat import Course, course
from tests.fault_injection.place import Place, Scale, opened
from tests.fault_injection.profiles import CONFLICT, LOST, RESET, THROTTLED, TIMEOUT
from tests.fault_injection.report import markdown
from tests.fault_injection.verdict import judged, scanned, secrets_and_bugs

ROUND_SECONDS = 30
ROUND_SESSIONS = 100
# A session can be listed for so many rounds; then the account forgets it, so that no run grows.
ROUNDS_LISTED = 3
SAMPLE_SECONDS = 2.0
TICK_SECONDS = 0.05
EMPTY_SECONDS = 3.0
# Pools fill and caches warm up; after this share of the time everything has happened once.
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
# What a process may grow by in the time watched. Pages once shared with the process it was forked from, and a
# largest batch so far, come to some MB; four KB kept of each message come to 30 MB an hour.
ALLOWED = {"MB": 4.0, "threads": 2, "files": 4, "connections": 4}
MEMORY_SHARE = 0.1
# A consumer's pool has 25 threads; beside it stand the main one and the watch over the parent.
MOST_THREADS = 27
# Pools fill up to their size for as long as busier moments come: 32 of each AWS client, one of each thread to
# Stripe, the poller's ten. What is left behind passes that within the hour.
MOST_CONNECTIONS = 2 * 32 + 25 + 10
POOLED = {"MB": 0, "threads": MOST_THREADS, "files": MOST_CONNECTIONS + 16, "connections": MOST_CONNECTIONS}

ALLOCATOR = "MALLOC_ARENA_MAX"


@dataclass(frozen=True)
class Sample:
    at: float
    who: str
    numbers: dict[str, float]


class Soak:
    def __init__(self, place: Place, minutes: float) -> None:
        self._place = place
        self._minutes = minutes
        self._crew = Crew(place, random.Random(1), kill_seconds=None, duplicates=True)
        self._shops: list[Shop] = []
        self._listed: list[Shop] = []
        self._samples: list[Sample] = []

    def __call__(self) -> list[str]:
        """What is wrong; nothing, if all goes well."""
        try:
            self._runs()
            self._drains()
            wrongs = self._leftovers()
        finally:
            self._crew.stop()
        courses = self.courses()
        print(_table(courses))
        verdict = judged(scanned(self._place.dynamodb, self._place.table), self._shops, whole=False)
        wrongs += [*verdict.lost, *verdict.doubled, *verdict.miscounted, *verdict.touched]
        return wrongs + _grown(courses) + self._unexcused()

    def _runs(self) -> None:
        ends = time.monotonic() + 60 * self._minutes
        faults = itertools.cycle(FAULTS)
        round_at = sample_at = 0.0
        while (now := time.monotonic()) < ends:
            self._crew.tick()
            if now >= round_at:
                round_at = now + ROUND_SECONDS
                rate, only = next(faults)
                self._place.breaks(rate, only)
                self._arrive()
            if now >= sample_at:
                sample_at = now + SAMPLE_SECONDS
                self._measures(now)
            time.sleep(TICK_SECONDS)

    def _arrive(self) -> None:
        """The sessions of half a minute, and the run that finds them."""
        place, now = self._place, int(time.time())
        shop = make_shop(ROUND_SESSIONS, seed=len(self._shops), now=now)
        self._shops.append(shop)
        self._listed.append(shop)
        place.account.asks({"shop": json.loads(shop.to_json())})
        seed_table(place.dynamodb, place.table, shop)
        # What a producer has yet to list must not be forgotten.
        while len(self._listed) > ROUNDS_LISTED and not self._crew.is_producing:
            place.account.asks({"forget": json.loads(self._listed.pop(0).to_json())})
        time_of = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._crew.invokes({"trigger": "scheduled", "scheduledTime": time_of})

    def _drains(self) -> None:
        """The same processes go on without faults until nothing is left to do."""
        place = self._place
        place.breaks(0)
        for shop in self._shops:
            place.account.asks({"shop": json.loads(shop.to_json())})
        place.account.asks({"heal": 1})
        while True:
            empty_since = time.monotonic()
            while time.monotonic() < empty_since + EMPTY_SECONDS:
                self._crew.tick()
                time.sleep(10 * TICK_SECONDS)
                if self._crew.is_producing or place.waiting(place.queue):
                    empty_since = time.monotonic()
            if not place.redrives():
                return

    def _measures(self, now: float) -> None:
        consumers = {f"consumer {number}": pid for number, pid in enumerate(sorted(self._crew.consumers), 1)}
        for who, pid in (self._place.engines | consumers).items():
            # One that was replaced begins anew, under a name of its own.
            name = f"{who} ({pid})" if pid in self._crew.consumers else who
            self._samples.append(Sample(now, name, measured(pid)))

    def _leftovers(self) -> list[str]:
        left = {pid: measured(pid)["threads"] for pid in self._crew.consumers}
        many = [
            f"{pid} has {threads} threads at rest" for pid, threads in left.items() if threads > MOST_THREADS
        ]
        hanging = [
            f"{pid} keeps a connection that the other side has closed"
            for pid in self._crew.consumers
            for connection in psutil.Process(pid).net_connections("tcp")
            # A pool finds out when it takes the connection again; only many of them are a leak.
            if connection.status == psutil.CONN_CLOSE_WAIT
        ]
        return many + (hanging if len(hanging) > len(self._crew.consumers) * MOST_THREADS else [])

    def courses(self) -> dict[str, dict[str, Course]]:
        """By process and measure, after the warm-up; of processes that lived through half of what follows."""
        begun, ended = self._samples[0].at, self._samples[-1].at
        warm = begun + WARM_UP * (ended - begun)
        by_process: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in self._samples:
            if sample.at >= warm:
                by_process[sample.who].append(sample)
        return {
            who: {name: course([(one.at, one.numbers[name]) for one in samples]) for name in ALLOWED}
            for who, samples in by_process.items()
            if samples[-1].at - samples[0].at >= (ended - warm) / 2
        }

    def _unexcused(self) -> list[str]:
        with (self._place.home / "consumer.log").open(errors="replace") as lines:
            return secrets_and_bugs(lines, [STRIPE_KEY, "@example.com"])


def measured(pid: int) -> dict[str, float]:
    process = psutil.Process(pid)
    with process.oneshot():
        return {
            "MB": process.memory_info().rss / 2**20,
            "threads": process.num_threads(),
            "files": process.num_fds(),
            "connections": len(process.net_connections("tcp")),
        }


def _grown(courses: dict[str, dict[str, Course]]) -> list[str]:
    """The product's processes; an engine in memory keeps what is written."""
    consumers = {who: measures for who, measures in courses.items() if who.startswith("consumer")}
    nobody = [] if consumers else ["no consumer lived long enough to be judged"]
    return nobody + [
        f"{who} grew by {one.growth:.1f} {name}"
        for who, measures in consumers.items()
        for name, one in measures.items()
        if one.highest > POOLED[name]
        and not one.is_flat(allowed=ALLOWED[name], share=MEMORY_SHARE if name == "MB" else 0)
    ]


def _table(courses: dict[str, dict[str, Course]]) -> str:
    head = ["process", *(f"{name}: typical, highest, growth" for name in ALLOWED), "MB an hour"]
    rows = [
        [
            who,
            *(f"{m[name].typical:.0f}, {m[name].highest:.0f}, {m[name].growth:+.1f}" for name in ALLOWED),
            f"{m['MB'].hourly:+.1f}",
        ]
        for who, m in sorted(courses.items())
    ]
    return markdown(head, rows)


def _begins_as_deployed() -> None:
    """Begins anew with the allocator's setting of the functions as deployed, unless another one is given.

    It is read when a process starts, and the consumers are forks of this one."""
    if ALLOCATOR in os.environ:
        return
    # Imported here: the reader of templates takes 50 MB, which every fork would have as well.
    from tests.infra.resolved import TEMPLATE  # noqa: PLC0415

    deployed = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"][ALLOCATOR]
    os.execve(sys.executable, sys.orig_argv, os.environ | {ALLOCATOR: deployed})  # noqa: S606 - this program


def main(arguments: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m tests.fault_injection.soak", description=__doc__)
    parser.add_argument("--minutes", type=positive_number, default=60)
    parser.add_argument("--consumers", type=whole_number(1), default=4)
    options = parser.parse_args(arguments)
    _begins_as_deployed()
    # As an exception, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scale = Scale(consumers=options.consumers, timeout=20)
    with tempfile.TemporaryDirectory(prefix="nightly-sync-soak-") as home:
        with opened(Path(home), scale) as place:
            wrongs = Soak(place, options.minutes)()
        wrongs += [f"{child} is left behind" for child in psutil.Process().children(recursive=True)]
    for wrong in wrongs:
        print(f"- {wrong}")
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
