"""A dead-letter queue: reading it without losing anything, sending messages back, deleting them.

SQS has no way to look without receiving, and what was received is hidden for a while. So every read here
ends with giving back what it did not delete; a reader that is killed leaves its messages hidden for the
time of its hold, and never longer.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from ops.dlq.batches import DeadMessage, dead, parts, rejected
from ops.queues import depth_of
from recon.queue import BATCH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS lets 120,000 messages of a queue be in flight, and answers nothing beyond.
READ_LIMIT = 100_000
# Reading must be over before the first message comes back: a call takes a tenth of a second at worst.
HOLD_SECONDS = 30
SECONDS_PER_MESSAGE = 0.1 / BATCH
# A short poll asks only some of SQS's servers, and may say that a queue is empty which is not.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
LONG_POLL_SECONDS = 1
# Delivery is at least once: a message that comes again does not yet mean that all others were seen.
STALE_RECEIVES = 3
# SQS's own limit of a visibility timeout.
LONGEST_HOLD = 43_200


class Held:
    """Messages that this process has received and that nobody else sees until they are given back."""

    def __init__(self, box: "Box", messages: dict[str, DeadMessage], hidden: int, *, truncated: bool) -> None:
        self._box = box
        self._messages = messages
        # In flight elsewhere when the reading began: another operator's, or a move's. Approximate.
        self.hidden = hidden
        self.truncated = truncated

    @property
    def messages(self) -> list[DeadMessage]:
        """Oldest first, each once."""
        return sorted(self._messages.values(), key=lambda message: (message.sent_at, message.message_id))

    def keep_only(self, message_ids: Iterable[str], seconds: float = 0) -> None:
        """Gives all others back at once, and holds these for so many seconds more than usual."""
        kept = set(message_ids)
        self._give_back([m for m in self.messages if m.message_id not in kept])
        if seconds:
            hold = min(LONGEST_HOLD, HOLD_SECONDS + math.ceil(seconds))
            self._box.set_visibility(self.messages, hold)

    def send_back(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Sends to the source queue; returns those that SQS took."""
        return self._box.send_back(messages)

    def delete(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Returns those that SQS did not delete: they will be visible again."""
        left = self._box.delete(messages)
        for message in messages:
            if message not in left:
                self._messages.pop(message.message_id, None)
        return left

    def give_back(self) -> None:
        self._give_back(self.messages)

    def _give_back(self, messages: Sequence[DeadMessage]) -> None:
        """Best effort: what SQS does not take comes back when the hold is over."""
        with suppress(ClientError, BotoCoreError):
            self._box.set_visibility(messages, 0)
        for message in messages:
            self._messages.pop(message.message_id, None)


class Box:
    """A dead-letter queue and the queue its messages come from. Errors are botocore's own."""

    def __init__(self, client: "SQSClient", url: str, source_url: str) -> None:
        self.client = client
        self.url = url
        self.source_url = source_url

    def retention_seconds(self) -> int:
        """How long after it was first sent SQS deletes a message of this queue."""
        answer = self.client.get_queue_attributes(
            QueueUrl=self.url, AttributeNames=["MessageRetentionPeriod"]
        )
        return int(answer["Attributes"]["MessageRetentionPeriod"])

    @contextmanager
    def held(self, limit: int = READ_LIMIT) -> Iterator[Held]:
        """All that is visible now, up to `limit` messages. What is not deleted is given back at the end, also
        when that end is an error or an interrupt."""
        depth = depth_of(self.client, self.url)
        messages: dict[str, DeadMessage] = {}
        held = Held(self, messages, depth.hidden, truncated=False)
        try:
            held.truncated = self._read(messages, limit, expected=depth.visible)
            yield held
        finally:
            held.give_back()

    def _read(self, messages: dict[str, DeadMessage], limit: int, *, expected: int) -> bool:
        """Fills `messages`; whether it ended at the limit."""
        hold = min(LONGEST_HOLD, HOLD_SECONDS + math.ceil(expected * SECONDS_PER_MESSAGE))
        stale = 0
        while len(messages) < limit and stale < STALE_RECEIVES:
            received = self._receive(min(BATCH, limit - len(messages)), hold)
            if not received:
                return False
            stale = stale + 1 if all(m.message_id in messages for m in received) else 0
            # The handle of the latest receive is the one that counts.
            messages.update({message.message_id: message for message in received})
        return len(messages) >= limit

    def _receive(self, most: int, hold: int) -> list[DeadMessage]:
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=hold,
            WaitTimeSeconds=LONG_POLL_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [dead(message) for message in answer.get("Messages", [])]

    def set_visibility(self, messages: Sequence[DeadMessage], seconds: int) -> None:
        """What SQS does not take keeps the hold it has."""
        for start in range(0, len(messages), BATCH):
            rejected(
                self.client.change_message_visibility_batch,
                self.url,
                messages[start : start + BATCH],
                lambda message: {
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": seconds,
                },
            )

    def send_back(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """To the source queue, at most ten; returns those that SQS took."""
        return [message for part in parts(messages) for message in self._sent(part)]

    def _sent(self, part: Sequence[DeadMessage]) -> list[DeadMessage]:
        refused = rejected(
            self.client.send_message_batch,
            self.source_url,
            part,
            lambda message: {"MessageBody": message.body},
        )
        return [message for message in part if message not in refused]

    def delete(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """At most ten; returns those that SQS did not delete."""
        return rejected(
            self.client.delete_message_batch,
            self.url,
            messages,
            lambda message: {"ReceiptHandle": message.receipt_handle},
        )
