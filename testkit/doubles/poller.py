"""Lambda's event source mapping for SQS: receives a batch, calls the handler, deletes what succeeded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testkit.doubles.faults import Killed

type Handler = Callable[[dict[str, Any], Any], Any]

_RECEIVE_MOST = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """`error` is what the handler raised or answered wrongly; then the whole batch comes back."""

    event: dict[str, Any]
    deleted: tuple[str, ...]
    returned: tuple[str, ...]
    response: Any = None
    error: BaseException | None = None

    @property
    def size(self) -> int:
        return len(self.event["Records"])


class MalformedResponse(Exception):  # noqa: N818  what Lambda sees, not what a caller handles
    """An answer that Lambda does not understand, which it takes for the failure of the whole batch."""


class LambdaPoller:
    """`client` is an in-memory SQS or boto3's. Messages that fail stay invisible until their timeout is over.

    `partial` is ReportBatchItemFailures: without it any answer is success.
    """

    def __init__(self, client: Any, queue_url: str, *, partial: bool = True) -> None:
        self._client = client
        self._url = queue_url
        self._partial = partial

    def deliver(self, handler: Handler, batch_size: int = 10, context: Any = None) -> Delivery | None:
        """One invocation, or None when nothing is visible."""
        messages = self._receive(batch_size)
        if not messages:
            return None
        event = {"Records": [self._record(message) for message in messages]}
        try:
            # Through JSON and back, as between Lambda and the function: no object is shared.
            response = json.loads(json.dumps(handler(json.loads(json.dumps(event)), context)))
            failed = self._failed(response, {message["MessageId"] for message in messages})
        except (Exception, Killed) as error:  # noqa: BLE001  whatever ends a function returns its batch
            return Delivery(event, (), tuple(message["MessageId"] for message in messages), error=error)
        done = [message for message in messages if message["MessageId"] not in failed]
        self._delete(done)
        return Delivery(
            event, tuple(message["MessageId"] for message in done), tuple(sorted(failed)), response
        )

    def _receive(self, batch_size: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        while len(messages) < batch_size:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(_RECEIVE_MOST, batch_size - len(messages)),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            if not answer.get("Messages"):
                break
            messages += answer["Messages"]
        return messages

    def _record(self, message: Mapping[str, Any]) -> dict[str, Any]:
        name = self._url.rsplit("/", 1)[-1]
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": dict(message["Attributes"]),
            "messageAttributes": {
                key: _attribute(value) for key, value in message.get("MessageAttributes", {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{name}",
            "awsRegion": "us-east-1",
        }

    def _failed(self, response: Any, ids: set[str]) -> set[str]:
        """The ids to come back. Null, an empty object and an empty list are success, by Lambda's rules."""
        if not self._partial or not response:
            return set()
        if not isinstance(response, dict):
            raise MalformedResponse(f"not an object: {response!r}")
        failures = response.get("batchItemFailures") or []
        named = {_identifier(failure) for failure in failures}
        if strangers := named - ids:
            raise MalformedResponse(f"ids that are not in the batch: {sorted(strangers)}")
        return named

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), _RECEIVE_MOST):
            self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                    for n, message in enumerate(messages[start : start + _RECEIVE_MOST])
                ],
            )


def _identifier(failure: Any) -> str:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    if not isinstance(identifier, str) or not identifier:
        raise MalformedResponse(f"no itemIdentifier: {failure!r}")
    return identifier


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stringValue": value.get("StringValue"),
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }
