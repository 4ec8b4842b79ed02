"""The consumer Lambda: an SQS batch in, the ids of the messages that failed out."""

import os
import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from consumer.batch import parse_records
from consumer.batch_processor import BatchProcessor
from consumer.session_group import InvocationContext
from recon.bootstrap import Clients, build_clients
from recon.errors import SyncError
from recon.retry import Deadline, stripe_timeout, working_seconds
from recon.telemetry import DEFAULT_STACK, NONE, STACK_VARIABLE, Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from recon.stripe.source import StripeConnection, StripeSource

# Stripe's latency is waited for, not computed: as many threads as a batch may hold sessions.
THREADS = 25


@cache
def clients() -> Clients:
    return build_clients(os.environ, THREADS)


@cache
def telemetry() -> Telemetry:
    return Telemetry("consumer", os.environ.get(STACK_VARIABLE, DEFAULT_STACK))


@cache
def stripe_connection(timeout: float) -> "StripeConnection":
    """Made when a session has to be fetched: a batch of known orders never imports the library."""
    from recon.bootstrap import connect_stripe  # noqa: PLC0415 - see above

    settings = clients().settings
    return connect_stripe(settings, requests_per_second=settings.consumer_rps, timeout=timeout)


def lambda_handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Answers `{"batchItemFailures": [{"itemIdentifier": message id}, …]}`; all others are settled."""
    try:
        tools, function_timeout = _tools(context)
    except SyncError as error:
        telemetry().error(f"Batch refused: {error}", run_id=NONE, error_type=type(error).__name__)
        raise
    process = BatchProcessor(tools, clients().queue, function_timeout=function_timeout, rand=random.random)
    try:
        failed = process(parse_records(event))
    finally:
        telemetry().flush()
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _tools(context: "LambdaContext") -> tuple[InvocationContext, float]:
    seconds = context.get_remaining_time_in_millis() / 1000
    deadline = Deadline(time.monotonic() + working_seconds(seconds), time.monotonic, time.sleep)
    kept = clients()

    @cache
    def stripe() -> "StripeSource":
        """One for the invocation: what it learns of a bad key holds for all of its sessions."""
        from recon.stripe.source import StripeSource  # noqa: PLC0415 - imported when first needed

        return StripeSource(
            stripe_connection(stripe_timeout(round(seconds))), deadline, telemetry().count_throttle
        )

    tools = InvocationContext(
        settings=kept.settings,
        table=kept.table,
        stripe=stripe,
        pool=kept.pool,
        deadline=deadline,
        now=lambda: int(time.time()),
        telemetry=telemetry(),
    )
    return tools, seconds
