"""The assumptions of a simulated night, and its results."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.harness.event_source import LEAST_CONCURRENCY
from bench.model import COMMITS, CONCURRENCY, PARTITION_UNITS, STRIPE_RPS
from bench.night import COLD_START_SECONDS, MEMORY_GB, SECONDS
from bench.shops import MISSING_SHARE

# Seconds of a core that `make bench ARGS=nightly` measures, and how much of one a function of 256 MB has:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
CPU_OF_A_BATCH, CPU_OF_A_LISTED = 0.03, 0.0002
CORE_SHARE = MEMORY_GB * 1024 / 1769
BACKOFF_BASE = 30  # as in infra/template.yaml; a test compares them
POLL_SECONDS = 0.1  # between looks of a poller that waits for the rest of its batch
# Of tenacity's random exponential wait in recon/dynamodb/table.py.
FIRST_WAIT, LONGEST_WAIT = 0.02, 1.0


@dataclass(frozen=True)
class Site:
    """The assumptions of a night.

    `seconds` is the time of one call of each kind, `poll` that of a receive or a delete, and `hold` that in
    which a transaction locks the counters. A consumer computes for `computing` seconds a batch, the producer
    for `computing_listed` a session. `spread` is the share by which calls differ.
    """

    consumers: int = CONCURRENCY
    seconds: Mapping[str, float] = field(default_factory=lambda: SECONDS)
    poll: float = 0.01
    cold_start: float = COLD_START_SECONDS
    hold: float = 1 / COMMITS
    partition_units: float = PARTITION_UNITS
    stripe_rps: float = STRIPE_RPS
    missing: float = MISSING_SHARE
    computing: float = CPU_OF_A_BATCH / CORE_SHARE
    computing_listed: float = CPU_OF_A_LISTED / CORE_SHARE
    spread: float = 0.25

    @property
    def pace(self) -> float:
        """The requests to Stripe a second of each consumer; the mapping's least concurrency is two."""
        return self.stripe_rps / max(LEAST_CONCURRENCY, self.consumers)


@dataclass
class Tally:
    """The results of a night.

    `seconds` is the time until the last outcome, `listed_after` that until the last message is sent.
    `producing` and `consuming` sum the seconds of all invocations. `conflicts` and `throttled` count
    failed commits, and `came_back` the sessions that were delivered again.
    """

    seconds: float = 0.0
    listed_after: float = 0.0
    producing: float = 0.0
    consuming: float = 0.0
    invocations: int = 0
    sessions: int = 0
    commits: int = 0
    conflicts: int = 0
    throttled: int = 0
    came_back: int = 0
    reads: int = 0
    queue: int = 0
    stripe: int = 0

    @property
    def tries(self) -> int:
        return self.commits + self.conflicts + self.throttled

    @property
    def requests(self) -> int:
        return self.reads + self.tries + self.queue + self.stripe


@dataclass
class Pace:
    """The rate limiter of one consumer: evenly spaced requests, as in recon/stripe/rate_limiter.py."""

    per_second: float
    turn: float = 0.0

    def wait(self, now: float, requests: int) -> float:
        """Return the seconds until the last of these requests may be sent."""
        last = max(self.turn, now) + (requests - 1) / self.per_second
        self.turn = last + 1 / self.per_second
        return last - now
