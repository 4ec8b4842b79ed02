"""What Lambda delivers, sorted into sessions to work on; and what becomes of each message afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from recon.domain.message import SessionMessage, loads
from recon.errors import MalformedMessage

type Session = tuple[str, str]  # run id, session id


@dataclass(frozen=True)
class SqsRecord:
    """One receive of one message. `receive_count` counts from 1."""

    message_id: str
    receipt_handle: str
    receive_count: int
    body: str


@dataclass(frozen=True)
class SessionTask:
    """One session of one run, whatever number of messages named it.

    `message` is None when it cannot be read in full; `problem` says why then. `receive_count` and
    `message_id` are those of the delivery that was received most often.
    """

    run_id: str
    session_id: str
    message: SessionMessage | None
    problem: MalformedMessage | None
    message_id: str
    receive_count: int

    @property
    def key(self) -> Session:
        return (self.run_id, self.session_id)


@dataclass(frozen=True)
class GroupedBatch:
    works: list[SessionTask]
    deliveries: dict[Session, list[SqsRecord]]
    unreadable: list[tuple[SqsRecord, MalformedMessage]]


def parse_records(event: dict[str, Any]) -> list[SqsRecord]:
    """From the event that Lambda's SQS event source mapping sends.
    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    return [
        SqsRecord(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            receive_count=int(record["attributes"]["ApproximateReceiveCount"]),
            body=record["body"],
        )
        for record in event["Records"]
    ]


def group_by_session(deliveries: Iterable[SqsRecord]) -> GroupedBatch:
    """One Work per run and session; messages that name neither are set apart."""
    works: dict[Session, SessionTask] = {}
    by_session: dict[Session, list[SqsRecord]] = {}
    unreadable = []
    for delivery in sorted(deliveries, key=lambda delivery: delivery.receive_count):
        work = _work(delivery)
        if isinstance(work, MalformedMessage):
            unreadable.append((delivery, work))
            continue
        by_session.setdefault(work.key, []).append(delivery)
        # The later one has the higher receive count; a readable one is never replaced by a broken one.
        if work.message or work.key not in works or not works[work.key].message:
            works[work.key] = work
    return GroupedBatch(list(works.values()), by_session, unreadable)


def _work(delivery: SqsRecord) -> SessionTask | MalformedMessage:
    try:
        message = loads(delivery.body)
    except MalformedMessage as problem:
        if problem.run_id is None or problem.session_id is None:
            return problem
        return SessionTask(
            problem.run_id, problem.session_id, None, problem, delivery.message_id, delivery.receive_count
        )
    return SessionTask(
        message.run_id, message.session_id, message, None, delivery.message_id, delivery.receive_count
    )
