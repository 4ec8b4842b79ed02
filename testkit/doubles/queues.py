"""Queues and messages of the in-memory SQS."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from testkit.shapes import JsonObject

REGION = "us-east-1"
ACCOUNT = "000000000000"
_SENT_AT = attrgetter("sent_at")


@dataclass(slots=True, eq=False)
class Message:
    """A message, equal only to itself: a queue may hold copies of one.

    `handle` is the receipt handle of its latest receive, the only one that has an effect.
    """

    message_id: str
    body: str
    sent_at: float
    visible_at: float
    receive_count: int = 0
    first_received_at: float | None = None
    received_at: float | None = None
    handle: str | None = None
    source_arn: str | None = None

    @property
    def md5(self) -> str:
        return hashlib.md5(self.body.encode(), usedforsecurity=False).hexdigest()

    def to_response(self, system_attributes: Sequence[str]) -> JsonObject:
        """Return the message as ReceiveMessage returns it, with the system attributes asked for."""
        response: JsonObject = {
            "MessageId": self.message_id,
            "ReceiptHandle": self.handle,
            "MD5OfBody": self.md5,
            "Body": self.body,
        }
        everything = "All" in system_attributes
        attributes = {
            name: value
            for name, value in self._system_attributes().items()
            if everything or name in system_attributes
        }
        return response | ({"Attributes": attributes} if attributes else {})

    def _system_attributes(self) -> dict[str, str]:
        times = {"SentTimestamp": self.sent_at, "ApproximateFirstReceiveTimestamp": self.first_received_at}
        known = {name: str(int(at * 1000)) for name, at in times.items() if at is not None}
        source = {} if self.source_arn is None else {"DeadLetterQueueSourceArn": self.source_arn}
        counted = {"SenderId": ACCOUNT, "ApproximateReceiveCount": str(self.receive_count)}
        return {**counted, **known, **source}


@dataclass(slots=True)
class Queue:
    """A standard queue and its messages, oldest first."""

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

    def find_received(self, handle: str) -> Message | None:
        """Return the message whose latest receive has this receipt handle."""
        return next((message for message in self.messages if message.handle == handle), None)

    def visible_messages(self, now: float) -> list[Message]:
        return [message for message in self.messages if message.visible_at <= now]

    def drop_expired(self, now: float) -> None:
        """Delete the messages that are older than the retention period."""
        oldest = now - self.seconds("MessageRetentionPeriod")
        if min(map(_SENT_AT, self.messages), default=now) < oldest:
            self.messages = [message for message in self.messages if message.sent_at >= oldest]

    @property
    def redrive_policy(self) -> tuple[str, int] | None:
        """Return the dead-letter queue's ARN, and the receives after which a message is moved there."""
        policy = self.attributes.get("RedrivePolicy")
        if not policy:
            return None
        read = json.loads(policy)
        return read["deadLetterTargetArn"], int(read["maxReceiveCount"])

    def to_attributes(self, now: float) -> dict[str, str]:
        """Return all attributes as GetQueueAttributes returns them."""
        visible = len(self.visible_messages(now))
        return {
            **self.attributes,
            "QueueArn": self.arn,
            "CreatedTimestamp": str(int(self.created_at)),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesDelayed": "0",
            "ApproximateNumberOfMessagesNotVisible": str(len(self.messages) - visible),
        }
