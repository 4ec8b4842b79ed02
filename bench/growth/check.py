"""The model beside what was measured: real processes and real time, at sizes that can be waited for."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, inf
from random import Random

from bench.growth.contention import Contention
from bench.growth.night import Night
from bench.growth.site import Site, Tally
from bench.growth.trace import Trace, traced
from bench.model import COMMITS, STRIPE_RPS
from bench.night import BATCH, MISSING_SHARE
from bench.page import number, table
from bench.stage.runner import pipeline
from bench.stage.shop import Shop
from bench.stage.transports import LATENCY
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
class Measured:
    """One real night; `conflicts`: how often transactions met at an item."""

    sessions: int
    consumers: int
    seconds: float
    conflicts: int
    batch_seconds: float
    listing_seconds: float


@dataclass(frozen=True)
class Checked:
    real: Measured
    modelled: Tally


def checked() -> Iterator[Checked]:
    small, large = traced(FITTED), traced(PREDICTED)
    for consumers in CONSUMERS:
        fitted = measured(FITTED, consumers)
        site = site_of(fitted, small)
        yield Checked(fitted, simulated(site, small))
        yield Checked(measured(PREDICTED, consumers), simulated(site, large))


def bare(consumers: int) -> Site:
    """The transports that real nights are measured over, on a machine that computes in no time."""
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


def site_of(real: Measured, trace: Trace) -> Site:
    """With the machine that a night was measured on: it computed in what the model's own waits leave."""
    site = bare(real.consumers)
    waits = simulated(site, trace)
    batches = ceil(real.sessions / BATCH)
    return replace(
        site,
        computing=max(0.0, real.batch_seconds - waits.consuming / batches),
        computing_listed=max(0.0, real.listing_seconds - waits.listed_after) / real.sessions,
    )


def simulated(site: Site, trace: Trace) -> Tally:
    return Night(site, trace, Random(SEED)).run()  # noqa: S311 - for the jitter of retries


def measured(sessions: int, consumers: int) -> Measured:
    """With the counters' item as on AWS."""
    contention = Contention(HOLD)
    shop = Shop(sessions, round(1 / MISSING_SHARE), int(time.time()))
    settings = {"STRIPE_MAX_RPS": str(STRIPE_RPS)}
    played = pipeline(shop, RateLimits(None, None), settings, consumers, beside=contention.enters)
    batches = played.of("consumer", lambda report: report.invocations)
    return Measured(
        sessions,
        consumers,
        played.seconds,
        contention.conflicts,
        played.of("consumer", lambda report: report.busy) / batches,
        played.sent_after,
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
