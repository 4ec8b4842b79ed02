"""The progress of a run, read from its record and the queues."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ops.stack.queue_depth import read_depth
from recon.domain.run import RunStatus
from recon.dynamodb.records import Run
from recon.dynamodb.runs import Runs

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# People do not read faster, and each poll costs one read of the table and two of the queues.
INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class RunProgress:
    """A snapshot of a run. `run` is None until its producer has created the record.

    `waiting` messages have not been received, `retrying` ones are in flight, `dead` ones are in the
    dead-letter queue. These counts are approximate and include the messages of other runs.
    """

    run: Run | None
    waiting: int
    retrying: int
    dead: int

    @property
    def enqueued(self) -> int:
        """Return the number of sessions sent to the queue."""
        return self.run.enqueued if self.run else 0

    @property
    def processed(self) -> int:
        """Return the number of sessions with an outcome."""
        return self.run.processed if self.run else 0

    @property
    def created(self) -> int:
        """Return the number of created orders."""
        return self.run.created if self.run else 0

    @property
    def skipped(self) -> int:
        """Return the number of skipped sessions."""
        return self.run.skipped if self.run else 0

    @property
    def errors(self) -> int:
        """Return the number of failed sessions."""
        return self.run.errors if self.run else 0

    @property
    def is_over(self) -> bool:
        """Return True if every session has an outcome or the run has failed."""
        return self.run is not None and self.run.status != RunStatus.RUNNING

    @property
    def is_settled(self) -> bool:
        """Return True if the run is over and the main queue is empty."""
        return self.is_over and not self.waiting and not self.retrying


@dataclass(frozen=True)
class ProgressReader:
    """Reads the progress of runs."""

    runs: Runs
    sqs: "SQSClient"
    queue_url: str
    dlq_url: str

    def read(self, run_id: str) -> RunProgress:
        """Read the queues and then the record, which counts every session that has left the queue by then."""
        queues = self.read_queues()
        return replace(queues, run=self.runs.get(run_id))

    def read_queues(self) -> RunProgress:
        """Read the queues only, for a run whose id is unknown."""
        queue = read_depth(self.sqs, self.queue_url)
        dead = read_depth(self.sqs, self.dlq_url)
        return RunProgress(
            run=None,
            waiting=queue.visible,
            retrying=queue.hidden,
            dead=dead.visible + dead.hidden,
        )


def follow[Snapshot](
    look: Callable[[], Snapshot],
    until: Callable[[Snapshot], bool],
    *,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    interval: float = INTERVAL_SECONDS,
) -> Iterator[Snapshot]:
    """Yield a snapshot every `interval` seconds, at least one.

    End after the first for which `until` is True, or after `timeout` seconds. The last snapshot tells which.
    """
    deadline = clock() + timeout
    while True:
        snapshot = look()
        yield snapshot
        if until(snapshot) or clock() >= deadline:
            return
        sleep(interval)
