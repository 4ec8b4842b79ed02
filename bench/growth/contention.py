"""An item that takes one transaction at a time, in real time: what the doubles by themselves do not know.

They answer each request whole, so no two transactions ever meet in them. On AWS a transaction holds its items
from its first phase to its second, and another one that comes meanwhile is cancelled.
https://www.usenix.org/conference/atc23/presentation/idziorek
"""

import time
from collections.abc import Callable, Iterator, Mapping
from threading import Event, Lock
from typing import Any

from bench.stage.stage import Stage
from testkit.doubles.faults import ClientCall, Fault, Faulty, conflict

type Key = tuple[str, str]


class Contention:
    """A plan for a Faulty client: each transaction holds its items for `hold` seconds. Thread-safe."""

    def __init__(self, hold: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold = hold
        self._clock = clock
        self._lock = Lock()
        self._held_until: dict[Key, float] = {}
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

    def enters(self, stage: Stage, _: Event) -> None:
        """Before the table of a stage: for what goes on beside its pipeline."""
        stage.cloud.dynamodb = Faulty(stage.cloud.dynamodb, self)  # type: ignore[assignment]  # in its place


def _keys(actions: Iterator[Mapping[str, Mapping[str, Any]]]) -> Iterator[Key]:
    for action in actions:
        [body] = action.values()
        at = body.get("Item") or body["Key"]
        yield at["PK"]["S"], at["SK"]["S"]
