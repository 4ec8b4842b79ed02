"""How much memory the functions take at any volume: `make bench ARGS=memory`, with `VOLUME=1000000` for more.

Each function is a process of its own, as built; the services and Stripe are in this one, so that what they
hold does not count.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.functions import Built, built, environment, started
from bench.http_fakes import BATCH, Services, served
from bench.page import number, table
from bench.sections import Measured
from recon.timestamps import DAY
from testkit.builders import NOW
from testkit.fake_stripe import FakeStripe, LineSpec, RateLimits, SessionSpec
from testkit.world import KEY, SCHEDULED

SIZES = (10_000, 100_000)
LINES = 100  # of each session in the consumer's batch
LIMIT_MB = 200.0
# What the second half of the sessions may add: more than one step of the heap, less than if their messages
# were kept. Asked of more than the least only: threads' heaps take some ten thousand sessions to settle.
FLAT_MB = 8.0
GRACE = 600


@dataclass(frozen=True)
class Peak:
    """In MB: when the clients were made, when half of the sessions were sent (None: it sends nothing), and in
    all. `invocations` of one process."""

    what: str
    sessions: int
    invocations: int
    made: float
    half: float | None
    highest: float

    @property
    def second_half(self) -> float | None:
        return None if self.half is None else self.highest - self.half


def measured() -> Measured:
    with built() as functions:
        peaks = [*(peak for size in sizes() for peak in produced(functions, size)), consumed(functions)]
    return Measured(f"{INTRODUCTION}\n{peaks_table(peaks)}", missed(peaks))


def sizes() -> tuple[int, ...]:
    volume = os.environ.get("VOLUME")
    return (*SIZES, int(volume)) if volume else SIZES


# --- functions at work --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """A shop without orders: every session is missing."""

    functions: Built
    services: Services
    stripe: FakeStripe
    aws: str

    def sells(self, count: int, lines: int) -> None:
        """Evenly over the day before the grace, all completed by then."""
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

    def produces(self, what: str, count: int, **settings: str) -> Peak:
        """All in one process, however often that is invoked."""
        events, invocations, halves = [SCHEDULED], 0, list[float]()
        env = environment(self.aws, self.stripe.url, **settings)
        with started(self.functions, "producer", env) as (process, made):

            def note(sent: int) -> None:
                if sent >= count / 2 and not halves:
                    halves.append(process.peak_mb())

            self.services.on_sent = note
            while events or self.services.hops:
                told = process.asks(events.pop() if events else self.services.hops.popleft())
                invocations += 1
        return Peak(what, count, invocations, made.peak_mb, halves[0], told.peak_mb)


@contextmanager
def shop(functions: Built, count: int, lines: int = 1) -> Iterator[Shop]:
    services = Services()
    with FakeStripe(KEY, limits=RateLimits(None, None)) as stripe, served(services) as aws:
        opened = Shop(functions, services, stripe, aws)
        opened.sells(count, lines)
        yield opened


def produced(functions: Built, count: int) -> Iterator[Peak]:
    """As it is installed, by many invocations; and all in one, which nothing interrupts to clean up."""
    in_one = {"SYNC_MAX_SESSIONS": str(count)}
    for what, settings in (("producer", {}), ("producer, in one invocation", in_one)):
        with shop(functions, count) as opened:
            yield opened.produces(what, count, **settings)
            opened.services.must_show(enqueued=count, listed=True)


def consumed(functions: Built) -> Peak:
    """One batch, all of it missing, each session with as many line items as a page of Stripe's holds."""
    with shop(functions, BATCH, LINES) as opened:
        opened.produces("producer", BATCH)
        env = environment(opened.aws, opened.stripe.url)
        with started(functions, "consumer", env) as (process, made):
            told = process.asks(opened.services.event())
        opened.services.must_show(created=BATCH)
    return Peak(f"consumer, {LINES} line items in each session", BATCH, 1, made.peak_mb, None, told.peak_mb)


# --- what it came to ----------------------------------------------------------------------------------------

INTRODUCTION = f"""\
Peak resident memory of a function's process, interpreter and libraries included, with the clients over HTTP
and every service in another process. The producer invokes itself again after `SYNC_MAX_SESSIONS` sessions:
once as installed, with all invocations in one process, and once with so high a number that one invocation
does it all. Allowed are {LIMIT_MB:.0f} MB, of which the second half of the sessions may add
{FLAT_MB:.0f} MB (asked of more than {number(SIZES[0])} sessions: until then the heaps of its threads settle).
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


def missed(peaks: Sequence[Peak]) -> tuple[str, ...]:
    return (*filter(None, map(too_high, peaks)), *filter(None, map(growing, peaks)))


def too_high(peak: Peak) -> str | None:
    if peak.highest <= LIMIT_MB:
        return None
    taken = f"{peak.highest:.0f} MB, of {LIMIT_MB:.0f} at most"
    return f"the {peak.what}, {number(peak.sessions)} sessions: {taken}"


def growing(peak: Peak) -> str | None:
    if peak.second_half is None or peak.sessions <= SIZES[0] or peak.second_half <= FLAT_MB:
        return None
    more = f"{peak.second_half:.1f} MB for the second half, of {FLAT_MB:.0f} at most"
    return f"the {peak.what}, {number(peak.sessions)} sessions: {more}"
