"""Moving dead messages back to their source queue: all of them with an SQS move task, or batch by batch.

A batch is received, sent, then deleted. If the move stops in between, a message exists once or twice but is
never lost, and the consumer settles a session once however many messages it has. All messages are received
before the first one is sent, so a message that fails again at once and comes back is not moved twice.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import batched

from ops.dlq.dead_letters import DeadLetter, DeadLetterListing, build_listing, list_dead_letters
from ops.dlq.leases import MAX_WAIT_SECONDS, MessageLeases, lease_messages
from ops.dlq.message_batches import DeadMessage
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTaskReference, MoveTasks, MoveTaskStatus
from ops.dlq.queue import DeadLetterQueue
from ops.runs.follow import follow
from recon.aws.queue import BATCH
from recon.dynamodb.table import Table
from recon.retry import Deadline

# The default pace of a move in batches: one batch per fifth of a second, which any consumer can follow.
BATCHES_PER_SECOND = 50.0


@dataclass(frozen=True)
class RedriveProgress:
    """A redrive at one moment.

    `letters` are the letters moved so far, or, if a move task does it, all that were visible before the task
    began (none if the task was running already). `rejected` messages stay, because SQS did not accept them.
    `doubled` messages were sent and not deleted, so they exist twice, which does no harm. `lapsed` messages
    stay, because they could not be held until their turn. `missing` are the named ids that no message has,
    `unmatched` the error types that no message has. `hidden` messages are in flight. `task` is None if no
    move task is used.
    """

    moved: int
    total: int
    letters: tuple[DeadLetter, ...] = ()
    rejected: int = 0
    doubled: int = 0
    lapsed: int = 0
    missing: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    hidden: int = 0
    truncated: bool = False
    task: MoveTaskStatus | None = None

    @property
    def left(self) -> int:
        """Return how many messages a move in batches has not tried yet."""
        return self.total - self.moved - self.rejected - self.lapsed

    @property
    def is_over(self) -> bool:
        """Return whether nothing more will be moved."""
        return self.task.is_over if self.task else not self.left


@dataclass(frozen=True)
class RedrivePlan:
    """The messages that a redrive would move now; `others` is how many messages would stay."""

    chosen: tuple[DeadLetter, ...]
    others: int
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]
    hidden: int
    truncated: bool


@dataclass(frozen=True)
class Redrive:
    """A redrive of one dead-letter queue. `now` returns epoch seconds; `clock` and `sleep` set the pace.

    `per_second` is the most messages per second. None leaves the pace to SQS, or to BATCHES_PER_SECOND for a
    move in batches. SQS takes whole numbers only, so a rate below one is done in batches and any other is
    rounded down.
    """

    queue: DeadLetterQueue
    tasks: MoveTasks
    table: Table
    deadline: Deadline
    now: Callable[[], float]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    per_second: float | None = None

    def plan(self, selection: MessageFilter) -> RedrivePlan:
        """Return what `run` would move, without moving anything."""
        listing = self._list()
        chosen = selection.select(listing.letters)
        return RedrivePlan(
            chosen=tuple(chosen),
            others=len(listing.letters) - len(chosen),
            missing=tuple(selection.find_missing(listing.letters)),
            unmatched=tuple(selection.find_unmatched(listing.letters)),
            hidden=listing.hidden,
            truncated=listing.truncated,
        )

    def run(self, selection: MessageFilter) -> Generator[RedriveProgress]:
        """Move the selected messages and yield the progress: at least once, the final one last.

        Closing the generator stops a move in batches after the current batch; a move task goes on.
        """
        if not selection.is_everything:
            yield from self._move_in_batches(selection)
            return
        if running := self.tasks.find_running():
            yield from self._follow_task(running, DeadLetterListing((), {}))
            return
        if self.per_second is not None and self.per_second < 1:
            yield from self._move_in_batches(selection)
            return
        # List first: a moved message cannot be read any more.
        listing = self._list()
        task = self.tasks.start(None if self.per_second is None else int(self.per_second))
        yield from self._follow_task(task, listing) if task else self._move_in_batches(selection)

    def _list(self) -> DeadLetterListing:
        return list_dead_letters(self.queue, self.table, self.now(), self.deadline)

    def _follow_task(self, task: MoveTaskReference, listing: DeadLetterListing) -> Iterator[RedriveProgress]:
        def read() -> RedriveProgress:
            status = self.tasks.read(task)
            total = len(listing.letters) if status.to_move is None else status.to_move
            return RedriveProgress(status.moved, total, listing.letters, hidden=listing.hidden, task=status)

        return follow(
            read,
            lambda progress: progress.is_over,
            timeout=self.deadline.remaining(),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _move_in_batches(self, selection: MessageFilter) -> Iterator[RedriveProgress]:
        rate = self.per_second or BATCHES_PER_SECOND
        retention = self.queue.retention_seconds()
        with lease_messages(self.queue, clock=self.clock) as leases:
            listing = build_listing(leases.messages, retention, self.table, self.now(), self.deadline)
            chosen = {letter.message_id: letter for letter in selection.select(listing.letters)}
            progress = RedriveProgress(
                moved=0,
                total=len(chosen),
                missing=tuple(selection.find_missing(listing.letters)),
                unmatched=tuple(selection.find_unmatched(listing.letters)),
                hidden=leases.hidden,
                truncated=leases.truncated,
            )
            leases.keep_only(chosen)
            yield progress
            for batch in self._paced_batches(leases, rate):
                progress = _move_batch(progress, leases, batch, chosen)
                yield progress

    def _paced_batches(self, leases: MessageLeases, rate: float) -> Iterator[Sequence[DeadMessage]]:
        """Yield batches at no more than `rate` messages per second; a slow batch is not made up for."""
        due = self.clock()
        for batch in batched(leases.messages, max(1, min(BATCH, int(rate)))):
            self._wait_until(due, leases)
            yield batch
            due = max(due, self.clock()) + len(batch) / rate

    def _wait_until(self, due: float, leases: MessageLeases) -> None:
        leases.renew()
        while (left := due - self.clock()) > 0:
            self.sleep(min(left, MAX_WAIT_SECONDS))
            leases.renew()


def _move_batch(
    progress: RedriveProgress,
    leases: MessageLeases,
    batch: Sequence[DeadMessage],
    letters: dict[str, DeadLetter],
) -> RedriveProgress:
    held = leases.filter_held(batch)
    sent = leases.send_back(held)
    not_deleted = leases.delete(sent)
    return replace(
        progress,
        moved=progress.moved + len(sent),
        letters=(*progress.letters, *(letters[message.message_id] for message in sent)),
        rejected=progress.rejected + len(held) - len(sent),
        doubled=progress.doubled + len(not_deleted),
        lapsed=progress.lapsed + len(batch) - len(held),
    )
