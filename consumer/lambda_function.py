"""The consumer Lambda: takes an SQS batch and returns the ids of messages to keep in the queue."""

import os
import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from consumer.batch_processor import BatchProcessor
from consumer.invocation import InvocationContext
from consumer.session_tasks import parse_records
from consumer.webhook_fence import count_pages
from recon.bootstrap import Clients, build_clients
from recon.dynamodb.keys import STATE_KEY
from recon.dynamodb.records import parse_state
from recon.dynamodb.table import Table
from recon.errors import SyncError
from recon.retry import Deadline, stripe_timeout, working_seconds
from recon.stripe.pace import ConsumerPace
from recon.telemetry import DEFAULT_STACK, NONE, STACK_VARIABLE, Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from recon.stripe.connection import StripeConnection
    from recon.stripe.source import StripeSource

# Fetches spend their time waiting for Stripe: so many use up a consumer's pace also if Stripe is slow.
THREADS = 25


@cache
def clients() -> Clients:
    return build_clients(os.environ, THREADS)


@cache
def telemetry() -> Telemetry:
    return Telemetry("consumer", os.environ.get(STACK_VARIABLE, DEFAULT_STACK))


@cache
def stripe_connection(timeout: float) -> "StripeConnection":
    """Connect to Stripe at the first fetch: a batch without missing orders never imports the library."""
    from recon.bootstrap import connect_stripe  # noqa: PLC0415 - see above

    settings = clients().settings
    return connect_stripe(settings, requests_per_second=settings.consumer_rps, timeout=timeout)


def lambda_handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Return `{"batchItemFailures": [{"itemIdentifier": message id}, …]}`; Lambda deletes all others."""
    try:
        invocation, function_timeout = _invocation_context(context)
    except SyncError as error:
        telemetry().error(f"Batch refused: {error}", run_id=NONE, error_type=type(error).__name__)
        raise
    processor = BatchProcessor(
        invocation, clients().queue, function_timeout=function_timeout, rand=random.random
    )
    try:
        failed = processor.process(parse_records(event))
    finally:
        telemetry().flush()
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _invocation_context(context: "LambdaContext") -> tuple[InvocationContext, float]:
    """Return the context of this invocation and the function's timeout in seconds."""
    seconds = context.get_remaining_time_in_millis() / 1000
    deadline = Deadline(time.monotonic() + working_seconds(seconds), time.monotonic, time.sleep)
    process_clients = clients()
    pace = ConsumerPace(lambda: _read_listed_until(process_clients.table), time.time)

    @cache
    def stripe() -> "StripeSource":
        """Return the invocation's only source: what it learns about a bad key holds for all sessions."""
        from recon.stripe.source import StripeSource  # noqa: PLC0415 - imported when first needed

        return StripeSource(
            stripe_connection(stripe_timeout(round(seconds))),
            deadline,
            telemetry().count_throttle,
            find_share=pace.share,
            reserved_requests=count_pages(process_clients.settings.webhook_fence),
        )

    invocation = InvocationContext(
        settings=process_clients.settings,
        table=process_clients.table,
        stripe=stripe,
        pool=process_clients.pool,
        deadline=deadline,
        now=lambda: int(time.time()),
        telemetry=telemetry(),
        pace=pace,
    )
    return invocation, seconds


def _read_listed_until(table: Table) -> int | None:
    """Return until when a run lists sessions (epoch seconds), or None if the state cannot be read."""
    try:
        return parse_state(table.get(STATE_KEY)).lease.until
    except SyncError:
        return None
