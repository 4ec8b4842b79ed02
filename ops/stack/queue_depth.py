"""The number of messages in a queue."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Depth:
    """SQS's approximate message counts.

    `visible` messages can be received. `hidden` messages are in flight: they are being processed, or they
    failed and wait for their backoff to end.
    """

    visible: int
    hidden: int


def read_depth(client: "SQSClient", url: str) -> Depth:
    """Read the message counts of a queue."""
    attributes = client.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return Depth(
        visible=int(attributes["ApproximateNumberOfMessages"]),
        hidden=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
    )
