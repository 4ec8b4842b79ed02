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
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.stripe.source import Page
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
VOLUME = int(os.environ.get("VOLUME", "10000"))
MANY = int(os.environ.get("VOLUME", "40000"))


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


def sell_at(world, times):
    world.stripe.store.add_all(
        SessionSpec(f"cs_test_{n:07}", created, completed_at=END, lines=()) for n, created in enumerate(times)
    )


@pytest.mark.parametrize("shape", [evenly, in_bursts, in_one_hour])
def test_any_volume_is_enqueued_once_in_few_requests(world, shape):
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
    assert world.stripe.calls.count(Endpoint.LIST) <= 1.3 * VOLUME / 100 + 3
    assert invocations <= VOLUME / world.settings.max_sessions + 2


@pytest.mark.parametrize("maximum", [1, 100, 801, 2500])
def test_hard_limit_is_exact_at_any_size(world, maximum):
    sell_at(world, evenly(3000))
    world.produce(scheduled(maxSessions=maximum))
    assert not world.hops
    assert (world.run()["enqueued"], world.run()["truncated"]) == (maximum, True)
    assert len(world.memory_sqs.bodies(world.queue)) == maximum


# Memory


class EndlessStripe:
    """A Stripe account with sessions spread over 80,000 seconds, created when they are listed."""

    def __init__(self, count):
        self.count = count

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

    def list_events(self, created_from, *, undelivered=False):
        return iter(())


class CountingQueue:
    """A queue that counts messages."""

    def __init__(self):
        self.sent = 0

    def send(self, messages, pool, deadline):
        self.sent += len(messages)


def enqueue(count):
    """Return the peak of memory, the run and the number of messages."""
    clock = FakeTime(NOW)
    memory = MemoryDynamoDB(clock)
    memory.add_table(TABLE)
    confirm_table(memory, TABLE)
    queue, deadline = CountingQueue(), clock.deadline(900)
    with ThreadPoolExecutor(4) as pool:
        context = RunContext(
            settings=Settings(TABLE, "q", max_sessions=10**9),
            runs=Runs(Table(memory, TABLE), deadline),
            stripe=lambda: EndlessStripe(count),
            queue=queue,
            pool=pool,
            deadline=deadline,
            now=lambda: NOW,
            telemetry=Telemetry("volume-test"),
        )
        sync_run = SyncRun(context, continue_async=None)
        tracemalloc.start()
        try:
            run = sync_run.begin(a_run(), context.runs.state(), context.runs.watermark())
            return tracemalloc.get_traced_memory()[1], run, queue.sent
        finally:
            tracemalloc.stop()


def test_memory_is_flat_at_any_volume():
    few, _, _ = enqueue(20_000)
    many, run, sent = enqueue(MANY)
    assert (run.enqueued, run.listed, sent) == (MANY, True, MANY)
    # Flat within a fifth. The rest is the DynamoDB double, which stores each transaction's token.
    assert many < few * 1.2 + MANY * 15


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200])
def test_counts_around_the_edges_of_a_page_are_exact(count):
    _, run, sent = enqueue(count)
    assert (run.enqueued, sent, run.listed, run.truncated) == (count, count, True, False)
