"""What operators see: structured log lines and metrics, and the names of both.

Log lines carry `run_id` and `session_id`, always: the arguments are not optional. Nothing of a customer
and no key is ever passed in. Metrics go out in CloudWatch's embedded metric format, on standard output,
under two sets of dimensions: the function's (`service`, `stack`) and both functions' together (`stack`).
"""

import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from recon.dynamodb.records import Run, State
from recon.errors import KeyRejected, KeyUnavailable

NAMESPACE = "StripeNightlySync"
SERVICE = "stripe-nightly-sync"
# Two stacks of one account must not share a metric. Read apart from the settings: what is wrong with those
# has to be told, too.
STACK_VARIABLE, DEFAULT_STACK = "SYNC_STACK", SERVICE
NONE = "-"


class Metric(StrEnum):
    SESSIONS_ENQUEUED = "SessionsEnqueued"
    ORDERS_CREATED = "OrdersCreated"
    SESSIONS_SKIPPED = "SessionsSkipped"
    SESSION_ERRORS = "SessionErrors"
    STRIPE_THROTTLED = "StripeThrottled"
    RUN_SECONDS = "RunSeconds"
    RUN_WARNINGS = "RunWarnings"
    NO_SESSIONS = "NoSessions"
    ORDERS_DRIFTED = "OrdersDrifted"
    # Once a run, by whoever ends it; a run by hand is one, a preview and a failed run are none.
    RUNS_COMPLETED = "RunsCompleted"
    TRUNCATED_RUNS = "TruncatedRuns"
    # Calls that failed for the key. Neither a key that was rotated meanwhile nor an optional permission
    # that it lacks is among them.
    KEY_REJECTED = "KeyRejected"
    # In the currency's smallest unit, with `currency` as a further dimension: never a sum of two currencies.
    MONEY_RECOVERED = "MoneyRecovered"
    # How long a run has been going on that is not done.
    OPEN_RUN_SECONDS = "OpenRunSeconds"
    # How far back the first moment lies that no run has covered yet.
    WATERMARK_AGE_SECONDS = "WatermarkAgeSeconds"


class Telemetry:
    """The log and the metrics of one function (`part`) of one stack. Thread-safe."""

    def __init__(self, part: str, stack: str = DEFAULT_STACK) -> None:
        self._service = f"{SERVICE}-{part}"
        self._stack = stack
        self._logger = Logger(service=self._service, level="INFO")
        self._counts: Counter[Metric] = Counter()
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
        """Counts a failure whose cause is the key, and no other."""
        if isinstance(error, KeyRejected | KeyUnavailable):
            self.count(Metric.KEY_REJECTED)

    def add_recovered_money(self, amount: int | None, currency: str | None) -> None:
        """Money of an order that was missing; an order without either brought none."""
        if amount and currency:
            with self._lock:
                self._money[currency] += amount

    def record_open_run(self, run: Run, now: int) -> None:
        self._measure(Metric.OPEN_RUN_SECONDS, run.seconds(now))

    def record_watermark(self, state: State, at: int) -> None:
        """Its age at that moment (epoch seconds); while no run has covered anything, that of the first
        scheduled run's window, and nothing before there was one."""
        since = state.first_lookback_start if state.covered_through is None else state.covered_through
        if since is not None:
            self._measure(Metric.WATERMARK_AGE_SECONDS, max(0, at - since))

    def record_completed_run(self, run: Run, seconds: int) -> None:
        """The line that the shop's Log Insights queries look for."""
        self.info(
            f"Sync completed: processed={run.processed}, created={run.created}, "
            f"skipped={run.skipped}, errors={run.errors}",
            run_id=run.run_id,
            seconds=seconds,
        )
        self.count(Metric.RUNS_COMPLETED)
        self._measure(Metric.RUN_SECONDS, seconds)

    def _measure(self, metric: Metric, seconds: int) -> None:
        with self._lock:
            self._seconds[metric].append(seconds)

    def flush(self) -> None:
        """Prints the metrics counted since the last flush; nothing when there are none."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            measured, self._seconds = self._seconds, defaultdict(list)
            money, self._money = self._money, Counter()
        metrics = self._metrics({})
        for metric, value in counts.items():
            if value:
                metrics.add_metric(name=metric.value, unit=MetricUnit.Count, value=value)
        for metric, values in measured.items():
            for seconds in values:
                metrics.add_metric(name=metric.value, unit=MetricUnit.Seconds, value=seconds)
        if measured or any(counts.values()):
            metrics.flush_metrics()
        for currency, amount in money.items():
            in_currency = self._metrics({"currency": currency})
            in_currency.add_metric(name=Metric.MONEY_RECOVERED.value, unit=MetricUnit.Count, value=amount)
            in_currency.flush_metrics()

    def _metrics(self, further: Mapping[str, str]) -> EphemeralMetrics:
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        of_the_stack = {"stack": self._stack, **further}
        for name, value in of_the_stack.items():
            metrics.add_dimension(name=name, value=value)
        metrics.add_dimensions(**of_the_stack)
        return metrics


def frames(error: BaseException) -> list[str]:
    """Where an exception came from, without its text: that may quote what must not be logged."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
