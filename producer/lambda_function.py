"""The producer Lambda: it enqueues or predicts the run that an event requests and returns its state."""

import os
import time
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from producer.attempt import Attempt
from producer.continuation import continue_async
from producer.dry_run import DryRun
from producer.listing_pace import ListingPace
from producer.planned_run import plan_run
from producer.proof import check_proof
from producer.request import Continuation, Request, has_caller, parse_request
from producer.response import SHOWN_ORDERS, Body, build_preview, build_refusal, build_response
from producer.run_context import RunContext
from producer.sync_run import SyncRun
from recon.aws.clients import client
from recon.bootstrap import Clients, build_clients
from recon.domain.run import Trigger
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.outcomes import find_created_orders
from recon.dynamodb.records import Failure, Run
from recon.dynamodb.runs import Runs
from recon.dynamodb.watermark import Watermark, describe_owner
from recon.errors import InvalidRequest, SyncError, Unexpected
from recon.retry import LISTING_ATTEMPTS, Deadline, listing_seconds, stripe_timeout
from recon.telemetry import DEFAULT_STACK, STACK_VARIABLE, Telemetry, frames
from recon.timestamps import MINUTE, to_iso

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_lambda import LambdaClient

    from recon.stripe.connection import StripeConnection
    from recon.stripe.source import StripeSource

# Lambda keeps an asynchronous event for six hours at most.
RETRY_SECONDS = 6 * 3600
# For recording a failure, out of the half minute that the listing leaves at the end of an invocation.
FAILURE_SECONDS = 10.0
# Shared by up to forty batches of ten messages at a time (SENT_TOGETHER), ten requests for pages
# (MOST_REQUESTS) and two readings of events. What finds no free thread waits for one.
THREADS = 20
# How far the caller's clock may be ahead.
CLOCK_SKEW_SECONDS = 5 * MINUTE


@cache
def clients() -> Clients:
    return build_clients(os.environ, THREADS)


@cache
def telemetry() -> Telemetry:
    """Return the telemetry, which does not depend on the settings, since it reports errors in them."""
    return Telemetry("producer", os.environ.get(STACK_VARIABLE, DEFAULT_STACK))


@cache
def lambda_client() -> "LambdaClient":
    """Return the Lambda client, created when a run does not fit into one invocation."""
    return client("lambda")


@cache
def stripe_connection(timeout: float) -> "StripeConnection":
    """Return the connection to Stripe, created after all checks, since it imports the Stripe library."""
    from recon.bootstrap import connect_stripe  # noqa: PLC0415 - see above

    settings = clients().settings
    return connect_stripe(settings, requests_per_second=settings.stripe_max_rps, timeout=timeout)


def lambda_handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Return `{"statusCode": 200, "body": {…}}`, or 400 for an invalid manual event.

    Raise every other error, so that Lambda counts and retries it, and record it on the run. An invalid
    scheduled event or continuation raises InvalidRequest, since no caller reads the response.
    """
    attempt = Attempt()
    try:
        return {"statusCode": 200, "body": _respond(parse_request(event), context, attempt)}
    except InvalidRequest as error:
        if has_caller(event):
            telemetry().warning(f"Refused: {error}", run_id=attempt.run_id)
            return build_refusal(str(error))
        telemetry().error(f"Refused: {error}", run_id=attempt.run_id, error_type=type(error).__name__)
        raise
    except SyncError as error:
        telemetry().error(f"Sync failed: {error}", run_id=attempt.run_id, error_type=type(error).__name__)
        telemetry().count_key_failure(error)
        _record_failure(attempt, error, context)
        raise
    except Exception as error:  # noqa: BLE001 - translated, logged and raised
        name = type(error).__name__
        telemetry().error(f"Unexpected {name}", run_id=attempt.run_id, error_type=name, frames=frames(error))
        _record_failure(attempt, Unexpected(name), context)
        # Not `from error`: Lambda prints the text of chained exceptions, which may contain personal data.
        raise Unexpected(name) from None
    finally:
        telemetry().flush()


def _record_failure(attempt: Attempt, error: SyncError, context: "LambdaContext") -> None:
    """Mark the run as failed and store the cause on its record.

    Never raise, since an error in writing the record must not hide the cause. Log it as a warning instead.
    """
    run = attempt.run
    if run is None:
        return
    deadline = Deadline(time.monotonic() + FAILURE_SECONDS, time.monotonic, time.sleep)
    failure = Failure(
        type(error).__name__, str(error), to_iso(_now()), attempts=1, request_id=context.aws_request_id
    )
    try:
        Runs(clients().table, deadline).fail(run, failure)
    except Exception as unwritten:  # noqa: BLE001 - see above
        cause = str(unwritten) if isinstance(unwritten, SyncError) else type(unwritten).__name__
        telemetry().warning(f"The failure could not be recorded on the run: {cause}", run_id=run.run_id)


def _respond(request: Request | Continuation, context: "LambdaContext", attempt: Attempt) -> Body:
    # First, so that every error is logged with the id. A retried manual call gets its first id below.
    if isinstance(request, Continuation):
        attempt.run_id = request.run_id
    else:
        attempt.run_id = request.run_id(_now(), context.aws_request_id)
    kept = clients()
    seconds = context.get_remaining_time_in_millis() / 1000
    deadline = Deadline(time.monotonic() + listing_seconds(seconds), time.monotonic, time.sleep)

    @cache
    def stripe() -> "StripeSource":
        from recon.stripe.source import StripeSource  # noqa: PLC0415 - imported when first needed

        connection = stripe_connection(stripe_timeout(round(seconds)))
        return StripeSource(connection, deadline, telemetry().count_throttle, LISTING_ATTEMPTS, pace.share)

    pace = ListingPace(kept.table, lambda: attempt.run_id, kept.settings.stripe_max_rps, time.time, deadline)
    check_ledger_table(kept.table, kept.settings.stack, deadline)
    runs = Runs(kept.table, deadline)
    sync_run = SyncRun(
        RunContext(
            settings=kept.settings,
            runs=runs,
            stripe=stripe,
            queue=kept.queue,
            pool=kept.pool,
            deadline=deadline,
            now=_now,
            telemetry=telemetry(),
            attempt=attempt,
            pace=pace,
        ),
        lambda continuation: continue_async(lambda_client(), context.function_name, continuation),
    )
    if isinstance(request, Continuation):
        if (resumed := sync_run.resume(request)) is None:
            raise InvalidRequest(f"runId must be the id of an existing run; there is no {request.run_id}")
        return _build_body(resumed, deadline)
    _refuse_future(request)
    state, watermark = runs.state(), runs.watermark()
    run = _plan_run(request, runs, watermark, context.aws_request_id)
    if kept.settings.dry_run if request.dry_run is None else request.dry_run:
        if request.confirm_empty:
            raise InvalidRequest("confirmEmpty needs a run that writes; deploy with DryRun=false")
        pace.write_nothing()
        dry_run = DryRun(kept.settings, kept.table, stripe, kept.pool, deadline, _now)
        if watermark.stack_name not in (None, kept.settings.stack):
            owner = describe_owner(watermark.stack_name, kept.settings.stack)
            run = replace(run, warnings=(*run.warnings, f"other_stack: {owner}"))
        if warning := check_proof(sync_run.context, watermark).warning:
            run = replace(run, warnings=(*run.warnings, warning))
        predicted = dry_run.predict(run, request.max_sessions)
        _log_prediction(predicted.run)
        return build_preview(predicted, has_shape=kept.settings.shape is not None)
    if request.trigger == Trigger.SCHEDULED and request.at is not None:
        telemetry().record_watermark(watermark, request.at)
    begun = sync_run.begin(run, state, watermark, confirm_empty=request.confirm_empty)
    return _build_body(begun, deadline)


def _refuse_future(request: Request) -> None:
    """Raise InvalidRequest for a future time: its run would use up the name of that night's run."""
    if request.at is None or request.at <= _now() + CLOCK_SKEW_SECONDS:
        return
    at = to_iso(request.at)
    raise InvalidRequest(f"{request.at_field} must not be later than now; {at} is in the future")


def _log_prediction(predicted: Run) -> None:
    """Log the result of a dry run, since the response of a scheduled one has no reader."""
    telemetry().info(
        f"Dry run: processed={predicted.processed}, created={predicted.created}, "
        f"skipped={predicted.skipped}, errors={predicted.errors}"
        + (f", missing={predicted.missing}" if predicted.missing else ""),
        run_id=predicted.run_id,
    )
    for warning in predicted.warnings:
        telemetry().warning(warning, run_id=predicted.run_id)


def _build_body(run: Run, deadline: Deadline) -> Body:
    numbers: list[str] = []
    try:
        if run.created:
            numbers = find_created_orders(clients().table, run.run_id, SHOWN_ORDERS, deadline)
    except SyncError as error:
        # The next invocation may have begun: a failure would only repeat this one.
        telemetry().warning(f"The numbers of the created orders cannot be read: {error}", run_id=run.run_id)
    return build_response(run, numbers)


def _plan_run(request: Request, runs: Runs, watermark: Watermark, request_id: str) -> Run:
    """Return the requested run as it would start now."""
    started = _now()
    run_id = _find_run_id(request, runs, started, request_id)
    covered = watermark.covered_through or 0
    return plan_run(request, clients().settings, started, run_id, watermark, lambda: runs.was_held(covered))


def _find_run_id(request: Request, runs: Runs, started: int, request_id: str) -> str:
    """Return the id of the run, which is that of the first attempt if Lambda retries the invocation.

    A retry has the request id of the first attempt. With `requestedAt` or a scheduled time both have one id.
    """
    run_id = request.run_id(started, request_id)
    if request.trigger == Trigger.SCHEDULED or request.at is not None:
        return run_id
    first = runs.find_by_request(run_id.rpartition("-")[2], since=started - RETRY_SECONDS)
    return first or run_id


def _now() -> int:
    return int(time.time())
