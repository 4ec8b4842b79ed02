"""One process of a Lambda function: the real handlers, a real deadline, and death when it has passed."""

import json
import os
import random
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

from consumer.lambda_function import lambda_handler as consume
from producer.lambda_function import lambda_handler as produce
from testkit.emulator import AwsClients
from tests.fault_injection.environment import StormEnvironment

BATCH, RECEIVE = 25, 10
DUPLICATED_SHARE = 0.1
IDLE_SECONDS = 0.5


@dataclass(frozen=True)
class WorkerContext:
    """The parts of Lambda's context that the handlers read; `deadline` is on the monotonic clock."""

    deadline: float
    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self.deadline - time.monotonic()) * 1000))


@contextmanager
def limited_invocation(name: str, seconds: float, request_id: str) -> Iterator[WorkerContext]:
    """Kill this process by SIGALRM, which has no handler, if the block takes longer than that."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield WorkerContext(time.monotonic() + seconds, request_id, name)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_producer(environment: StormEnvironment, event: dict[str, Any], request_id: str) -> None:
    """Invoke the producer; raise what it raises, or ValueError if it refuses the event."""
    with limited_invocation("producer", environment.scale.producer_timeout, request_id) as context:
        answer = produce(event, context)
    if answer["statusCode"] != 200:
        raise ValueError(f"refused: {answer}")


class ConsumerWorker:
    """Lambda's poller and one process of the consumer: receives, invokes, deletes what did not fail."""

    def __init__(
        self, environment: StormEnvironment, *, timeout: int, duplicates: bool, rng: random.Random
    ) -> None:
        self._environment = environment
        self._timeout = timeout
        # A client for each process, since two on one connection would read each other's answers.
        self._sqs = AwsClients(environment.sqs_url)("sqs")
        self._duplicated_share = DUPLICATED_SHARE if duplicates else 0.0
        self._rng = rng

    def run(self) -> None:
        """Process messages until the process is killed."""
        while True:
            if records := self._take_duplicate() or self._receive():
                self._process(records)
            else:
                time.sleep(IDLE_SECONDS)

    def _process(self, records: list[dict[str, Any]]) -> None:
        with limited_invocation("consumer", self._timeout, uuid.uuid4().hex) as context:
            failures = consume({"Records": records}, context)["batchItemFailures"]
        failed = {failure["itemIdentifier"] for failure in failures}
        settled = [record for record in records if record["messageId"] not in failed]
        for part in batched(settled, RECEIVE):
            entries = [{"Id": str(n), "ReceiptHandle": one["receiptHandle"]} for n, one in enumerate(part)]
            self._sqs.delete_message_batch(QueueUrl=self._environment.queue, Entries=entries)
        note(self._environment.home, "settled", sessions=len(settled), failed=len(failed))

    def _receive(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        while len(records) < BATCH:
            number = min(RECEIVE, BATCH - len(records))
            answer = self._sqs.receive_message(
                QueueUrl=self._environment.queue, MaxNumberOfMessages=number, AttributeNames=["All"]
            )
            if not (messages := answer.get("Messages")):
                break
            records += map(_to_record, messages)
        if records:
            note(self._environment.home, "received", sessions=len(records))
            if self._rng.random() < self._duplicated_share:
                self._leave_duplicate(records)
        return records

    def _leave_duplicate(self, records: list[dict[str, Any]]) -> None:
        """Leave the records for the next process, which handles them at the same time as this one."""
        note(self._environment.home, "duplicated", sessions=len(records))
        path = self._environment.duplicates / uuid.uuid4().hex
        path.write_text(json.dumps(records))
        path.rename(path.with_suffix(".json"))

    def _take_duplicate(self) -> list[dict[str, Any]]:
        for path in self._environment.duplicates.glob("*.json"):
            mine = path.with_suffix(f".{os.getpid()}")
            try:
                path.rename(mine)
            except FileNotFoundError:
                continue  # another process was faster
            return json.loads(mine.read_text())
        return []


def _to_record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
    }


def note(home: Path, what: str, **numbers: int) -> None:
    """Append one line about what happened, short enough that lines of several processes never mix."""
    with (home / "happened.jsonl").open("a") as lines:
        lines.write(json.dumps({"what": what, **numbers}) + "\n")
