"""How full a queue is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Depth:
    """`visible` waits to be received; `hidden` was received and is not settled: it is being worked on at
    this moment, or it failed and comes back when its backoff is over. SQS's numbers are approximate."""

    visible: int
    hidden: int


def read_depth(client: "SQSClient", url: str) -> Depth:
    attributes = client.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return Depth(
        visible=int(attributes["ApproximateNumberOfMessages"]),
        hidden=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
    )
