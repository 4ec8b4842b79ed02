"""Processing of one SQS batch: which sessions run together, and when failed messages return.

Sessions fail independently of each other. Messages that were received before are processed one at a time
and after the new ones, so that a message that kills the function does not affect others. Their order changes
with each receive, so that none is always last when the time does not suffice for all.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from consumer.invocation import InvocationContext
from consumer.prior_orders import load_orders
from consumer.session_group import GroupResult, SessionGroup
from consumer.session_tasks import GroupedBatch, SessionKey, SessionTask, SqsRecord, group_by_session
from recon.aws.queue import SessionQueue, Visibility
from recon.config import FenceMode
from recon.domain.message import SessionMessage
from recon.domain.outcome import Outcome
from recon.domain.run import RunStatus
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.outcomes import PriorState, load_prior_state
from recon.dynamodb.runs import Runs
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.user_orders import Orders, is_proof
from recon.errors import OutOfTime, SyncError, Unexpected, WebhookAtWork
from recon.retry import backoff_seconds, stagger_seconds
from recon.telemetry import Metric, frames, report_completed_run
from recon.timestamps import DAY

_METRICS = {
    Outcome.CREATED: Metric.ORDERS_CREATED,
    Outcome.SKIPPED: Metric.SESSIONS_SKIPPED,
    Outcome.MISSING: Metric.ORDERS_MISSING,
    Outcome.ERROR: Metric.SESSION_ERRORS,
}
IMMEDIATELY = 0  # seconds: a message returns at once and so reaches the dead-letter queue without delay


@dataclass
class FailedSessions:
    """Sessions whose messages return to the queue: at once, or after a backoff of at least these seconds."""

    immediate: set[SessionKey] = field(default_factory=set)
    delayed: dict[SessionKey, int] = field(default_factory=dict)


class BatchProcessor:
    """Processes the batch of one invocation. `function_timeout` is in seconds, `rand` returns [0, 1)."""

    def __init__(
        self,
        context: InvocationContext,
        queue: SessionQueue,
        *,
        function_timeout: float,
        rand: Callable[[], float],
    ) -> None:
        self._context = context
        self._queue = queue
        self._function_timeout = function_timeout
        self._rand = rand
        self._telemetry = context.telemetry

    def process(self, records: list[SqsRecord]) -> list[str]:
        """Reconcile the sessions of a batch and return the ids of messages that Lambda must not delete."""
        self._stagger_redeliveries(records)
        batch = group_by_session(records)
        for record, problem in batch.unreadable:
            self._telemetry.error(
                f"Message cannot be read: {problem}", run_id="-", message_id=record.message_id
            )
        failed = self._reconcile(batch.tasks)
        return self._release_messages(batch, failed)

    def _stagger_redeliveries(self, records: Iterable[SqsRecord]) -> None:
        """Give each redelivered message its own visibility, so that a killed batch never meets again."""
        self._queue.set_visibility(
            Visibility(record.receipt_handle, stagger_seconds(self._function_timeout, self._rand))
            for record in records
            if record.receive_count > 1
        )

    def _reconcile(self, tasks: list[SessionTask]) -> FailedSessions:
        failed = FailedSessions()
        if not tasks:
            return failed
        try:
            prior = self._load_prior_state(tasks)
            if prior.state_run_id is None:
                # Every run takes over the state before it sends a message, so this is another ledger.
                check_ledger_table(self._context.table, self._context.settings.stack, self._context.deadline)
        except SyncError as error:
            for task in tasks:
                self._retry_later(failed, task, error)
            return failed
        open_tasks = [task for task in tasks if not self._already_settled(task, prior, failed)]
        # Before anything that can take long or kill the function.
        self._announce_last_attempts(open_tasks, prior)
        messages = [task.message for task in open_tasks if task.message]
        orders, prior = load_orders(self._context, messages, prior)
        for group in _split_into_groups(open_tasks):
            self._reconcile_group(group, prior, orders, failed)
        self._move_proof(messages, orders, prior)
        for run_id in sorted({task.run_id for task in tasks}):
            self._finish_run(run_id)
        return failed

    def _load_prior_state(self, tasks: list[SessionTask]) -> PriorState:
        messages = [task.message for task in tasks if task.message]
        fences = self._context.settings.webhook_fence is not FenceMode.OFF
        event_ids = {event.id for message in messages for event in message.events} if fences else ()
        keys, read_at = [task.key for task in tasks], self._context.now()
        prior = load_prior_state(self._context.table, keys, self._context.deadline, event_ids)
        if self._context.pace:
            self._context.pace.learn(prior.listed_until, read_at)
        return prior

    def _move_proof(
        self, messages: list[SessionMessage], orders: dict[SessionMessage, Orders], prior: PriorState
    ) -> None:
        """Store the newest listed session with an order of another writer if the stored one is a day older.

        One that only waits may be unknown to Stripe by now, and would have every later run held. A failure is
        only logged: a later batch repeats it, and no session depends on it.
        """
        now = self._context.now()
        listed = [each for each in messages if each.created <= now and each.pending is None]
        found = [each for each in listed if is_proof(orders[each])]
        newest = max(found, key=lambda message: message.created, default=None)
        if newest is None or newest.created <= (prior.proven_created or -DAY) + DAY:
            return
        try:
            runs = Runs(self._context.table, self._context.deadline)
            runs.prove(newest.session_id, newest.created, self._context.settings.shape_text, now)
        except SyncError as error:
            self._telemetry.warning(f"The proof session could not be stored: {error}", run_id=newest.run_id)

    def _announce_last_attempts(self, tasks: Iterable[SessionTask], prior: PriorState) -> None:
        """Announce those of the whole batch before any starts: the first may kill the function."""
        for run_id, group in _group_by_run(tasks).items():
            announced = SessionGroup(self._context, run_id, prior).announce_last_attempts(group)
            self._telemetry.count(Metric.SESSION_ERRORS, announced)
            if announced:
                # Checked now, since the attempt may kill the function before the check at the end.
                self._finish_run(run_id)

    def _already_settled(self, task: SessionTask, prior: PriorState, failed: FailedSessions) -> bool:
        """Return whether the session has a final outcome, or failed permanently under this message."""
        outcome = prior.outcomes.get(task.key)
        if outcome is None:
            return False
        if outcome.is_final:
            return True
        # A redriven message has a new id and is tried; the old one is on its way to the dead-letter queue.
        has_failed = outcome.has_failed_under(task.message_id)
        if has_failed:
            failed.immediate.add(task.key)
        return has_failed

    def _reconcile_group(
        self,
        group: list[SessionTask],
        prior: PriorState,
        orders: dict[SessionMessage, Orders],
        failed: FailedSessions,
    ) -> None:
        sessions = SessionGroup(self._context, group[0].run_id, prior)
        end: SyncError = Unexpected("the commit returned no result for the session")
        try:
            self._context.deadline.check()
            sessions.reconcile(group, orders)
        except OutOfTime as error:
            end = error
        except Exception as error:  # noqa: BLE001 - a bug in one group must not fail the others
            self._telemetry.error(
                f"Unexpected {type(error).__name__}", run_id=group[0].run_id, frames=frames(error)
            )
            end = Unexpected(f"{type(error).__name__} in the batch")
        # What was written before an error is reported now, since its message has nothing left to do.
        self._apply_results(group, sessions.result, end, failed)
        for warning in sessions.result.warnings:
            self._record_warning(group[0].run_id, warning)

    def _apply_results(
        self, group: list[SessionTask], result: GroupResult, end: SyncError, failed: FailedSessions
    ) -> None:
        """Report the results of a group. The sessions without one are retried because of `end`."""
        for task in group:
            applied = result.committed.applied.get(task.session_id)
            error = result.delayed.get(task.session_id) or result.committed.failed.get(task.session_id)
            if applied:
                self._report(task, applied)
                self._warn_if_unmarked(task, result.committed.unmarked.get(task.session_id))
                if applied.outcome is Outcome.ERROR:
                    failed.immediate.add(task.key)
            elif task.session_id not in result.committed.settled:
                # A message is deleted only if its session's result is known.
                self._retry_later(failed, task, error or end)

    def _record_warning(self, run_id: str, warning: str) -> None:
        """Record a warning once per run. Failures are only logged: no session depends on it."""
        try:
            if Runs(self._context.table, self._context.deadline).warn(run_id, warning):
                self._telemetry.warning(warning, run_id=run_id)
                self._telemetry.count(Metric.RUN_WARNINGS)
        except SyncError as error:
            self._telemetry.warning(f"A warning could not be stored: {error}", run_id=run_id)

    def _report(self, task: SessionTask, result: SessionResult) -> None:
        ids = {"run_id": task.run_id, "session_id": task.session_id}
        for drift in result.drift:
            self._telemetry.warning(f"Order drifts from Stripe: {drift.partition(':')[0]}", **ids)
        self._telemetry.count(Metric.ORDERS_DRIFTED, bool(result.drift))
        match result.outcome:
            case Outcome.CREATED:
                self._telemetry.info(f"Created order snapshot {result.order_number} via sync", **ids)
                order = result.order or {}
                self._telemetry.add_recovered_money(order.get("amount"), order.get("currency"))
            case Outcome.SKIPPED:
                self._telemetry.info(f"Skipped session: {result.reason}", **ids, reason=str(result.reason))
            case Outcome.MISSING:
                self._telemetry.warning("The shop's order of a paid session is missing", **ids)
            case Outcome.ERROR:
                self._telemetry.error(
                    f"Session failed: {result.error}",
                    **ids,
                    error_type=type(result.error).__name__,
                    receive_count=task.receive_count,
                )
        self._telemetry.count_key_failure(result.error)
        if result.outcome is not Outcome.ERROR or result.previous is None:
            self._telemetry.count(_METRICS[result.outcome])

    def _warn_if_unmarked(self, task: SessionTask, error: SyncError | None) -> None:
        if error:
            self._telemetry.warning(
                f"Not all events of the session are fenced: {error}",
                run_id=task.run_id,
                session_id=task.session_id,
            )

    def _retry_later(self, failed: FailedSessions, task: SessionTask, error: SyncError) -> None:
        failed.delayed[task.key] = error.seconds if isinstance(error, WebhookAtWork) else 0
        self._telemetry.count_key_failure(error)
        self._telemetry.warning(
            f"Session is tried again later: {error}",
            run_id=task.run_id,
            session_id=task.session_id,
            error_type=type(error).__name__,
            receive_count=task.receive_count,
        )

    def _finish_run(self, run_id: str) -> None:
        """Mark the run done if this was its last batch. If the check fails, a later batch repeats it."""
        runs, now = Runs(self._context.table, self._context.deadline), self._context.now()
        try:
            run = runs.get(run_id)
            if run is None:
                return
            done = runs.finish(run, now)
            if done or run.must_be_reported(now):
                report_completed_run(self._telemetry, runs, done or run, now)
            elif run.status == RunStatus.RUNNING and not run.is_complete:
                self._telemetry.record_open_run(run, now)
        except SyncError as error:
            self._telemetry.warning(f"Could not check whether the run is done: {error}", run_id=run_id)

    def _release_messages(self, batch: GroupedBatch, failed: FailedSessions) -> list[str]:
        """Set when failed messages return to the queue, and return their ids."""
        released = list(self._visibilities(batch, failed))
        changes = (Visibility(record.receipt_handle, seconds) for record, seconds in released)
        for receipt, why in self._queue.set_visibility(changes).items():
            self._telemetry.warning(
                f"A message returns after the queue's default visibility timeout: {why}",
                run_id="-",
                receipt=receipt[:20],
            )
        return [record.message_id for record, _ in released]

    def _visibilities(self, batch: GroupedBatch, failed: FailedSessions) -> Iterator[tuple[SqsRecord, int]]:
        for record, _ in batch.unreadable:
            yield record, IMMEDIATELY
        for key in failed.immediate:
            for record in batch.records[key]:
                yield record, IMMEDIATELY
        base = self._context.settings.backoff_base_seconds
        for key, least in failed.delayed.items():
            for record in batch.records[key]:
                yield record, max(least, backoff_seconds(record.receive_count, base, self._rand))


def _split_into_groups(tasks: Iterable[SessionTask]) -> Iterator[list[SessionTask]]:
    """Yield the new sessions of each run together, then every redelivered session alone."""
    tasks = list(tasks)
    yield from _group_by_run(task for task in tasks if task.receive_count == 1).values()
    yield from ([task] for task in sorted(tasks, key=_draw) if task.receive_count > 1)


def _draw(task: SessionTask) -> bytes:
    """Return a place among the redelivered sessions that is another one at each receive."""
    return hashlib.sha256(f"{task.session_id} {task.receive_count}".encode()).digest()


def _group_by_run(tasks: Iterable[SessionTask]) -> dict[str, list[SessionTask]]:
    groups: dict[str, list[SessionTask]] = {}
    for task in tasks:
        groups.setdefault(task.run_id, []).append(task)
    return groups
