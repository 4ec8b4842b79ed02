"""SQS: sending sessions in batches, giving messages another time to come back, and the dead-letter queue."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from recon.aws import is_denied, told
from recon.errors import NotAllowed, QueueUnavailable
from recon.message import SessionMessage, dumps
from recon.retry import SEND_ATTEMPTS, Deadline, attempts

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH = 10  # entries of one SQS batch call
# Enough to look at or move a message, short enough that a reader that died does not hide it for long.
HANDLING_SECONDS = 30
# What services answer that do not know `StartMessageMoveTask`.
_NOT_OFFERED = ("InvalidAction", "UnsupportedOperation", "NotImplemented", "UnknownOperationException")
type Entry = dict[str, Any]


@dataclass(frozen=True)
class Visibility:
    """When a received message is to come back: `seconds` from now."""

    receipt_handle: str
    seconds: int


@dataclass(frozen=True)
class DeadMessage:
    body: str
    message_id: str
    receipt_handle: str
    sent_at: float


class SessionQueue:
    """One queue. Thread-safe, as its client is."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, messages: Sequence[SessionMessage], pool: Executor, deadline: Deadline) -> None:
        """Sends all, several batches of ten in flight. Raises QueueUnavailable if some are rejected for
        good; those that were accepted stay sent, and sending them again does no harm."""
        batches = [list(batch) for batch in batched(messages, BATCH)]
        sent = [pool.submit(self._send_batch, batch, deadline) for batch in batches]
        # All of them, before one raises: no batch goes on behind the back of whoever handles the error.
        wait(sent)
        for batch in sent:
            batch.result()

    def _send_batch(self, messages: list[SessionMessage], deadline: Deadline) -> None:
        entries = [{"Id": str(n), "MessageBody": dumps(message)} for n, message in enumerate(messages)]
        again = attempts(SEND_ATTEMPTS, deadline, first=0.1, longest=2.0)
        again(self._send_once, entries)

    def _send_once(self, entries: list[Entry]) -> None:
        """Keeps what failed in `entries`, so that a repeat sends nothing twice."""
        failed = self._batch_call(self._client.send_message_batch, entries)
        entries[:] = [entry for entry in entries if entry["Id"] in failed]
        if entries:
            raise QueueUnavailable(f"SQS rejected {len(entries)} entries of a batch")

    def set_visibility(self, changes: Iterable[Visibility]) -> dict[str, str]:
        """Sets when messages come back. Returns the receipt handles that SQS did not take, and why: those
        come back with the queue's own visibility timeout, later but not lost."""
        missed: dict[str, str] = {}
        for batch in batched(changes, BATCH):
            entries: list[Entry] = [
                {"Id": str(n), "ReceiptHandle": change.receipt_handle, "VisibilityTimeout": change.seconds}
                for n, change in enumerate(batch)
            ]
            try:
                failed = self._batch_call(self._client.change_message_visibility_batch, entries)
                why = "SQS rejected it"
            except (QueueUnavailable, NotAllowed) as error:
                failed, why = {entry["Id"] for entry in entries}, str(error)
            missed |= {entry["ReceiptHandle"]: why for entry in entries if entry["Id"] in failed}
        return missed

    def _batch_call(self, method: Callable[..., Any], entries: Sequence[Entry]) -> set[str]:
        """The ids that failed; SQS answers 200 for a batch of which entries were rejected."""
        try:
            answer = method(QueueUrl=self._url, Entries=list(entries))
        except (ClientError, BotoCoreError) as exc:
            raise _translated(exc) from exc
        return {failure["Id"] for failure in answer.get("Failed", [])}


class DeadLetters:
    """A dead-letter queue, looked into and moved back to its source queue."""

    def __init__(self, client: "SQSClient", url: str, source_url: str) -> None:
        self._client = client
        self._url = url
        self._source_url = source_url

    def peek(self, limit: int = 1000) -> list[DeadMessage]:
        """What lies in the queue, each message once; all of it is visible again at once."""
        seen: dict[str, DeadMessage] = {}
        for message in self._receive_all(limit):
            seen.setdefault(message.message_id, message)
        for batch in batched(seen.values(), BATCH):
            self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": 0}
                    for n, message in enumerate(batch)
                ],
            )
        return list(seen.values())

    def redrive(self) -> int | None:
        """Moves everything back to the source queue. Returns how many, or None where SQS moves them by
        itself (`StartMessageMoveTask`) and goes on after this call."""
        try:
            arn = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
            self._client.start_message_move_task(SourceArn=arn["Attributes"]["QueueArn"])
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in _NOT_OFFERED:
                raise
            return self._move_by_hand()
        return None

    def _move_by_hand(self) -> int:
        """Receive, send, delete: stopped anywhere, a message is there once or twice, and never lost."""
        moved = 0
        for message in self._receive_all(limit=None):
            self._client.send_message(QueueUrl=self._source_url, MessageBody=message.body)
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt_handle)
            moved += 1
        return moved

    def _receive_all(self, limit: int | None) -> Iterator[DeadMessage]:
        count = 0
        while limit is None or count < limit:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH,
                VisibilityTimeout=HANDLING_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            count += len(messages)
            yield from map(_dead, messages)


def _dead(message: "MessageTypeDef") -> DeadMessage:
    sent = message.get("Attributes", {}).get("SentTimestamp")
    return DeadMessage(
        body=message["Body"],
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        sent_at=int(sent) / 1000 if sent else time.time(),
    )


def _translated(error: ClientError | BotoCoreError) -> QueueUnavailable | NotAllowed:
    return (NotAllowed if is_denied(error) else QueueUnavailable)(f"SQS: {told(error)}")
