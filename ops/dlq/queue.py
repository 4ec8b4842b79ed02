"""A dead-letter queue and its SQS calls: receive, hide, send back, delete.

SQS cannot show a message without receiving it, and a received message is hidden for a while. `ops.dlq.leases`
makes everything visible again that a command has received and not deleted.
"""

from collections.abc import Sequence
from itertools import batched
from typing import TYPE_CHECKING

from ops.dlq.message_batches import DeadMessage, call_batch, parse_message, split_by_size
from ops.stack.stack import Stack
from recon.aws.queue import BATCH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# A short poll asks only some of the SQS servers and may return nothing although the queue holds messages.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
LONG_POLL_SECONDS = 1


class DeadLetterQueue:
    """A dead-letter queue and its source queue. Methods raise botocore's errors."""

    def __init__(self, client: "SQSClient", url: str, source_url: str) -> None:
        self.client = client
        self.url = url
        self.source_url = source_url

    def retention_seconds(self) -> int:
        """Return how long SQS keeps a message of this queue, counted from when it was first sent."""
        answer = self.client.get_queue_attributes(
            QueueUrl=self.url, AttributeNames=["MessageRetentionPeriod"]
        )
        return int(answer["Attributes"]["MessageRetentionPeriod"])

    def receive(self, limit: int, visibility_timeout: int) -> list[DeadMessage]:
        """Receive up to `limit` messages (at most ten) and hide them for `visibility_timeout` seconds."""
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            VisibilityTimeout=visibility_timeout,
            WaitTimeSeconds=LONG_POLL_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [parse_message(message) for message in answer.get("Messages", [])]

    def set_visibility(self, messages: Sequence[DeadMessage], seconds: int) -> list[DeadMessage]:
        """Set the visibility timeout of messages; return those that SQS rejected, which keep the old one."""
        return [
            message
            for batch in batched(messages, BATCH)
            for message in call_batch(
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
        """Send at most ten messages to the source queue and return those that SQS accepted."""
        return [message for group in split_by_size(messages) for message in self._send(group)]

    def _send(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        rejected = call_batch(
            self.client.send_message_batch,
            self.source_url,
            messages,
            lambda message: {"MessageBody": message.body},
        )
        return [message for message in messages if message not in rejected]

    def delete(self, messages: Sequence[DeadMessage]) -> list[DeadMessage]:
        """Delete at most ten messages and return those that SQS did not delete."""
        return call_batch(
            self.client.delete_message_batch,
            self.url,
            messages,
            lambda message: {"ReceiptHandle": message.receipt_handle},
        )


def open_dead_letter_queue(stack: Stack) -> DeadLetterQueue:
    """Return the dead-letter queue of a stack."""
    return DeadLetterQueue(stack.sqs, stack.outputs.dlq_url, stack.outputs.queue_url)
