"""SQS standard queues in memory, as boto3's client: the operations that this project uses.

Time comes from `clock` alone, so nothing waits: a long poll answers immediately. Delivery is at least once:
`duplicate` makes a message arrive again, and `rng` makes messages arrive in any order.
"""

# ruff: noqa: N803 - the arguments have boto3's names

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from testkit.doubles.client import MemoryClient, operation
from testkit.doubles.errors import ServiceRefusal, client_error
from testkit.doubles.move_tasks import MessageMover, MessageMoveTask
from testkit.doubles.queues import Message, Queue
from testkit.doubles.sqs_requests import (
    MAX_BATCH,
    MAX_BYTES,
    BatchEntry,
    bad_value,
    check_batch,
    check_body,
    check_handle,
    check_range,
    failed_entry,
    no_queue,
)
from testkit.shapes import JsonObject

MAX_VISIBILITY = 12 * 3600
PURGE_SECONDS = 60
# The codes that SQS still answers in the form of its older query protocol.
_QUERY_CODES = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    **{
        name: f"AWS.SimpleQueueService.{name}"
        for name in (
            "TooManyEntriesInBatchRequest",
            "EmptyBatchRequest",
            "BatchEntryIdsNotDistinct",
            "BatchRequestTooLong",
            "InvalidBatchEntryId",
            "PurgeQueueInProgress",
        )
    },
}
_DEFAULTS = {
    "VisibilityTimeout": "30",
    "MessageRetentionPeriod": "345600",
    "MaximumMessageSize": str(MAX_BYTES),
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
}


class MemorySQS(MemoryClient):
    """SQS in memory.

    `rejects(operation, entry)` selects batch entries that fail although their batch succeeds; `rng` shuffles
    what a receive sees, which are the `reach` oldest messages (None: all); `move_tasks=False` is a service
    without StartMessageMoveTask, as emulators are; `move_rate` is how many messages per second a task moves
    (None: all at once); `validate=False` skips botocore's validation.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        rng: random.Random | None = None,
        reach: int | None = None,
        move_tasks: bool = True,
        move_rate: float | None = None,
        rejects: Callable[[str, BatchEntry], bool] = lambda _operation, _entry: False,
        validate: bool = True,
    ) -> None:
        super().__init__("sqs", clock, validate=validate)
        self.rejects = rejects
        self.move_tasks = move_tasks
        self.move_rate = move_rate
        self._rng = rng
        self._reach = reach
        self._queues: dict[str, Queue] = {}
        self.mover = MessageMover(self._find_by_arn, self._new_id)

    def _client_error(self, operation_name: str, error: ServiceRefusal) -> Exception:
        query_code = error.code if error.code in _QUERY_CODES else None
        code = _QUERY_CODES.get(error.code, error.code)
        return client_error(self.exceptions, operation_name, code, error.message, query_code=query_code)

    def _run_background_work(self) -> None:
        self.mover.move_due_messages(self._clock())

    # Queues

    def add_queue(
        self,
        name: str,
        *,
        visibility: int = 30,
        retention: int = 345_600,
        dead_letters: str | None = None,
        max_receives: int = 12,
    ) -> str:
        """Create a queue and return its URL. `dead_letters` is the URL of its dead-letter queue."""
        attributes = {"VisibilityTimeout": str(visibility), "MessageRetentionPeriod": str(retention)}
        if dead_letters is not None:
            arn = self._queue(dead_letters).arn
            policy = {"deadLetterTargetArn": arn, "maxReceiveCount": max_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        return str(self.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    @operation("CreateQueue")
    def create_queue(self, *, QueueName: str, Attributes: Mapping[str, str] | None = None) -> JsonObject:
        attributes = {**_DEFAULTS, **(Attributes or {})}
        existing = next((queue for queue in self._queues.values() if queue.name == QueueName), None)
        if existing is not None and existing.attributes != attributes:
            raise ServiceRefusal(
                "QueueNameExists", "A queue already exists with the same name and another value"
            )
        queue = existing or Queue(QueueName, attributes, self._clock())
        self._queues[queue.url] = queue
        return {"QueueUrl": queue.url}

    @operation("DeleteQueue")
    def delete_queue(self, *, QueueUrl: str) -> JsonObject:
        del self._queues[self._queue(QueueUrl).url]
        return {}

    @operation("GetQueueAttributes")
    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str] = ()) -> JsonObject:
        known = self._queue(QueueUrl).to_attributes(self._clock())
        if "All" in AttributeNames:
            return {"Attributes": known}
        if unknown := set(AttributeNames) - set(known) - {"RedrivePolicy", "Policy", "KmsMasterKeyId"}:
            raise ServiceRefusal("InvalidAttributeName", f"Unknown Attribute {min(unknown)}.")
        chosen = {name: known[name] for name in AttributeNames if name in known}
        return {"Attributes": chosen} if chosen else {}

    @operation("SetQueueAttributes")
    def set_queue_attributes(self, *, QueueUrl: str, Attributes: Mapping[str, str]) -> JsonObject:
        self._queue(QueueUrl).attributes.update(Attributes)
        return {}

    @operation("PurgeQueue")
    def purge_queue(self, *, QueueUrl: str) -> JsonObject:
        queue = self._queue(QueueUrl)
        now = self._clock()
        if queue.purged_at is not None and now < queue.purged_at + PURGE_SECONDS:
            raise ServiceRefusal(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue.name} is allowed every {PURGE_SECONDS} seconds.",
            )
        queue.purged_at = now
        queue.messages.clear()
        return {}

    # Sending

    @operation("SendMessage")
    def send_message(self, *, QueueUrl: str, MessageBody: str) -> JsonObject:
        message = self._send(self._queue(QueueUrl), MessageBody)
        return {"MD5OfMessageBody": message.md5, "MessageId": message.message_id}

    @operation("SendMessageBatch")
    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[BatchEntry]) -> JsonObject:
        queue = self._queue(QueueUrl)
        check_batch(Entries)
        size = sum(len(entry["MessageBody"].encode()) for entry in Entries)
        if size > MAX_BYTES:
            raise ServiceRefusal(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MAX_BYTES} bytes. You have sent {size} bytes.",
            )
        return self._batch("SendMessageBatch", Entries, lambda entry: self._send_entry(queue, entry))

    def _send_entry(self, queue: Queue, entry: BatchEntry) -> JsonObject:
        message = self._send(queue, entry["MessageBody"])
        return {"MessageId": message.message_id, "MD5OfMessageBody": message.md5}

    def _send(self, queue: Queue, body: str) -> Message:
        check_body(body)
        now = self._clock()
        message = Message(self._new_id(), body, now, now)
        queue.messages.append(message)
        return message

    # Receiving

    @operation("ReceiveMessage")
    def receive_message(
        self,
        *,
        QueueUrl: str,
        MaxNumberOfMessages: int = 1,
        VisibilityTimeout: int | None = None,
        WaitTimeSeconds: int = 0,
        MessageSystemAttributeNames: Sequence[str] = (),
    ) -> JsonObject:
        queue = self._queue(QueueUrl)
        check_range("MaxNumberOfMessages", MaxNumberOfMessages, MAX_BATCH, least=1)
        check_range("WaitTimeSeconds", WaitTimeSeconds, 20)
        seconds = queue.seconds("VisibilityTimeout") if VisibilityTimeout is None else VisibilityTimeout
        check_range("VisibilityTimeout", seconds, MAX_VISIBILITY)
        received = [
            message.to_response(MessageSystemAttributeNames)
            for message in self._receive(queue, MaxNumberOfMessages, seconds)
        ]
        return {"Messages": received} if received else {}

    def _receive(self, queue: Queue, most: int, seconds: int) -> Iterator[Message]:
        now = self._clock()
        visible = queue.visible_messages(now)
        if self._rng is not None:
            visible = visible[: self._reach]
            self._rng.shuffle(visible)
        count = 0
        for message in visible:
            if count == most:
                return
            if self._move_to_dead_letters(queue, message):
                continue
            count += 1
            message.receive_count += 1
            message.first_received_at = message.first_received_at or now
            message.received_at = now
            message.visible_at = now + seconds
            message.handle = f"{message.message_id}#{self._next_number()}"
            yield message

    def _move_to_dead_letters(self, queue: Queue, message: Message) -> bool:
        """Return whether the message was moved instead of received: with the same id and the same age."""
        if queue.redrive_policy is None or message.receive_count < queue.redrive_policy[1]:
            return False
        target = self._find_by_arn(queue.redrive_policy[0])
        if target is None:
            return False
        queue.messages.remove(message)
        message.source_arn = queue.arn
        message.received_at = None
        target.messages.append(message)
        return True

    # After a receive

    @operation("DeleteMessageBatch")
    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[BatchEntry]) -> JsonObject:
        queue = self._queue(QueueUrl)
        check_batch(Entries)
        return self._batch("DeleteMessageBatch", Entries, lambda entry: self._delete(queue, entry))

    def _delete(self, queue: Queue, entry: BatchEntry) -> JsonObject:
        """Delete a message. A stale handle and the handle of a deleted message have no effect."""
        check_handle(entry["ReceiptHandle"])
        message = queue.find_received(entry["ReceiptHandle"])
        if message is not None:
            queue.messages.remove(message)
        return {}

    @operation("ChangeMessageVisibilityBatch")
    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Sequence[BatchEntry]) -> JsonObject:
        queue = self._queue(QueueUrl)
        check_batch(Entries)
        return self._batch("ChangeMessageVisibilityBatch", Entries, lambda entry: self._change(queue, entry))

    def _change(self, queue: Queue, entry: BatchEntry) -> JsonObject:
        handle, seconds = entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0)
        check_handle(handle)
        check_range("VisibilityTimeout", seconds, MAX_VISIBILITY)
        message = queue.find_received(handle)
        now = self._clock()
        if message is None or message.visible_at <= now:
            raise bad_value(
                handle,
                "ReceiptHandle",
                "Message does not exist or is not available for visibility timeout change.",
            )
        # The twelve hours start at the receive, however often the timeout is changed.
        if now + seconds - (message.received_at or now) > MAX_VISIBILITY:
            raise bad_value(
                seconds,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            )
        message.visible_at = now + seconds
        return {}

    def _batch(
        self, name: str, entries: Sequence[BatchEntry], act: Callable[[BatchEntry], JsonObject]
    ) -> JsonObject:
        successful: list[JsonObject] = []
        failed: list[JsonObject] = []
        for entry in entries:
            if self.rejects(name, entry):
                failed.append(failed_entry(entry, "InternalError", "injected", sender=False))
                continue
            try:
                successful.append({"Id": entry["Id"], **act(entry)})
            except ServiceRefusal as error:
                failed.append(failed_entry(entry, error.code, error.message, sender=True))
        answers = {"Successful": successful, "Failed": failed}
        return {name: answered for name, answered in answers.items() if answered}

    # Moving dead letters back

    @operation("StartMessageMoveTask")
    def start_message_move_task(
        self,
        *,
        SourceArn: str,
        DestinationArn: str | None = None,
        MaxNumberOfMessagesPerSecond: int | None = None,
    ) -> JsonObject:
        """Start a task. Without a rate in the request it moves `move_rate` messages per second."""
        source = self._find_move_source(SourceArn)
        now = self._clock()
        task = MessageMoveTask(
            handle=f"task-{self._next_number()}",
            source_arn=SourceArn,
            destination_arn=DestinationArn,
            rate=MaxNumberOfMessagesPerSecond or self.move_rate,
            requested_rate=MaxNumberOfMessagesPerSecond,
            to_move=len(source.visible_messages(now)),
            started_at=now,
        )
        self.mover.start(task)
        return {"TaskHandle": task.handle}

    @operation("ListMessageMoveTasks")
    def list_message_move_tasks(self, *, SourceArn: str, MaxResults: int = 1) -> JsonObject:
        self._find_move_source(SourceArn)
        check_range("MaxResults", MaxResults, MAX_BATCH, least=1)
        return {"Results": [task.to_response() for task in self.mover.tasks_of_queue(SourceArn)[:MaxResults]]}

    @operation("CancelMessageMoveTask")
    def cancel_message_move_task(self, *, TaskHandle: str) -> JsonObject:
        return {"ApproximateNumberOfMessagesMoved": self.mover.cancel(TaskHandle).moved}

    def _find_move_source(self, arn: str) -> Queue:
        if not self.move_tasks:
            raise ServiceRefusal("InvalidAction", "The action is not valid for this endpoint.")
        source = self._find_by_arn(arn)
        if source is None:
            raise ServiceRefusal("ResourceNotFoundException", "The SourceArn doesn't exist.")
        policies = [queue.redrive_policy for queue in self._queues.values()]
        if not any(policy and policy[0] == arn for policy in policies):
            raise ServiceRefusal(
                "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue."
            )
        return source

    # The store

    def _queue(self, url: str) -> Queue:
        queue = self._queues.get(url)
        if queue is None:
            raise no_queue()
        queue.drop_expired(self._clock())
        return queue

    def _find_by_arn(self, arn: str) -> Queue | None:
        return next((queue for queue in self._queues.values() if queue.arn == arn), None)

    def _new_id(self) -> str:
        digits = f"{self._next_number():032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    # For tests

    def messages(self, queue_url: str) -> list[Message]:
        """Return all messages in a queue, visible or not."""
        with self._lock:
            self._run_background_work()
            return list(self._queue(queue_url).messages)

    def bodies(self, queue_url: str) -> list[str]:
        return [message.body for message in self.messages(queue_url)]

    def duplicate(self, queue_url: str, message_id: str) -> None:
        """Add a visible copy of a message with the same id, which remains when the message is deleted."""
        with self._lock:
            queue = self._queue(queue_url)
            original = next(message for message in queue.messages if message.message_id == message_id)
            queue.messages.append(Message(message_id, original.body, original.sent_at, self._clock()))

    def next_visible_at(self, queue_url: str) -> float | None:
        """Return when the next message becomes visible, None if there is none."""
        return min((message.visible_at for message in self.messages(queue_url)), default=None)

    def dump(self) -> bytes:
        """Return all queues as bytes: equal bytes are equal queues."""
        with self._lock:
            queues = {url: asdict(queue) for url, queue in self._queues.items()}
            return json.dumps(queues, sort_keys=True, separators=(",", ":")).encode()
