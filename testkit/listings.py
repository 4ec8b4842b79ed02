"""A harness for the producer's invocations: table, queue and Stripe account in memory."""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest

from producer.run_context import RunContext
from producer.sync_run import SyncRun
from recon.aws.queue import SessionQueue
from recon.config import Settings
from recon.domain.message import SessionMessage, dumps
from recon.dynamodb.records import Run
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.errors import KeyNotAllowed
from recon.stripe.pages import Page
from recon.stripe.source import EVENT_TYPES, SessionEvent
from recon.telemetry import Telemetry
from recon.timestamps import HOUR, to_iso
from testkit import runs
from testkit.batches import parse_log, parse_metrics
from testkit.builders import NOW, RUN, TABLE, FakeTime, a_session
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.sqs import MemorySQS
from testkit.world import confirm_table, plain, wire

START, END = NOW - 25 * HOUR, NOW - 600


def a_run(**changes: Any) -> Run:
    """Return a run without a limit that moves no watermark."""
    return runs.a_run(**{"max_sessions": None, "covers_through": None} | changes)


@dataclass
class ListedAccount:
    """A Stripe account in memory, read as `StripeSource` reads it. `on_page` is called at each page."""

    sessions: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: list[SessionEvent] = field(default_factory=list)
    page_requests: list[tuple[int, int]] = field(default_factory=list)
    undelivered: list[SessionEvent] = field(default_factory=list)
    event_requests: list[tuple[int, bool]] = field(default_factory=list)
    on_page: Callable[[int], object] = lambda _start: None
    unreadable: list[int] = field(default_factory=list)  # entries of the next pages
    forbids_events: bool = False

    def add_sessions(self, *seconds: int, **changes: Any) -> None:
        """Add one session per second, numbered in order."""
        for created in seconds:
            number = len(self.sessions)
            self.sessions.append(
                a_session(id=f"cs_{number}", created=created, metadata={"userId": f"u{number}"}, **changes)
            )

    def list_sessions(self, start: int, end: int, *, after: str | None = None) -> Page:
        self.page_requests.append((start, end))
        self.on_page(start)
        rows = sorted(self.sessions, key=lambda session: session["created"], reverse=True)
        first = [row["id"] for row in rows].index(after) + 1 if after else 0
        wanted = [row for row in rows[first:] if start <= row["created"] <= end]
        unreadable = self.unreadable.pop(0) if self.unreadable else 0
        return Page(wanted[:100], has_more=len(wanted) > 100, unreadable=unreadable)

    def list_events(
        self,
        since: int,
        *,
        created_to: int | None = None,
        undelivered: bool = False,
        types: Sequence[str] = EVENT_TYPES,
    ) -> Iterator[SessionEvent]:
        self.event_requests.append((since, undelivered))
        if self.forbids_events:
            raise KeyNotAllowed("no")
        until = created_to or NOW
        events = self.undelivered if undelivered else self.acknowledged
        yield from (each for each in events if since <= each.created <= until and each.type in types)


class ProducerHarness:
    """Runs invocations of the producer between a table, a queue and a Stripe account in memory."""

    def __init__(self, memory: MemoryDynamoDB, table: Table, capfd: pytest.CaptureFixture[str]) -> None:
        self.memory = memory
        confirm_table(memory, TABLE)
        self.capfd = capfd
        self.clock = FakeTime(NOW)
        self.sqs = MemorySQS(self.clock)
        self.url = self.sqs.add_queue("main", visibility=30)
        self.account = ListedAccount()
        self.hops: list[Any] = []  # continuations sent to Lambda
        self.pool = ThreadPoolExecutor(1)
        self.table = table

    @cached_property
    def telemetry(self) -> Telemetry:
        """Return a logger created within the test, since it keeps the standard output of its creation."""
        return Telemetry(f"steps-{uuid.uuid4().hex}")

    def sync_run(self, *, seconds: int = 900, **settings: Any) -> SyncRun:
        deadline = self.clock.deadline(seconds)
        return SyncRun(
            RunContext(
                settings=Settings(TABLE, "q", **settings),
                runs=Runs(self.table, deadline),
                stripe=lambda: self.account,  # type: ignore[arg-type, return-value]
                queue=SessionQueue(self.sqs, self.url),  # type: ignore[arg-type]
                pool=self.pool,
                deadline=deadline,
                now=lambda: int(self.clock()),
                telemetry=self.telemetry,
            ),
            self.hops.append,
        )

    def begin(self, run: Run | None = None, *, seconds: int = 900, **settings: Any) -> Run:
        sync_run = self.sync_run(seconds=seconds, **settings)
        runs = sync_run.context.runs
        return sync_run.begin(run or a_run(), runs.state(), runs.watermark())

    def put_open_run(self, cursor: int | None = None, **changes: Any) -> None:
        """Put the record of a run that another invocation started and listed up to `cursor`."""
        self.put("SYSTEM", "STRIPE_ORDER_SYNC", lastSyncRunId=RUN, lastSyncStatus="running")
        fields: dict[str, Any] = {
            "trigger": "scheduled",
            "status": "running",
            "syncStartedAt": to_iso(NOW - HOUR),
            "lookbackStart": START,
            "lookbackEnd": END,
            "listed": False,
            "listingMovedAt": NOW - HOUR,
            "enqueued": 0,
            "processed": 0,
        }
        fields |= {"cursor": cursor} if cursor else {}
        self.put("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}", **fields | changes)

    def put(self, pk: str, sk: str, **fields: Any) -> None:
        self.memory.put_item(TableName=TABLE, Item=wire({"PK": pk, "SK": sk} | fields))

    def put_pending(self, message: SessionMessage) -> None:
        self.put("SYSTEM", f"PENDING#{message.session_id}", message=dumps(message))

    def record(self, run_id: str = RUN) -> dict[str, Any]:
        key = wire({"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{run_id}"})
        return plain(self.memory.get_item(TableName=TABLE, Key=key, ConsistentRead=True)["Item"])

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.sqs.bodies(self.url)]

    def sent_ids(self) -> list[str]:
        return [message["sessionId"] for message in self.sent()]

    def read_output(self, *facts: str) -> tuple[list[tuple[Any, ...]], dict[str, list[float]]]:
        """Return (level, message, run, facts) of each new log line, and the new values of each metric."""
        self.telemetry.flush()
        printed = self.capfd.readouterr().out
        shown = ("level", "message", "run_id", *facts)
        log = [tuple(line[name] for name in shown) for line in parse_log(printed)]
        return log, parse_metrics(printed)
