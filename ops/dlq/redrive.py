"""Moving dead messages back to their queue: all of them by SQS itself, some of them one batch at a time.

By hand it is receive, send, delete, in this order: stopped anywhere, a message is there once or twice and
never lost, and the consumer settles a session once however often it is there. What is moved was received
before the first message is sent, so messages that fail at once and come back are never moved again.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import batched

from ops.dlq.dead_letters import DeadLetter, Listing, list_dead_letters, listing_of
from ops.dlq.leases import LONGEST_REST, MessageLeases
from ops.dlq.message_batches import DeadMessage
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTask, MoveTasks, Started
from ops.dlq.queue import DeadLetterQueue
from ops.runs.follow import follow
from recon.aws.queue import BATCH
from recon.dynamodb.table import Table
from recon.retry import Deadline

# By hand: a fifth of a second for a batch, slower than any queue or consumer needs it.
BY_HAND_PER_SECOND = 50.0


@dataclass(frozen=True)
class Moving:
    """A redrive at one moment.

    `letters`: by hand those that were moved so far; by SQS all that were visible when the task began, and
    none for a task that was running already. `rejected`: SQS did not take them, they stay. `doubled`: sent
    and not deleted, so they are there twice, which does no harm. `lapsed`: they could not be held until their
    turn, and stay. `missing`: named and not there. `unmatched`: error types that no message had. `hidden`: in
    flight elsewhere. `task` is None where it is done by hand.
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
    task: MoveTask | None = None

    @property
    def left(self) -> int:
        """By hand, those whose turn has not come."""
        return self.total - self.moved - self.rejected - self.lapsed

    @property
    def is_over(self) -> bool:
        return self.task.is_over if self.task else not self.left


@dataclass(frozen=True)
class Plan:
    """What a redrive would move now. `others` are not chosen and would stay."""

    chosen: tuple[DeadLetter, ...]
    others: int
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]
    hidden: int
    truncated: bool


@dataclass(frozen=True)
class Redrive:
    """Everything a redrive needs. `now` gives epoch seconds, `clock` and `sleep` are for its pace.

    `per_second`: messages a second at most; None leaves it to SQS, or is BY_HAND_PER_SECOND. SQS by itself
    takes whole numbers only: less than one is done by hand, and anything else rounded down.
    """

    box: DeadLetterQueue
    tasks: MoveTasks
    table: Table
    deadline: Deadline
    now: Callable[[], float]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    per_second: float | None = None

    def plan(self, choice: MessageFilter) -> Plan:
        """Moves nothing."""
        listing = self._list()
        chosen = choice.of(listing.letters)
        return Plan(
            chosen=tuple(chosen),
            others=len(listing.letters) - len(chosen),
            missing=tuple(choice.missing(listing.letters)),
            unmatched=tuple(choice.unmatched(listing.letters)),
            hidden=listing.hidden,
            truncated=listing.truncated,
        )

    def __call__(self, choice: MessageFilter) -> Generator[Moving]:
        """Moves, and yields how far it got: at least once, the end last. Leaving off in between stops a move
        by hand after its batch; a task of SQS goes on (`tasks.cancel` ends it)."""
        if not choice.is_everything:
            yield from self._by_hand(choice)
            return
        if running := self.tasks.running():
            yield from self._by_task(running, Listing((), {}))
            return
        if self.per_second is not None and self.per_second < 1:
            yield from self._by_hand(choice)
            return
        # Read first: what is moved is not there to be read any more.
        listing = self._list()
        started = self.tasks.start(None if self.per_second is None else int(self.per_second))
        yield from self._by_task(started, listing) if started else self._by_hand(choice)

    def _list(self) -> Listing:
        return list_dead_letters(self.box, self.table, self.now(), self.deadline)

    def _by_task(self, started: Started, listing: Listing) -> Iterator[Moving]:
        def look() -> Moving:
            task = self.tasks.look(started)
            total = len(listing.letters) if task.to_move is None else task.to_move
            return Moving(task.moved, total, listing.letters, hidden=listing.hidden, task=task)

        return follow(
            look,
            lambda moving: moving.is_over,
            timeout=self.deadline.remaining(),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _by_hand(self, choice: MessageFilter) -> Iterator[Moving]:
        rate = self.per_second or BY_HAND_PER_SECOND
        retention = self.box.retention_seconds()
        with self.box.held(clock=self.clock) as held:
            found = listing_of(held.messages, retention, self.table, self.now(), self.deadline)
            chosen = {letter.message_id: letter for letter in choice.of(found.letters)}
            moving = Moving(
                moved=0,
                total=len(chosen),
                missing=tuple(choice.missing(found.letters)),
                unmatched=tuple(choice.unmatched(found.letters)),
                hidden=held.hidden,
                truncated=held.truncated,
            )
            held.keep_only(chosen)
            yield moving
            for batch in self._paced(held, rate):
                moving = _moved(moving, held, batch, chosen)
                yield moving

    def _paced(self, held: MessageLeases, rate: float) -> Iterator[Sequence[DeadMessage]]:
        """Never faster than `rate`, also after a batch that took long."""
        due = self.clock()
        for batch in batched(held.messages, max(1, min(BATCH, int(rate)))):
            self._rest(held, due)
            yield batch
            due = max(due, self.clock()) + len(batch) / rate

    def _rest(self, held: MessageLeases, due: float) -> None:
        """Until it is due; what is held stays so meanwhile."""
        held.renew()
        while (left := due - self.clock()) > 0:
            self.sleep(min(left, LONGEST_REST))
            held.renew()


def _moved(
    moving: Moving, held: MessageLeases, batch: Sequence[DeadMessage], letters: dict[str, DeadLetter]
) -> Moving:
    ours = held.still(batch)
    sent = held.send_back(ours)
    left = held.delete(sent)
    return replace(
        moving,
        moved=moving.moved + len(sent),
        letters=(*moving.letters, *(letters[message.message_id] for message in sent)),
        rejected=moving.rejected + len(ours) - len(sent),
        doubled=moving.doubled + len(left),
        lapsed=moving.lapsed + len(batch) - len(ours),
    )
