"""The section `memory`: the functions' peak memory at several volumes, plus `VOLUME=1000000` if set.

Each function runs as built in its own process. The services and Stripe are in this process, so that their
memory does not count.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.functions import BuiltFunctions, build_functions, environment, start_process
from bench.http_fakes import HttpFakes, serve
from bench.night import BATCH
from bench.page import number, table
from bench.sections import SectionResult
from bench.shops import GRACE
from recon.timestamps import DAY
from testkit.builders import NOW
from testkit.fake_stripe import FakeStripe, LineSpec, RateLimits, SessionSpec
from testkit.world import KEY, SCHEDULED

SIZES = (10_000, 100_000)
LINES = 100  # of each session in the consumer's batch
LIMIT_MB = 200.0
# The limit of growth in the second half: more than one step of the heap, less than the messages would take.
# It applies above the smallest size, since the heaps of the threads grow for some ten thousand sessions.
FLAT_MB = 8.0


@dataclass(frozen=True)
class Peak:
    """A process's memory in MB: once its clients exist, after `half` of its messages, and the highest."""

    what: str
    sessions: int
    invocations: int
    made: float
    half: float | None
    highest: float

    @property
    def second_half(self) -> float | None:
        return None if self.half is None else self.highest - self.half


def measure() -> SectionResult:
    with build_functions() as functions:
        peaks = [
            *(peak for size in sizes() for peak in measure_producer(functions, size)),
            measure_consumer(functions),
        ]
    return SectionResult(f"{INTRODUCTION}\n{peaks_table(peaks)}", find_missed(peaks))


def sizes() -> tuple[int, ...]:
    volume = os.environ.get("VOLUME")
    return (*SIZES, int(volume)) if volume else SIZES


# --- measurements -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryBench:
    """Runs functions over a shop without orders, so that every session is missing."""

    functions: BuiltFunctions
    services: HttpFakes
    stripe: FakeStripe
    aws: str

    def add_sessions(self, count: int, lines: int) -> None:
        """Add sessions evenly over the day before the grace period, all completed by its start."""
        end = NOW - GRACE
        bought = tuple(LineSpec(f"Poster {n}", product_metadata={"sku": f"P-{n}"}) for n in range(lines))
        self.stripe.store.add_all(
            SessionSpec(
                f"cs_live_{n:050}",
                end - n * DAY // count,
                completed_at=end,
                lines=bought,
                metadata={"userId": f"user-{n}"},
            )
            for n in range(count)
        )

    def run_producer(self, what: str, count: int, **settings: str) -> Peak:
        """Run all invocations of a run in one process."""
        events, invocations, halves = [SCHEDULED], 0, list[float]()
        env = environment(self.aws, self.stripe.url, **settings)
        with start_process(self.functions, "producer", env) as (process, made):

            def note(sent: int) -> None:
                if sent >= count / 2 and not halves:
                    halves.append(process.peak_mb())

            self.services.on_sent = note
            while events or self.services.hops:
                report = process.invoke(events.pop() if events else self.services.hops.popleft())
                invocations += 1
        return Peak(what, count, invocations, made.peak_mb, halves[0], report.peak_mb)


@contextmanager
def open_bench(functions: BuiltFunctions, count: int, lines: int = 1) -> Iterator[MemoryBench]:
    services = HttpFakes()
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe, serve(services) as aws:
        bench = MemoryBench(functions, services, stripe, aws)
        bench.add_sessions(count, lines)
        yield bench


def measure_producer(functions: BuiltFunctions, count: int) -> Iterator[Peak]:
    """Measure the producer as installed, in many invocations, and with all sessions in one."""
    in_many = {"SYNC_MAX_SESSIONS": "1000"}
    for what, settings in (("producer", {}), ("producer, in many invocations", in_many)):
        with open_bench(functions, count) as bench:
            yield bench.run_producer(what, count, **settings)
            bench.services.check_run(enqueued=count, listed=True)


def measure_consumer(functions: BuiltFunctions) -> Peak:
    """Measure one batch of missing orders, each with a full page of line items."""
    with open_bench(functions, BATCH, LINES) as bench:
        bench.run_producer("producer", BATCH)
        env = environment(bench.aws, bench.stripe.url)
        with start_process(functions, "consumer", env) as (process, made):
            report = process.invoke(bench.services.batch_event())
        bench.services.check_run(created=BATCH)
    return Peak(f"consumer, {LINES} line items in each session", BATCH, 1, made.peak_mb, None, report.peak_mb)


# --- what it came to ----------------------------------------------------------------------------------------

INTRODUCTION = f"""\
Peak resident memory of a function's process, interpreter and libraries included, with the clients over HTTP
and every service in another process. The producer runs once as installed, where one invocation lists all
sessions, and once with `SYNC_MAX_SESSIONS=1000`, with all invocations in one process. Allowed are
{LIMIT_MB:.0f} MB, of which the second half of the sessions may add {FLAT_MB:.0f} MB (checked above
{number(SIZES[0])} sessions, since the heaps of its threads grow until then).
"""


def peaks_table(peaks: Sequence[Peak]) -> str:
    head = ("", "sessions", "invocations", "clients made", "peak", "of it for the second half")
    return table(head, [row(peak) for peak in peaks])


def row(peak: Peak) -> tuple[str, ...]:
    return (
        peak.what,
        number(peak.sessions),
        number(peak.invocations),
        f"{peak.made:.0f} MB",
        f"{peak.highest:.1f} MB",
        "" if peak.second_half is None else f"{peak.second_half:.1f} MB",
    )


def find_missed(peaks: Sequence[Peak]) -> tuple[str, ...]:
    return (*filter(None, map(check_limit, peaks)), *filter(None, map(check_growth, peaks)))


def check_limit(peak: Peak) -> str | None:
    if peak.highest <= LIMIT_MB:
        return None
    taken = f"{peak.highest:.0f} MB, of {LIMIT_MB:.0f} at most"
    return f"the {peak.what}, {number(peak.sessions)} sessions: {taken}"


def check_growth(peak: Peak) -> str | None:
    if peak.second_half is None or peak.sessions <= SIZES[0] or peak.second_half <= FLAT_MB:
        return None
    more = f"{peak.second_half:.1f} MB for the second half, of {FLAT_MB:.0f} at most"
    return f"the {peak.what}, {number(peak.sessions)} sessions: {more}"
