"""Moving a whole dead-letter queue back, as SQS does it by itself (`StartMessageMoveTask`).

A task goes on without whoever started it, and one queue has one task at a time.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# What services answer that do not know message move tasks.
NOT_OFFERED = frozenset(
    {"InvalidAction", "UnsupportedOperation", "NotImplemented", "UnknownOperationException"}
)
OVER = frozenset({"COMPLETED", "CANCELLED", "FAILED"})
# A task that was started and that SQS does not list yet.
STARTING = "STARTING"
# SQS lists as many, the latest first.
LISTED = 10
FASTEST = 500  # messages a second


@dataclass(frozen=True)
class MoveTask:
    """A task at one moment; the numbers are SQS's and approximate. `status` is SQS's word, or STARTING.

    `to_move` is None until SQS has counted. `was_running`: somebody else had started it before.
    """

    status: str
    moved: int = 0
    to_move: int | None = None
    failure: str | None = None
    started_at: datetime | None = None
    was_running: bool = False

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def has_moved_all(self) -> bool:
        return self.status == "COMPLETED"


@dataclass(frozen=True)
class Started:
    """How to find a task again: SQS tells a task's handle only while it runs, so it is known by its start.

    `after`: the start of the latest task before it, in epoch milliseconds; None where there was none.
    """

    after: int | None
    was_running: bool
    handle: str | None


class MoveTasks:
    """The move tasks of one dead-letter queue. Errors are botocore's own."""

    def __init__(self, client: "SQSClient", dlq_url: str, source_url: str) -> None:
        self._client = client
        self._dlq_url = dlq_url
        self._source_url = source_url

    def running(self) -> Started | None:
        """The task that is under way, if there is one. None as well where the service knows no tasks."""
        try:
            entries = self._entries()
        except ClientError as exc:
            if _code(exc) not in NOT_OFFERED:
                raise
            return None
        return _under_way(entries)

    def start(self, rate: int | None = None) -> Started | None:
        """Starts one, or answers the one that is under way; None: the service knows no tasks.

        `rate`: messages a second, 500 at most; None leaves it to SQS.

        The destination is named: where a message that was put here by hand came from, SQS does not know.
        """
        pace: Any = {} if rate is None else {"MaxNumberOfMessagesPerSecond": rate}
        try:
            before = self._entries()
            if running := _under_way(before):
                return running
            answer = self._client.start_message_move_task(
                SourceArn=self._arn(self._dlq_url), DestinationArn=self._arn(self._source_url), **pace
            )
        except ClientError as exc:
            # Somebody else's task that began in between is refused with a code that says less than a list.
            if running := self.running():
                return running
            if _code(exc) not in NOT_OFFERED:
                raise
            return None
        latest = max((_start_of(entry) for entry in before), default=None)
        return Started(latest, was_running=False, handle=answer["TaskHandle"])

    def look(self, started: Started) -> MoveTask:
        """How far it got."""
        newer = [e for e in self._entries() if started.after is None or _start_of(e) > started.after]
        if not newer:
            return MoveTask(STARTING, was_running=started.was_running)
        entry = min(newer, key=_start_of)
        return MoveTask(
            status=entry["Status"],
            moved=entry.get("ApproximateNumberOfMessagesMoved", 0),
            to_move=entry.get("ApproximateNumberOfMessagesToMove"),
            failure=entry.get("FailureReason"),
            started_at=datetime.fromtimestamp(_start_of(entry) / 1000, UTC),
            was_running=started.was_running,
        )

    def cancel(self, started: Started) -> None:
        """What is not moved yet stays. Cancelling what is over does nothing."""
        if started.handle and not self.look(started).is_over:
            self._client.cancel_message_move_task(TaskHandle=started.handle)

    def _entries(self) -> list[Any]:
        answer = self._client.list_message_move_tasks(SourceArn=self._arn(self._dlq_url), MaxResults=LISTED)
        return list(answer.get("Results", []))

    def _arn(self, url: str) -> str:
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]


def _under_way(entries: list[Any]) -> Started | None:
    for entry in entries:
        if entry["Status"] not in OVER:
            return Started(_start_of(entry) - 1, was_running=True, handle=entry.get("TaskHandle"))
    return None


def _start_of(entry: Any) -> int:  # noqa: ANN401 - botocore's shapes
    return int(entry["StartedTimestamp"])


def _code(error: ClientError) -> str:
    # Older spellings stand behind a dot: `AWS.SimpleQueueService.UnsupportedOperation`.
    return error.response["Error"]["Code"].rpartition(".")[2]
