"""What happens in a process of Lambda's: the real handlers, a real deadline, and death when it has passed."""

import json
import os
import random
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.lambda_function import lambda_handler as consume
from producer.lambda_function import lambda_handler as produce
from testkit.emulator import AwsClients
from tests.fault_injection.place import Place

BATCH, RECEIVE = 25, 10
DUPLICATED = 0.1
IDLE_SECONDS = 0.5


@dataclass(frozen=True)
class Context:
    """As much of Lambda's context as the handlers ask for."""

    ends: float  # on the monotonic clock
    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self.ends - time.monotonic()) * 1000))


@contextmanager
def invocation(name: str, seconds: float, request_id: str) -> Iterator[Context]:
    """SIGALRM, which nobody handles, ends the process where the time is over, whatever it is doing."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield Context(time.monotonic() + seconds, request_id, name)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def produces(place: Place, event: dict[str, Any], request_id: str) -> None:
    """Raises what the handler raises."""
    with invocation("producer", place.scale.producer_timeout, request_id) as context:
        answer = produce(event, context)
    if answer["statusCode"] != 200:
        raise ValueError(f"refused: {answer}")


class Poller:
    """Lambda's poller and one process of the function: receives, invokes, deletes what did not fail."""

    def __init__(self, place: Place, *, timeout: int, duplicates: bool, rng: random.Random) -> None:
        self._place = place
        self._timeout = timeout
        # Its own, since two processes on one connection would read each other's answers.
        self._sqs = AwsClients(place.sqs_url)("sqs")
        self._duplicated = DUPLICATED if duplicates else 0.0
        self._rng = rng

    def polls(self) -> None:
        """Until somebody ends this process."""
        while True:
            records = self._duplicate() or self._received()
            if records:
                self._works_on(records)
            else:
                time.sleep(IDLE_SECONDS)

    def _works_on(self, records: list[dict[str, Any]]) -> None:
        place = self._place
        with invocation("consumer", self._timeout, uuid.uuid4().hex) as context:
            failed = {
                failure["itemIdentifier"]
                for failure in consume({"Records": records}, context)["batchItemFailures"]
            }
        through = [record for record in records if record["messageId"] not in failed]
        for start in range(0, len(through), RECEIVE):
            entries = [
                {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
                for number, record in enumerate(through[start : start + RECEIVE])
            ]
            self._sqs.delete_message_batch(QueueUrl=place.queue, Entries=entries)
        note(place.home, "settled", sessions=len(through), failed=len(failed))

    def _received(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        while len(records) < BATCH:
            asked = min(RECEIVE, BATCH - len(records))
            answer = self._sqs.receive_message(
                QueueUrl=self._place.queue, MaxNumberOfMessages=asked, AttributeNames=["All"]
            )
            if not (messages := answer.get("Messages")):
                break
            records += [_record(message) for message in messages]
        if records:
            note(self._place.home, "received", sessions=len(records))
            self._sometimes_duplicates(records)
        return records

    def _sometimes_duplicates(self, records: list[dict[str, Any]]) -> None:
        """Left for whichever process comes next, while this one works on the same messages."""
        if self._rng.random() < self._duplicated:
            note(self._place.home, "duplicated", sessions=len(records))
            path = self._place.duplicates / uuid.uuid4().hex
            path.write_text(json.dumps(records))
            path.rename(path.with_suffix(".json"))

    def _duplicate(self) -> list[dict[str, Any]]:
        for path in self._place.duplicates.glob("*.json"):
            mine = path.with_suffix(f".{os.getpid()}")
            try:
                path.rename(mine)
            except FileNotFoundError:
                continue  # another process was faster
            return json.loads(mine.read_text())
        return []


def _record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
    }


def note(home: Path, what: str, **numbers: int) -> None:
    """One line of what happened; short enough that lines of several processes never mix."""
    with (home / "happened.jsonl").open("a") as lines:
        lines.write(json.dumps({"what": what, **numbers}) + "\n")
