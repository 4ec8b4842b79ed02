"""Message move tasks, with which SQS moves messages from a dead-letter queue back to their queues."""

from collections.abc import Callable
from dataclasses import dataclass

from testkit.doubles.errors import ServiceRefusal
from testkit.doubles.queues import Message, Queue
from testkit.shapes import JsonObject

RUNNING, COMPLETED, CANCELLED, FAILED = "RUNNING", "COMPLETED", "CANCELLED", "FAILED"
# Why a task fails.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/troubleshooting-dlq-redrive.html
NO_SOURCE, NO_QUEUE = "CouldNotDetermineMessageSource", "AWS.SimpleQueueService.NonExistentQueue"


@dataclass(slots=True)
class MessageMoveTask:
    """One task. `rate` is in messages per second, None for all at once; `requested_rate` is the caller's."""

    handle: str
    source_arn: str
    destination_arn: str | None
    rate: float | None
    requested_rate: int | None
    to_move: int
    started_at: float
    moved: int = 0
    status: str = RUNNING
    failure: str | None = None

    def is_due(self, now: float) -> bool:
        """Return whether it moves its next message by `now`, or notices that there is none."""
        if self.status != RUNNING:
            return False
        return self.rate is None or self.moved < int((now - self.started_at) * self.rate)

    def to_response(self) -> JsonObject:
        """Return the task as ListMessageMoveTasks returns it. Only a running task has a handle."""
        optional = {
            "TaskHandle": self.handle if self.status == RUNNING else None,
            "DestinationArn": self.destination_arn,
            "MaxNumberOfMessagesPerSecond": self.requested_rate,
            "FailureReason": self.failure,
        }
        return {
            "Status": self.status,
            "SourceArn": self.source_arn,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": int(self.started_at * 1000),
            **{name: value for name, value in optional.items() if value is not None},
        }


class MessageMover:
    """All move tasks of an account, latest first."""

    def __init__(self, find_queue: Callable[[str], Queue | None], new_id: Callable[[], str]) -> None:
        self._find_queue = find_queue  # by ARN
        self._new_id = new_id
        self.tasks: list[MessageMoveTask] = []

    def start(self, task: MessageMoveTask) -> None:
        if any(other.status == RUNNING for other in self.tasks_of_queue(task.source_arn)):
            raise ServiceRefusal(
                "InvalidParameterValue",
                "There is already a task running. "
                "Only one active task is allowed for a source queue arn at a given time.",
            )
        if task.destination_arn is not None and self._find_queue(task.destination_arn) is None:
            raise ServiceRefusal("ResourceNotFoundException", "The DestinationArn doesn't exist.")
        self.tasks.insert(0, task)

    def tasks_of_queue(self, arn: str) -> list[MessageMoveTask]:
        return [task for task in self.tasks if task.source_arn == arn]

    def cancel(self, handle: str) -> MessageMoveTask:
        task = next((task for task in self.tasks if task.handle == handle), None)
        if task is None:
            raise ServiceRefusal("ResourceNotFoundException", "Task does not exist.")
        if task.status != RUNNING:
            raise ServiceRefusal("InvalidParameterValue", "Only active tasks can be cancelled.")
        task.status = CANCELLED
        return task

    def move_due_messages(self, now: float) -> None:
        for task in self.tasks:
            while task.is_due(now):
                self._move_one(task, now)

    def _move_one(self, task: MessageMoveTask, now: float) -> None:
        source = self._find_queue(task.source_arn)
        visible = source.visible_messages(now) if source else []
        if source is None or not visible or task.moved == task.to_move:
            task.status = COMPLETED
            return
        destination = task.destination_arn or visible[0].source_arn
        target = self._find_queue(destination) if destination else None
        if target is None:
            task.status, task.failure = FAILED, NO_QUEUE if destination else NO_SOURCE
            return
        source.messages.remove(visible[0])
        target.messages.append(Message(self._new_id(), visible[0].body, now, now))
        task.moved += 1
