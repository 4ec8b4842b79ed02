"""A dead-letter queue: reading it without losing anything, sending messages back, deleting them.

SQS has no way to look without receiving, and what was received is hidden for a while. So every read here
ends with giving back what it did not delete; a reader that is killed leaves its messages hidden for the
time of its hold, and never longer.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import batched
from typing import TYPE_CHECKING

from ops.dlq.leases import MessageLeases
from ops.dlq.message_batches import DeadMessage, dead, parts, rejected
from ops.stack.queue_depth import read_depth
from recon.aws.queue import BATCH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# SQS lets 120,000 messages of a queue be in flight, and answers nothing beyond.
READ_LIMIT = 100_000
# A short poll asks only some of SQS's servers, and may say that a queue is empty which is not.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
LONG_POLL_SECONDS = 1


class DeadLetterQueue:
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
    def held(
        self, limit: int = READ_LIMIT, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[MessageLeases]:
        """All that is visible now, up to `limit` messages. What is not deleted is given back at the end, also
        when that end is an error or an interrupt."""
        depth = read_depth(self.client, self.url)
        held = MessageLeases(self, clock, depth.hidden)
        try:
            held.fill(limit, expected=depth.visible)
            yield held
        finally:
            held.give_back()

    def receive(self, most: int, hold: int) -> list[DeadMessage]:
        """At most ten, for `hold` seconds."""
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=hold,
            WaitTimeSeconds=LONG_POLL_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [dead(message) for message in answer.get("Messages", [])]

    def set_visibility(self, messages: Sequence[DeadMessage], seconds: int) -> list[DeadMessage]:
        """Returns those that SQS did not take: they keep the hold they have."""
        return [
            refused
            for batch in batched(messages, BATCH)
            for refused in rejected(
                self.client.change_message_visibility_batch,
                self.url,
                batch,
                lambda message: {
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": seconds,
                },
            )
        ]

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
