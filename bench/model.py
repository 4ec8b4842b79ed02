"""Extrapolates counted nights to any size, and turns counts into cost and limits. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from bench.night import (
    BATCH,
    COLD_START_SECONDS,
    CONSUMER_GB,
    NAMES,
    PRODUCER_GB,
    STRIPE_REQUEST_BYTES,
    Counts,
)
from bench.prices import FREE, PRICES
from recon.bootstrap import USED_SHARE
from recon.stripe.pace import LISTING_SHARE
from recon.stripe.pages import PAGE_SIZE

NIGHTS = 30
OUTCOME_NIGHTS, LOG_NIGHTS = (
    30,
    90,
)  # how long outcomes are kept, and logs unless LogRetentionDays says otherwise
COMPRESSED = 0.15  # what CloudWatch charges of a kept byte, https://aws.amazon.com/cloudwatch/pricing/
# Lambda polls an idle queue with five connections, each waiting for 20 seconds:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
IDLE_POLLERS, POLL_SECONDS = 5, 20
MONTH_SECONDS = NIGHTS * 86_400
CONCURRENCY, STRIPE_RPS = 5, 12  # the template's defaults; a test holds them to it
CONSTANT = ("metrics",)


def scale(small: Counts, large: Counts, sessions: int) -> Counts:
    """Extrapolate to a night of another size: each count is a constant plus a share of the sessions."""

    def at(name: str) -> float:
        low, high = float(getattr(small, name)), float(getattr(large, name))
        if name in CONSTANT:
            return max(low, high)
        slope = (high - low) / (large.sessions - small.sessions)
        return low + slope * (sessions - small.sessions)

    return Counts(**{name: at(name) for name in NAMES})


@dataclass(frozen=True)
class FixedResources:
    """The template's resources that cost the same with and without a night."""

    alarm_metrics: int
    composite_alarms: int = 0
    dashboards: int = 0


def count_fixed_resources(resources: Mapping[str, Mapping[str, object]]) -> FixedResources:
    """Count those that every stack has; an alarm on an expression costs each of its metrics.

    A resource with a condition is made on request only.
    """
    always = [one for one in resources.values() if "Condition" not in one]
    kinds = [one["Type"] for one in always]
    alarms = [one for one in always if one["Type"] == "AWS::CloudWatch::Alarm"]
    return FixedResources(
        sum(_count_metrics(one["Properties"]) for one in alarms),
        kinds.count("AWS::CloudWatch::CompositeAlarm"),
        kinds.count("AWS::CloudWatch::Dashboard"),
    )


def _count_metrics(properties: object) -> int:
    assert isinstance(properties, Mapping)  # noqa: S101 - CloudFormation's own shape
    return sum("MetricStat" in one for one in properties.get("Metrics", ())) or 1


def idle_requests() -> float:
    """Return the receives of a month without a message."""
    return IDLE_POLLERS * MONTH_SECONDS / POLL_SECONDS


def idle_month_units(fixed: FixedResources) -> dict[str, float]:
    """Return the units of a month without a session."""
    return {
        "queue_requests": idle_requests(),
        "alarm_metrics": fixed.alarm_metrics,
        "composite_alarms": fixed.composite_alarms,
        "dashboards": fixed.dashboards,
    }


def night_units(night: Counts) -> dict[str, float]:
    """Return the units of one night; storage counts for the months that it is kept."""
    consumers = min(CONCURRENCY, night.batches)
    consuming = night.consumer_seconds + consumers * COLD_START_SECONDS
    producing = night.lambda_seconds - night.consumer_seconds + COLD_START_SECONDS
    return {
        "read_units": night.read_units,
        "write_units": night.write_units,
        "stored_bytes": night.outcome_bytes * OUTCOME_NIGHTS / NIGHTS,
        "queue_requests": night.queue_requests,
        "invocations": night.invocations,
        "gb_seconds": consuming * CONSUMER_GB + producing * PRODUCER_GB,
        "traces": night.invocations,
        "log_bytes": night.log_bytes,
        "log_bytes_kept": night.log_bytes * COMPRESSED * LOG_NIGHTS / NIGHTS,
        "metric_hours": night.metrics * ceil(seconds(night) / 3600),
        "schedules": 1,
        "decryptions": consumers + 1,
        "bytes_out": (night.stripe_lists + night.stripe_events + night.stripe_fetches) * STRIPE_REQUEST_BYTES,
    }


def month_units(night: Counts, fixed: FixedResources) -> dict[str, float]:
    """Return the units of a month: its nights, and what is paid anyway."""
    units = {name: NIGHTS * amount for name, amount in night_units(night).items()}
    for name, amount in idle_month_units(fixed).items():
        units[name] = units.get(name, 0.0) + amount
    return units


def beyond_free(units: Mapping[str, float]) -> dict[str, float]:
    """Return the units of a month beyond the free tiers, if nothing else in the account uses those."""
    return {name: max(amount - FREE.get(name, 0.0), 0.0) for name, amount in units.items()}


def cost_by_service(units: Mapping[str, float]) -> dict[str, float]:
    """Return the cost in US dollars by service."""
    sums: dict[str, float] = {}
    for name, amount in units.items():
        price = PRICES[name]
        sums[price.service] = sums.get(price.service, 0.0) + price.of(amount)
    return sums


@dataclass(frozen=True)
class Limit:
    """A limit of `rate` sessions a second with the template's defaults, and the `knob` that changes it."""

    name: str
    rate: float
    knob: str


def limits(night: Counts) -> Iterator[Limit]:
    """Yield each limit of a night. The limits of other services are in docs/scaling.md."""
    batch = night.consumer_seconds / night.batches
    yield Limit(
        "consumers",
        CONCURRENCY * BATCH / batch,
        "`ConsumerConcurrency` (5; each paces itself at its share of `StripeMaxRps`)",
    )
    yield Limit(
        "the run's partition",
        PARTITION_UNITS / OUTCOME_UNITS,
        "none; DynamoDB splits a partition that stays hot, and what it throttles is tried again",
    )
    requests = night.stripe_lists + night.stripe_events + night.stripe_fetches
    yield Limit(
        "Stripe, all requests",
        STRIPE_RPS * USED_SHARE * night.sessions / requests,
        "`StripeMaxRps` (12; Stripe allows 25 per endpoint, more on request)",
    )
    yield Limit(
        "Stripe, listing",
        STRIPE_RPS * USED_SHARE * LISTING_SHARE * PAGE_SIZE,
        "`StripeMaxRps`, of which a listing takes four fifths",
    )
    yield Limit(
        "the counters' item",
        COMMITS * BATCH,
        "none needed: one commit a batch, so larger batches (`BatchSize`) would be it",
    )


# A partition takes 1,000 write units a second, and an outcome of less than 1 KB costs two in a transaction:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
PARTITION_UNITS, OUTCOME_UNITS = 1000, 2
# Transactions that one item takes a second, one after the other; an estimate from 15 ms for each.
COMMITS = 65


def seconds(night: Counts) -> float:
    """Return the duration of a night: its cold start and its slowest part."""
    return COLD_START_SECONDS + night.sessions / min(limit.rate for limit in limits(night))
