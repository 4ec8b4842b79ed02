"""The section `million`: how many sessions the producer lists a second by its memory, and its peak memory.

`VOLUME=50000` makes the large shop smaller. The CPU time is real, so that a million takes minutes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from bench.harness.harness import ROOT
from bench.page import number, table
from bench.sections import SectionResult
from bench.simulated_producer import CORE_MB, FIRST_PEAK, SimulatedListing, Stage
from bench.throughput import latencies
from recon.bootstrap import USED_SHARE
from recon.stripe.pace import ANNOUNCED_SECONDS, LISTING_SHARE
from recon.stripe.pages import PAGE_SIZE

SMALL, MILLION = 30_000, 1_000_000
MEMORIES = (256, 512, 1024, CORE_MB)
# The most that Stripe allows on an endpoint, where the CPU matters most.
DEFAULT_RPS, MOST_RPS = RATES = 12, 25
# Sessions a second that are sold while a run lists, in a shop with a million a day.
SALES = 11.6
# Of what the run's share of the pace allows. The rest are requests for events.
LEAST_SHARE = 0.98
FLAT_MB = 8.0

type Simulated = tuple[Stage, SimulatedListing]


def measure() -> SectionResult:
    large = Stage(int(os.environ.get("VOLUME", MILLION)))
    others = [
        Stage(large.sessions // 5, undelivered=True),
        Stage(large.sessions // 5, sales=SALES),
        *(Stage(SMALL, memory, rps) for rps in RATES for memory in MEMORIES),
    ]
    # Only CPU time is measured, so that simulations may run side by side.
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(run_simulation, [large, *others]))
    return SectionResult(render(runs), tuple(find_missed(runs[0])))


def run_simulation(stage: Stage) -> Simulated:
    command = [sys.executable, "-m", "bench.simulated_producer", json.dumps(asdict(stage))]
    # As in infra/template.yaml: the heaps of threads would grow for an hour.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(  # noqa: S603 - our own
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return stage, SimulatedListing(**json.loads(done.stdout))


def most_sessions(rps: float) -> float:
    """Return the sessions a second that the listing's share of the pace allows."""
    return rps * USED_SHARE * LISTING_SHARE * PAGE_SIZE


def find_missed(run: Simulated) -> list[str]:
    stage, listing = run
    least, growth = LEAST_SHARE * most_sessions(stage.rps), listing.peak - listing.early_peak
    missed = []
    if listing.rate < least:
        missed.append(f"at least {least:.0f} sessions are listed a second; it was {listing.rate:.0f}")
    if listing.early_peak and growth > FLAT_MB:
        missed.append(
            f"the memory is flat after {number(FIRST_PEAK)} sessions; it grew by {growth:.1f} MB, of at most "
            f"{FLAT_MB:g}"
        )
    return missed


def render(runs: Sequence[Simulated]) -> str:
    allowed = most_sessions(DEFAULT_RPS)
    return f"""The producer alone, on simulated time: {latencies()}.
Its CPU time is measured, and divided by the share of a core that Lambda gives its memory ({CORE_MB:,} MB are
one). The allowed are four fifths of `STRIPE_MAX_RPS`, less 2 % for latency: {allowed:.0f} sessions a second
at {DEFAULT_RPS}, of which at least {LEAST_SHARE:.0%} are demanded. The rate is that after the first
{ANNOUNCED_SECONDS} s, when the consumers know of the listing, hand-overs between invocations included. Each
session was sent once.

{size_table(runs[:3])}
The peak includes the simulation. The rate by the producer's memory (`ProducerMemory`) and pace, {SMALL:,}
sessions:

{memory_table(runs[3:])}"""


def size_table(runs: Sequence[Simulated]) -> str:
    head = ("", "sessions", "listed a second", "in all", "invocations", "pages", "of events", "CPU", "peak")
    return table(head, [size_row(name, run) for name, run in zip(SHOPS, runs, strict=True)])


SHOPS = ("all events delivered", "no event delivered", f"sells {SALES} sessions a second during the run")


def size_row(name: str, run: Simulated) -> tuple[str, ...]:
    stage, listing = run
    early = f" ({listing.early_peak:.0f} after {FIRST_PEAK:,})" if listing.early_peak else ""
    return (
        name,
        number(stage.sessions),
        number(listing.rate),
        f"{listing.seconds / 60:.1f} min",
        str(listing.invocations),
        number(listing.pages),
        number(listing.event_pages),
        f"{listing.cpu:.0f} s",
        f"{listing.peak:.0f} MB{early}",
    )


def memory_table(runs: Sequence[Simulated]) -> str:
    by_rate = {rps: {stage.memory: listing for stage, listing in runs if stage.rps == rps} for rps in RATES}
    head = ("`StripeMaxRps`", "allowed", *(f"{memory:,} MB" for memory in MEMORIES))
    rows = [
        (f"{rps}", number(most_sessions(rps)), *(number(found[memory].rate) for memory in MEMORIES))
        for rps, found in by_rate.items()
    ]
    return table(head, rows)
