"""A producer's invocation without Lambda and without HTTP: table, queue and Stripe account in memory."""

import json
import uuid
from collections.abc import Callable, Iterator
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
from recon.stripe.source import Page, SessionEvent
from recon.telemetry import Telemetry
from recon.timestamps import HOUR, to_iso
from testkit.batches import lines, metrics
from testkit.builders import NOW, RUN, TABLE, FakeTime, a_session
from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.sqs import MemorySQS
from testkit.world import plain, wire

START, END = NOW - 25 * HOUR, NOW - 600


def a_run(**changes: Any) -> Run:
    fields: dict[str, Any] = {
        "run_id": RUN,
        "trigger": "scheduled",
        "started_at": to_iso(NOW),
        "lookback_hours": 25,
        "lookback_start": START,
        "lookback_end": END,
    }
    return Run(**fields | changes)


@dataclass
class Account:
    """Stripe in memory: sessions as it lists them, newest first. `meanwhile` happens at each page."""

    sessions: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: list[SessionEvent] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    asked_events: list[tuple[int, bool]] = field(default_factory=list)
    meanwhile: Callable[[int], object] = lambda start: None
    unreadable: list[int] = field(default_factory=list)  # of the next pages
    refuses_events: bool = False

    def sells(self, *seconds: int, **changes: Any) -> None:
        """One session for each second; its number is its place among all of them."""
        for created in seconds:
            number = len(self.sessions)
            self.sessions.append(
                a_session(id=f"cs_{number}", created=created, metadata={"userId": f"u{number}"}, **changes)
            )

    def list_sessions(self, start: int, end: int, *, after: str | None = None) -> Page:
        self.asked.append((start, end))
        self.meanwhile(start)
        rows = sorted(self.sessions, key=lambda session: session["created"], reverse=True)
        first = [row["id"] for row in rows].index(after) + 1 if after else 0
        wanted = [row for row in rows[first:] if start <= row["created"] <= end]
        unreadable = self.unreadable.pop(0) if self.unreadable else 0
        return Page(wanted[:100], has_more=len(wanted) > 100, unreadable=unreadable)

    def events(self, since: int, *, undelivered: bool = False) -> Iterator[SessionEvent]:
        self.asked_events.append((since, undelivered))
        if self.refuses_events:
            raise KeyNotAllowed("no")
        yield from [] if undelivered else self.acknowledged


class Shop:
    """A producer between a table, a queue and a Stripe account in memory."""

    def __init__(self, memory: MemoryDynamoDB, table: Table, capfd: pytest.CaptureFixture[str]) -> None:
        self.memory = memory
        self.capfd = capfd
        self.clock = FakeTime(NOW)
        self.sqs = MemorySQS(self.clock)
        self.url = self.sqs.add_queue("main", visibility=30)
        self.account = Account()
        self.hops: list[Any] = []  # what it asked Lambda for
        self.pool = ThreadPoolExecutor(1)
        self.table = table

    @cached_property
    def telemetry(self) -> Telemetry:
        """Made within the test: a logger keeps the standard output it found, and of a name nobody used."""
        return Telemetry(f"steps-{uuid.uuid4().hex}")

    def enqueue(self, *, seconds: int = 900, **settings: Any) -> SyncRun:
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

    def begin(self, run: Run | None = None, **settings: Any) -> Run:
        enqueue = self.enqueue(**settings)
        return enqueue.begin(run or a_run(), enqueue.context.runs.state())

    def begun(self, cursor: int | None = None, **changes: Any) -> None:
        """A run that another invocation began, and listed up to a moment."""
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

    def waits(self, message: SessionMessage) -> None:
        self.put("SYSTEM", f"PENDING#{message.session_id}", message=dumps(message))

    def record(self, run_id: str = RUN) -> dict[str, Any]:
        key = wire({"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{run_id}"})
        return plain(self.memory.get_item(TableName=TABLE, Key=key, ConsistentRead=True)["Item"])

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.sqs.bodies(self.url)]

    def ids(self) -> list[str]:
        return [message["sessionId"] for message in self.sent()]

    def told(self, *facts: str) -> tuple[list[tuple[Any, ...]], dict[str, list[float]]]:
        """(level, text, run, facts) of each line, and each metric's values, since it was last asked."""
        self.telemetry.flush()
        printed = self.capfd.readouterr().out
        shown = ("level", "message", "run_id", *facts)
        return [tuple(line[name] for name in shown) for line in lines(printed)], metrics(printed)
