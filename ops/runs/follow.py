"""Following a run from outside: its own record, and what is still in the queues."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ops.stack.queue_depth import read_depth
from recon.domain.run import RunStatus
from recon.dynamodb.records import Run
from recon.dynamodb.runs import Runs

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Once a second is as often as anybody reads, and costs one read of the table and two of the queues.
INTERVAL_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """A run at one moment. `run` is None until its producer has made the record.

    `waiting` has not been received yet, `retrying` is being worked on or waits for its next try, `dead` lies
    in the dead-letter queue. These three are the queues' and not this run's alone, and approximate.
    """

    run: Run | None
    waiting: int
    retrying: int
    dead: int

    @property
    def enqueued(self) -> int:
        return self.run.enqueued if self.run else 0

    @property
    def processed(self) -> int:
        return self.run.processed if self.run else 0

    @property
    def created(self) -> int:
        return self.run.created if self.run else 0

    @property
    def skipped(self) -> int:
        return self.run.skipped if self.run else 0

    @property
    def errors(self) -> int:
        return self.run.errors if self.run else 0

    @property
    def is_over(self) -> bool:
        """Every session has an outcome, or the run has failed."""
        return self.run is not None and self.run.status != RunStatus.RUNNING

    @property
    def is_settled(self) -> bool:
        """Over, and nothing is on its way any more: what failed lies in the dead-letter queue."""
        return self.is_over and not self.waiting and not self.retrying


@dataclass(frozen=True)
class Watch:
    """Where to look for the progress of runs."""

    runs: Runs
    sqs: "SQSClient"
    queue_url: str
    dlq_url: str

    def progress(self, run_id: str) -> Progress:
        """The record is read last: a session that has left the queue by then is counted in it."""
        queues = self.nothing_yet()
        return replace(queues, run=self.runs.get(run_id))

    def nothing_yet(self) -> Progress:
        """The queues alone, while a run has no name."""
        queue = read_depth(self.sqs, self.queue_url)
        dead = read_depth(self.sqs, self.dlq_url)
        return Progress(
            run=None,
            waiting=queue.visible,
            retrying=queue.hidden,
            dead=dead.visible + dead.hidden,
        )


def follow[Seen](
    look: Callable[[], Seen],
    until: Callable[[Seen], bool],
    *,
    timeout: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    interval: float = INTERVAL_SECONDS,
) -> Iterator[Seen]:
    """What `look` sees every `interval` seconds: at least once, then until `until` says of what was seen that
    it is the end, or `timeout` seconds are over. The last one tells which of the two it was.
    """
    deadline = clock() + timeout
    while True:
        seen = look()
        yield seen
        if until(seen) or clock() >= deadline:
            return
        sleep(interval)
