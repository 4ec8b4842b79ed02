"""SQS batch calls, in which single entries may be rejected."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# For all bodies of one SendMessageBatch together; SQS has always accepted this much.
BATCH_BYTES = 256 * 1024


@dataclass(frozen=True)
class DeadMessage:
    """A received message.

    `sent_at` is when it was first sent, in epoch seconds; moving to the dead-letter queue does not change it.
    """

    body: str
    message_id: str
    receipt_handle: str
    sent_at: float


def call_batch(
    method: Callable[..., Any],
    url: str,
    messages: Sequence[DeadMessage],
    entry: Callable[[DeadMessage], dict[str, Any]],
) -> list[DeadMessage]:
    """Call an SQS batch method with at most ten messages and return those that SQS rejected.

    SQS answers 200 even if it rejects some entries.
    """
    if not messages:
        return []
    entries = [{"Id": str(n)} | entry(message) for n, message in enumerate(messages)]
    answer = method(QueueUrl=url, Entries=entries)
    return [messages[int(failure["Id"])] for failure in answer.get("Failed", [])]


def split_by_size(messages: Sequence[DeadMessage]) -> Iterator[list[DeadMessage]]:
    """Split messages into groups whose bodies fit into one SendMessageBatch."""
    group: list[DeadMessage] = []
    size = 0
    for message in messages:
        own = len(message.body.encode("utf-8", "surrogatepass"))
        if group and size + own > BATCH_BYTES:
            yield group
            group, size = [], 0
        group.append(message)
        size += own
    if group:
        yield group


def parse_message(message: "MessageTypeDef") -> DeadMessage:
    """Convert a message as boto3 returns it."""
    return DeadMessage(
        body=message["Body"],
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        sent_at=int(message["Attributes"]["SentTimestamp"]) / 1000,
    )
