"""The SQS queue: sends messages in batches and sets when received messages return."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from recon.aws.errors import describe_error, is_denied
from recon.domain.message import SessionMessage, dumps
from recon.errors import NotAllowed, QueueUnavailable
from recon.retry import SEND_ATTEMPTS, Deadline, attempts

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH = 10  # entries of one SQS batch call
type Entry = dict[str, Any]


@dataclass(frozen=True)
class Visibility:
    """The visibility of a received message: it returns `seconds` from now."""

    receipt_handle: str
    seconds: int


class SessionQueue:
    """One queue. It is thread-safe, as its client is."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, messages: Sequence[SessionMessage], pool: Executor, deadline: Deadline) -> None:
        """Send all messages in batches of ten, several at a time.

        Raise QueueUnavailable if SQS keeps rejecting some. The accepted ones stay sent, and sending them
        again does no harm.
        """
        batches = [list(batch) for batch in batched(messages, BATCH)]
        sent = [pool.submit(self._send_batch, batch, deadline) for batch in batches]
        # Wait for all before raising, so that no batch is still being sent while the error is handled.
        wait(sent)
        for batch in sent:
            batch.result()

    def _send_batch(self, messages: list[SessionMessage], deadline: Deadline) -> None:
        entries = [{"Id": str(n), "MessageBody": dumps(message)} for n, message in enumerate(messages)]
        again = attempts(SEND_ATTEMPTS, deadline, first=0.1, longest=2.0)
        again(self._send_once, entries)

    def _send_once(self, entries: list[Entry]) -> None:
        """Send the entries and keep only the failed ones in the list, so that a retry sends nothing twice."""
        failed = self._batch_call(self._client.send_message_batch, entries)
        entries[:] = [entry for entry in entries if entry["Id"] in failed]
        if entries:
            raise QueueUnavailable(f"SQS rejected {len(entries)} entries of a batch")

    def set_visibility(self, changes: Iterable[Visibility]) -> dict[str, str]:
        """Set when messages return, and return the reason for each receipt handle that failed.

        Those messages return after the queue's default visibility timeout; none is lost.
        """
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
        """Return the ids of failed entries; SQS responds 200 even if it rejects some."""
        try:
            response = method(QueueUrl=self._url, Entries=list(entries))
        except (ClientError, BotoCoreError) as exc:
            raise _to_domain_error(exc) from exc
        return {failure["Id"] for failure in response.get("Failed", [])}


def _to_domain_error(error: ClientError | BotoCoreError) -> QueueUnavailable | NotAllowed:
    return (NotAllowed if is_denied(error) else QueueUnavailable)(f"SQS: {describe_error(error)}")
