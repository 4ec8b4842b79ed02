"""What every action of a history works on: the world, its truth, its checks, and the story."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from testkit.shop import Record
from testkit.world import confirm_table
from tests.model.customers import Customers
from tests.model.invocations import Invocation
from tests.model.ledger_checks import LedgerChecks
from tests.model.model_world import NEIGHBOUR_LEDGER, ModelWorld, ShopConfig
from tests.model.neighbour import Neighbour
from tests.model.own_layout import OwnLayoutWebhook
from tests.model.sendings import Sendings
from tests.model.webhook import Webhook

NEIGHBOURS = 0.25  # of the shops


@dataclass(frozen=True)
class QueuedEvent:
    """An event that the producer has yet to be invoked with; Lambda drops it at `expires`."""

    event: Record
    expires: float
    failures: int = 0


class BaseShop:
    """A shop. `lines` is the story, `happened` counts it, `nights` are the scheduled times that have
    passed."""

    def __init__(self, seed: int, config: ShopConfig) -> None:
        self.config = config
        self.world = ModelWorld(seed, config)
        self.customers = Customers(self.world.account.store)
        self.sendings = Sendings(self.world.invocations, self.world.read_bodies)
        self.webhook = OwnLayoutWebhook(self.world) if config.has_own_layout else Webhook(self.world)
        done = self.webhook.done if config.has_own_layout else None
        self.checks = LedgerChecks(self.customers.sales, self.sendings, done)
        self.queued_events: list[QueuedEvent] = []
        self.lines: list[tuple[float, str]] = []
        self.happened: Counter[str] = Counter()
        self.nights = 0
        # The sessions that waited for their payment and were due when the last night began.
        self.pending_before: frozenset[str] = frozenset()
        self._keys = 0
        # Apart from the history's own random numbers, so that the other program changes no history.
        self._other_program = random.Random(f"other program {seed}")
        self._people = random.Random(f"people {seed}")
        self._waiting = random.Random(f"waiting {seed}")
        self._accounts = random.Random(f"accounts {seed}")
        self._filters = random.Random(f"filters {seed}")
        # How many orders of each run people have deleted.
        self.removed: Counter[str] = Counter()
        self._second_stack = random.Random(f"second stack {seed}")
        self._other_account = random.Random(f"other account {seed}")
        self.world.memory.unobserved = (NEIGHBOUR_LEDGER,)
        self.neighbour: Neighbour | None = None
        if random.Random(f"neighbours {seed}").random() < NEIGHBOURS:
            self.neighbour = Neighbour(self.world, seed)
            self.checks.other_runs = self.neighbour.runs
        self.world.memory.observe = self.checks.observe
        confirm_table(self.world.memory, self.world.ledger)
        self.world.memory_sqs.observe = self.sendings.record

    @property
    def now(self) -> int:
        return int(self.world.clock.now)

    @property
    def paused(self) -> list[Invocation]:
        return self.world.invocations.paused

    def wait(self, seconds: float) -> None:
        self.world.clock.now += seconds

    def wait_until(self, moment: float) -> None:
        self.world.clock.now = max(self.world.clock.now, moment)

    def wait_for_message(self, _rng: random.Random) -> bool:
        """Wait until the next message is visible; return False if there is none."""
        at = self.world.memory_sqs.next_visible_at(self.world.queue)
        if at is None:
            return False
        self.wait_until(at)
        return True

    def _log(self, what: str, details: str = "") -> None:
        self.happened[what] += 1
        self.lines.append((self.world.clock.now, f"{what}: {details}" if details else what))

    def _act_on_one[T](self, rng: random.Random, things: list[T], act: Callable[[T], None]) -> bool:
        if not things:
            return False
        act(things[rng.randrange(len(things))])
        return True
