"""One night of faults from beginning to end: storm, calm, redrive, one more night, verdict."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.stack import STRIPE_KEY
from testkit.invariants import verify
from testkit.shop import make_shop, seed_table
from tests.fault_injection.crew import Crew
from tests.fault_injection.place import Place
from tests.fault_injection.profiles import Fired
from tests.fault_injection.verdict import Verdict, judged, scanned, secrets_and_bugs

TICK_SECONDS = 0.05
# The queue's numbers are approximate: empty is what stays empty.
EMPTY_SECONDS = 1.5
MOST_REDRIVES = 5


class Endless(Exception):  # noqa: N818  what a storm ends with instead of a verdict
    """The queue does not empty."""


@dataclass(frozen=True)
class Weather:
    """`rate`: the share of calls that go wrong. Seconds of a storm and of a calm are at most; `enough` is the
    share of the sessions after which a storm may end before its queue is empty, if it did harm by then."""

    sessions: int
    rate: float
    kill_seconds: float | None
    storm_seconds: float
    calm_seconds: float
    enough: float | None = None
    seed: int = 7

    @property
    def is_fair(self) -> bool:
        return self.rate == 0


@dataclass
class Result:
    weather: Weather
    verdict: Verdict
    bugs: list[str]
    fired: list[Fired]
    requests: dict[str, int]
    happened: dict[str, int]
    seconds: dict[str, float]

    @property
    def is_right(self) -> bool:
        return self.verdict.is_right and not self.bugs


class Storm:
    def __init__(self, place: Place, weather: Weather, say: Callable[[str], None]) -> None:
        rng = random.Random(weather.seed)
        self._place = place
        self._weather = weather
        self._say = say
        self._crew = Crew(place, rng, kill_seconds=weather.kill_seconds, duplicates=not weather.is_fair)
        self._seconds: dict[str, float] = {}
        self._redriven = 0

    def __call__(self) -> Result:
        """The table and the queues must be new."""
        try:
            return self._passes()
        finally:
            self._crew.stop()

    def _passes(self) -> Result:
        place, weather = self._place, self._weather
        now = int(time.time())
        shop = make_shop(weather.sessions, weather.seed, now)
        place.account.asks({"shop": json.loads(shop.to_json())})
        seed_table(place.dynamodb, place.table, shop)
        self._timed("storm", lambda: self._storms(now))
        fired, requests, noted = place.fired(), place.requests(), self._notes()
        self._timed("calm", self._recovers)
        found = verify(place.dynamodb, place.table, shop, healed=True)
        self._timed("next night", lambda: self._night(now + 60, weather.calm_seconds))
        self._crew.stop()
        verdict = judged(scanned(place.dynamodb, place.table), [shop])
        happened = self._crew.happened + Counter({"redriven": self._redriven}) + noted
        bugs = [str(problem) for problem in found] + self._unexcused()
        return Result(weather, verdict, bugs, fired, requests, dict(happened), self._seconds)

    def _storms(self, now: int) -> None:
        self._place.breaks(self._weather.rate)
        try:
            self._night(now, self._weather.storm_seconds, self._had_enough)
        except Endless:
            self._say("the storm ends before the queue is empty")

    def _had_enough(self) -> bool:
        enough = self._weather.enough
        if enough is None or self._notes()["messages settled"] < enough * self._weather.sessions:
            return False
        spared = self._weather.kill_seconds and not self._crew.happened["killed"]
        return not spared and bool(self._place.fired())

    def _recovers(self) -> None:
        """The faults are over; an operator puts back what has died of them, as often as it takes."""
        self._place.breaks(0)
        self._crew.is_calm()
        self._place.account.asks({"heal": 1})
        for _ in range(MOST_REDRIVES):
            self._until_empty(self._weather.calm_seconds)
            moved = self._place.redrives()
            self._redriven += moved
            if not moved:
                return
            self._say(f"{moved} messages are redriven")
        raise Endless("messages keep dying in the calm")

    def _night(self, scheduled: int, seconds: float, may_end: Callable[[], bool] = lambda: False) -> None:
        time_of = datetime.fromtimestamp(scheduled, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._crew.invokes({"trigger": "scheduled", "scheduledTime": time_of})
        self._until_empty(seconds, may_end)

    def _until_empty(self, seconds: float, may_end: Callable[[], bool] = lambda: False) -> None:
        ends = time.monotonic() + seconds
        empty_since: float | None = None
        asked = 0.0
        while empty_since is None or time.monotonic() < empty_since + EMPTY_SECONDS:
            self._crew.tick()
            time.sleep(TICK_SECONDS)
            if time.monotonic() < asked + 10 * TICK_SECONDS:
                continue
            asked = time.monotonic()
            waiting = self._crew.is_producing or self._place.waiting(self._place.queue)
            empty_since = None if waiting else empty_since or asked
            if may_end():
                return
            if asked > ends:
                raise Endless(f"{self._place.waiting(self._place.queue)} messages after {seconds:.0f} s")

    def _timed(self, name: str, work: Callable[[], Any]) -> None:
        begun = time.monotonic()
        work()
        self._seconds[name] = round(time.monotonic() - begun, 1)
        self._say(f"{name}: {self._seconds[name]} s")

    def _notes(self) -> Counter[str]:
        """Batches, and the sessions in them."""
        counted: Counter[str] = Counter()
        notes = self._place.home / "happened.jsonl"
        if not notes.exists():
            return counted
        with notes.open() as lines:
            for line in lines:
                note = json.loads(line)
                counted[f"batches {note['what']}"] += 1
                counted[f"messages {note['what']}"] += note["sessions"]
        return counted

    def _unexcused(self) -> list[str]:
        said = []
        for name in ("consumer", "producer"):
            with (self._place.home / f"{name}.log").open(errors="replace") as lines:
                said += secrets_and_bugs(lines, [STRIPE_KEY, "@example.com"])
        return said
