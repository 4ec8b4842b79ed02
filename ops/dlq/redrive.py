"""Moving dead messages back to their queue: all of them by SQS itself, some of them one batch at a time.

By hand it is receive, send, delete, in this order: stopped anywhere, a message is there once or twice and
never lost, and the consumer settles a session once however often it is there. What is moved was received
before the first message is sent, so messages that fail at once and come back are never moved again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ops.dlq.batches import DeadMessage
from ops.dlq.box import Box, Held
from ops.dlq.choice import Choice
from ops.dlq.letters import DeadLetter, Listing, list_letters, listing_of
from ops.dlq.tasks import MoveTask, MoveTasks, Started
from ops.follow import follow
from recon.ledger.table import Table
from recon.queue import BATCH
from recon.retry import Deadline

# By hand: a fifth of a second for a batch, slower than any queue or consumer needs it.
BY_HAND_PER_SECOND = 50.0


@dataclass(frozen=True)
class Moving:
    """A redrive at one moment.

    `letters`: by hand those that were moved so far; by SQS all that were visible when the task began, and
    none for a task that was running already. `rejected`: SQS did not take them, they stay. `doubled`: sent
    and not deleted, so they are there twice, which does no harm. `missing`: named and not there. `hidden`: in
    flight elsewhere. `task` is None where it is done by hand.
    """

    moved: int
    total: int
    letters: tuple[DeadLetter, ...] = ()
    rejected: int = 0
    doubled: int = 0
    missing: tuple[str, ...] = ()
    hidden: int = 0
    truncated: bool = False
    task: MoveTask | None = None

    @property
    def is_over(self) -> bool:
        return self.task.is_over if self.task else self.moved + self.rejected == self.total


@dataclass(frozen=True)
class Plan:
    """What a redrive would move now. `others` are not chosen and would stay."""

    chosen: tuple[DeadLetter, ...]
    others: int
    missing: tuple[str, ...]
    hidden: int
    truncated: bool


@dataclass(frozen=True)
class Redrive:
    """Everything a redrive needs. `now` gives epoch seconds, `clock` and `sleep` are for its pace.

    `per_second`: messages a second; None leaves it to SQS, or is BY_HAND_PER_SECOND.
    """

    box: Box
    tasks: MoveTasks
    table: Table
    deadline: Deadline
    now: Callable[[], float]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    per_second: float | None = None

    def plan(self, choice: Choice) -> Plan:
        """Moves nothing."""
        listing = self._list()
        chosen = choice.of(listing.letters)
        return Plan(
            chosen=tuple(chosen),
            others=len(listing.letters) - len(chosen),
            missing=tuple(choice.missing(listing.letters)),
            hidden=listing.hidden,
            truncated=listing.truncated,
        )

    def __call__(self, choice: Choice) -> Iterator[Moving]:
        """Moves, and yields how far it got: at least once, the end last. Leaving off in between stops a move
        by hand after its batch; a task of SQS goes on (`tasks.cancel` ends it)."""
        if not choice.is_everything:
            yield from self._by_hand(choice)
            return
        if running := self.tasks.running():
            yield from self._by_task(running, Listing((), {}))
            return
        # Read first: what is moved is not there to be read any more.
        listing = self._list()
        started = self.tasks.start(int(self.per_second) if self.per_second else None)
        yield from self._by_task(started, listing) if started else self._by_hand(choice)

    def _list(self) -> Listing:
        return list_letters(self.box, self.table, self.now(), self.deadline)

    def _by_task(self, started: Started, listing: Listing) -> Iterator[Moving]:
        def look() -> Moving:
            task = self.tasks.look(started)
            total = len(listing.letters) if task.to_move is None else task.to_move
            return Moving(task.moved, total, listing.letters, hidden=listing.hidden, task=task)

        return follow(
            look,
            lambda moving: moving.is_over,
            timeout=self.deadline.left(),
            clock=self.clock,
            sleep=self.sleep,
        )

    def _by_hand(self, choice: Choice) -> Iterator[Moving]:
        rate = self.per_second or BY_HAND_PER_SECOND
        retention = self.box.retention_seconds()
        with self.box.held() as held:
            found = listing_of(held.messages, retention, self.table, self.now(), self.deadline)
            chosen = {letter.message_id: letter for letter in choice.of(found.letters)}
            moving = Moving(
                moved=0,
                total=len(chosen),
                missing=tuple(choice.missing(found.letters)),
                hidden=held.hidden,
                truncated=held.truncated,
            )
            held.keep_only(chosen, seconds=len(chosen) / rate)
            yield moving
            for batch in self._paced(held.messages, rate):
                moving = _moved(moving, held, batch, chosen)
                yield moving

    def _paced(self, messages: Sequence[DeadMessage], rate: float) -> Iterator[Sequence[DeadMessage]]:
        size = max(1, min(BATCH, int(rate)))
        began = self.clock()
        for start in range(0, len(messages), size):
            if (early := began + start / rate - self.clock()) > 0:
                self.sleep(early)
            yield messages[start : start + size]


def _moved(
    moving: Moving, held: Held, batch: Sequence[DeadMessage], letters: dict[str, DeadLetter]
) -> Moving:
    sent = held.send_back(batch)
    left = held.delete(sent)
    return replace(
        moving,
        moved=moving.moved + len(sent),
        letters=(*moving.letters, *(letters[message.message_id] for message in sent)),
        rejected=moving.rejected + len(batch) - len(sent),
        doubled=moving.doubled + len(left),
    )
