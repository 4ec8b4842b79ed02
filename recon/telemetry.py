"""Structured log lines and metrics.

Every log line has `run_id` and `session_id`. Callers never pass a customer's data or a key. Metrics are
written to standard output in CloudWatch's embedded metric format, under two sets of dimensions: those of one
function (`service`, `stack`) and of both functions together (`stack`).
"""

import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from recon.domain.stripe_objects import SESSION_LIFE
from recon.dynamodb.records import Run
from recon.dynamodb.runs import NOTHING_FOUND, Runs
from recon.dynamodb.table import TransactionCancelled
from recon.dynamodb.watermark import Watermark
from recon.errors import KeyRejected, KeyUnavailable, SyncError

NAMESPACE = "StripeNightlySync"
SERVICE = "stripe-nightly-sync"
# Two stacks of one account must not share a metric. The name is read without the settings, since wrong
# settings have to be logged too.
STACK_VARIABLE, DEFAULT_STACK = "SYNC_STACK", SERVICE
NONE = "-"


class Metric(StrEnum):
    SESSIONS_ENQUEUED = "SessionsEnqueued"
    ORDERS_CREATED = "OrdersCreated"
    SESSIONS_SKIPPED = "SessionsSkipped"
    ORDERS_MISSING = "OrdersMissing"
    SESSION_ERRORS = "SessionErrors"
    STRIPE_THROTTLED = "StripeThrottled"
    RUN_SECONDS = "RunSeconds"
    RUN_WARNINGS = "RunWarnings"
    NO_SESSIONS = "NoSessions"
    # Runs that sent nothing, since nothing proved the key's account and mode.
    HELD_RUNS = "HeldRuns"
    NOTHING_FOUND = "NothingFound"
    ORDERS_DRIFTED = "OrdersDrifted"
    # Counted once per run, by the function that completes it, or by a later one if that was killed before it
    # printed. Manual runs count, dry and failed runs do not.
    RUNS_COMPLETED = "RunsCompleted"
    TRUNCATED_RUNS = "TruncatedRuns"
    # Calls that failed because of the key. A rotated key or a missing optional permission does not count.
    KEY_REJECTED = "KeyRejected"
    # In the currency's smallest unit, with `currency` as a further dimension: never a sum of two currencies.
    MONEY_RECOVERED = "MoneyRecovered"
    # The age of a run that is not done.
    OPEN_RUN_SECONDS = "OpenRunSeconds"
    # The age of the first moment that no run has covered yet.
    WATERMARK_AGE_SECONDS = "WatermarkAgeSeconds"
    # How many sessions wait for a person who acts or acknowledges, when a run ends.
    NEEDS_ACTION = "NeedsAction"


class Telemetry:
    """The log and the metrics of one function (`part`) of one stack; thread-safe."""

    def __init__(self, part: str, stack: str = DEFAULT_STACK) -> None:
        self._service = f"{SERVICE}-{part}"
        self._stack = stack
        self._logger = Logger(service=self._service, level="INFO")
        self._counts: Counter[Metric] = Counter()
        self._open_attention = 0
        self._seconds: defaultdict[Metric, list[int]] = defaultdict(list)
        self._money: Counter[str] = Counter()
        self._lock = threading.Lock()

    def info(self, text: str, *, run_id: str, session_id: str = NONE, **facts: Any) -> None:  # noqa: ANN401 - any JSON
        self._logger.info(text, extra={"run_id": run_id, "session_id": session_id} | facts, stacklevel=3)

    def warning(self, text: str, *, run_id: str, session_id: str = NONE, **facts: Any) -> None:  # noqa: ANN401
        self._logger.warning(text, extra={"run_id": run_id, "session_id": session_id} | facts, stacklevel=3)

    def error(self, text: str, *, run_id: str, session_id: str = NONE, **facts: Any) -> None:  # noqa: ANN401
        self._logger.error(text, extra={"run_id": run_id, "session_id": session_id} | facts, stacklevel=3)

    def count(self, metric: Metric, value: int = 1) -> None:
        with self._lock:
            self._counts[metric] += value

    def count_throttle(self) -> None:
        self.count(Metric.STRIPE_THROTTLED)

    def count_key_failure(self, error: BaseException | None) -> None:
        """Count a failure if the key caused it."""
        if isinstance(error, KeyRejected | KeyUnavailable):
            self.count(Metric.KEY_REJECTED)

    def add_recovered_money(self, amount: int | None, currency: str | None) -> None:
        """Add the amount of a missing order that was written, if it has both amount and currency."""
        if amount and currency:
            with self._lock:
                self._money[currency] += amount

    def record_open_run(self, run: Run, now: int) -> None:
        self._add_seconds(Metric.OPEN_RUN_SECONDS, run.seconds(now))

    def record_watermark(self, watermark: Watermark, at: int) -> None:
        """Record the watermark's age at `at` (epoch seconds).

        Without a watermark, record the time since the first scheduled run's lookback began, which is a
        session's life after the start of its window; before that run, nothing.
        """
        since = watermark.covered_through
        if since is None and watermark.first_lookback_start is not None:
            since = watermark.first_lookback_start + SESSION_LIFE
        if since is not None:
            self._add_seconds(Metric.WATERMARK_AGE_SECONDS, max(0, at - since))

    def record_open_attention(self, sessions: int) -> None:
        """Record how many sessions wait for a person; the latest number counts."""
        with self._lock:
            self._open_attention = sessions

    def record_completed_run(self, run: Run, seconds: int) -> None:
        """Log the line that the shop's Log Insights queries search for, and count the run."""
        missing = f", missing={run.missing}" if run.missing else ""
        self.info(
            f"Sync completed: processed={run.processed}, created={run.created}, "
            f"skipped={run.skipped}, errors={run.errors}{missing}",
            run_id=run.run_id,
            seconds=seconds,
        )
        if NOTHING_FOUND in run.warnings:
            self.warning(NOTHING_FOUND, run_id=run.run_id)
            self.count(Metric.RUN_WARNINGS)
            self.count(Metric.NOTHING_FOUND)
        self.count(Metric.RUNS_COMPLETED)
        self._add_seconds(Metric.RUN_SECONDS, seconds)

    def _add_seconds(self, metric: Metric, seconds: int) -> None:
        with self._lock:
            self._seconds[metric].append(seconds)

    def flush(self) -> None:
        """Print the metrics counted since the last flush, if any."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            counts[Metric.NEEDS_ACTION], self._open_attention = self._open_attention, 0
            seconds_by_metric, self._seconds = self._seconds, defaultdict(list)
            money, self._money = self._money, Counter()
        metrics = self._new_metrics({})
        for metric, value in counts.items():
            if value:
                metrics.add_metric(name=metric.value, unit=MetricUnit.Count, value=value)
        for metric, values in seconds_by_metric.items():
            for seconds in values:
                metrics.add_metric(name=metric.value, unit=MetricUnit.Seconds, value=seconds)
        if seconds_by_metric or any(counts.values()):
            metrics.flush_metrics()
        for currency, amount in money.items():
            in_currency = self._new_metrics({"currency": currency})
            in_currency.add_metric(name=Metric.MONEY_RECOVERED.value, unit=MetricUnit.Count, value=amount)
            in_currency.flush_metrics()

    def _new_metrics(self, extra: Mapping[str, str]) -> EphemeralMetrics:
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        dimensions = {"stack": self._stack, **extra}
        for name, value in dimensions.items():
            metrics.add_dimension(name=name, value=value)
        metrics.add_dimensions(**dimensions)
        return metrics


def report_completed_run(telemetry: Telemetry, runs: Runs, run: Run, now: int) -> None:
    """Print the metrics of a done run, and then store that they are printed.

    In this order a function that is killed in between reports a run twice and never not at all.
    """
    telemetry.record_completed_run(run, run.seconds(run.completed_epoch or now))
    try:
        telemetry.record_watermark(runs.watermark(), now)
        telemetry.record_open_attention(runs.count_open_attention())
        telemetry.flush()
        runs.mark_reported(run.run_id)
    except (SyncError, TransactionCancelled) as error:
        telemetry.warning(f"It could not be stored that the run is reported: {error}", run_id=run.run_id)


def frames(error: BaseException) -> list[str]:
    """Return where an exception was raised, without its text, which may contain personal data."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
