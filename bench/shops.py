"""Shops of several kinds, and the requests of a night of each: the pipeline's, the baseline's, the least.

The first two run for real over counted doubles; the least is worked out.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from bench.baseline import Baseline
from bench.meter import MeteredTable
from bench.night import BATCH, GRACE, MESSAGES_A_REQUEST, MISSING_SHARE, Night, a_sale, stripe_calls, told
from recon.dynamodb.table import MAX_ACTIONS
from recon.stripe.source import PAGE_SIZE
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.fake_stripe import FakeStripe, LineSpec
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, World

# Of each commit: the run's record and the sync state. A run begins, is listed and ends.
HOT_ITEMS, LIFE_OF_A_RUN, TRANSACTIONAL = 2, 3, 2
EMBEDDED_LINES = 10  # of a session's line items, in its own answer


@dataclass(frozen=True)
class Shop:
    """A day of a shop. `missing`: the share of webhooks that were lost; `orders`: of each customer, spread
    over the day unless they are made `in_a_row`; `lines`: items of each order."""

    name: str
    sessions: int = 1000
    missing: float = MISSING_SHARE
    orders: int = 1
    in_a_row: bool = False
    lines: int = 2

    @property
    def lost(self) -> int:
        return round(self.sessions * self.missing)

    @property
    def customers(self) -> int:
        return ceil(self.sessions / self.orders)

    def customer(self, n: int) -> int:
        return n // self.orders if self.in_a_row else n % self.customers

    def is_lost(self, n: int) -> bool:
        return bool(self.lost) and n % (self.sessions // self.lost) == 0


@dataclass(frozen=True)
class Requests:
    """Of one night. `polls`: what Lambda's poller receives and deletes for the consumer."""

    lists: float = 0
    fetches: float = 0
    reads: float = 0
    writes: float = 0
    sends: float = 0
    polls: float = 0
    read_units: float = 0
    write_units: float = 0

    @property
    def aws(self) -> float:
        """DynamoDB and SQS altogether."""
        return self.reads + self.writes + self.sends + self.polls


def of_the_pipeline(shop: Shop) -> Requests:
    with told() as log, opened(shop) as (world, metered):
        night = Night(world, metered, log).run()
    polls = polls_of(shop.sessions)
    return Requests(
        night.stripe_lists,
        night.stripe_fetches,
        night.reads,
        night.transactions,
        night.queue_requests - polls,
        polls,
        night.read_units,
        night.write_units,
    )


def polls_of(sessions: int) -> int:
    """Each batch is received and deleted by itself, ten messages a request."""
    full, rest = divmod(sessions, BATCH)
    return 2 * (full * ceil(BATCH / MESSAGES_A_REQUEST) + ceil(rest / MESSAGES_A_REQUEST))


def of_the_baseline(shop: Shop) -> Requests:
    with opened(shop) as (world, metered):
        stripe = world.connect()
        baseline = Baseline(
            metered,  # type: ignore[arg-type]  # stands for one
            TABLE,
            lambda path, params: stripe.get(path, params, KEY),
            lambda: int(world.clock()),
        )
        baseline(NOW - DAY, NOW - GRACE)
        lists, fetches = stripe_calls(world)
    calls = metered.calls
    return Requests(
        lists,
        fetches,
        calls["query"],
        calls["put_item"],
        read_units=metered.reads,
        write_units=metered.writes,
    )


@contextlib.contextmanager
def opened(shop: Shop) -> Iterator[tuple[World, MeteredTable]]:
    """The shop's world, over doubles that count from now on."""
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe:
        metered = MeteredTable(MemoryDynamoDB(), TABLE)
        metered.add_table(TABLE)
        world = World(stripe, metered)
        try:
            for n in range(shop.sessions):
                sell(world, shop, n)
            metered.reset()
            yield world, metered
        finally:
            world.close()


def sell(world: World, shop: Shop, n: int) -> None:
    user = f"user-{shop.customer(n):08}"
    lines = tuple(LineSpec(product_metadata={"sku": f"P-{line}"}) for line in range(shop.lines))
    spec = replace(a_sale(n, shop.sessions), metadata={"userId": user}, lines=lines)
    world.sells(spec)
    if not shop.is_lost(n):
        world.webhook_writes(
            spec.id, user, spec.created + 5, amount=spec.amount_total, currency=spec.currency
        )


def least(shop: Shop, baseline: Requests) -> Requests:
    """What the services' limits and this system's promises leave; the reasons are in bench/requests.py.

    An order's size in units is taken from what the baseline was charged for it.
    """
    lost, tens = shop.lost, ceil(shop.sessions / MESSAGES_A_REQUEST)
    commits = ceil((shop.sessions + lost) / (MAX_ACTIONS - HOT_ITEMS))
    hot_units = TRANSACTIONAL * HOT_ITEMS * (commits + LIFE_OF_A_RUN)
    return Requests(
        lists=ceil(shop.sessions / PAGE_SIZE) + 1,
        fetches=lost,
        reads=shop.customers + lost + 1,
        writes=commits + LIFE_OF_A_RUN,
        sends=tens,
        polls=2 * tens,
        read_units=shop.customers + lost + 1,
        write_units=TRANSACTIONAL * (shop.sessions + baseline.write_units) + hot_units,
    )
