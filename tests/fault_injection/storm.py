"""One night of faults from beginning to end: storm, calm, redrive, one more night, verdict."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recon.timestamps import to_iso
from sandbox.stack import STRIPE_KEY
from testkit.invariants import TableRecords, find_leaked_secrets, find_unexpected_errors, verify
from testkit.shop import make_shop, seed_table
from tests.fault_injection.environment import StormEnvironment
from tests.fault_injection.fault_rules import InjectedFaults
from tests.fault_injection.lambda_runtime import LambdaRuntime
from tests.fault_injection.verdict import StormVerdict, judge

TICK_SECONDS = 0.05
# The queue's numbers are approximate, so it must stay empty this long.
EMPTY_SECONDS = 1.5
MOST_REDRIVES = 5


class StormTimeoutError(Exception):
    """The queue does not empty in time."""


@dataclass(frozen=True)
class StormOptions:
    """`rate` is the share of calls that fail. Storm and calm last at most as many seconds as given.

    After `enough`, a share of the sessions, a storm that did harm may end before its queue is empty.
    """

    sessions: int
    rate: float
    kill_seconds: float | None
    storm_seconds: float
    calm_seconds: float
    enough: float | None = None
    seed: int = 7


@dataclass
class StormResult:
    """The result of one storm; `bugs` are violations of another kind than the verdict's."""

    options: StormOptions
    verdict: StormVerdict
    bugs: list[str]
    faults: list[InjectedFaults]
    requests: dict[str, int]
    happened: dict[str, int]
    seconds: dict[str, float]

    @property
    def is_right(self) -> bool:
        return not (self.verdict.list_all() or self.bugs)


class Storm:
    """One storm in an environment whose table and queues are new."""

    def __init__(
        self, environment: StormEnvironment, options: StormOptions, log: Callable[[str], None]
    ) -> None:
        self._environment = environment
        self._options = options
        self._log = log
        self._runtime = LambdaRuntime(
            environment,
            random.Random(options.seed),
            kill_seconds=options.kill_seconds,
            duplicates=options.rate > 0,
        )
        self._seconds: dict[str, float] = {}
        self._redriven = 0

    def run(self) -> StormResult:
        try:
            return self._run()
        finally:
            self._runtime.stop()

    def _run(self) -> StormResult:
        environment, options = self._environment, self._options
        now = int(time.time())
        shop = make_shop(options.sessions, options.seed, now)
        environment.stripe.request({"shop": json.loads(shop.to_json())})
        seed_table(environment.dynamodb, environment.table, shop)
        self._measure("storm", lambda: self._run_storm(now))
        faults, requests = environment.count_faults(), environment.count_requests()
        noted = self._read_notes()
        self._measure("calm", self._recover)
        found = verify(environment.dynamodb, environment.table, shop, healed=True)
        self._measure("next night", lambda: self._run_night(now + 60, options.calm_seconds))
        self._runtime.stop()
        records = TableRecords.scan(environment.dynamodb, environment.table)
        happened = self._runtime.happened + Counter({"redriven": self._redriven}) + noted
        bugs = [*map(str, found), *check_logs(environment, "consumer", "producer")]
        return StormResult(
            options, judge(records, [shop]), bugs, faults, requests, dict(happened), self._seconds
        )

    def _run_storm(self, now: int) -> None:
        self._environment.set_fault_rate(self._options.rate)
        try:
            self._run_night(now, self._options.storm_seconds, self._had_enough)
        except StormTimeoutError:
            self._log("the storm ends before the queue is empty")

    def _had_enough(self) -> bool:
        """Return whether enough sessions were settled while faults and kills did harm."""
        enough = self._options.enough
        if enough is None or self._read_notes()["messages settled"] < enough * self._options.sessions:
            return False
        has_killed = not self._options.kill_seconds or self._runtime.happened["killed"] > 0
        return has_killed and bool(self._environment.count_faults())

    def _recover(self) -> None:
        """End the faults, and redrive dead letters as often as it takes."""
        self._environment.set_fault_rate(0)
        self._runtime.calm_down()
        self._environment.stripe.request({"heal": 1})
        for _ in range(MOST_REDRIVES):
            self._wait_until_empty(self._options.calm_seconds)
            moved = self._environment.redrive()
            self._redriven += moved
            if not moved:
                return
            self._log(f"{moved} messages are redriven")
        raise StormTimeoutError("messages keep dying in the calm")

    def _run_night(self, scheduled: int, seconds: float, may_end: Callable[[], bool] = lambda: False) -> None:
        self._runtime.invoke({"trigger": "scheduled", "scheduledTime": to_iso(scheduled)})
        self._wait_until_empty(seconds, may_end)

    def _wait_until_empty(self, seconds: float, may_end: Callable[[], bool] = lambda: False) -> None:
        ends = time.monotonic() + seconds
        empty_since: float | None = None
        checked = 0.0
        while empty_since is None or time.monotonic() < empty_since + EMPTY_SECONDS:
            self._runtime.tick()
            time.sleep(TICK_SECONDS)
            if time.monotonic() < checked + 10 * TICK_SECONDS:
                continue
            checked = time.monotonic()
            is_busy = self._runtime.is_producing or self._environment.count_queued()
            empty_since = None if is_busy else empty_since or checked
            if may_end():
                return
            if checked > ends:
                raise StormTimeoutError(f"{self._environment.count_queued()} messages after {seconds:.0f} s")

    def _measure(self, name: str, work: Callable[[], Any]) -> None:
        began = time.monotonic()
        work()
        self._seconds[name] = round(time.monotonic() - began, 1)
        self._log(f"{name}: {self._seconds[name]} s")

    def _read_notes(self) -> Counter[str]:
        """Return the numbers of batches and of their messages, by what happened to them."""
        counted: Counter[str] = Counter()
        notes = self._environment.home / "happened.jsonl"
        for line in notes.read_text().splitlines() if notes.exists() else ():
            note = json.loads(line)
            counted[f"batches {note['what']}"] += 1
            counted[f"messages {note['what']}"] += note["sessions"]
        return counted


def check_logs(environment: StormEnvironment, *names: str) -> list[str]:
    """Return the log lines of these functions that no fault excuses."""
    found: list[str] = []
    for name in names:
        with (environment.home / f"{name}.log").open(errors="replace") as file:
            lines = file.readlines()
        found += [*find_unexpected_errors(lines), *find_leaked_secrets(lines, [STRIPE_KEY, "@example.com"])]
    return found
