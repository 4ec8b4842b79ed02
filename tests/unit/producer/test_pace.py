"""One pace: a producer and its consumers together keep to the allowed rate, in simulated time.

Each actor has its own clock; the one whose clock is behind acts next, so that all see what happened before.
"""

from bisect import bisect_left
from itertools import pairwise

import pytest

from producer import listing_pace
from producer.listing_pace import ListingPace
from recon.bootstrap import USED_SHARE
from recon.dynamodb.keys import STATE_KEY
from recon.dynamodb.listing_lease import LEASE_SECONDS
from recon.dynamodb.records import parse_state
from recon.dynamodb.table import Table
from recon.stripe import pace
from recon.stripe.pace import ConsumerPace
from recon.stripe.rate_limiter import RateLimiter
from testkit.builders import NOW, TABLE, FakeTime
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty, on, throttled
from testkit.fake_stripe import SessionSpec

BATCH_REQUESTS = 26


class Ledger:
    def __init__(self):
        memory = MemoryDynamoDB()
        memory.add_table(TABLE)
        self.client = Faulty(memory)
        self.table = Table(self.client, TABLE)
        self.requests = []

    def state(self):
        return parse_state(self.table.get(STATE_KEY) or {})

    def end_listing(self, run_id, now):
        """End the lease as the last move of the cursor does, if the run has the state."""
        if self.state().lease.run_id == run_id:
            action = self.table.update(STATE_KEY, "SET listingUntil = :now", {":now": int(now)})
            self.table.transact([action], FakeTime(NOW).deadline(5))

    def set_state(self, **fields):
        self.table.transact(
            [
                self.table.put(
                    {"PK": STATE_KEY[0], "SK": STATE_KEY[1]} | fields, "attribute_not_exists(neverThere)"
                )
            ],
            FakeTime(NOW).deadline(5),
        )


@pytest.fixture
def ledger():
    return Ledger()


class Actor:
    def __init__(self, ledger, rate, starts):
        self.ledger = ledger
        self.time = FakeTime(NOW + starts)
        self.deadline = self.time.deadline(100_000)
        self.limiter = RateLimiter(rate * USED_SHARE, self.time)
        self.requests = 0

    def act(self):
        self.limiter.wait(self.deadline, 0, self.pace.share)
        self.ledger.requests.append(self.time.now)
        self.requests += 1


class Consumer(Actor):
    """A consumer with as many messages as it can process."""

    def __init__(self, ledger, settings, starts, ends):
        super().__init__(ledger, settings[0] / settings[1], starts)
        self.ends = NOW + ends
        self.pace = ConsumerPace(lambda: ledger.state().lease.until, self.time)

    @property
    def is_done(self):
        return self.time.now >= self.ends

    def act(self):
        if self.requests % BATCH_REQUESTS == 0:
            self.pace.learn(self.ledger.state().lease.until, self.time.now)
        super().act()


class Producer(Actor):
    """An invocation that makes `pages` requests; it dies without an end if `dies`."""

    def __init__(self, ledger, settings, starts, pages, *, run_id="run", dies=False):
        super().__init__(ledger, settings[0], starts)
        self.pages, self.dies, self.run_id = pages, dies, run_id
        self.pace = ListingPace(ledger.table, lambda: run_id, settings[0], self.time, self.deadline)

    @property
    def is_done(self):
        return self.requests >= self.pages

    def act(self):
        super().act()
        if self.is_done and not self.dies:
            self.ledger.end_listing(self.run_id, self.time.now)


def play(ledger, actors):
    while open_actors := [actor for actor in actors if not actor.is_done]:
        min(open_actors, key=lambda actor: actor.time.now).act()


def find_busiest_minute(ledger):
    times = sorted(ledger.requests)
    return max(bisect_left(times, start + 60) - number for number, start in enumerate(times))


def consumers(ledger, settings, ends):
    return [Consumer(ledger, settings, number / 7, ends) for number in range(settings[1])]


SETTINGS = [(12, 5), (12, 2), (25, 40), (3, 5), (1.2, 2), (100, 10)]
IDS = [f"{rps} by {count}" for rps, count in SETTINGS]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=IDS)
def test_pipeline_keeps_the_pace_whoever_begins_and_ends(ledger, settings):
    rps, _ = settings
    producers = [
        Producer(ledger, settings, 61, pages=int(150 * rps)),
        # The next invocation of the same run, and one that dies.
        Producer(ledger, settings, 300, pages=int(60 * rps), run_id="b"),
        Producer(ledger, settings, 430, pages=int(30 * rps), run_id="c", dies=True),
        # A second run beside the first, and its end beside the first one's.
        Producer(ledger, settings, 600, pages=int(90 * rps), run_id="d"),
        Producer(ledger, settings, 650, pages=int(40 * rps), run_id="e"),
    ]
    play(ledger, [*consumers(ledger, settings, 1000), *producers])
    assert find_busiest_minute(ledger) <= 1.05 * rps * 60 + 1
    # The pace is used: no minute in which all were busy is far below it.
    assert len(ledger.requests) >= 0.8 * rps * 1000


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (pace, "SHARE_BESIDE_LISTING", 1.0),
        (pace, "FRESH_SECONDS", 600),
        (listing_pace, "LISTING_SHARE", 1.0),
        (listing_pace, "ANNOUNCED_SECONDS", 0),
        (listing_pace, "SPARE_SHARE", 0.8),
        (listing_pace, "RENEW_SECONDS", 600),
    ],
)
def test_pace_needs_each_of_its_rules(ledger, monkeypatch, module, name, value):
    monkeypatch.setattr(module, name, value)
    settings = (12, 5)
    producers = [
        Producer(ledger, settings, 50, pages=1800),
        Producer(ledger, settings, 90, pages=400, run_id="second"),
    ]
    # Batches that last: without a new reading the consumers would go on as they began.
    monkeypatch.setitem(globals(), "BATCH_REQUESTS", 10_000)
    play(ledger, [*consumers(ledger, settings, 400), *producers])
    assert find_busiest_minute(ledger) > 1.05 * 12 * 60


def test_small_listing_does_not_wait_for_the_consumers(ledger):
    producer = Producer(ledger, (12, 5), 0, pages=30)
    play(ledger, [producer])
    assert producer.time.now - NOW == pytest.approx(29 / (12 * USED_SHARE * 0.8), rel=0.01)


def test_large_listing_waits_once_until_all_know_of_it(ledger):
    producer = Producer(ledger, (12, 5), 0, pages=400)
    play(ledger, [producer])
    gaps = [later - earlier for earlier, later in pairwise(ledger.requests)]
    assert len([gap for gap in gaps if gap > 1]) == 1
    assert ledger.requests[36] - NOW >= 20


def test_next_invocation_of_a_run_goes_on_without_a_wait(ledger):
    first = Producer(ledger, (12, 5), 0, pages=400, dies=True)
    play(ledger, [first])
    second = Producer(ledger, (12, 5), first.time.now - NOW + 2, pages=100)
    second.pace.remember(ledger.state())
    play(ledger, [second])
    assert second.time.now - first.time.now < 15


def test_lease_is_taken_and_renewed(ledger):
    producer = Producer(ledger, (12, 5), 0, pages=600, dies=True)
    producer.act()
    assert ledger.state().lease.until == NOW + LEASE_SECONDS
    assert ledger.state().lease.run_id == "run"
    play(ledger, [producer])
    assert ledger.state().lease.until > producer.time.now + LEASE_SECONDS - 21


def test_run_that_another_one_overtook_stays_out_of_its_way(ledger):
    producer = Producer(ledger, (12, 5), 0, pages=600)
    assert producer.pace.share() == 4 / 5
    ledger.set_state(listingUntil=NOW + 500, listingRunId="later")
    producer.time.now += 20
    assert producer.pace.share() == 1 / 20


def test_run_sets_the_lease_with_its_start_and_ends_it_with_its_listing(world):
    world.sells(SessionSpec("cs_test_1", NOW - 7200, metadata={"userId": "u1"}))
    seen = []

    def plan(call):
        if call.method == "send_message_batch":
            seen.append(read_lease(world))

    world.sqs.plan = plan
    world.produce()
    [(until, run_id)] = seen
    assert (NOW < until <= int(world.clock.now) + LEASE_SECONDS, run_id) == (True, world.run()["runId"])
    assert read_lease(world)[0] <= world.clock.now
    # Neither takes a transaction of its own.
    assert world.history.count("transact_write_items") == 2


def read_lease(world):
    state = world.item(*STATE_KEY)
    return state["listingUntil"], state["listingRunId"]


def test_consumers_take_all_of_it_again_right_after_the_end(ledger):
    time = FakeTime(NOW)
    consumer_pace = ConsumerPace(lambda: ledger.state().lease.until, time)
    ledger.set_state(listingUntil=NOW + LEASE_SECONDS, listingRunId="run")
    assert consumer_pace.share() == 1 / 5
    ledger.end_listing("run", NOW)
    time.now += 1
    assert consumer_pace.share() == 1
    ledger.set_state(listingUntil=NOW + 100)
    assert consumer_pace.share() == 1
    time.now += 15
    assert consumer_pace.share() == 1 / 5


def test_consumer_that_cannot_read_the_state_is_slow():
    assert ConsumerPace(lambda: None, FakeTime(NOW)).share() == 1 / 5


def test_producer_that_cannot_write_the_state_is_slow_and_goes_on(ledger):
    ledger.client.plan = on("transact_write_items", throttled())
    producer = Producer(ledger, (12, 5), 0, pages=3)
    producer.deadline = producer.time.deadline(1)
    producer.pace._deadline = producer.deadline
    assert producer.pace.share() == 1 / 20


@pytest.mark.parametrize(
    ("state", "share"),
    [
        ({}, 4 / 5),
        ({"lastSyncStatus": "done", "listingUntil": NOW}, 4 / 5),
        ({"lastSyncStatus": "running"}, 1 / 20),
        ({"lastSyncStatus": "done", "listingUntil": NOW + 5}, 1 / 20),
    ],
)
def test_dry_run_writes_nothing_and_stays_out_of_the_way(ledger, state, share):
    ledger.set_state(**state)
    producer = Producer(ledger, (12, 5), 0, pages=5)
    producer.pace.write_nothing()
    assert producer.pace.share() == share
    assert ledger.client.history.count("transact_write_items") == 1
