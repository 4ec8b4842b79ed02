"""What every action of a history works on: the shop, its truth, its books, and the tale of what happened."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.model.books import Books
from tests.model.customers import Customers
from tests.model.invocations import Invocation
from tests.model.model_world import ModelWorld, Shape
from tests.model.sendings import Sendings
from tests.simulation.webhook import Webhook

type Event = dict[str, Any]


@dataclass(frozen=True)
class Waiting:
    """An event that the producer has yet to be invoked with; `until` is when Lambda drops it."""

    event: Event
    until: float
    failures: int = 0


class Stage:
    """`lines` tells what happened; `happened` counts it; `books.wrong` is what must not have."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.world = ModelWorld(seed, shape)
        self.shape = shape
        self.customers = Customers(self.world.account.store)
        self.sendings = Sendings(self.world.invocations, self.world.bodies)
        self.books = Books(self.customers.sales, self.sendings)
        self.webhook = Webhook(self.world)
        self.waiting: list[Waiting] = []
        self.lines: list[tuple[float, str]] = []
        self.happened: Counter[str] = Counter()
        self.nights = 0
        # The sessions that waited for their payment when the last night fell.
        self.waited_for: frozenset[str] = frozenset()
        self._keys = 0
        self.world.memory.observe = self.books
        self.world.memory_sqs.observe = self.sendings.sends

    @property
    def now(self) -> int:
        return int(self.world.clock.now)

    @property
    def paused(self) -> list[Invocation]:
        return self.world.invocations.paused

    def note(self, words: str) -> None:
        self.lines.append((self.world.clock.now, words))

    # The clock

    def waits(self, seconds: float) -> None:
        self.world.clock.now += seconds

    def waits_for_a_message(self, _rng: random.Random) -> bool:
        at = self.world.memory_sqs.next_visible_at(self.world.queue)
        if at is None:
            return False
        self.world.clock.now = max(self.world.clock.now, at)
        return True

    def _did(self, what: str, words: str) -> None:
        self.happened[what] += 1
        self.note(f"{what}: {words}")

    def _one_of[T](self, rng: random.Random, things: list[T], act: Callable[[T], None]) -> bool:
        if things:
            act(things[rng.randrange(len(things))])
        return bool(things)
