"""The model compared with measurements: real processes in real time, at sizes that take minutes."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, inf
from random import Random

from bench.growth.contention import Contention
from bench.growth.night import Night
from bench.growth.site import Site, Tally
from bench.growth.trace import Trace, record_trace
from bench.harness.runner import measure_pipeline
from bench.harness.transports import LATENCY
from bench.model import COMMITS, STRIPE_RPS
from bench.night import BATCH
from bench.page import number, table
from bench.shops import UniformShop
from testkit.fake_stripe import RateLimits

CONSUMERS = (1, 2, 5)
# The smaller night tells the model how long a batch takes with so many processes on this machine; the larger
# one is predicted from that.
FITTED, PREDICTED = 1_000, 5_000
HOLD = 1 / COMMITS
SEED = 1
AWS = ("get_item", "query", "batch_get_item", "transact_write_items")
LOCAL: Mapping[str, float] = {
    **dict.fromkeys(AWS, LATENCY["dynamodb"]),
    "send_message_batch": LATENCY["sqs"],
    "stripe": LATENCY["stripe"],
    "invocation": 0.0,
}


@dataclass(frozen=True)
class RealNight:
    """One measured night; `conflicts` counts transactions that met at an item."""

    sessions: int
    consumers: int
    seconds: float
    conflicts: int
    batch_seconds: float
    listing_seconds: float


@dataclass(frozen=True)
class Checked:
    real: RealNight
    modelled: Tally


def check_model() -> Iterator[Checked]:
    small, large = record_trace(FITTED), record_trace(PREDICTED)
    for consumers in CONSUMERS:
        fitted = measure(FITTED, consumers)
        site = fit_site(fitted, small)
        yield Checked(fitted, simulate(site, small))
        yield Checked(measure(PREDICTED, consumers), simulate(site, large))


def bare(consumers: int) -> Site:
    """Return a site with the transports of a measured night, and with a machine that computes in no time."""
    return Site(
        consumers,
        LOCAL,
        poll=LATENCY["sqs"],
        cold_start=0.0,
        hold=HOLD,
        partition_units=inf,
        computing=0.0,
        computing_listed=0.0,
    )


def fit_site(real: RealNight, trace: Trace) -> Site:
    """Return the site of a measured night: its computing time is what the model's waits do not explain."""
    site = bare(real.consumers)
    waits = simulate(site, trace)
    batches = ceil(real.sessions / BATCH)
    return replace(
        site,
        computing=max(0.0, real.batch_seconds - waits.consuming / batches),
        computing_listed=max(0.0, real.listing_seconds - waits.listed_after) / real.sessions,
    )


def simulate(site: Site, trace: Trace) -> Tally:
    return Night(site, trace, Random(SEED)).run()  # noqa: S311 - for the jitter of retries


def measure(sessions: int, consumers: int) -> RealNight:
    """Measure a night in which the counters' item conflicts as on AWS."""
    contention = Contention(HOLD)
    shop = UniformShop(sessions, now=int(time.time()))
    settings = {"STRIPE_MAX_RPS": str(STRIPE_RPS)}
    measurement = measure_pipeline(
        shop, RateLimits(None, None), settings, consumers, background=contention.enters
    )
    batches = measurement.total("consumer", lambda report: report.invocations)
    return RealNight(
        sessions,
        consumers,
        measurement.seconds,
        contention.conflicts,
        measurement.total("consumer", lambda report: report.busy) / batches,
        measurement.sent_after,
    )


def check_table(nights: Iterable[Checked]) -> str:
    rows = [
        (
            f"{number(night.real.sessions)}, {night.real.consumers}",
            f"{night.real.seconds:.1f}",
            f"{night.modelled.seconds:.1f}",
            f"{night.modelled.seconds / night.real.seconds - 1:+.0%}",
            str(night.real.conflicts),
            str(night.modelled.conflicts),
        )
        for night in nights
    ]
    head = (
        "sessions, consumers",
        "seconds, measured",
        "by the model",
        "off by",
        "conflicts, measured",
        "by the model",
    )
    return table(head, rows)
