"""What operators see: structured log lines and metrics, and the names of both.

Log lines carry `run_id` and `session_id`, always: the arguments are not optional. Nothing of a customer
and no key is ever passed in. Metrics go out in CloudWatch's embedded metric format, on standard output.
"""

import threading
import traceback
from collections import Counter
from enum import StrEnum
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from recon.ledger.records import Run

NAMESPACE = "StripeNightlySync"
SERVICE = "stripe-nightly-sync"
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


class Telemetry:
    """The log and the metrics of one function. Thread-safe."""

    def __init__(self, part: str) -> None:
        self._logger = Logger(service=f"{SERVICE}-{part}", level="INFO")
        self._part = part
        self._counts: Counter[Metric] = Counter()
        self._run_seconds: list[int] = []
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

    def throttled(self) -> None:
        self.count(Metric.STRIPE_THROTTLED)

    def sync_completed(self, run: Run, seconds: int) -> None:
        """The line that the shop's Log Insights queries look for."""
        self.info(
            f"Sync completed: processed={run.processed}, created={run.created}, "
            f"skipped={run.skipped}, errors={run.errors}",
            run_id=run.run_id,
            seconds=seconds,
        )
        with self._lock:
            self._run_seconds.append(seconds)

    def flush(self) -> None:
        """Prints the metrics counted since the last flush; nothing when there are none."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            run_seconds, self._run_seconds = self._run_seconds, []
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=f"{SERVICE}-{self._part}")
        for metric, value in counts.items():
            if value:
                metrics.add_metric(name=metric.value, unit=MetricUnit.Count, value=value)
        for seconds in run_seconds:
            metrics.add_metric(name=Metric.RUN_SECONDS.value, unit=MetricUnit.Seconds, value=seconds)
        if run_seconds or any(counts.values()):
            metrics.flush_metrics()


def frames(error: BaseException) -> list[str]:
    """Where an exception came from, without its text: that may quote what must not be logged."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
