"""Messages as SQS takes and gives them: in batches, of which single entries may be rejected."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# Of one SendMessageBatch, all bodies together; what SQS has always taken.
BATCH_BYTES = 256 * 1024


@dataclass(frozen=True)
class DeadMessage:
    """`sent_at` in epoch seconds: when it was first sent. Becoming a dead letter does not change that."""

    body: str
    message_id: str
    receipt_handle: str
    sent_at: float


def rejected(
    method: Callable[..., Any],
    url: str,
    messages: Sequence[DeadMessage],
    entry: Callable[[DeadMessage], dict[str, Any]],
) -> list[DeadMessage]:
    """One batch call for at most ten messages; those that SQS did not take, although it answers 200."""
    if not messages:
        return []
    entries = [{"Id": str(n)} | entry(message) for n, message in enumerate(messages)]
    answer = method(QueueUrl=url, Entries=entries)
    return [messages[int(failure["Id"])] for failure in answer.get("Failed", [])]


def parts(messages: Sequence[DeadMessage]) -> Iterator[list[DeadMessage]]:
    """Cut where one call would take too many bytes."""
    part: list[DeadMessage] = []
    size = 0
    for message in messages:
        own = len(message.body.encode("utf-8", "surrogatepass"))
        if part and size + own > BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(message)
        size += own
    if part:
        yield part


def dead(message: "MessageTypeDef") -> DeadMessage:
    return DeadMessage(
        body=message["Body"],
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        sent_at=int(message["Attributes"]["SentTimestamp"]) / 1000,
    )
