"""Runs the baseline or the pipeline over a shop to its end, checks the table and returns the measurement."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.harness.doubles import TABLE
from bench.harness.event_source import (
    LEAST_CONCURRENCY,
    BatchWindow,
    InvokedBatch,
    invoke,
    poll_queue,
    run_producer,
)
from bench.harness.harness import Harness, open_harness
from bench.harness.programs import Report
from bench.harness.table_checks import find_miscounts, find_wrong_orders
from bench.harness.transports import LATENCY
from bench.night import BATCH
from bench.shops import GRACE, UniformShop
from recon.domain.run import RunStatus
from recon.dynamodb.keys import run_key
from recon.dynamodb.table import to_wire
from recon.timestamps import to_iso, to_run_id
from testkit.fake_stripe import RateLimits
from testkit.fake_stripe.faults import Endpoint

LOOKBACK = 25 * 3600
LONGEST_SECONDS = 900
# Rarely enough to take none of the measured cores.
TICK_SECONDS = 0.02


class WrongResultError(Exception):
    """A program left a wrong table, so its time is meaningless."""


@dataclass
class RunMeasurement:
    """The times of a run, in seconds.

    `sent_after` is the time until the last message was sent, `first_batch` that until a consumer was invoked,
    and `queue_seconds` that of each message in the queue. `late_batches` are the batches that were not full
    after the last message was sent. `services_cpu` is the CPU time of the doubles on the same cores.
    """

    seconds: float
    services_cpu: float
    sent_after: float = 0.0
    first_batch: float = 0.0
    queue_seconds: list[float] = field(default_factory=list)
    late_batches: list[InvokedBatch] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    stripe: Counter[tuple[Endpoint, int]] = field(default_factory=Counter)

    @property
    def cpu(self) -> float:
        """Return the CPU seconds of all programs."""
        return sum(report.cpu for report in self.reports)

    @property
    def floor(self) -> float:
        """Return the seconds that the CPU time of programs and services takes on all cores."""
        return (self.cpu + self.services_cpu) / len(os.sched_getaffinity(0))

    def total(self, role: str, value: Callable[[Report], float]) -> float:
        """Return the sum over the processes of a role."""
        return sum(value(report) for report in self.reports if report.role == role)


def measure_baseline(shop: UniformShop, limits: RateLimits, settings: Mapping[str, str]) -> RunMeasurement:
    with open_harness(shop, limits, settings) as harness:
        [connection] = harness.start_programs("baseline")
        stopwatch = Stopwatch()
        tally = invoke(connection, {"from": shop.now - LOOKBACK, "to": shop.now - GRACE})
        measurement = stopwatch.stop()
        right = {"listed": shop.sessions, "created": shop.lost}
        return _finish(harness, measurement, [] if tally == right else [f"it says {tally}"])


type BackgroundTask = Callable[[Harness, threading.Event], None]


def measure_pipeline(
    shop: UniformShop,
    limits: RateLimits,
    settings: Mapping[str, str],
    consumers: int,
    background: BackgroundTask | None = None,
) -> RunMeasurement:
    """Measure a scheduled run with that many consumer processes until its record says done.

    `background` runs on another thread until its event is set.
    """
    # A single consumer limits its rate as one of two, since the mapping's least concurrency is two.
    settings = {**settings, "SYNC_CONSUMER_CONCURRENCY": str(max(LEAST_CONCURRENCY, consumers))}
    with open_harness(shop, limits, settings) as harness:
        stopped, queue_seconds, batches = threading.Event(), list[float](), list[InvokedBatch]()
        threads = _build_threads(harness, consumers, stopped, queue_seconds, batches)
        if background:
            threads.append(threading.Thread(target=background, args=(harness, stopped)))
        stopwatch, began_at = Stopwatch(), time.time()
        harness.cloud.events.put({"trigger": "scheduled", "scheduledTime": to_iso(shop.now)})
        for thread in threads:
            thread.start()
        try:
            _wait_until(harness, lambda: _is_done(harness))
            measurement = stopwatch.stop()
            _wait_until(harness, lambda: not harness.cloud.sqs.messages(harness.cloud.queue))
        finally:
            stopped.set()
            harness.cloud.events.put(None)
            for thread in threads:
                thread.join()
        measurement.sent_after = harness.last_called["sqs.SendMessageBatch"] - stopwatch.began
        measurement.first_batch = min(batch.at for batch in batches) - began_at
        measurement.queue_seconds = queue_seconds
        all_sent_at = began_at + measurement.sent_after
        measurement.late_batches = [
            batch for batch in batches if batch.at > all_sent_at and batch.messages < BATCH
        ]
        dead = (
            [f"{len(left)} dead letters"]
            if (left := harness.cloud.sqs.messages(harness.cloud.dead_letters))
            else []
        )
        items = harness.cloud.dynamodb.items(TABLE)
        return _finish(harness, measurement, dead + find_miscounts(shop, items, to_run_id(shop.now)))


class Stopwatch:
    """Measures the time, and the CPU time of this process, which runs the services."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._cpu = time.process_time()

    def stop(self) -> RunMeasurement:
        return RunMeasurement(time.monotonic() - self.began, time.process_time() - self._cpu)


def _build_threads(
    harness: Harness,
    consumers: int,
    stopped: threading.Event,
    queue_seconds: list[float],
    batches: list[InvokedBatch],
) -> list[threading.Thread]:
    """Start warm programs; return the threads that are Lambda between them and the queue."""
    [producer] = harness.start_programs("producer")
    threads = [threading.Thread(target=run_producer, args=(producer, harness.cloud.events, harness.failed))]
    for connection in harness.start_programs("consumer", consumers):
        window = BatchWindow(harness.cloud.sqs, LATENCY["sqs"], stopped, queue_seconds, batches)
        threads.append(
            threading.Thread(
                target=poll_queue, args=(connection, window, harness.cloud.queue, harness.failed)
            )
        )
    return threads


def _wait_until(harness: Harness, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not condition():
        harness.check_programs()
        if harness.failed or time.monotonic() > deadline:
            raise WrongResultError(f"after {LONGEST_SECONDS} s at most: {harness.failed[:3]}")
        time.sleep(TICK_SECONDS)


def _is_done(harness: Harness) -> bool:
    pk, sk = run_key(to_run_id(harness.shop.now))
    answer = harness.cloud.dynamodb.get_item(
        TableName=TABLE, Key=to_wire({"PK": pk, "SK": sk}), ConsistentRead=True
    )
    done: bool = answer.get("Item", {}).get("status") == {"S": RunStatus.DONE}
    return done


def _finish(harness: Harness, measurement: RunMeasurement, problems: list[str]) -> RunMeasurement:
    """Stop the programs, check the table and complete the measurement.

    Raise WrongResultError if there was any problem.
    """
    harness.stop_programs()
    problems = (
        problems + harness.failed + find_wrong_orders(harness.shop, harness.cloud.dynamodb.items(TABLE))
    )
    if problems:
        raise WrongResultError(f"{len(problems)} problems: {'; '.join(problems[:5])}")
    measurement.reports, measurement.calls, measurement.stripe = (
        harness.reports,
        harness.cloud.calls,
        harness.cloud.stripe.counts,
    )
    return measurement
