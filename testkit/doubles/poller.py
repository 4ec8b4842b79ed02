"""Lambda's event source mapping for SQS: receives a batch, calls the handler, deletes what succeeded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testkit.doubles.faults import Killed
from testkit.shapes import JsonObject

type LambdaHandler = Callable[[JsonObject, Any], Any]

_MAX_RECEIVE = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """One invocation and the ids of its messages that were deleted or returned to the queue.

    `error` is what the handler raised, or a MalformedResponse; then the whole batch is returned.
    """

    event: JsonObject
    deleted: tuple[str, ...]
    returned: tuple[str, ...]
    response: Any = None
    error: BaseException | None = None

    @property
    def size(self) -> int:
        return len(self.event["Records"])


class MalformedResponse(Exception):  # noqa: N818 - Lambda's view of a response, not an error to handle
    """A response that Lambda does not understand and treats as a failure of the whole batch."""


class LambdaPoller:
    """An event source mapping with ReportBatchItemFailures, for an SQS client in memory or of boto3.

    Messages that fail stay invisible until their timeout ends.
    """

    def __init__(self, client: Any, queue_url: str) -> None:
        self._client = client
        self._url = queue_url

    def deliver(self, handler: LambdaHandler, batch_size: int = 10, context: Any = None) -> Delivery | None:
        """Invoke the handler once, or return None if no message is visible."""
        messages = self._receive(batch_size)
        if not messages:
            return None
        ids = tuple(message["MessageId"] for message in messages)
        event = {"Records": [self._record(message) for message in messages]}
        try:
            # Lambda and the function share no object, only JSON.
            response = json.loads(json.dumps(handler(json.loads(json.dumps(event)), context)))
            failed = _failed_ids(response, set(ids))
        except (Exception, Killed) as error:  # noqa: BLE001 - any end of a function returns its batch
            return Delivery(event, (), ids, error=error)
        done = [message for message in messages if message["MessageId"] not in failed]
        self._delete(done)
        deleted = tuple(message["MessageId"] for message in done)
        return Delivery(event, deleted, tuple(sorted(failed)), response)

    def _receive(self, batch_size: int) -> list[JsonObject]:
        messages: list[JsonObject] = []
        while len(messages) < batch_size:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(_MAX_RECEIVE, batch_size - len(messages)),
                MessageSystemAttributeNames=["All"],
            )
            if not answer.get("Messages"):
                break
            messages += answer["Messages"]
        return messages

    def _record(self, message: Mapping[str, Any]) -> JsonObject:
        name = self._url.rsplit("/", 1)[-1]
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": dict(message["Attributes"]),
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{name}",
            "awsRegion": "us-east-1",
        }

    def _delete(self, messages: list[JsonObject]) -> None:
        for start in range(0, len(messages), _MAX_RECEIVE):
            self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                    for n, message in enumerate(messages[start : start + _MAX_RECEIVE])
                ],
            )


def _failed_ids(response: Any, ids: set[str]) -> set[str]:
    """Return the ids of the messages that failed. Null, an empty object and an empty list mean success."""
    if not response:
        return set()
    if not isinstance(response, dict):
        raise MalformedResponse(f"not an object: {response!r}")
    failed = {_item_identifier(failure) for failure in response.get("batchItemFailures") or []}
    if unknown := failed - ids:
        raise MalformedResponse(f"ids that are not in the batch: {sorted(unknown)}")
    return failed


def _item_identifier(failure: Any) -> str:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    if not isinstance(identifier, str) or not identifier:
        raise MalformedResponse(f"no itemIdentifier: {failure!r}")
    return identifier
