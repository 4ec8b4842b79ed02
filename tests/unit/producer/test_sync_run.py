"""Enqueueing any number of sessions takes the memory of one page."""

import bisect
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.sync_run import SyncRun
from recon.config import Settings
from recon.dynamodb.records import Run
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.stripe.source import Page
from recon.telemetry import Telemetry
from recon.timestamps import to_iso
from testkit.builders import NOW, RUN, TABLE, FakeTime, a_session
from testkit.doubles.dynamodb import MemoryDynamoDB

END = NOW - 600
SPAN = 80_000
# `make prove VOLUME=1000000` for more.
MANY = int(os.environ.get("VOLUME", "40000"))


class EndlessStripe:
    """So many sessions, made when they are listed."""

    def __init__(self, count):
        self.count = count

    def created(self, n):
        """Evenly over most of a day, the newest first."""
        return END - n * SPAN // self.count

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


class Sink:
    """A queue that only counts."""

    def __init__(self):
        self.sent = 0

    def send(self, messages, pool, deadline):
        self.sent += len(messages)


def peak_of_enqueueing(count):
    clock = FakeTime(NOW)
    memory = MemoryDynamoDB(clock)
    memory.add_table(TABLE)
    sink, hops = Sink(), []
    deadline = clock.deadline(900)
    with ThreadPoolExecutor(4) as pool:
        enqueue = SyncRun(
            settings=Settings(TABLE, "q", max_sessions=10**9),
            go_on=hops.append,
            runs=Runs(Table(memory, TABLE), deadline),
            stripe=lambda: EndlessStripe(count),
            queue=sink,
            pool=pool,
            deadline=deadline,
            now=lambda: NOW,
            telemetry=Telemetry("enqueue-test"),
        )
        run = Run(RUN, "scheduled", to_iso(NOW), 25, NOW - 90_000, END)
        tracemalloc.start()
        try:
            done = enqueue.begin(run, enqueue.runs.state())
            return tracemalloc.get_traced_memory()[1], done, sink
        finally:
            tracemalloc.stop()


def test_memory_is_flat_whatever_the_number_of_sessions():
    few, _, _ = peak_of_enqueueing(20_000)
    many, run, sink = peak_of_enqueueing(MANY)
    assert (run.enqueued, run.listed, sink.sent) == (MANY, True, MANY)
    # Flat within a fifth; the rest is the double of DynamoDB, which remembers every transaction's token.
    assert many < few * 1.2 + MANY * 15


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200])
def test_every_count_around_the_edges_of_a_page_is_enqueued_exactly(count):
    _, run, sink = peak_of_enqueueing(count)
    assert (run.enqueued, sink.sent, run.listed, run.truncated) == (count, count, True, False)
