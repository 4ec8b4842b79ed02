"""Nights of every size with every number of consumers, by the model, and what each costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from random import Random

from bench.growth.night import Night
from bench.growth.site import Site, Tally
from bench.growth.trace import Trace, stretched, traced
from bench.model import dollars, scaled, used
from bench.night import BATCH, MEMORY_GB, Counts, counted

CONSUMERS = (1, 2, 5, 10, 20)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
# Of these sizes the real functions are watched; a larger night repeats what the larger of them does.
WATCHED = (1_000, 10_000)
COUNTED = (500, 5_000)
# Two for each of a batch's outcomes and of the two items with counters; a try that fails costs them too.
UNITS_OF_A_TRY = 2 * (BATCH + 2)
# Real nights in memory, which take seconds each.
watch, count = cache(traced), cache(counted)
SEED = 1
MOSTLY, OFTEN = 0.9, 0.1


@dataclass(frozen=True)
class Grown:
    """One night of the grid. `cost` in US dollars, without what is paid anyway."""

    sessions: int
    consumers: int
    tally: Tally
    cost: float

    @property
    def rate(self) -> float:
        """Sessions a second."""
        return self.sessions / self.tally.seconds

    @property
    def conflicts(self) -> float:
        """For each commit."""
        return self.tally.conflicts / self.tally.commits

    @property
    def binds(self) -> str:
        """What the night waits for."""
        if self.tally.listed_after > MOSTLY * self.tally.seconds:
            return "the producer's listing"
        if self.tally.throttled > OFTEN * self.tally.commits:
            return "the run's partition"
        return "the consumers"


type Grid = Mapping[tuple[int, int], Grown]


def grown() -> Grid:
    """By sessions and consumers."""
    traces = traces_of(SIZES)
    return {
        (sessions, consumers): one(consumers, traces[sessions], counts_of(sessions))
        for sessions in SIZES
        for consumers in CONSUMERS
    }


def counts_of(sessions: int) -> Counts:
    small, large = map(count, COUNTED)
    return scaled(small, large, sessions)


def traces_of(sizes: Sequence[int]) -> dict[int, Trace]:
    watched = {sessions: watch(sessions) for sessions in WATCHED}
    return {
        size: watched[size] if size in watched else stretched(watched[WATCHED[-1]], size) for size in sizes
    }


def one(consumers: int, trace: Trace, counts: Counts) -> Grown:
    # Draws the jitter of retries, which needs no secrecy.
    tally = Night(Site(consumers), trace, Random(SEED)).run()  # noqa: S311
    return Grown(int(counts.sessions), consumers, tally, cost(tally, counts))


def next_limits() -> Iterator[Grown]:
    """The largest but one night with all sessions known at once: what binds when listing does not."""
    sessions = SIZES[-2]
    [trace] = traces_of([sessions]).values()
    steps = tuple(replace(step, stripe=0, sends=0) for step in trace.steps)
    trace = replace(trace, steps=steps)
    return (one(consumers, trace, counts_of(sessions)) for consumers in CONSUMERS)


def cost(tally: Tally, counts: Counts) -> float:
    """As `make cost` works it out, from what this night asked for and how long it computed."""
    night = replace(
        counts,
        transactions=tally.tries,
        reads=tally.reads,
        queue_requests=tally.queue,
        invocations=tally.invocations,
        write_units=counts.write_units + UNITS_OF_A_TRY * (tally.conflicts + tally.throttled),
    )
    units = used(night) | {
        "gb_seconds": (tally.producing + tally.consuming) * MEMORY_GB,
        "metric_hours": night.metrics * ceil(tally.seconds / 3600),
    }
    return sum(dollars(units).values())


def by_consumers(grid: Grid, sessions: int) -> Iterator[Grown]:
    return (grid[sessions, consumers] for consumers in CONSUMERS)


def by_sessions(grid: Grid, consumers: int) -> Iterator[Grown]:
    return (grid[sessions, consumers] for sessions in SIZES)
