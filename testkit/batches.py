"""A harness for the consumer's batches: table and queue in memory, Stripe's responses given by the test.

Time passes only when the code sleeps or a test advances the clock.
"""

import json
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import cycle
from types import SimpleNamespace
from typing import Any

from consumer.batch_processor import BatchProcessor
from consumer.invocation import InvocationContext
from consumer.prior_orders import load_orders
from consumer.session_group import GroupResult, SessionGroup
from consumer.session_tasks import SessionTask, SqsRecord
from recon.aws.queue import SessionQueue
from recon.config import Settings
from recon.domain.message import SessionMessage, dumps
from recon.domain.payment_state import find_payment
from recon.dynamodb.keys import STATE_KEY, outcome_key, run_key
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.table import Table
from recon.stripe.source import FetchedSession, SessionEvent
from recon.telemetry import Telemetry
from testkit.builders import NOW, RUN, TABLE, FakeTime, a_line, a_session
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.faults import Faulty
from testkit.doubles.sqs import MemorySQS
from testkit.shapes import JsonObject
from testkit.world import plain, wire

USER = "u1"
TIMEOUT = 60


def a_fetched_session(
    session_id: str, *, charges_known: bool = True, details_known: bool = True, **changes: Any
) -> FetchedSession:
    session = a_session(id=session_id, **changes)
    return FetchedSession(
        session,
        [a_line()],
        find_payment(session),
        charges_known=charges_known,
        details_known=details_known,
    )


class ConsumerHarness:
    """Processes batches; `answers` maps a session to Stripe's response or error, `asked` lists requests."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeTime(NOW)
        self.settings = Settings(**{"table": TABLE, "queue_url": "main"} | settings)
        self._memory = MemoryDynamoDB(self.clock)
        self._memory.add_table(TABLE)
        self.dynamodb = Faulty(self._memory)
        self._memory_sqs = MemorySQS(self.clock)
        self._url = self._memory_sqs.add_queue("main", visibility=360)
        self.sqs = Faulty(self._memory_sqs)
        self.answers: dict[str, FetchedSession | BaseException] = {}
        self.asked: list[str] = []
        self.events: list[SessionEvent] = []
        self.event_pages: list[tuple[int, int]] = []
        self.stripe: Any = SimpleNamespace(
            fetch=self._fetch,
            list_together=lambda _wanted, _pool: iter(()),
            is_paid_after=lambda _moment, _fetched: False,
            find_events_between=self._find_events,
            is_gone=self._is_gone,
            has_newer_key=lambda: False,
        )
        self.connect: Any = lambda: self.stripe
        self.pool = ThreadPoolExecutor(1)

    @cached_property
    def telemetry(self) -> Telemetry:
        """Return a logger created within the test, since it keeps the standard output of its creation."""
        return Telemetry(f"batches-{uuid.uuid4().hex}")

    def _is_gone(self, session_id: str, proof_id: str) -> bool:
        self.asked.append(proof_id)
        return session_id not in self.answers or isinstance(self.answers[session_id], BaseException)

    def _find_events(self, created_from: int, created_to: int) -> list[SessionEvent]:
        self.event_pages.append((created_from, created_to))
        return [event for event in self.events if created_from <= event.created <= created_to]

    def _fetch(self, session_id: str, _listed: JsonObject | None = None) -> FetchedSession:
        self.asked.append(session_id)
        answer = self.answers[session_id]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def context(self, seconds: float = TIMEOUT) -> InvocationContext:
        return InvocationContext(
            settings=self.settings,
            table=Table(self.dynamodb, TABLE),  # type: ignore[arg-type]
            stripe=self.connect,
            pool=self.pool,
            deadline=self.clock.deadline(seconds),
            now=lambda: int(self.clock.now),
            telemetry=self.telemetry,
        )

    # Batches

    def receive(self, message: SessionMessage | str, *, receives: int = 1) -> SqsRecord:
        """Send and receive a message; `receives` is the receive count in its record."""
        body = message if isinstance(message, str) else dumps(message)
        self._memory_sqs.send_message(QueueUrl=self._url, MessageBody=body)
        [message_in_flight] = self._memory_sqs.receive_message(QueueUrl=self._url)["Messages"]
        return SqsRecord(message_in_flight["MessageId"], message_in_flight["ReceiptHandle"], receives, body)

    def process(
        self, *records: SqsRecord, seconds: float = TIMEOUT, chances: Iterable[float] = (0.5,)
    ) -> list[str]:
        """Return the ids of failed messages. `chances` are the random numbers, repeated as needed."""
        queue = SessionQueue(self.sqs, self._url)  # type: ignore[arg-type]
        context = self.context(seconds)
        processor = BatchProcessor(context, queue, function_timeout=TIMEOUT, rand=cycle(chances).__next__)
        return processor.process(list(records))

    def seconds_until_visible(self, record: SqsRecord) -> float:
        messages = self._memory_sqs.messages(self._url)
        [at] = [each.visible_at for each in messages if each.message_id == record.message_id]
        return at - self.clock.now

    def reconcile(self, *tasks: SessionTask, prior: PriorState | None = None) -> GroupResult:
        context = self.context()
        messages = [task.message for task in tasks if task.message]
        orders, prior = load_orders(context, messages, prior or PriorState({}, None))
        group = SessionGroup(context, tasks[0].run_id, prior)
        return group.reconcile(tasks, orders)

    # The table

    def put(self, key: tuple[str, str], **fields: Any) -> None:
        self._memory.put_item(TableName=TABLE, Item=wire({"PK": key[0], "SK": key[1]} | fields))

    def item(self, key: tuple[str, str]) -> dict[str, Any]:
        answer = self._memory.get_item(
            TableName=TABLE, Key=wire({"PK": key[0], "SK": key[1]}), ConsistentRead=True
        )
        return plain(answer.get("Item", {}))

    def orders(self) -> list[dict[str, Any]]:
        items = map(plain, self._memory.scan(TableName=TABLE)["Items"])
        return [item for item in items if item["SK"].startswith("ORDER#")]

    def put_webhook_order(self, session_id: str, **fields: Any) -> None:
        self.put((f"USER#{USER}", f"ORDER#{NOW - 60}#{session_id}"), stripeSessionId=session_id, **fields)

    def put_run(self, enqueued: int, run_id: str = RUN, **fields: Any) -> None:
        """Put the record of a listed run that holds the sync state."""
        record = {"status": "running", "listed": True, "enqueued": enqueued, "processed": 0}
        self.put(run_key(run_id), **record | fields)
        self.put(STATE_KEY, lastSyncRunId=run_id)

    def run(self, run_id: str = RUN) -> dict[str, Any]:
        return self.item(run_key(run_id))

    def outcome(self, session_id: str, run_id: str = RUN) -> dict[str, Any]:
        return self.item(outcome_key(run_id, session_id))

    def commits(self) -> list[list[str]]:
        """Return the sessions of each attempted transaction with outcomes."""
        attempted = [call for call in self.dynamodb.history.calls if call.method == "transact_write_items"]
        return [sessions for call in attempted if (sessions := _sessions(call.arguments["TransactItems"]))]


def _sessions(actions: list[dict[str, Any]]) -> list[str]:
    keys = [plain(action["Put"]["Item"])["SK"] for action in actions if "Put" in action]
    return [key.removeprefix("SESSION#") for key in keys if key.startswith("SESSION#")]


def parse_log(printed: str) -> list[dict[str, Any]]:
    """Return the log lines without those of metrics."""
    return [line for line in map(json.loads, printed.splitlines()) if "_aws" not in line]


def parse_metrics(printed: str) -> dict[str, list[float]]:
    """Return the values of each metric, in order and over all functions."""
    values: dict[str, list[float]] = {}
    for line in map(json.loads, printed.splitlines()):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            for metric in directive["Metrics"]:
                values.setdefault(metric["Name"], []).extend(line[metric["Name"]])
    return values
