"""The producer Lambda: an event in, a run enqueued (or previewed), the run's state out."""

import os
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from producer.enqueue import Enqueue
from producer.preview import Preview
from producer.request import Request, request_of
from producer.response import SHOWN_ORDERS, Body, answer, refusal
from producer.scan import window
from recon.clock import iso
from recon.config import Settings, settings_from
from recon.errors import InvalidRequest, SyncError
from recon.ledger.outcomes import created_orders
from recon.ledger.records import Run
from recon.ledger.runs import Runs
from recon.ledger.table import Table
from recon.queue import SessionQueue
from recon.retry import Deadline, aws_config, stripe_timeout, working_seconds
from recon.telemetry import NONE, Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from recon.stripe_source import StripeConnection, StripeSource

# A page is ten batches of ten, all in flight at once.
THREADS = 10


@dataclass(frozen=True)
class Clients:
    """What one process keeps between invocations."""

    settings: Settings
    table: Table
    queue: SessionQueue
    pool: Executor


@cache
def clients() -> Clients:
    settings = settings_from(os.environ)
    config = Config(**aws_config())
    return Clients(
        settings=settings,
        table=Table(boto3.client("dynamodb", config=config), settings.table),
        queue=SessionQueue(boto3.client("sqs", config=config), settings.queue_url),
        pool=ThreadPoolExecutor(THREADS),
    )


@cache
def telemetry() -> Telemetry:
    """Apart from the other clients: it must be able to say that the settings are wrong."""
    return Telemetry("producer")


@cache
def stripe_connection(timeout: float) -> "StripeConnection":
    """Made after everything that can be refused was checked: it imports the library."""
    from recon.connect import connected  # noqa: PLC0415 - see above

    settings = clients().settings
    return connected(settings, per_second=settings.stripe_max_rps, timeout=timeout)


def lambda_handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answers `{"statusCode": 200, "body": {…}}`, or 400 for an event with something wrong in it.

    Every other failure is raised, so that Lambda's Errors metric and its retries see it.
    """
    try:
        request = request_of(event)
    except InvalidRequest as error:
        telemetry().warning(f"Refused: {error}", run_id=NONE)
        return refusal(str(error))
    try:
        return {"statusCode": 200, "body": _respond(request, context)}
    except SyncError as error:
        telemetry().error(f"Sync failed: {error}", run_id=NONE, error_type=type(error).__name__)
        raise
    finally:
        telemetry().flush()


def _respond(request: Request, context: "LambdaContext") -> Body:
    kept = clients()
    seconds = context.get_remaining_time_in_millis() / 1000
    deadline = Deadline(time.monotonic() + working_seconds(seconds), time.monotonic, time.sleep)
    run = _wanted(request, kept.settings, context.aws_request_id)

    def stripe() -> "StripeSource":
        from recon.stripe_source import StripeSource  # noqa: PLC0415 - imported when first needed

        connection = stripe_connection(stripe_timeout(round(seconds)))
        return StripeSource(connection, deadline, telemetry().throttled)

    if kept.settings.dry_run if request.dry_run is None else request.dry_run:
        preview = Preview(kept.settings, kept.table, stripe, kept.pool, deadline, _now)
        previewed, numbers = preview(run, request.max_sessions)
        return answer(previewed, numbers, dry_run=True)
    runs = Runs(kept.table, deadline)
    enqueue = Enqueue(runs, stripe, kept.queue, kept.pool, deadline, _now, telemetry())
    run = enqueue(run)
    created = created_orders(kept.table, run.run_id, SHOWN_ORDERS) if run.created else []
    return answer(run, created)


def _wanted(request: Request, settings: Settings, request_id: str) -> Run:
    """The run that was asked for, as it would begin now."""
    started = _now()
    hours = request.lookback_hours or settings.lookback_hours
    looked_at = window(request.at or started, hours)
    return Run(
        run_id=request.run_id(started, request_id),
        trigger=request.trigger,
        started_at=iso(started),
        lookback_hours=hours,
        lookback_start=looked_at.start,
        lookback_end=looked_at.end,
        max_sessions=request.max_sessions or settings.max_sessions,
    )


def _now() -> int:
    return int(time.time())
