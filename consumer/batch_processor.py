"""A batch from end to end: what each message comes to, and when those that failed come back.

No session waits for another: each gets a fate of its own. Messages that were received before are worked
on alone and after the fresh ones, so that one that kills the function takes no neighbour along.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from consumer.batch import GroupedBatch, Session, SessionTask, SqsRecord, group_by_session
from consumer.session_group import GroupResult, InvocationContext, SessionGroup
from recon.aws.queue import SessionQueue, Visibility
from recon.domain.reconcile import Outcome
from recon.domain.run import RunStatus
from recon.dynamodb.orders import Orders, Users, find_orders_by_user
from recon.dynamodb.outcomes import PriorState, load_prior_state
from recon.dynamodb.runs import Runs
from recon.dynamodb.session_result import SessionResult
from recon.errors import OutOfTime, SyncError, Unexpected, Unfinished
from recon.retry import backoff_seconds, scatter_seconds
from recon.telemetry import Metric, frames

_METRICS = {
    Outcome.CREATED: Metric.ORDERS_CREATED,
    Outcome.SKIPPED: Metric.SESSIONS_SKIPPED,
    Outcome.ERROR: Metric.SESSION_ERRORS,
}
AT_ONCE = 0  # seconds: straight back, and so into the dead-letter queue without delay


@dataclass
class FailedSessions:
    """What failed: sessions that go back at once, and those that wait."""

    at_once: set[Session] = field(default_factory=set)
    later: list[Session] = field(default_factory=list)


class BatchProcessor:
    """Processes batches of one invocation. `function_timeout` is in seconds, `rand` gives [0, 1)."""

    def __init__(
        self,
        tools: InvocationContext,
        queue: SessionQueue,
        *,
        function_timeout: float,
        rand: Callable[[], float],
    ) -> None:
        self._tools = tools
        self._queue = queue
        self._function_timeout = function_timeout
        self._rand = rand
        self._telemetry = tools.telemetry

    def __call__(self, deliveries: list[SqsRecord]) -> list[str]:
        """Returns the ids of the messages that Lambda must not delete."""
        self._scatter(deliveries)
        batch = group_by_session(deliveries)
        for delivery, problem in batch.unreadable:
            self._telemetry.error(
                f"Message cannot be read: {problem}", run_id="-", message_id=delivery.message_id
            )
        fates = self._work_on(batch.works)
        return self._give_back(batch, fates)

    def _scatter(self, deliveries: Iterable[SqsRecord]) -> None:
        """A batch that was killed once must not meet again: each message comes back at its own time."""
        self._queue.set_visibility(
            Visibility(delivery.receipt_handle, scatter_seconds(self._function_timeout, self._rand))
            for delivery in deliveries
            if delivery.receive_count > 1
        )

    def _work_on(self, works: list[SessionTask]) -> FailedSessions:
        fates = FailedSessions()
        if not works:
            return fates
        try:
            known = load_prior_state(self._tools.table, (work.key for work in works), self._tools.deadline)
        except SyncError as error:
            for work in works:
                self._postpone(fates, work, error)
            return fates
        open_works = [work for work in works if not self._is_through(work, known, fates)]
        messages = [work.message for work in open_works if work.message]
        orders = find_orders_by_user(self._tools.table, messages, self._tools.pool, self._tools.deadline)
        self._announce_last_attempts(open_works, known)
        for group in _groups(open_works):
            self._settle(group, known, orders, fates)
        for run_id in sorted({work.run_id for work in works}):
            self._finish(run_id)
        return fates

    def _announce_last_attempts(self, works: Iterable[SessionTask], known: PriorState) -> None:
        """All of the batch, before any is tried: the first may be the one that kills the function."""
        for run_id, group in _by_run(works).items():
            announced = SessionGroup(self._tools, run_id, known).announce_last_attempts(group)
            self._telemetry.count(Metric.SESSION_ERRORS, announced)
            if announced:
                # Asked now, since nobody may live to ask after the attempt.
                self._finish(run_id)

    def _is_through(self, work: SessionTask, known: PriorState, fates: FailedSessions) -> bool:
        """Settled before, or failed for good under this very message: no further calls for it."""
        outcome = known.outcomes.get(work.key)
        if outcome is None:
            return False
        if outcome.is_final:
            return True
        # A redriven message has a new id and is tried; the old one is on its way to the dead-letter queue.
        failed = outcome.message_id == work.message_id and outcome.error_type != Unfinished.__name__
        if failed:
            fates.at_once.add(work.key)
        return failed

    def _settle(
        self, group: list[SessionTask], known: PriorState, orders: dict[Users, Orders], fates: FailedSessions
    ) -> None:
        try:
            self._tools.deadline.check()
            settled = SessionGroup(self._tools, group[0].run_id, known)(group, orders)
        except OutOfTime as error:
            for work in group:
                self._postpone(fates, work, error)
        except Exception as error:  # noqa: BLE001 - a bug met by one group must not undo the others
            self._telemetry.error(
                f"Unexpected {type(error).__name__}", run_id=group[0].run_id, frames=frames(error)
            )
            for work in group:
                self._postpone(fates, work, Unexpected(f"{type(error).__name__} in the batch"))
        else:
            self._judge(group, settled, fates)
            self._warn(group[0].run_id, settled.warning)

    def _judge(self, group: list[SessionTask], settled: GroupResult, fates: FailedSessions) -> None:
        for work in group:
            applied = settled.committed.applied.get(work.session_id)
            error = settled.later.get(work.session_id) or settled.committed.failed.get(work.session_id)
            if applied:
                self._report(work, applied)
                if applied.outcome is Outcome.ERROR:
                    fates.at_once.add(work.key)
            elif work.session_id not in settled.committed.settled:
                # Nothing may be deleted of which nobody knows what became of it.
                self._postpone(fates, work, error or Unexpected("the commit does not say what became of it"))

    def _warn(self, run_id: str, warning: str | None) -> None:
        """Once a run; best effort, since it concerns no session's fate."""
        try:
            if warning and Runs(self._tools.table, self._tools.deadline).warn(run_id, warning):
                self._telemetry.warning(warning, run_id=run_id)
                self._telemetry.count(Metric.RUN_WARNINGS)
        except SyncError as error:
            self._telemetry.warning(f"A warning could not be kept: {error}", run_id=run_id)

    def _report(self, work: SessionTask, result: SessionResult) -> None:
        ids = {"run_id": work.run_id, "session_id": work.session_id}
        for drift in result.drift:
            self._telemetry.warning(f"Order drifts from Stripe: {drift.partition(':')[0]}", **ids)
        self._telemetry.count(Metric.ORDERS_DRIFTED, bool(result.drift))
        match result.outcome:
            case Outcome.CREATED:
                self._telemetry.info(f"Created order snapshot {result.order_number} via sync", **ids)
                order = result.order or {}
                self._telemetry.recovered(order.get("amount"), order.get("currency"))
            case Outcome.SKIPPED:
                self._telemetry.info(f"Skipped session: {result.reason}", **ids, reason=str(result.reason))
            case Outcome.ERROR:
                self._telemetry.error(
                    f"Session failed: {result.error}",
                    **ids,
                    error_type=type(result.error).__name__,
                    receive_count=work.receive_count,
                )
        self._telemetry.failed_for(result.error)
        if result.outcome is not Outcome.ERROR or result.previous is None:
            self._telemetry.count(_METRICS[result.outcome])

    def _postpone(self, fates: FailedSessions, work: SessionTask, error: SyncError) -> None:
        fates.later.append(work.key)
        self._telemetry.failed_for(error)
        self._telemetry.warning(
            f"Session is tried again later: {error}",
            run_id=work.run_id,
            session_id=work.session_id,
            error_type=type(error).__name__,
            receive_count=work.receive_count,
        )

    def _finish(self, run_id: str) -> None:
        """Whoever commits last marks the run done; whoever fails to ask leaves it to the next one."""
        runs, now = Runs(self._tools.table, self._tools.deadline), self._tools.now()
        try:
            run = runs.get(run_id)
            if run is None:
                return
            if done := runs.finish(run, now):
                self._telemetry.sync_completed(done, done.seconds(now))
                self._telemetry.watermark(runs.state(), now)
            elif run.status == RunStatus.RUNNING and not run.is_complete:
                self._telemetry.run_is_open(run, now)
        except SyncError as error:
            self._telemetry.warning(f"Whether the run is done is not known: {error}", run_id=run_id)

    def _give_back(self, batch: GroupedBatch, fates: FailedSessions) -> list[str]:
        failed = list(self._failed(batch, fates))
        changes = (Visibility(delivery.receipt_handle, seconds) for delivery, seconds in failed)
        for receipt, why in self._queue.set_visibility(changes).items():
            self._telemetry.warning(
                f"A message comes back with the queue's own visibility timeout: {why}",
                run_id="-",
                receipt=receipt[:20],
            )
        return [delivery.message_id for delivery, _ in failed]

    def _failed(self, batch: GroupedBatch, fates: FailedSessions) -> Iterator[tuple[SqsRecord, int]]:
        for delivery, _ in batch.unreadable:
            yield delivery, AT_ONCE
        for key in fates.at_once:
            for delivery in batch.deliveries[key]:
                yield delivery, AT_ONCE
        base = self._tools.settings.backoff_base_seconds
        for key in fates.later:
            for delivery in batch.deliveries[key]:
                yield delivery, backoff_seconds(delivery.receive_count, base, self._rand)


def _groups(works: Iterable[SessionTask]) -> Iterator[list[SessionTask]]:
    """The fresh sessions of each run together, then everything that was received before, one by one."""
    works = list(works)
    yield from _by_run(work for work in works if work.receive_count == 1).values()
    yield from ([work] for work in works if work.receive_count > 1)


def _by_run(works: Iterable[SessionTask]) -> dict[str, list[SessionTask]]:
    runs: dict[str, list[SessionTask]] = {}
    for work in works:
        runs.setdefault(work.run_id, []).append(work)
    return runs
