"""Following a run that was just asked for, before anybody knows its name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ops.errors import CommandError
from ops.runs.follow import Progress, Watch
from ops.runs.invocation import AnswerLost, Body, ProducerFailed

if TYPE_CHECKING:
    from concurrent.futures import Future

# A producer that has not begun its record by then never will: it starts in seconds.
LOST_SECONDS = 120.0
# What a producer takes to begin its record, at worst.
COLD_START_SECONDS = 20.0
POLL_SECONDS = 0.5
# Longer than the longest backoff: a run whose every message waits still moves within that.
STUCK_SECONDS = 70 * 60.0


@dataclass
class RunTracker:
    """A run by hand, asked for at `moment` (epoch seconds); `answer` is the producer's, when it comes."""

    watch: Watch
    moment: int
    answer: "Future[Body]"
    clock: Callable[[], float]
    run_id: str | None = None
    _began: float = field(init=False)
    _moved: float = field(init=False)
    _before: object = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._began = self._moved = self.clock()

    def look(self) -> Progress:
        """Raises CannotRun where the producer failed, or was invoked and never began."""
        self.run_id = self._named()
        if self.run_id is None:
            return self.watch.nothing_yet()
        progress = self.watch.progress(self.run_id)
        if (now := (progress.processed, progress.enqueued)) != self._before:
            self._before, self._moved = now, self.clock()
        return progress

    @property
    def is_stuck(self) -> bool:
        return self.clock() - self._moved > STUCK_SECONDS

    def name(self, sleep: Callable[[float], None]) -> str | None:
        """What the run is called, if it begins within a cold start's time."""
        while (named := self._named()) is None and self.clock() - self._began < COLD_START_SECONDS:
            sleep(POLL_SECONDS)
        return named

    def _named(self) -> str | None:
        """By the answer; before it comes, or where it was lost, by the moment that the run is named after."""
        lost = False
        if self.answer.done():
            try:
                return str(self.answer.result()["runId"])
            except AnswerLost:
                lost = True
            except ProducerFailed as failed:
                raise self._with_record(failed) from failed
        if begun := self._begun():
            return begun
        if lost and self.clock() - self._began > LOST_SECONDS:
            raise CommandError("the producer's answer was lost, and no run has begun; running again is safe")
        return None

    def _with_record(self, failed: ProducerFailed) -> ProducerFailed:
        """Name the failed run, and its cause as its record says it."""
        run_id = self._begun()
        record = self.watch.runs.get(run_id) if run_id else None
        if record is None or record.failure is None:
            return ProducerFailed(failed.error_type, failed.message, run_id)
        return ProducerFailed(record.failure.error_type, record.failure.message, run_id)

    def _begun(self) -> str | None:
        """Return the run's id, if its record is there and no other run was asked for at the same moment."""
        if self.run_id:
            return self.run_id
        begun = self.watch.runs.find_by_time(self.moment)
        return begun[0] if len(begun) == 1 else None
