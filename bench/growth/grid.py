"""Simulated nights of every size with every number of consumers, and their cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from random import Random

from bench.growth.night import Night
from bench.growth.site import Site, Tally
from bench.growth.trace import Trace, record_trace, stretch
from bench.model import cost_by_service, night_units, scale
from bench.night import BATCH, MEMORY_GB, Counts, count_night

CONSUMERS = (1, 2, 5, 10, 20)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
# Of these sizes the real functions are watched; a larger night repeats what the larger of them does.
WATCHED = (1_000, 10_000)
COUNTED = (500, 5_000)
# Two for each of a batch's outcomes and of the two items with counters; a try that fails costs them too.
UNITS_OF_A_TRY = 2 * (BATCH + 2)
# Real nights in memory, which take seconds each.
watch, count = cache(record_trace), cache(count_night)
SEED = 1
MOSTLY, OFTEN = 0.9, 0.1


@dataclass(frozen=True)
class Grown:
    """One night of the grid. `cost` is in US dollars, without the fixed costs."""

    sessions: int
    consumers: int
    tally: Tally
    cost: float

    @property
    def rate(self) -> float:
        """The sessions per second."""
        return self.sessions / self.tally.seconds

    @property
    def conflicts(self) -> float:
        """The conflicts per commit."""
        return self.tally.conflicts / self.tally.commits

    @property
    def binds(self) -> str:
        """The part of the system that limits the night."""
        if self.tally.listed_after > MOSTLY * self.tally.seconds:
            return "the producer's listing"
        if self.tally.throttled > OFTEN * self.tally.commits:
            return "the run's partition"
        return "the consumers"


type Grid = Mapping[tuple[int, int], Grown]


def simulate_grid() -> Grid:
    """Simulate a night for each number of sessions and of consumers."""
    traces = load_traces(SIZES)
    return {
        (sessions, consumers): one(consumers, traces[sessions], estimate_counts(sessions))
        for sessions in SIZES
        for consumers in CONSUMERS
    }


def estimate_counts(sessions: int) -> Counts:
    small, large = map(count, COUNTED)
    return scale(small, large, sessions)


def load_traces(sizes: Sequence[int]) -> dict[int, Trace]:
    watched = {sessions: watch(sessions) for sessions in WATCHED}
    return {size: watched[size] if size in watched else stretch(watched[WATCHED[-1]], size) for size in sizes}


def one(consumers: int, trace: Trace, counts: Counts) -> Grown:
    # Draws the jitter of retries, which needs no secrecy.
    tally = Night(Site(consumers), trace, Random(SEED)).run()  # noqa: S311
    return Grown(int(counts.sessions), consumers, tally, cost(tally, counts))


def next_limits() -> Iterator[Grown]:
    """Simulate the second largest night with all sessions known at once, to find the next limit."""
    sessions = SIZES[-2]
    [trace] = load_traces([sessions]).values()
    steps = tuple(replace(step, stripe=0, sends=0) for step in trace.steps)
    trace = replace(trace, steps=steps)
    return (one(consumers, trace, estimate_counts(sessions)) for consumers in CONSUMERS)


def cost(tally: Tally, counts: Counts) -> float:
    """Return the cost in US dollars by the model of `make cost`, from the simulated requests and seconds."""
    night = replace(
        counts,
        transactions=tally.tries,
        reads=tally.reads,
        queue_requests=tally.queue,
        invocations=tally.invocations,
        write_units=counts.write_units + UNITS_OF_A_TRY * (tally.conflicts + tally.throttled),
    )
    units = night_units(night) | {
        "gb_seconds": (tally.producing + tally.consuming) * MEMORY_GB,
        "metric_hours": night.metrics * ceil(tally.seconds / 3600),
    }
    return sum(cost_by_service(units).values())


def by_consumers(grid: Grid, sessions: int) -> Iterator[Grown]:
    return (grid[sessions, consumers] for consumers in CONSUMERS)


def by_sessions(grid: Grid, consumers: int) -> Iterator[Grown]:
    return (grid[sessions, consumers] for sessions in SIZES)
