"""SQS standard queues in memory: the methods of boto3's client, the answers and refusals of the service.

Time comes from `clock` alone, so nothing waits: a long poll answers at once with what is there. Delivery is
at least once: `duplicate` makes a message arrive again, `rng` makes messages arrive in any order.
"""

# ruff: noqa: N803  the arguments are named as boto3 names them

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import wraps
from threading import RLock
from typing import Any, Concatenate

from testkit.doubles.errors import Meta, Refused, check_parameters, client_error, exceptions_of, metadata
from testkit.doubles.queues import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NO_QUEUE,
    NO_SOURCE,
    RUNNING,
    Message,
    MoveTask,
    Queue,
    shown,
    shown_task,
)
from testkit.doubles.sqs_requests import (
    MAX_BATCH,
    MAX_BYTES,
    Entry,
    bad_value,
    check_batch,
    check_body,
    check_handle,
    check_range,
    failure,
    no_queue,
)

type Answer = dict[str, Any]

MAX_VISIBILITY = 12 * 3600
MAX_DELAY = 900
PURGE_SECONDS = 60
# The codes that SQS still answers in the way of its older query protocol.
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
            "UnsupportedOperation",
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


def operation[**P](
    name: str,
) -> Callable[[Callable[Concatenate["MemorySQS", P], Answer]], Callable[Concatenate["MemorySQS", P], Answer]]:
    """Makes a method an operation: checked by botocore, alone under the lock, refused with ClientErrors."""

    def decorate(
        method: Callable[Concatenate["MemorySQS", P], Answer],
    ) -> Callable[Concatenate["MemorySQS", P], Answer]:
        @wraps(method)
        def call(self: "MemorySQS", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            if self._validate:
                check_parameters("sqs", name, kwargs)
            with self._lock:
                self._go_on_moving()
                try:
                    return {**method(self, *args, **kwargs), "ResponseMetadata": metadata(self._number())}
                except Refused as refused:
                    raise self._error(name, refused) from None
                finally:
                    self._go_on_moving()

        return call

    return decorate


def _no_rejection(operation_name: str, entry: Entry) -> bool:
    return False


class MemorySQS:
    """`rejects(operation, entry)` picks batch entries that fail while their batch answers 200. `rng` shuffles
    what a receive sees. `move_tasks=False` is a service without StartMessageMoveTask, as emulators are;
    `move_rate` is how many messages a second a task moves (None: all at once).
    `validate=False` leaves out botocore's check of parameters.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        rng: random.Random | None = None,
        move_tasks: bool = True,
        move_rate: float | None = None,
        rejects: Callable[[str, Entry], bool] = _no_rejection,
        validate: bool = True,
    ) -> None:
        self.exceptions = exceptions_of("sqs")
        self.meta = Meta("sqs")
        self.rejects = rejects
        self.move_tasks = move_tasks
        self.move_rate = move_rate
        self._clock = clock
        self._rng = rng
        self._validate = validate
        self._lock = RLock()
        self._numbers = 0
        self._queues: dict[str, Queue] = {}
        self._tasks: list[MoveTask] = []

    # Queues

    def add_queue(
        self, name: str, *, visibility: int = 30, dead_letters: str | None = None, max_receives: int = 12
    ) -> str:
        """The short way to a queue; `dead_letters` is the URL of another. Answers its URL."""
        attributes = {"VisibilityTimeout": str(visibility)}
        if dead_letters is not None:
            arn = self._queue(dead_letters).arn
            attributes["RedrivePolicy"] = json.dumps(
                {"deadLetterTargetArn": arn, "maxReceiveCount": max_receives}
            )
        return str(self.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    @operation("CreateQueue")
    def create_queue(self, *, QueueName: str, Attributes: Mapping[str, str] | None = None) -> Answer:
        wanted = {**_DEFAULTS, **(Attributes or {})}
        held = next((queue for queue in self._queues.values() if queue.name == QueueName), None)
        if held is not None and held.attributes != wanted:
            raise Refused("QueueNameExists", "A queue already exists with the same name and another value")
        queue = held or Queue(QueueName, wanted, self._clock())
        self._queues[queue.url] = queue
        return {"QueueUrl": queue.url}

    @operation("DeleteQueue")
    def delete_queue(self, *, QueueUrl: str) -> Answer:
        del self._queues[self._queue(QueueUrl).url]
        return {}

    @operation("GetQueueUrl")
    def get_queue_url(self, *, QueueName: str) -> Answer:
        for queue in self._queues.values():
            if queue.name == QueueName:
                return {"QueueUrl": queue.url}
        raise no_queue()

    @operation("GetQueueAttributes")
    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str] = ()) -> Answer:
        queue = self._queue(QueueUrl)
        known = self._attributes(queue)
        if "All" in AttributeNames:
            return {"Attributes": known}
        if unknown := set(AttributeNames) - set(known) - {"RedrivePolicy", "Policy", "KmsMasterKeyId"}:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {min(unknown)}.")
        chosen = {name: known[name] for name in AttributeNames if name in known}
        return {"Attributes": chosen} if chosen else {}

    @operation("SetQueueAttributes")
    def set_queue_attributes(self, *, QueueUrl: str, Attributes: Mapping[str, str]) -> Answer:
        self._queue(QueueUrl).attributes.update(Attributes)
        return {}

    @operation("PurgeQueue")
    def purge_queue(self, *, QueueUrl: str) -> Answer:
        queue = self._queue(QueueUrl)
        now = self._clock()
        if queue.purged_at is not None and now < queue.purged_at + PURGE_SECONDS:
            raise Refused(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue.name} is allowed every {PURGE_SECONDS} seconds.",
            )
        queue.purged_at = now
        queue.messages.clear()
        return {}

    def _attributes(self, queue: Queue) -> dict[str, str]:
        now = self._clock()
        visible = sum(1 for message in queue.messages if message.visible_at <= now)
        delayed = sum(
            1 for message in queue.messages if message.visible_at > now and message.received_at is None
        )
        return {
            **queue.attributes,
            "QueueArn": queue.arn,
            "CreatedTimestamp": str(int(queue.created_at)),
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "ApproximateNumberOfMessagesNotVisible": str(len(queue.messages) - visible - delayed),
        }

    # Sending

    @operation("SendMessage")
    def send_message(
        self,
        *,
        QueueUrl: str,
        MessageBody: str,
        DelaySeconds: int | None = None,
        MessageAttributes: Mapping[str, Any] | None = None,
    ) -> Answer:
        queue = self._queue(QueueUrl)
        check_body(MessageBody)
        message = self._send(queue, MessageBody, DelaySeconds, MessageAttributes)
        return {"MD5OfMessageBody": message.md5, "MessageId": message.message_id}

    @operation("SendMessageBatch")
    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> Answer:
        queue = self._queue(QueueUrl)
        check_batch(Entries)
        size = sum(len(entry["MessageBody"].encode()) for entry in Entries)
        if size > MAX_BYTES:
            raise Refused(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MAX_BYTES} bytes. You have sent {size} bytes.",
            )
        return self._batch("SendMessageBatch", Entries, lambda entry: self._send_entry(queue, entry))

    def _send_entry(self, queue: Queue, entry: Entry) -> Answer:
        check_body(entry["MessageBody"])
        message = self._send(
            queue, entry["MessageBody"], entry.get("DelaySeconds"), entry.get("MessageAttributes")
        )
        return {"MessageId": message.message_id, "MD5OfMessageBody": message.md5}

    def _send(
        self, queue: Queue, body: str, delay: int | None, attributes: Mapping[str, Any] | None
    ) -> Message:
        seconds = queue.seconds("DelaySeconds") if delay is None else delay
        check_range("DelaySeconds", seconds, MAX_DELAY)
        now = self._clock()
        message = Message(self._new_id(), body, now, now + seconds, dict(attributes or {}))
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
        AttributeNames: Sequence[str] = (),
        MessageSystemAttributeNames: Sequence[str] = (),
        MessageAttributeNames: Sequence[str] = (),
    ) -> Answer:
        queue = self._queue(QueueUrl)
        check_range("MaxNumberOfMessages", MaxNumberOfMessages, MAX_BATCH, least=1)
        check_range("WaitTimeSeconds", WaitTimeSeconds, 20)
        seconds = queue.seconds("VisibilityTimeout") if VisibilityTimeout is None else VisibilityTimeout
        check_range("VisibilityTimeout", seconds, MAX_VISIBILITY)
        wanted = {*AttributeNames, *MessageSystemAttributeNames}
        received = [
            shown(message, wanted, MessageAttributeNames)
            for message in self._received(queue, MaxNumberOfMessages, seconds)
        ]
        return {"Messages": received} if received else {}

    def _received(self, queue: Queue, most: int, seconds: int) -> Iterator[Message]:
        now = self._clock()
        waiting = [message for message in queue.messages if message.visible_at <= now]
        if self._rng is not None:
            self._rng.shuffle(waiting)
        count = 0
        for message in waiting:
            if count == most:
                return
            if not self._buried(queue, message):
                count += 1
                self._receive(message, now, seconds)
                yield message

    def _receive(self, message: Message, now: float, seconds: int) -> None:
        message.receive_count += 1
        message.first_received_at = message.first_received_at or now
        message.received_at = now
        message.visible_at = now + seconds
        message.handle = f"{message.message_id}#{self._number()}"

    def _buried(self, queue: Queue, message: Message) -> bool:
        """Instead of one receive too many, a message goes to the dead-letter queue: same id, same age."""
        if queue.dead_letters is None or message.receive_count < queue.dead_letters[1]:
            return False
        target = self._by_arn(queue.dead_letters[0])
        if target is None:
            return False
        queue.messages.remove(message)
        message.source_arn = queue.arn
        message.received_at = None
        target.messages.append(message)
        return True

    # After a receive

    @operation("DeleteMessage")
    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> Answer:
        self._delete(self._queue(QueueUrl), ReceiptHandle)
        return {}

    @operation("DeleteMessageBatch")
    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> Answer:
        queue = self._queue(QueueUrl)
        check_batch(Entries)
        return self._batch(
            "DeleteMessageBatch", Entries, lambda entry: self._delete(queue, entry["ReceiptHandle"])
        )

    def _delete(self, queue: Queue, handle: str) -> Answer:
        """A stale handle is no error and deletes nothing; a deleted message's neither."""
        check_handle(handle)
        message = queue.holding(handle)
        if message is not None:
            queue.messages.remove(message)
        return {}

    @operation("ChangeMessageVisibility")
    def change_message_visibility(
        self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int
    ) -> Answer:
        return self._change(self._queue(QueueUrl), ReceiptHandle, VisibilityTimeout)

    @operation("ChangeMessageVisibilityBatch")
    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Sequence[Entry]) -> Answer:
        queue = self._queue(QueueUrl)
        check_batch(Entries)
        return self._batch(
            "ChangeMessageVisibilityBatch",
            Entries,
            lambda entry: self._change(queue, entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0)),
        )

    def _change(self, queue: Queue, handle: str, seconds: int) -> Answer:
        check_handle(handle)
        check_range("VisibilityTimeout", seconds, MAX_VISIBILITY)
        message = queue.holding(handle)
        now = self._clock()
        if message is None or message.visible_at <= now:
            raise bad_value(
                handle,
                "ReceiptHandle",
                "Message does not exist or is not available for visibility timeout change.",
            )
        # Twelve hours are counted from the receive, however often the timeout is changed.
        if now + seconds - (message.received_at or now) > MAX_VISIBILITY:
            raise bad_value(
                seconds,
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            )
        message.visible_at = now + seconds
        return {}

    def _batch(self, name: str, entries: Sequence[Entry], act: Callable[[Entry], Answer]) -> Answer:
        successful: list[Answer] = []
        failed: list[Answer] = []
        for entry in entries:
            if self.rejects(name, entry):
                failed.append(failure(entry, "InternalError", "injected", sender=False))
                continue
            try:
                successful.append({"Id": entry["Id"], **act(entry)})
            except Refused as refused:
                failed.append(failure(entry, refused.code, refused.message, sender=True))
        return {
            **({"Successful": successful} if successful else {}),
            **({"Failed": failed} if failed else {}),
        }

    # Moving dead letters back

    @operation("StartMessageMoveTask")
    def start_message_move_task(
        self,
        *,
        SourceArn: str,
        DestinationArn: str | None = None,
        MaxNumberOfMessagesPerSecond: int | None = None,
    ) -> Answer:
        """Moves `move_rate` messages a second, or all at once; the service decides that by itself."""
        source = self._move_source(SourceArn)
        if any(task.is_active for task in self._tasks_of(SourceArn)):
            raise Refused(
                "InvalidParameterValue",
                "There is already a task running. "
                "Only one active task is allowed for a source queue arn at a given time.",
            )
        if DestinationArn is not None and self._by_arn(DestinationArn) is None:
            raise Refused(
                "ResourceNotFoundException",
                "The resource that you specified for the DestinationArn parameter doesn't exist.",
            )
        now = self._clock()
        task = MoveTask(
            handle=f"task-{self._number()}",
            source_arn=SourceArn,
            destination_arn=DestinationArn,
            rate=MaxNumberOfMessagesPerSecond or self.move_rate,
            asked_rate=MaxNumberOfMessagesPerSecond,
            to_move=sum(message.visible_at <= now for message in source.messages),
            started_at=now,
        )
        self._tasks.insert(0, task)
        return {"TaskHandle": task.handle}

    @operation("ListMessageMoveTasks")
    def list_message_move_tasks(self, *, SourceArn: str, MaxResults: int = 1) -> Answer:
        self._move_source(SourceArn)
        check_range("MaxResults", MaxResults, MAX_BATCH, least=1)
        return {"Results": [shown_task(task) for task in self._tasks_of(SourceArn)[:MaxResults]]}

    @operation("CancelMessageMoveTask")
    def cancel_message_move_task(self, *, TaskHandle: str) -> Answer:
        task = next((task for task in self._tasks if task.handle == TaskHandle), None)
        if task is None:
            raise Refused("ResourceNotFoundException", "Task does not exist.")
        if task.status != RUNNING:
            raise Refused("InvalidParameterValue", "Only active tasks can be cancelled.")
        task.status = CANCELLED
        return {"ApproximateNumberOfMessagesMoved": task.moved}

    def _tasks_of(self, arn: str) -> list[MoveTask]:
        """Latest first."""
        return [task for task in self._tasks if task.source_arn == arn]

    def _go_on_moving(self) -> None:
        now = self._clock()
        for task in self._tasks:
            while task.is_due(now):
                self._move_one(task, now)

    def _move_one(self, task: MoveTask, now: float) -> None:
        source = self._by_arn(task.source_arn)
        waiting = [message for message in source.messages if message.visible_at <= now] if source else []
        if source is None or not waiting or task.moved == task.to_move:
            task.status = COMPLETED
            return
        destination = task.destination_arn or waiting[0].source_arn
        target = self._by_arn(destination) if destination else None
        if target is None:
            task.status = FAILED
            task.failure = NO_QUEUE if destination else NO_SOURCE
            return
        source.messages.remove(waiting[0])
        target.messages.append(Message(self._new_id(), waiting[0].body, now, now, waiting[0].attributes))
        task.moved += 1

    def _move_source(self, arn: str) -> Queue:
        if not self.move_tasks:
            raise Refused("InvalidAction", "The action is not valid for this endpoint.")
        source = self._by_arn(arn)
        if source is None:
            raise Refused(
                "ResourceNotFoundException",
                "The resource that you specified for the SourceArn parameter doesn't exist.",
            )
        if not any(queue.dead_letters and queue.dead_letters[0] == arn for queue in self._queues.values()):
            raise Refused("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
        return source

    # The store

    def _queue(self, url: str) -> Queue:
        queue = self._queues.get(url)
        if queue is None:
            raise no_queue()
        oldest = self._clock() - queue.seconds("MessageRetentionPeriod")
        if any(message.sent_at < oldest for message in queue.messages):
            queue.messages = [message for message in queue.messages if message.sent_at >= oldest]
        return queue

    def _by_arn(self, arn: str) -> Queue | None:
        return next((queue for queue in self._queues.values() if queue.arn == arn), None)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _new_id(self) -> str:
        digits = f"{self._number():032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _error(self, operation_name: str, refused: Refused) -> Exception:
        query_code = refused.code if refused.code in _QUERY_CODES else None
        return client_error(
            self.exceptions,
            operation_name,
            _QUERY_CODES.get(refused.code, refused.code),
            refused.message,
            query_code=query_code,
        )

    # For tests

    def messages(self, queue_url: str) -> list[Message]:
        """What is in the queue, visible or not."""
        with self._lock:
            self._go_on_moving()
            return list(self._queue(queue_url).messages)

    def bodies(self, queue_url: str) -> list[str]:
        return [message.body for message in self.messages(queue_url)]

    def duplicate(self, queue_url: str, message_id: str) -> None:
        """A second copy under the same id, visible now, that outlives the deletion of the first."""
        with self._lock:
            queue = self._queue(queue_url)
            original = next(message for message in queue.messages if message.message_id == message_id)
            queue.messages.append(
                Message(message_id, original.body, original.sent_at, self._clock(), original.attributes)
            )

    def next_visible_at(self, queue_url: str) -> float | None:
        """When the next message is there to be received; a test's clock may jump to it."""
        times = [message.visible_at for message in self.messages(queue_url)]
        return min(times, default=None)

    def dump(self) -> bytes:
        """Equal bytes are equal queues."""
        with self._lock:
            queues = {url: asdict(queue) for url, queue in self._queues.items()}
            return json.dumps(queues, sort_keys=True, separators=(",", ":"), default=repr).encode()

    def close(self) -> None:
        """boto3's clients are closed; there is nothing to close here."""
