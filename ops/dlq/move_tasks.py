"""SQS message move tasks (`StartMessageMoveTask`), which move a whole dead-letter queue back.

A task runs on without the command that started it, and a queue has at most one task at a time.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# The error codes of services that have no message move tasks.
NOT_OFFERED = frozenset(
    {"InvalidAction", "UnsupportedOperation", "NotImplemented", "UnknownOperationException"}
)
OVER = frozenset({"COMPLETED", "CANCELLED", "FAILED"})
# The status of a task that was started and that SQS does not list yet.
STARTING = "STARTING"
# The most tasks that SQS lists, latest first.
LISTED = 10


@dataclass(frozen=True)
class MoveTaskStatus:
    """A task at one moment; the numbers are SQS's and approximate.

    `status` is SQS's word or STARTING. `to_move` is None until SQS has counted the messages. `was_running` is
    True if another command had started the task.
    """

    status: str
    moved: int = 0
    to_move: int | None = None
    failure: str | None = None
    was_running: bool = False

    @property
    def is_over(self) -> bool:
        """Return whether the task has ended, in whatever way."""
        return self.status in OVER


@dataclass(frozen=True)
class MoveTaskReference:
    """A way to find a task again. SQS lists a handle only while the task runs, so the start time is used.

    `after` is the start of the task before it, in epoch milliseconds, or None if there was none.
    """

    after: int | None
    was_running: bool


class MoveTasks:
    """The move tasks of one dead-letter queue. Methods raise botocore's errors."""

    def __init__(self, client: "SQSClient", dlq_url: str, source_url: str) -> None:
        self._client = client
        self._dlq_url = dlq_url
        self._source_url = source_url

    def find_running(self) -> MoveTaskReference | None:
        """Return the running task, or None if there is none or the service has no move tasks."""
        try:
            entries = self._list_entries()
        except ClientError as exc:
            if _error_code(exc) not in NOT_OFFERED:
                raise
            return None
        return _find_running(entries)

    def start(self, rate: int | None = None) -> MoveTaskReference | None:
        """Start a task or return the running one; return None if the service has no move tasks.

        `rate` is in messages per second, 500 at most; None leaves it to SQS. The destination is given
        explicitly, because SQS does not know the source of a message that was sent to this queue directly.
        """
        pace: Any = {} if rate is None else {"MaxNumberOfMessagesPerSecond": rate}
        try:
            before = self._list_entries()
            if running := _find_running(before):
                return running
            self._client.start_message_move_task(
                SourceArn=self._get_arn(self._dlq_url), DestinationArn=self._get_arn(self._source_url), **pace
            )
        except ClientError as exc:
            # If another command started a task in between, SQS rejects this one with a less specific code.
            if running := self.find_running():
                return running
            if _error_code(exc) not in NOT_OFFERED:
                raise
            return None
        latest = max((_parse_start(entry) for entry in before), default=None)
        return MoveTaskReference(latest, was_running=False)

    def read(self, task: MoveTaskReference) -> MoveTaskStatus:
        """Read how far the task is."""
        newer = [e for e in self._list_entries() if task.after is None or _parse_start(e) > task.after]
        if not newer:
            return MoveTaskStatus(STARTING, was_running=task.was_running)
        entry = min(newer, key=_parse_start)
        return MoveTaskStatus(
            status=entry["Status"],
            moved=entry.get("ApproximateNumberOfMessagesMoved", 0),
            to_move=entry.get("ApproximateNumberOfMessagesToMove"),
            failure=entry.get("FailureReason"),
            was_running=task.was_running,
        )

    def _list_entries(self) -> list[Any]:
        arn = self._get_arn(self._dlq_url)
        answer = self._client.list_message_move_tasks(SourceArn=arn, MaxResults=LISTED)
        return list(answer.get("Results", []))

    def _get_arn(self, url: str) -> str:
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]


def _find_running(entries: list[Any]) -> MoveTaskReference | None:
    for entry in entries:
        if entry["Status"] not in OVER:
            return MoveTaskReference(_parse_start(entry) - 1, was_running=True)
    return None


def _parse_start(entry: Any) -> int:  # noqa: ANN401 - botocore's shapes
    return int(entry["StartedTimestamp"])


def _error_code(error: ClientError) -> str:
    # Older codes have a prefix: `AWS.SimpleQueueService.UnsupportedOperation`.
    return error.response["Error"]["Code"].rpartition(".")[2]
