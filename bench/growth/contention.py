"""An item that takes one transaction at a time, which the in-memory doubles do not simulate.

They handle each request whole, so no two transactions ever meet in them. On AWS a transaction holds its items
from its first phase to its second, and a second transaction in between is cancelled.
https://www.usenix.org/conference/atc23/presentation/idziorek
"""

import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Lock
from typing import Any

from bench.harness.harness import Harness
from testkit.doubles.faults import ClientCall, Fault, Faulty, conflict

type LockedKey = tuple[str, str]


class Contention:
    """A plan for a Faulty client: each transaction holds its items for `hold` seconds. Thread-safe."""

    def __init__(self, hold: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold = hold
        self._clock = clock
        self._lock = Lock()
        self._held_until: dict[LockedKey, float] = {}
        self.conflicts = 0

    def __call__(self, call: ClientCall) -> Fault | None:
        if call.method != "transact_write_items":
            return None
        keys = list(_keys(call.arguments["TransactItems"]))
        with self._lock:
            now = self._clock()
            self._held_until = {key: until for key, until in self._held_until.items() if until > now}
            if met := [at for at, key in enumerate(keys) if key in self._held_until]:
                self.conflicts += 1
                return conflict(*met)
            self._held_until |= dict.fromkeys(keys, now + self._hold)
        return None

    def enters(self, harness: Harness, _: Event) -> None:
        """Put the contention in front of the harness's table."""
        harness.cloud.dynamodb = Faulty(harness.cloud.dynamodb, self)  # type: ignore[assignment]  # in its place


def _keys(actions: Iterator[Mapping[str, Mapping[str, Any]]]) -> Iterator[LockedKey]:
    for action in actions:
        [body] = action.values()
        at = body.get("Item") or body["Key"]
        yield at["PK"]["S"], at["SK"]["S"]
