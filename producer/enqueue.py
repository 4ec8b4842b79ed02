"""A real run: take the run, send its sessions page by page, and mark how far it got."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.scan import Slice, Window, slices
from recon.ledger.records import FAILED, RUNNING, Run
from recon.ledger.runs import ListingTaken, Progress, Runs
from recon.message import message_of
from recon.queue import SessionQueue
from recon.retry import Deadline
from recon.telemetry import Metric, Telemetry

if TYPE_CHECKING:
    from recon.stripe_source import StripeSource


@dataclass(frozen=True)
class Enqueue:
    """Everything a real run needs. `now` gives epoch seconds."""

    runs: Runs
    stripe: "Callable[[], StripeSource]"
    queue: SessionQueue
    pool: Executor
    deadline: Deadline
    now: Callable[[], int]
    telemetry: Telemetry

    def __call__(self, wanted: Run) -> Run:
        """Enqueues what is left of the run and returns its record as it stands then.

        A run that another invocation began goes on from its cursor, in its own window and to its own
        maximum. Whoever finds the
        cursor moved by another stops: what it sent is sent twice and counted once.
        """
        self._close_others(wanted.run_id)
        run = self.runs.start(wanted, self.now())
        if run.status == RUNNING and not run.listed:
            try:
                self._send_all(run)
            except ListingTaken:
                self.telemetry.info("Another invocation lists this run; this one stops", run_id=run.run_id)
        self._finish(run.run_id)
        return self.runs.get(run.run_id) or run

    def _send_all(self, run: Run) -> None:
        window = Window(run.lookback_start, run.lookback_end)
        left = run.max_sessions - run.enqueued
        for found in slices(self.stripe(), window, cursor=run.cursor, limit=left):
            messages = [message_of(session, run.run_id) for session in found.sessions]
            self.queue.send(messages, self.pool, self.deadline)
            progress = _progress(found, total=run.enqueued + len(messages), limit=run.max_sessions)
            run = self.runs.advance(run, progress, self.now())
            self.telemetry.count(Metric.SESSIONS_ENQUEUED, len(messages))
        self.telemetry.info(f"Enqueued {run.enqueued} sessions", run_id=run.run_id, enqueued=run.enqueued)
        for warning in run.warnings:
            self.telemetry.warning(warning, run_id=run.run_id)

    def _close_others(self, run_id: str) -> None:
        for run in self.runs.close_others(run_id, self.now()):
            if run.status == FAILED:
                self.telemetry.error(
                    "Run failed: its listing ended before its window was through", run_id=run.run_id
                )
            else:
                self._completed(run)

    def _finish(self, run_id: str) -> None:
        if run := self.runs.finish_if_through(run_id, self.now()):
            self._completed(run)

    def _completed(self, run: Run) -> None:
        self.telemetry.sync_completed(run, run.seconds(self.now()))


def _progress(found: Slice, *, total: int, limit: int) -> Progress:
    truncated = found.more and total >= limit
    return Progress(
        cursor=found.cursor,
        sent=len(found.sessions),
        listed=truncated or not found.more,
        truncated=truncated,
        warnings=(truncation_warning(limit),) if truncated else (),
    )


def truncation_warning(limit: int) -> str:
    return (
        f"truncated: the window holds more than the {limit} sessions that were looked at, and the older ones "
        "were not; raise SYNC_MAX_SESSIONS or maxSessions"
    )
