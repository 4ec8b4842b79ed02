"""SQS records, grouped into one task per session."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recon.domain.message import SessionMessage, loads
from recon.errors import MalformedMessage

type SessionKey = tuple[str, str]  # run id, session id


@dataclass(frozen=True)
class SqsRecord:
    """One received SQS message. `receive_count` starts at 1."""

    message_id: str
    receipt_handle: str
    receive_count: int
    body: str


@dataclass(frozen=True)
class SessionTask:
    """One session of one run, regardless of how many messages name it.

    If no message could be read in full, `message` is None and `problem` is the reason. `receive_count` and
    `message_id` belong to the record with the highest receive count.
    """

    run_id: str
    session_id: str
    message: SessionMessage | None
    problem: MalformedMessage | None
    message_id: str
    receive_count: int

    @property
    def key(self) -> SessionKey:
        return (self.run_id, self.session_id)


@dataclass(frozen=True)
class GroupedBatch:
    """A batch by session, and the records that name no run or no session."""

    tasks: list[SessionTask]
    records: dict[SessionKey, list[SqsRecord]]
    unreadable: list[tuple[SqsRecord, MalformedMessage]]


def parse_records(event: dict[str, Any]) -> list[SqsRecord]:
    """Parse the event that Lambda's SQS event source mapping sends.

    Its shape: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    return [
        SqsRecord(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            receive_count=int(record["attributes"]["ApproximateReceiveCount"]),
            body=record["body"],
        )
        for record in event["Records"]
    ]


def group_by_session(records: Iterable[SqsRecord]) -> GroupedBatch:
    """Return one task per run and session; keep records that name neither apart."""
    tasks: dict[SessionKey, SessionTask] = {}
    by_session: dict[SessionKey, list[SqsRecord]] = {}
    unreadable = []
    for record in sorted(records, key=lambda record: record.receive_count):
        task = _parse_task(record)
        if isinstance(task, MalformedMessage):
            unreadable.append((record, task))
            continue
        by_session.setdefault(task.key, []).append(record)
        # Later records have higher receive counts. A malformed message never replaces a readable one.
        if task.message or task.key not in tasks or not tasks[task.key].message:
            tasks[task.key] = task
    return GroupedBatch(list(tasks.values()), by_session, unreadable)


def _parse_task(record: SqsRecord) -> SessionTask | MalformedMessage:
    try:
        message = loads(record.body)
    except MalformedMessage as problem:
        if problem.run_id is None or problem.session_id is None:
            return problem
        return SessionTask(
            problem.run_id, problem.session_id, None, problem, record.message_id, record.receive_count
        )
    return SessionTask(
        message.run_id, message.session_id, message, None, record.message_id, record.receive_count
    )
