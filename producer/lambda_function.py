"""The producer Lambda: an event in, a run enqueued (or previewed), the run's state out."""

import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from producer.attempt import Attempt
from producer.continuation import continue_async
from producer.dry_run import DryRun
from producer.request import Continuation, Request, has_caller, parse_request
from producer.response import SHOWN_ORDERS, Body, build_refusal, build_response
from producer.sync_run import SyncRun
from producer.window import plan
from recon.aws.clients import client
from recon.bootstrap import Clients, build_clients
from recon.domain.run import Trigger
from recon.dynamodb.outcomes import find_created_orders
from recon.dynamodb.records import Failure, Run, State
from recon.dynamodb.runs import Runs
from recon.errors import InvalidRequest, SyncError, Unexpected
from recon.retry import LISTING_ATTEMPTS, Deadline, listing_seconds, stripe_timeout
from recon.telemetry import DEFAULT_STACK, STACK_VARIABLE, Telemetry, frames
from recon.timestamps import to_iso

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_lambda import LambdaClient

    from recon.stripe.connection import StripeConnection
    from recon.stripe.source import StripeSource

# Lambda keeps an asynchronous call for six hours at most.
RETRY_SECONDS = 6 * 3600
# To write down why a run failed, out of the half minute that is kept of a producer's life.
FAILURE_SECONDS = 10.0
# Two pages are twenty batches of ten, all in flight at once.
THREADS = 20


@cache
def clients() -> Clients:
    return build_clients(os.environ, THREADS)


@cache
def telemetry() -> Telemetry:
    """Apart from the other clients: it must be able to say that the settings are wrong."""
    return Telemetry("producer", os.environ.get(STACK_VARIABLE, DEFAULT_STACK))


@cache
def lambda_client() -> "LambdaClient":
    """Made when a run does not fit into one invocation."""
    return client("lambda")


@cache
def stripe_connection(timeout: float) -> "StripeConnection":
    """Made after everything that can be refused was checked: it imports the library."""
    from recon.bootstrap import connect_stripe  # noqa: PLC0415 - see above

    settings = clients().settings
    return connect_stripe(settings, requests_per_second=settings.stripe_max_rps, timeout=timeout)


def lambda_handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answers `{"statusCode": 200, "body": {…}}`, or 400 for a manual event with something wrong in it.

    Every other failure is raised, so that Lambda's Errors metric and its retries see it, and kept on the
    run's record. A scheduled event or a continuation is never answered with 400: nobody reads that answer.
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
        _keep_failure(attempt, error, context)
        raise
    except Exception as error:  # noqa: BLE001 - translated, logged and raised
        name = type(error).__name__
        telemetry().error(f"Unexpected {name}", run_id=attempt.run_id, error_type=name, frames=frames(error))
        _keep_failure(attempt, Unexpected(name), context)
        # Not `from error`: Lambda prints the text of what is raised, and nobody knows what is in that one.
        raise Unexpected(name) from None
    finally:
        telemetry().flush()


def _keep_failure(attempt: Attempt, error: SyncError, context: "LambdaContext") -> None:
    """Mark the run failed and keep why on its record, if the table can be written.

    Never raises: the error itself must not be hidden by one of its record.
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
        telemetry().warning(f"The failure is not on the run's record: {cause}", run_id=run.run_id)


def _respond(request: Request | Continuation, context: "LambdaContext", attempt: Attempt) -> Body:
    # Before anything can fail. A retry of a manual call finds the id of its first attempt when it begins.
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
        return StripeSource(connection, deadline, telemetry().count_throttle, LISTING_ATTEMPTS)

    enqueue = SyncRun(
        settings=kept.settings,
        runs=Runs(kept.table, deadline),
        stripe=stripe,
        queue=kept.queue,
        pool=kept.pool,
        deadline=deadline,
        now=_now,
        telemetry=telemetry(),
        go_on=lambda hop: continue_async(lambda_client(), context.function_name, hop),
        attempt=attempt,
    )
    if isinstance(request, Continuation):
        if (resumed := enqueue.resume(request)) is None:
            raise InvalidRequest(f"runId must be that of a run; there is no {request.run_id}")
        return _answer(resumed, deadline)
    state = enqueue.runs.state()
    run = _wanted(request, enqueue.runs, state, context.aws_request_id)
    if kept.settings.dry_run if request.dry_run is None else request.dry_run:
        preview = DryRun(kept.settings, kept.table, stripe, kept.pool, deadline, _now)
        previewed, numbers = preview(run, request.max_sessions)
        _tell(previewed)
        return build_response(previewed, numbers, dry_run=True)
    if request.trigger == Trigger.SCHEDULED and request.at is not None:
        telemetry().record_watermark(state, request.at)
    return _answer(enqueue.begin(run, state), deadline)


def _tell(previewed: Run) -> None:
    """A scheduled preview answers nobody; this line is all that is left of it."""
    telemetry().info(
        f"Preview: processed={previewed.processed}, created={previewed.created}, "
        f"skipped={previewed.skipped}, errors={previewed.errors}",
        run_id=previewed.run_id,
    )
    for warning in previewed.warnings:
        telemetry().warning(warning, run_id=previewed.run_id)


def _answer(run: Run, deadline: Deadline) -> Body:
    numbers = find_created_orders(clients().table, run.run_id, SHOWN_ORDERS, deadline) if run.created else []
    return build_response(run, numbers)


def _wanted(request: Request, runs: Runs, state: State, request_id: str) -> Run:
    """The run that was asked for, as it would begin now."""
    started, settings = _now(), clients().settings
    planned = plan(request, settings, started, state)
    return Run(
        run_id=_run_id(request, runs, started, request_id),
        trigger=request.trigger,
        started_at=to_iso(started),
        lookback_hours=request.lookback_hours or settings.lookback_hours,
        lookback_start=planned.window.start,
        lookback_end=planned.window.end,
        max_sessions=request.max_sessions,
        covers_through=planned.covers_through,
        warnings=planned.warnings,
    )


def _run_id(request: Request, runs: Runs, started: int, request_id: str) -> str:
    """A retry of an asynchronous call has the request id of the first one, and another start: it is the same
    run. `requestedAt` and a schedule say so by themselves."""
    run_id = request.run_id(started, request_id)
    if request.trigger == Trigger.SCHEDULED or request.at is not None:
        return run_id
    begun = runs.find_by_request(run_id.rpartition("-")[2], since=started - RETRY_SECONDS)
    return begun or run_id


def _now() -> int:
    return int(time.time())
