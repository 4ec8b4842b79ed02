"""Tracking of a requested run, whose id is unknown at first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.errors import CommandError
from ops.runs.follow import ProgressReader, RunProgress
from ops.runs.invocation import AnswerLost, ProducerAnswer, ProducerError
from recon.domain.run import RunStatus

if TYPE_CHECKING:
    from concurrent.futures import Future

# A producer creates its record within seconds; after this time it never will.
LOST_SECONDS = 120.0
# The longest time that a producer takes to create its record after a cold start.
COLD_START_SECONDS = 20.0
POLL_SECONDS = 0.5
# Longer than the longest backoff, so that a run whose messages all wait still changes within this time.
STUCK_SECONDS = 70 * 60.0


@dataclass
class RunTracker:
    """A manual run that was requested at `moment` (epoch seconds). `answer` is the producer's."""

    reader: ProgressReader
    moment: int
    answer: "Future[ProducerAnswer]"
    clock: Callable[[], float]
    run_id: str | None = None
    _started: float = field(init=False)
    _changed: float = field(init=False)
    _counters: object = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._started = self._changed = self.clock()

    def poll(self) -> RunProgress:
        """Return the progress. Raise CommandError if the producer failed or has not started in time."""
        self.run_id = self._find_run_id()
        if self.run_id is None:
            return self.reader.read_queues()
        progress = self.reader.read(self.run_id)
        if (counters := (progress.processed, progress.enqueued)) != self._counters:
            self._counters, self._changed = counters, self.clock()
        return progress

    def has_ended(self, progress: RunProgress) -> bool:
        """Return True if the run is over. One that failed ends with the answer, which `poll` raises.

        The record says `failed` a moment before the answer arrives.
        """
        has_failed = progress.run is not None and progress.run.status == RunStatus.FAILED
        return progress.is_over and (self.answer.done() or not has_failed)

    @property
    def is_stuck(self) -> bool:
        """Return True if no counter has changed for longer than any backoff."""
        return self.clock() - self._changed > STUCK_SECONDS

    def wait_for_run_id(self, sleep: Callable[[float], None]) -> str | None:
        """Return the run's id, or None if it has not started within the time of a cold start."""
        while (run_id := self._find_run_id()) is None and self.clock() - self._started < COLD_START_SECONDS:
            sleep(POLL_SECONDS)
        return run_id

    def _find_run_id(self) -> str | None:
        """Return the id from the answer; until it arrives, or if it is lost, from the moment of the run."""
        is_lost = False
        if self.answer.done():
            try:
                return str(self.answer.result()["runId"])
            except AnswerLost:
                is_lost = True
            except ProducerError as failure:
                raise self._add_recorded_cause(failure) from failure
        if run_id := self._find_by_moment():
            return run_id
        if is_lost and self.clock() - self._started > LOST_SECONDS:
            raise CommandError(
                "the producer's answer was lost and no run has started; it is safe to run again"
            )
        return None

    def _add_recorded_cause(self, failure: ProducerError) -> ProducerError:
        """Return the failure with the run's id and the cause of its record."""
        run_id = self._find_by_moment()
        record = self.reader.runs.get(run_id) if run_id else None
        if record is None or record.failure is None:
            return ProducerError(failure.error_type, failure.message, run_id)
        return ProducerError(record.failure.error_type, record.failure.message, run_id)

    def _find_by_moment(self) -> str | None:
        """Return the run's id if it is known or if exactly one run was requested at its moment."""
        if self.run_id:
            return self.run_id
        run_ids = self.reader.runs.find_by_time(self.moment)
        return run_ids[0] if len(run_ids) == 1 else None
