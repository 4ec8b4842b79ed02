"""A measured program in its own process: `python -m bench.harness.programs consumer SOCKET`.

It connects once it is warm: everything is imported, and the clients exist and have been used once. It handles
the events of its connection, and reports where its time went when the connection ends.
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
from bench.harness.framing import Frame, FrameConnection, ThreadConnections
from bench.harness.transports import DelayedTransport, install_in_botocore, install_in_stripe, waiting_seconds
from consumer import lambda_function as consumer_function
from producer import lambda_function as producer_function
from recon.aws import clients as aws
from recon.bootstrap import build_clients, connect_stripe
from recon.domain.stripe_objects import Json
from recon.retry import STRIPE_TIMEOUT_SECONDS, Deadline

type ProgramHandler = Callable[[Any, "DeadlineContext"], Any]

TIMEOUT_SECONDS = {"producer": 900.0, "consumer": 60.0, "baseline": float("inf")}
READS = ("dynamodb.Query", "dynamodb.BatchGetItem", "dynamodb.GetItem")
WRITES = ("dynamodb.TransactWriteItems", "dynamodb.PutItem")
REPORT = "report"


@dataclass(frozen=True)
class DeadlineContext:
    """The part of Lambda's context that the handlers use."""

    deadline: float  # on the monotonic clock
    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        return round((self.deadline - time.monotonic()) * 1000)


@dataclass
class Report:
    """Where a program's time went, in seconds.

    `busy` is the time of its invocations; of that, `reads` to `queue` are the seconds in which at least one
    such call was pending. `cpu` includes the time between invocations.
    """

    role: str
    invocations: int = 0
    busy: float = 0.0
    reads: float = 0.0
    stripe: float = 0.0
    writes: float = 0.0
    queue: float = 0.0
    any_call: float = 0.0
    cpu: float = 0.0


def serve(
    role: str, handler: ProgramHandler, connection: FrameConnection, transport: DelayedTransport
) -> Report:
    """Handle events until the connection ends; return the report."""
    transport.calls.clear()
    connection.send(Frame(role, b""))
    report, cpu = Report(role), time.process_time()
    while frame := connection.receive():
        began = time.monotonic()
        context = DeadlineContext(began + TIMEOUT_SECONDS[role], f"request-{report.invocations}", role)
        connection.send(_answer(handler, json.loads(frame.body), context))
        report.invocations += 1
        report.busy += time.monotonic() - began
    report.cpu = time.process_time() - cpu
    report.reads, report.writes = (
        waiting_seconds(transport.calls, *READS),
        waiting_seconds(transport.calls, *WRITES),
    )
    report.stripe, report.queue = (
        waiting_seconds(transport.calls, "stripe"),
        waiting_seconds(transport.calls, "sqs"),
    )
    report.any_call = waiting_seconds(transport.calls, "")
    return report


def _answer(handler: ProgramHandler, event: Json, context: DeadlineContext) -> Frame:
    try:
        return Frame("answer", json.dumps(handler(event, context)).encode())
    except Exception:  # noqa: BLE001 - Lambda returns any exception to the caller
        return Frame("raised", traceback.format_exc().encode())


def load_consumer() -> ProgramHandler:
    clients = consumer_function.clients()
    clients.table.get(("WARM", "UP"))
    consumer_function.stripe_connection(STRIPE_TIMEOUT_SECONDS)
    return consumer_function.lambda_handler  # type: ignore[return-value]  # Lambda's context is wider


def load_producer() -> ProgramHandler:
    clients = producer_function.clients()
    clients.table.get(("WARM", "UP"))
    producer_function.lambda_client()
    producer_function.stripe_connection(STRIPE_TIMEOUT_SECONDS)
    return producer_function.lambda_handler  # type: ignore[return-value]  # Lambda's context is wider


def load_baseline() -> ProgramHandler:
    """Return the baseline, with Stripe requests limited to `STRIPE_MAX_RPS` like the pipeline's."""
    clients = build_clients(os.environ, threads=1)
    clients.table.get(("WARM", "UP"))
    settings = clients.settings
    connection = connect_stripe(
        settings, requests_per_second=settings.stripe_max_rps, timeout=STRIPE_TIMEOUT_SECONDS
    )
    dynamodb = boto3.client("dynamodb")
    dynamodb.get_item(TableName=settings.table, Key={"PK": {"S": "WARM"}, "SK": {"S": "UP"}})
    deadline = Deadline(float("inf"), time.monotonic, time.sleep)

    def get(path: str, params: Json) -> Json:
        connection.rate_limiter.wait(deadline, needed_after=0)
        return connection.get(path, params, connection.key.read())

    program = Baseline(dynamodb, settings.table, get, lambda: int(time.time()))
    return lambda event, _: asdict(program.run(event["from"], event["to"]))


ROLES: dict[str, Callable[[], ProgramHandler]] = {
    "consumer": load_consumer,
    "producer": load_producer,
    "baseline": load_baseline,
}


def main(role: str, path: Path) -> None:
    request = ThreadConnections(path).request
    transport = DelayedTransport(request)
    install_in_botocore(aws.session(), transport)
    boto3.setup_default_session(botocore_session=aws.session())
    install_in_stripe(transport)
    report = serve(role, ROLES[role](), FrameConnection.open(path), transport)
    request(Frame(REPORT, json.dumps(asdict(report)).encode()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
