"""Messages that one command has received and that nobody else sees meanwhile.

A hold is short, and renewed for as long as there is work to do. So whatever ends a command, a kill as well,
its messages are visible again when the last renewal runs out: within a minute for some thousand messages.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.message_batches import DeadMessage
from recon.aws.queue import BATCH

if TYPE_CHECKING:
    from ops.dlq.queue import DeadLetterQueue

HOLD_SECONDS = 30
# A call takes a tenth of a second at worst.
SECONDS_PER_MESSAGE = 0.1 / BATCH
# So many rounds within one hold: a renewal that SQS refuses for a moment has a second chance.
ROUNDS = 3
# Nobody may rest for longer between two renewals.
LONGEST_REST = HOLD_SECONDS / ROUNDS
# Delivery is at least once: a message that comes again does not yet mean that all others were seen.
STALE_RECEIVES = 3


@dataclass(frozen=True)
class Lease:
    """`until` by the clock of whoever holds, a little earlier than by SQS's."""

    message: DeadMessage
    until: float


class MessageLeases:
    """What a command holds. `clock` counts seconds."""

    def __init__(self, box: "DeadLetterQueue", clock: Callable[[], float], hidden: int) -> None:
        self._box = box
        self._clock = clock
        self._holds: dict[str, Lease] = {}
        self._kept: frozenset[str] | None = None
        self._renew_at = -math.inf
        # In flight when the reading began: another operator's, a move's, or a look just before. Approximate.
        self.hidden = hidden
        self.truncated = False

    @property
    def messages(self) -> list[DeadMessage]:
        """Oldest first, each once."""
        messages = [hold.message for hold in self._holds.values()]
        return sorted(messages, key=lambda message: (message.sent_at, message.message_id))

    def fill(self, limit: int, *, expected: int) -> None:
        """Receives all that is visible. Reading must be over before the first message comes back."""
        seconds = HOLD_SECONDS + math.ceil(expected * SECONDS_PER_MESSAGE)
        stale = 0
        while len(self._holds) < limit and stale < STALE_RECEIVES:
            now = self._clock()
            received = self._box.receive(min(BATCH, limit - len(self._holds)), seconds)
            if not received:
                return
            stale = stale + 1 if all(m.message_id in self._holds for m in received) else 0
            # The handle of the latest receive is the one that counts.
            self._holds.update({m.message_id: Lease(m, now + seconds) for m in received})
        self.truncated = len(self._holds) >= limit

    def keep_only(self, message_ids: Iterable[str]) -> None:
        """Gives all others back at once."""
        kept = self._kept = frozenset(message_ids)
        for others in batched([m for m in self.messages if m.message_id not in kept], BATCH):
            self.renew()
            self._give_back(others)

    def renew(self) -> None:
        """To be called often: does nothing while all holds last for long.

        What SQS refuses to renew is ours until its hold runs out (`still`). Beyond twelve hours after the
        receive it refuses everything, however often a hold was renewed.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
        """
        now = self._clock()
        if now < self._renew_at:
            return
        holds = [h for name, h in self._holds.items() if self._kept is None or name in self._kept]
        # Twice the time that a round takes at worst: the next one comes before a third is over.
        seconds = HOLD_SECONDS + math.ceil(2 * len(holds) * SECONDS_PER_MESSAGE)
        self._renew_at = now + seconds / ROUNDS
        for batch in batched(holds, BATCH):
            self._renew(batch, seconds)

    def _renew(self, batch: Sequence[Lease], seconds: int) -> None:
        now = self._clock()
        messages = self.still(hold.message for hold in batch)
        refused = self._box.set_visibility(messages, seconds)
        self._holds.update({m.message_id: Lease(m, now + seconds) for m in messages if m not in refused})

    def still(self, messages: Iterable[DeadMessage]) -> list[DeadMessage]:
        """Those that are held yet; the others are back in the queue, and may be another command's by now."""
        now = self._clock()
        return [m for m in messages if m.message_id in self._holds and self._holds[m.message_id].until > now]

    def send_back(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Sends to the source queue; returns those that SQS took."""
        return self._box.send_back(messages)

    def delete(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Returns those that SQS did not delete: they will be visible again."""
        left = self._box.delete(messages)
        for message in messages:
            if message not in left:
                self._holds.pop(message.message_id, None)
        return left

    def give_back(self) -> None:
        self._give_back(self.messages)

    def _give_back(self, messages: Sequence[DeadMessage]) -> None:
        """Best effort: what SQS does not take comes back when the hold is over."""
        with suppress(ClientError, BotoCoreError):
            self._box.set_visibility(self.still(messages), 0)
        for message in messages:
            self._holds.pop(message.message_id, None)
