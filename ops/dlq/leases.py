"""Messages that one command has received and keeps hidden from other readers while it works.

A lease is short and is renewed as long as the command works. If the command ends, even by a kill, its
messages become visible again when the last renewal expires: within a minute for a few thousand messages.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import batched

from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.message_batches import DeadMessage
from ops.dlq.queue import DeadLetterQueue
from ops.stack.queue_depth import read_depth
from recon.aws.queue import BATCH

# SQS allows 120,000 messages of a queue in flight and returns nothing beyond that.
READ_LIMIT = 100_000
LEASE_SECONDS = 30
# A call takes a tenth of a second at worst.
SECONDS_PER_MESSAGE = 0.1 / BATCH
# If SQS rejects one renewal, there is time for another one within the same lease.
RENEWALS_PER_LEASE = 3
# No caller may wait for longer than this between two renewals.
MAX_WAIT_SECONDS = LEASE_SECONDS / RENEWALS_PER_LEASE
# Delivery is at least once: one repeated message does not mean yet that all others were received.
STALE_RECEIVES = 3


@dataclass(frozen=True)
class MessageLease:
    """A message and when its lease expires by the command's clock, a little earlier than by SQS's."""

    message: DeadMessage
    until: float


class MessageLeases:
    """The messages that a command holds. `clock` counts seconds.

    `hidden` is how many messages were in flight when the reading began, approximately: another command's, a
    move's, or those of a read shortly before. `truncated` is True if the queue may hold more messages.
    """

    def __init__(self, queue: DeadLetterQueue, clock: Callable[[], float], hidden: int) -> None:
        self._queue = queue
        self._clock = clock
        self._leases: dict[str, MessageLease] = {}
        self._kept: frozenset[str] | None = None
        self._renew_at = -math.inf
        self.hidden = hidden
        self.truncated = False

    @property
    def messages(self) -> list[DeadMessage]:
        """Each message once, oldest first."""
        messages = [lease.message for lease in self._leases.values()]
        return sorted(messages, key=lambda message: (message.sent_at, message.message_id))

    def receive_all(self, limit: int, *, expected: int) -> None:
        """Receive all visible messages, up to `limit`.

        The leases are long enough to read `expected` messages before the first one becomes visible again.
        """
        seconds = LEASE_SECONDS + math.ceil(expected * SECONDS_PER_MESSAGE)
        stale = 0
        while len(self._leases) < limit and stale < STALE_RECEIVES:
            now = self._clock()
            received = self._queue.receive(min(BATCH, limit - len(self._leases)), seconds)
            if not received:
                return
            stale = stale + 1 if all(m.message_id in self._leases for m in received) else 0
            # Only the receipt handle of the latest receive is valid.
            self._leases.update({m.message_id: MessageLease(m, now + seconds) for m in received})
        self.truncated = len(self._leases) >= limit

    def keep_only(self, message_ids: Iterable[str]) -> None:
        """Release all other messages now."""
        kept = self._kept = frozenset(message_ids)
        for others in batched([m for m in self.messages if m.message_id not in kept], BATCH):
            self.renew()
            self._release(others)

    def renew(self) -> None:
        """Renew all leases if they are due. Call it often; it does nothing while all leases last.

        A message whose renewal SQS rejects is held until its lease expires (`filter_held`). Twelve hours
        after the receive SQS rejects every renewal, however often a lease was renewed.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
        """
        now = self._clock()
        if now < self._renew_at:
            return
        leases = [one for name, one in self._leases.items() if self._kept is None or name in self._kept]
        # Twice the time that a round of renewals takes at worst: the next one begins before a third is over.
        seconds = LEASE_SECONDS + math.ceil(2 * len(leases) * SECONDS_PER_MESSAGE)
        self._renew_at = now + seconds / RENEWALS_PER_LEASE
        for batch in batched(leases, BATCH):
            self._renew(batch, seconds)

    def _renew(self, batch: Sequence[MessageLease], seconds: int) -> None:
        now = self._clock()
        messages = self.filter_held(lease.message for lease in batch)
        rejected = self._queue.set_visibility(messages, seconds)
        self._leases.update(
            {m.message_id: MessageLease(m, now + seconds) for m in messages if m not in rejected}
        )

    def filter_held(self, messages: Iterable[DeadMessage]) -> list[DeadMessage]:
        """Return the messages that are still held; another command may have received the others."""
        now = self._clock()
        return [
            m for m in messages if m.message_id in self._leases and self._leases[m.message_id].until > now
        ]

    def send_back(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Send messages to the source queue and return those that SQS accepted."""
        return self._queue.send_back(messages)

    def delete(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Delete messages and return those that SQS did not delete: they will become visible again."""
        rejected = self._queue.delete(messages)
        for message in messages:
            if message not in rejected:
                self._leases.pop(message.message_id, None)
        return rejected

    def release_all(self) -> None:
        """Make all held messages visible again."""
        self._release(self.messages)

    def _release(self, messages: Sequence[DeadMessage]) -> None:
        """Make messages visible again; if a call fails, they become visible when their lease expires."""
        with suppress(ClientError, BotoCoreError):
            self._queue.set_visibility(self.filter_held(messages), 0)
        for message in messages:
            self._leases.pop(message.message_id, None)


@contextmanager
def lease_messages(
    queue: DeadLetterQueue, limit: int = READ_LIMIT, clock: Callable[[], float] = time.monotonic
) -> Iterator[MessageLeases]:
    """Receive all visible messages, up to `limit`, and release the remaining ones at the end.

    They are released after an error or an interrupt as well.
    """
    depth = read_depth(queue.client, queue.url)
    leases = MessageLeases(queue, clock, depth.hidden)
    try:
        leases.receive_all(limit, expected=depth.visible)
        yield leases
    finally:
        leases.release_all()
