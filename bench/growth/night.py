"""A night in simulated time: the producer of a trace, with a number of consumers.

The trace says what the functions request. This module works out how long that takes and how the functions
affect each other: one rate of Stripe for all, one item of counters that takes one transaction at a time, one
partition of outcomes with a limit of units a second, and the retries of recon/retry.py.
"""

from collections.abc import Generator
from math import ceil, inf
from random import Random

from bench.growth.engine import Process, Simulation
from bench.growth.site import (
    BACKOFF_BASE,
    FIRST_WAIT,
    LONGEST_WAIT,
    POLL_SECONDS,
    Pace,
    Site,
    Tally,
)
from bench.growth.trace import Step, Trace
from bench.harness.event_source import WINDOW_SECONDS
from bench.model import OUTCOME_UNITS
from bench.night import BATCH, MESSAGES_A_REQUEST
from consumer.lambda_function import THREADS as CONSUMER_THREADS
from producer.lambda_function import THREADS as PRODUCER_THREADS
from recon.retry import TRANSACTION_ATTEMPTS, backoff_seconds


class Night:
    """A simulated night. `rng` draws the jitter of retries."""

    def __init__(self, site: Site, trace: Trace, rng: Random) -> None:
        self.tally = Tally()
        self._site = site
        self._trace = trace
        self._rng = rng
        self._simulation = Simulation()
        self._fresh = self._returned = 0  # messages in the queue
        self._open = sum(step.messages for step in trace.steps)  # sessions without an outcome, sent or not
        self._seen = 0
        self._counters_free_at = 0.0
        self._units, self._units_at = site.partition_units, 0.0

    def run(self) -> Tally:
        self._simulation.start(self._produce())
        for _ in range(self._site.consumers):
            self._simulation.start(self._consume())
        self._simulation.run()
        return self.tally

    # The producer

    def _produce(self) -> Process:
        began = self._simulation.now
        yield self._site.cold_start
        for step in self._trace.steps:
            if step.begins:
                self.tally.invocations += 1
                yield self._takes("invocation")
            yield self._listing(step)
            self._fresh += step.messages
            self._simulation.wake()
            while not (yield from self._commit(0, 0)):
                pass
        self.tally.listed_after = self._simulation.now
        self.tally.producing = self._simulation.now - began

    def _listing(self, step: Step) -> float:
        site, tally = self._site, self.tally
        tally.stripe += step.stripe
        tally.reads += step.reads
        tally.queue += step.sends
        pages = step.stripe * max(site.seconds["stripe"] / max(1, step.abreast), 1 / site.stripe_rps)
        sends = ceil(step.sends / PRODUCER_THREADS) * site.seconds["send_message_batch"]
        computed = step.messages * site.computing_listed
        return pages + step.reads * self._takes("get_item") + sends + computed

    # A consumer

    def _consume(self) -> Process:
        cold, pace = self._site.cold_start, Pace(self._site.pace)
        while self._open:
            fresh = yield from self._receive()
            again = 0 if fresh else min(BATCH, self._returned)
            if not fresh + again:
                yield None
                continue
            self._returned -= again
            began = self._simulation.now
            self.tally.invocations += 1
            yield cold + self._takes("invocation")
            yield from self._batch(fresh + again, pace, commits=again or 1)
            self.tally.consuming += self._simulation.now - began
            deletes = ceil((fresh + again) / MESSAGES_A_REQUEST)
            self.tally.queue += 2 * deletes
            yield deletes * self._site.poll
            cold = 0.0

    def _receive(self) -> Generator[float | None, None, int]:
        """Receive ten at a time until the batch is full or a window after its first message is over."""
        taken, ends = 0, inf
        while taken < BATCH and self._simulation.now < ends:
            if now := min(MESSAGES_A_REQUEST, BATCH - taken, self._fresh):
                self._fresh -= now
                taken += now
                ends = min(ends, self._simulation.now + WINDOW_SECONDS)
                yield self._site.poll
            elif taken:
                yield min(POLL_SECONDS, ends - self._simulation.now)
            else:
                break
        return taken

    def _batch(self, sessions: int, pace: Pace, commits: int) -> Process:
        """Process a batch; redelivered sessions are committed one by one."""
        site, lost = self._site, self._lost(sessions)
        # Outcome, guard, dismissal and attention of each session, and the sync state, a hundred at once.
        # A session without an order is looked up under its e-mail address, too.
        self.tally.reads += ceil((4 * sessions + 1) / 100) + sessions + lost
        yield self._takes("batch_get_item") + ceil(sessions / CONSUMER_THREADS) * self._takes("query")
        if lost:
            yield self._takes("query")
        yield site.computing
        if lost:
            self.tally.stripe += lost
            yield pace.wait(self._simulation.now, lost) + self._takes("stripe")
        for _ in range(commits):
            if (yield from self._commit(sessions // commits, lost)):
                self._settle(sessions // commits)
            else:
                self._simulation.start(self._come_back(sessions // commits))
        self.tally.reads += self._trace.gets
        yield self._trace.gets * self._takes("get_item")

    def _lost(self, sessions: int) -> int:
        """Return how many of these sessions lost their order, evenly among all."""
        before, self._seen = self._seen, self._seen + sessions
        return int(self._seen * self._site.missing) - int(before * self._site.missing)

    def _settle(self, sessions: int) -> None:
        self.tally.sessions += sessions
        self._open -= sessions
        if not self._open:
            self.tally.seconds = self._simulation.now
            self._simulation.wake()

    def _come_back(self, sessions: int) -> Process:
        self.tally.came_back += sessions
        yield backoff_seconds(1, BACKOFF_BASE, self._rng.random)
        self._returned += sessions
        self._simulation.wake()

    # What they share

    def _commit(self, sessions: int, lost: int) -> Generator[float | None, None, bool]:
        """Return whether a commit succeeded within the attempts of one invocation."""
        for attempt in range(TRANSACTION_ATTEMPTS):
            if lost:
                self.tally.reads += 2 * lost
                yield 2 * self._takes("query")
            accepted = self._accepts(sessions)
            yield self._takes("transact_write_items")
            if accepted:
                self.tally.commits += 1
                return True
            yield self._rng.random() * min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
        return False

    def _accepts(self, sessions: int) -> bool:
        now, site = self._simulation.now, self._site
        if now < self._counters_free_at:
            self.tally.conflicts += 1
            return False
        # What a second leaves unused is kept no longer: DynamoDB promises none of it.
        available = self._units + (now - self._units_at) * site.partition_units
        self._units, self._units_at = min(available, site.partition_units), now
        if self._units < sessions * OUTCOME_UNITS:
            self.tally.throttled += 1
            return False
        self._units -= sessions * OUTCOME_UNITS
        self._counters_free_at = now + site.hold
        return True

    def _takes(self, call: str) -> float:
        """Return a call's seconds with some variation, so that simultaneous calls do not conflict forever."""
        vary = 1 + self._site.spread * (2 * self._rng.random() - 1)
        return self._site.seconds[call] * vary
