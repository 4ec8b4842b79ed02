"""Any number of sessions: few requests and invocations, flat memory, and each session once.

`make prove VOLUME=1000000` runs more of them.
"""

import bisect
import json
import os
import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.run_context import RunContext
from producer.sync_run import SyncRun
from recon.config import Settings
from recon.domain.stripe_objects import CHECKOUT_COMPLETED
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.stripe.pages import Page
from recon.stripe.source import EVENT_TYPES, SessionEvent
from recon.telemetry import Telemetry
from recon.timestamps import DAY
from testkit.builders import NOW, TABLE, FakeTime, a_session
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.listings import a_run
from testkit.world import confirm_table
from tests.unit.producer.nights import scheduled

pytestmark = pytest.mark.slow

END = NOW - 600
VOLUME = int(os.environ.get("VOLUME", "2000"))
MANY = int(os.environ.get("VOLUME", "8000"))
FEW = min(20_000, MANY // 2)


def evenly(count):
    return [END - n * DAY // count for n in range(count)]


def in_one_hour(count):
    """Fill every second of one hour on a quiet day."""
    hour = [END - 40_000 - n * 3600 // count for n in range(count - 300)]
    return hour + [END - n * 280 for n in range(300)]


def in_bursts(count):
    """Put half of the sessions into single seconds at random."""
    rng = random.Random(count)
    seconds = [END - rng.randrange(DAY) for _ in range(20)]
    return [rng.choice(seconds) for _ in range(count // 2)] + evenly(count - count // 2)


def sell_at(world, times, **changes):
    specs = (
        SessionSpec(
            f"cs_test_{n:07}", created, **{"completed_at": min(created + 60, END), "lines": ()} | changes
        )
        for n, created in enumerate(times)
    )
    world.stripe.store.add_all(specs)


@pytest.mark.parametrize(("shape", "part"), [(evenly, 0), (in_bursts, 1000), (in_one_hour, 0)])
def test_any_volume_is_enqueued_once_in_few_requests(make_world, shape, part):
    world = make_world(SYNC_MAX_SESSIONS=str(part))
    sell_at(world, shape(VOLUME))
    world.produce()
    invocations = 1
    while world.hops:
        world.produce(world.hops.pop(0))
        invocations += 1
    run = world.run()
    assert (run["enqueued"], run["listed"], run["truncated"]) == (VOLUME, True, False)
    sent = [json.loads(body)["sessionId"] for body in world.memory_sqs.bodies(world.queue)]
    assert len(sent) == len(set(sent)) == VOLUME
    assert world.stripe.calls.count(Endpoint.LIST) <= VOLUME / 100 + 12
    assert invocations <= (VOLUME / part + 2 if part else 1)


@pytest.mark.parametrize("shape", [evenly, in_bursts])
def test_undelivered_events_take_few_requests(world, shape):
    """One forgotten endpoint of the account makes every event undelivered."""
    sell_at(world, shape(VOLUME), event_delivered=False)
    world.produce()
    assert not world.hops
    messages = [json.loads(body) for body in world.memory_sqs.bodies(world.queue)]
    assert len(messages) == VOLUME
    assert all(len(message["eventIds"]) == 1 for message in messages)
    assert len(world.stripe.calls) <= 5 * VOLUME / 100 + 12


@pytest.mark.parametrize("maximum", [1, 100, 801, 2500])
def test_hard_limit_is_exact_at_any_size(world, maximum):
    sell_at(world, evenly(3000))
    world.produce(scheduled(maxSessions=maximum))
    assert not world.hops
    assert (world.run()["enqueued"], world.run()["truncated"]) == (maximum, True)
    assert len(world.memory_sqs.bodies(world.queue)) == maximum


# Memory


class EndlessStripe:
    """A Stripe account with sessions spread over 80,000 seconds, created when they are listed.

    With `undelivered`, no webhook has acknowledged the event of any, a minute after the session.
    """

    def __init__(self, count, *, undelivered=False):
        self.count = count
        self.undelivered = undelivered

    def created(self, n):
        return END - n * 80_000 // self.count

    def list_sessions(self, start, end, *, after=None, limit=100):
        every = range(self.count)
        first = bisect.bisect_left(every, -end, key=lambda n: -self.created(n))
        behind = bisect.bisect_right(every, -start, key=lambda n: -self.created(n))
        first = int(after.removeprefix("cs_")) + 1 if after else first
        last = min(first + limit, behind)
        sessions = [a_session(id=f"cs_{n:09}", created=self.created(n)) for n in range(first, last)]
        return Page(sessions, has_more=last < behind)

    def list_events(self, created_from, *, created_to=None, undelivered=False, types=EVENT_TYPES):
        is_any = undelivered and self.undelivered and CHECKOUT_COMPLETED in types
        for n in range(self.count) if is_any else ():
            if created_from <= (created := self.created(n) + 60) <= (created_to or NOW):
                yield SessionEvent(f"evt_{n:09}", CHECKOUT_COMPLETED, created, f"cs_{n:09}")


class CountingQueue:
    """A queue that counts messages."""

    def __init__(self):
        self.sent = self.fenced = 0

    def send(self, messages, pool, deadline):
        self.sent += len(messages)
        self.fenced += sum(len(message.event_ids) for message in messages)


def enqueue(count, *, undelivered=False, limit=None):
    """Return the peak of memory, the run, and the numbers of messages and of events in them."""
    clock = FakeTime(NOW)
    memory = MemoryDynamoDB(clock)
    memory.add_table(TABLE)
    confirm_table(memory, TABLE)
    queue, deadline = CountingQueue(), clock.deadline(900)
    with ThreadPoolExecutor(4) as pool:
        context = RunContext(
            settings=Settings(TABLE, "q"),
            runs=Runs(Table(memory, TABLE), deadline),
            stripe=lambda: EndlessStripe(count, undelivered=undelivered),
            queue=queue,
            pool=pool,
            deadline=deadline,
            now=lambda: NOW,
            telemetry=Telemetry("volume-test"),
        )
        sync_run = SyncRun(context, continue_async=None)
        tracemalloc.start()
        try:
            run = sync_run.begin(a_run(max_sessions=limit), context.runs.state(), context.runs.watermark())
            return tracemalloc.get_traced_memory()[1], run, queue.sent, queue.fenced
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("undelivered", [False, True])
def test_memory_is_flat_at_any_volume(undelivered):
    few, *_ = enqueue(FEW, undelivered=undelivered)
    many, run, sent, fenced = enqueue(MANY, undelivered=undelivered)
    assert (run.enqueued, run.listed, sent, fenced) == (MANY, True, MANY, MANY * undelivered)
    # Flat within a fifth. The rest is the DynamoDB double, which stores each transaction's token.
    assert many < few * 1.2 + MANY * 15


def test_memory_of_a_hard_limit_is_that_of_a_part():
    peak, run, *_ = enqueue(MANY, limit=MANY - 1)
    assert (run.enqueued, run.truncated) == (MANY - 1, True)
    assert peak < 4_000_000 + MANY * (15 + 1500 / 10)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200])
def test_counts_around_the_edges_of_a_page_are_exact(count):
    _, run, sent, _ = enqueue(count)
    assert (run.enqueued, sent, run.listed, run.truncated) == (count, count, True, False)
