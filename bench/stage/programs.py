"""A program under measurement, as a process: `python -m bench.stage.programs consumer SOCKET`.

Warm when it says so: everything is imported, and the clients are made and have been used once. It works off
the events that come over its line, and when that ends it reports where its time went.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3

from bench.baseline import Baseline
from bench.stage.transports import Slow, under_botocore, under_stripe, waited
from bench.stage.wire import Frame, Line, Lines
from consumer import lambda_function as consumer_function
from producer import lambda_function as producer_function
from recon.aws import clients as aws
from recon.bootstrap import build_clients, connect_stripe
from recon.domain.stripe_objects import Json
from recon.retry import STRIPE_TIMEOUT_SECONDS, Deadline

type Handler = Callable[[Any, "Context"], Any]

TIMEOUT_SECONDS = {"producer": 900.0, "consumer": 60.0, "baseline": float("inf")}
READS = ("dynamodb.Query", "dynamodb.BatchGetItem", "dynamodb.GetItem")
WRITES = ("dynamodb.TransactWriteItems", "dynamodb.PutItem")
REPORT = "report"


@dataclass(frozen=True)
class Context:
    """As much of Lambda's context as the handlers ask for."""

    ends: float  # on the monotonic clock
    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        return round((self.ends - time.monotonic()) * 1000)


@dataclass
class Report:
    """Where a program's time went, in seconds. `busy` is what its invocations took; of that, `reads` to
    `queue` are those in which at least one such call was waited for. `cpu` includes what is between them."""

    role: str
    invocations: int = 0
    busy: float = 0.0
    reads: float = 0.0
    stripe: float = 0.0
    writes: float = 0.0
    queue: float = 0.0
    any_call: float = 0.0
    cpu: float = 0.0


def serves(role: str, handler: Handler, line: Line, slow: Slow) -> Report:
    """Until the line ends."""
    slow.waits.clear()
    line.says(Frame(role, b""))
    report, cpu = Report(role), time.process_time()
    while frame := line.hears():
        began = time.monotonic()
        context = Context(began + TIMEOUT_SECONDS[role], f"request-{report.invocations}", role)
        line.says(_answer(handler, json.loads(frame.body), context))
        report.invocations += 1
        report.busy += time.monotonic() - began
    report.cpu = time.process_time() - cpu
    report.reads, report.writes = waited(slow.waits, *READS), waited(slow.waits, *WRITES)
    report.stripe, report.queue = waited(slow.waits, "stripe"), waited(slow.waits, "sqs")
    report.any_call = waited(slow.waits, "")
    return report


def _answer(handler: Handler, event: Json, context: Context) -> Frame:
    try:
        return Frame("answer", json.dumps(handler(event, context)).encode())
    except Exception:  # noqa: BLE001 - Lambda tells it to whoever invoked, and so does this
        return Frame("raised", traceback.format_exc().encode())


def consumer() -> Handler:
    kept = consumer_function.clients()
    kept.table.get(("WARM", "UP"))
    consumer_function.stripe_connection(STRIPE_TIMEOUT_SECONDS)
    return consumer_function.lambda_handler  # type: ignore[return-value]  # Lambda's context is wider


def producer() -> Handler:
    kept = producer_function.clients()
    kept.table.get(("WARM", "UP"))
    producer_function.lambda_client()
    producer_function.stripe_connection(STRIPE_TIMEOUT_SECONDS)
    return producer_function.lambda_handler  # type: ignore[return-value]  # Lambda's context is wider


def baseline() -> Handler:
    """Its Stripe requests are paced as the pipeline's are, at `STRIPE_MAX_RPS`."""
    kept = build_clients(os.environ, threads=1)
    kept.table.get(("WARM", "UP"))
    settings = kept.settings
    connection = connect_stripe(
        settings, requests_per_second=settings.stripe_max_rps, timeout=STRIPE_TIMEOUT_SECONDS
    )
    dynamodb = boto3.client("dynamodb")
    dynamodb.get_item(TableName=settings.table, Key={"PK": {"S": "WARM"}, "SK": {"S": "UP"}})
    deadline = Deadline(float("inf"), time.monotonic, time.sleep)

    def ask(path: str, params: Json) -> Json:
        connection.rate_limiter.wait(deadline, needed_after=0)
        return connection.get(path, params, connection.key.read())

    program = Baseline(dynamodb, settings.table, ask, lambda: int(time.time()))
    return lambda event, _: asdict(program(event["from"], event["to"]))


ROLES: dict[str, Callable[[], Handler]] = {"consumer": consumer, "producer": producer, "baseline": baseline}


def main(role: str, path: Path) -> None:
    asks = Lines(path).asks
    slow = Slow(asks)
    under_botocore(aws.session(), slow)
    boto3.setup_default_session(botocore_session=aws.session())
    under_stripe(slow)
    report = serves(role, ROLES[role](), Line.to(path), slow)
    asks(Frame(REPORT, json.dumps(asdict(report)).encode()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
