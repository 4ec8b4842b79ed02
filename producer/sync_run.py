"""A run that enqueues sessions: started, listed in one or more invocations, and marked done."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from producer.proof import check_proof
from producer.request import Continuation
from producer.run_context import RunContext
from producer.run_lister import RunLister
from producer.undelivered_events import DELIVERY
from producer.webhook_events import WebhookEvents
from recon.config import FenceMode
from recon.domain.run import RunStatus, Trigger
from recon.dynamodb.records import Run, State
from recon.dynamodb.runs import CursorConflict
from recon.dynamodb.watermark import Watermark
from recon.errors import TooManyHops
from recon.telemetry import Metric, report_completed_run

# Per run. A longer chain is a fault, even with a small SYNC_MAX_SESSIONS.
MOST_HOPS = 5000
STATE_WARNING = "state_overwritten"
STATE_OVERWRITTEN = (
    f"{STATE_WARNING}: another program has written SYSTEM / STRIPE_ORDER_SYNC since the last run; no order "
    "is lost, since the watermark is a separate item, but find that program (the Lambda that this system "
    "replaces?) and switch it off"
)


@dataclass(frozen=True)
class SyncRun:
    """One invocation's work on a run. `continue_async` invokes the producer again."""

    context: RunContext
    continue_async: Callable[[Continuation], None]

    def begin(self, planned: Run, state: State, watermark: Watermark, *, confirm_empty: bool = False) -> Run:
        """Start a run, or continue it in its own window if its record exists already.

        `state` and `watermark` are those before the run. With `confirm_empty`, an operator accepts the table
        without a proof. Return the run's latest record. Raises LedgerInUse if the ledger belongs to another
        stack.
        """
        context, stack = self.context, self.context.settings.stack
        watermark.check_owner(stack)
        self._remember_lease(state)
        # The record first, since later failures are stored on it.
        run = context.runs.start(planned, context.now(), watermark, stack)
        context.attempt.track(run)
        if context.runs.is_state_foreign(state, new_run=run.run_id):
            context.warn(run.run_id, STATE_OVERWRITTEN)
        self._close_stale_runs(run.run_id)
        for warning in planned.warnings:
            self.context.warn(run.run_id, warning)
        if confirm_empty and not run.has_begun:
            shape = context.settings.shape_text
            context.runs.confirm(run.run_id, shape, context.now())
            watermark = replace(watermark, confirmed_by=run.run_id, proven_by=None, proven_shape=shape)
        return self._process(run, state, watermark, number=0)

    def resume(self, continuation: Continuation) -> Run | None:
        """Continue a run where it is. Return its latest record, or None if there is no such run."""
        watermark = self.context.runs.watermark()
        watermark.check_owner(self.context.settings.stack)
        run = self.context.runs.get(continuation.run_id)
        if run is None:
            return None
        state = self.context.runs.state()
        self._remember_lease(state)
        run = self.context.runs.resume(run, self.context.now())
        self.context.attempt.track(run)
        return self._process(run, state, watermark, continuation.number)

    def _remember_lease(self, state: State) -> None:
        if self.context.pace:
            self.context.pace.remember(state)

    def _process(self, run: Run, state: State, watermark: Watermark, number: int) -> Run:
        if run.status == RunStatus.RUNNING and not run.listed:
            # A run that has begun to send had a proof. Its key may have been replaced since.
            if (not run.has_begun or watermark.proven_by) and (
                held := self._hold_unless_proven(run, watermark)
            ):
                return held
            try:
                run = self._list(run, state, watermark)
            except CursorConflict:
                # Both invocations sent the same messages, and they are counted once.
                self.context.attempt.release()
                self.context.telemetry.info(
                    "Another invocation lists this run; this one stops", run_id=run.run_id
                )
            else:
                self._continue_unless_listed(run, number)
        run = self._finish(self.context.runs.get(run.run_id) or run)
        self._record_if_open(run)
        return run

    def _hold_unless_proven(self, run: Run, watermark: Watermark) -> Run | None:
        """Check the proof and store a new one. Return the held run, or None if the run may go on."""
        context = self.context
        verdict = check_proof(context, watermark)
        if verdict.warning:
            context.warn(run.run_id, verdict.warning)
        if verdict.proven:
            proven, shape = verdict.proven, context.settings.shape_text
            context.runs.prove(proven.session_id, proven.created, shape, context.now())
        if verdict.sample is None:
            context.telemetry.count(Metric.NO_SESSIONS, bool(verdict.warning))
            return None
        if context.runs.hold(run, verdict.sample, context.now()):
            context.telemetry.count(Metric.HELD_RUNS)
        return context.runs.get(run.run_id) or run

    def _continue_unless_listed(self, run: Run, number: int) -> None:
        if run.listed:
            return
        if number >= MOST_HOPS:
            raise TooManyHops(f"run {run.run_id} has not ended after {MOST_HOPS} invocations")
        self.continue_async(Continuation(run.run_id, number + 1))
        self.context.attempt.release()

    def _list(self, run: Run, state: State, watermark: Watermark) -> Run:
        """Enqueue the rest of the run, or as much as one invocation should."""
        lister = RunLister(self.context, run, state, self._webhook_events(run, watermark))
        if not run.has_begun:
            lister.send_pending()
        lister.send_listed()
        self.context.telemetry.info(
            f"Enqueued {lister.sent} sessions", run_id=run.run_id, enqueued=lister.run.enqueued
        )
        return lister.run

    def _webhook_events(self, run: Run, watermark: Watermark) -> WebhookEvents:
        since = min(
            run.lookback_start,
            watermark.covered_through or run.lookback_start,
            self.context.now() - DELIVERY,
        )
        fences = self.context.settings.webhook_fence is not FenceMode.OFF
        return WebhookEvents(
            self.context.stripe,
            self.context.now,
            self.context.pool,
            defer_after=run.lookback_end if run.trigger == Trigger.SCHEDULED else None,
            fence=since if fences else None,
        )

    def _close_stale_runs(self, run_id: str) -> None:
        for run in self.context.runs.close_stale_runs(run_id, self.context.now()):
            if run.status == RunStatus.FAILED:
                self.context.telemetry.error(
                    "Run failed: its listing stopped before the end of its window", run_id=run.run_id
                )
            elif run.status == RunStatus.DONE:
                self._report_completed(run)
            self._record_if_open(run)

    def _record_if_open(self, run: Run) -> None:
        if run.status == RunStatus.RUNNING:
            self.context.telemetry.record_open_run(run, self.context.now())

    def _finish(self, run: Run) -> Run:
        """Mark the run done if it is complete. Return its latest record."""
        now = self.context.now()
        done = self.context.runs.finish(run, now)
        if done or run.must_be_reported(now):
            self._report_completed(done or run)
        return done or run

    def _report_completed(self, run: Run) -> None:
        report_completed_run(self.context.telemetry, self.context.runs, run, self.context.now())
