"""Counts the requests of the pipeline and the baseline, and works out the fewest possible."""

from dataclasses import dataclass
from math import ceil

from bench.baseline import Baseline
from bench.night import BATCH, MESSAGES_A_REQUEST, count_stripe_calls, run_night
from bench.shops import GRACE, UniformShop, open_world
from recon.dynamodb.table import MAX_ACTIONS
from recon.stripe.pages import PAGE_SIZE
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE
from testkit.world import KEY

# Each commit also updates the run's record and the sync state. A run begins, is listed and ends.
HOT_ITEMS, RUN_TRANSACTIONS, TRANSACTIONAL = 2, 3, 2
EMBEDDED_LINES = 10  # line items that Stripe returns within a session


@dataclass(frozen=True)
class RequestCounts:
    """The requests of one night. `polls` are the receives and deletes of Lambda's poller."""

    lists: float = 0
    events: float = 0
    fetches: float = 0
    reads: float = 0
    writes: float = 0
    sends: float = 0
    polls: float = 0
    read_units: float = 0
    write_units: float = 0

    @property
    def stripe(self) -> float:
        """Return the sum of the requests to Stripe."""
        return self.lists + self.events + self.fetches

    @property
    def aws(self) -> float:
        """Return the sum of the requests to DynamoDB and SQS."""
        return self.reads + self.writes + self.sends + self.polls


def count_pipeline(shop: UniformShop) -> RequestCounts:
    night, polls = run_night(shop), count_polls(shop.sessions)
    return RequestCounts(
        night.stripe_lists,
        night.stripe_events,
        night.stripe_fetches,
        night.reads,
        night.transactions,
        night.queue_requests - polls,
        polls,
        night.read_units,
        night.write_units,
    )


def count_polls(sessions: int) -> int:
    """Count receives and deletes; each batch needs its own, for ten messages at a time."""
    full, rest = divmod(sessions, BATCH)
    return 2 * (full * ceil(BATCH / MESSAGES_A_REQUEST) + ceil(rest / MESSAGES_A_REQUEST))


def count_baseline(shop: UniformShop) -> RequestCounts:
    with open_world(shop) as (world, table):
        stripe = world.connect()
        baseline = Baseline(
            table,  # type: ignore[arg-type]  # has the methods that the baseline calls
            TABLE,
            lambda path, params: stripe.get(path, params, KEY),
            lambda: int(world.clock()),
        )
        baseline.run(NOW - DAY, NOW - GRACE)
        lists, events, fetches = count_stripe_calls(world)
    return RequestCounts(
        lists,
        events,
        fetches,
        table.calls["query"],
        table.calls["put_item"],
        read_units=table.reads,
        write_units=table.writes,
    )


def minimum_requests(shop: UniformShop, baseline: RequestCounts) -> RequestCounts:
    """Return the fewest requests that the services' limits allow; bench/requests.py gives the reasons.

    The write units of an order are those that the baseline was charged.
    """
    lost, tens = shop.lost, ceil(shop.sessions / MESSAGES_A_REQUEST)
    commits = ceil((shop.sessions + lost) / (MAX_ACTIONS - HOT_ITEMS))
    hot_units = TRANSACTIONAL * HOT_ITEMS * (commits + RUN_TRANSACTIONS)
    return RequestCounts(
        lists=ceil(shop.sessions / PAGE_SIZE),
        events=1,
        reads=shop.customers + lost + 1,
        writes=commits + RUN_TRANSACTIONS,
        sends=tens,
        polls=2 * tens,
        read_units=shop.customers + lost + 1,
        write_units=TRANSACTIONAL * (shop.sessions + baseline.write_units) + hot_units,
    )
