"""Queues and messages of the in-memory SQS, and what the service shows of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REGION = "us-east-1"
ACCOUNT = "000000000000"
RUNNING, COMPLETED, CANCELLED, FAILED = "RUNNING", "COMPLETED", "CANCELLED", "FAILED"
# Why a task fails.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/troubleshooting-dlq-redrive.html
NO_SOURCE, NO_QUEUE = "CouldNotDetermineMessageSource", "AWS.SimpleQueueService.NonExistentQueue"


@dataclass(slots=True)
class Message:
    """`handle` is the receipt handle of the latest receive, the only one that does anything."""

    message_id: str
    body: str
    sent_at: float
    visible_at: float
    attributes: dict[str, Any] = field(default_factory=dict)
    receive_count: int = 0
    first_received_at: float | None = None
    received_at: float | None = None
    handle: str | None = None
    source_arn: str | None = None

    @property
    def md5(self) -> str:
        return hashlib.md5(self.body.encode(), usedforsecurity=False).hexdigest()

    def system_attributes(self) -> dict[str, str]:
        times = {"SentTimestamp": self.sent_at, "ApproximateFirstReceiveTimestamp": self.first_received_at}
        known = {name: str(int(at * 1000)) for name, at in times.items() if at is not None}
        source = {} if self.source_arn is None else {"DeadLetterQueueSourceArn": self.source_arn}
        return {
            "SenderId": ACCOUNT,
            "ApproximateReceiveCount": str(self.receive_count),
            **known,
            **source,
        }


@dataclass(slots=True)
class Queue:
    name: str
    attributes: dict[str, str]
    created_at: float
    messages: list[Message] = field(default_factory=list)
    purged_at: float | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    @property
    def url(self) -> str:
        return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.name}"

    def seconds(self, attribute: str) -> int:
        return int(self.attributes[attribute])

    def holding(self, handle: str) -> Message | None:
        """The message that was last received under this handle."""
        return next((message for message in self.messages if message.handle == handle), None)

    @property
    def dead_letters(self) -> tuple[str, int] | None:
        """The dead-letter queue's ARN and the receives after which a message goes there."""
        policy = self.attributes.get("RedrivePolicy")
        if not policy:
            return None
        read = json.loads(policy)
        return read["deadLetterTargetArn"], int(read["maxReceiveCount"])


@dataclass(slots=True)
class MoveTask:
    """`rate` is in messages a second, None for all at once; `asked_rate` what the caller wanted of it."""

    handle: str
    source_arn: str
    destination_arn: str | None
    rate: float | None
    asked_rate: int | None
    to_move: int
    started_at: float
    moved: int = 0
    status: str = RUNNING
    failure: str | None = None

    @property
    def is_active(self) -> bool:
        return self.status == RUNNING

    def is_due(self, now: float) -> bool:
        """Whether it moves its next message by now, or finds that it was the last."""
        if not self.is_active:
            return False
        return self.rate is None or self.moved < int((now - self.started_at) * self.rate)


def shown(message: Message, wanted: set[str], attribute_names: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.handle,
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    system = message.system_attributes()
    if chosen := {name: text for name, text in system.items() if {"All", name} & wanted}:
        shown["Attributes"] = chosen
    named = {name: value for name, value in message.attributes.items() if _asked(name, attribute_names)}
    if named:
        shown["MessageAttributes"] = named
    return shown


def _asked(name: str, patterns: Sequence[str]) -> bool:
    return any(
        pattern in {"All", ".*", name} or (pattern.endswith(".*") and name.startswith(pattern[:-2]))
        for pattern in patterns
    )


def shown_task(task: MoveTask) -> dict[str, Any]:
    """A handle is of use only while the task runs, and only then shown."""
    optional = {
        "TaskHandle": task.handle if task.status == RUNNING else None,
        "DestinationArn": task.destination_arn,
        "MaxNumberOfMessagesPerSecond": task.asked_rate,
        "FailureReason": task.failure,
    }
    return {
        "Status": task.status,
        "SourceArn": task.source_arn,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int(task.started_at * 1000),
        **{name: value for name, value in optional.items() if value is not None},
    }
