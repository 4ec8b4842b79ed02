"""`nightly-sync run`: start a run and follow it to its end."""

import math
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.run_preview import preview_locally, preview_run
from ops.cli.progress import show_progress
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.settings_options import SetOption, ShapeOption, read_changes
from ops.cli.times import TIME_HELP, parse_past_time, parse_time_option
from ops.cli.usage import conflict, requires
from ops.errors import CommandError
from ops.format.money import Money, totals
from ops.format.text import duration, quantity, span
from ops.runs.failures import describe_failure
from ops.runs.follow import ProgressReader, RunProgress, follow
from ops.runs.history import PastRun, past_run
from ops.runs.invocation import (
    ProducerAnswer,
    RunEvent,
    build_event,
    invoke,
    invoke_async,
    run_in_background,
)
from ops.runs.run_tracker import RunTracker
from ops.runs.sessions import OutcomeFilter, read_sessions, recovered_amounts
from ops.runs.status import is_consuming
from ops.stack.stack import Stack
from recon.config import MAX_LOOKBACK_HOURS
from recon.dynamodb.runs import is_stalled
from recon.timestamps import parse_epoch

EXAMPLES = [
    "nightly-sync run --dry-run",
    "nightly-sync run --dry-run --shape shape.toml \\\n      --set StripeSecretParameter=/shop/stripe-key",
    "nightly-sync run --lookback-hours 168",
    "nightly-sync run --since 7d",
    "nightly-sync run --from 2026-11-01 --to 2026-11-02",
    "nightly-sync run --confirm-empty",
    "nightly-sync run --no-wait --json",
]
RULES = (
    requires("--shape", "--dry-run", because="a run that writes has the settings of the deployed stack"),
    requires("--set", "--dry-run", because="a run that writes has the settings of the deployed stack"),
    conflict("--dry-run", "--no-wait", because="a preview leaves nothing but its answer"),
    conflict("--confirm-empty", "--dry-run", because="a preview stores no confirmation"),
    conflict("--lookback-hours", "--from", "--to", "--since", because="both set the window"),
    conflict("--since", "--from", "--to", because="both set the window"),
    requires("--from", "--to", because="a backfill has an end; --since TIME goes up to now"),
    requires("--to", "--from", because="a backfill has a beginning and an end"),
)
MAX_LISTED_ORDERS = 20


@dataclass(frozen=True)
class StartedRun:
    """A run that is not followed. `run_id` is None if the producer did not start in time."""

    requested_at: str
    run_id: str | None


@dataclass(frozen=True)
class RunSummary:
    """A run at its end.

    `skipped_for` counts the skip reasons. `is_over` is False if following stopped because nothing changed.
    """

    run: PastRun
    is_over: bool
    skipped_for: dict[str, int]
    recovered: tuple[Money, ...]
    created_orders: tuple[str, ...]
    waiting: int
    retrying: int
    dead: int


def run(
    context: CommandContext,
    lookback_hours: Annotated[
        int | None,
        typer.Option(metavar="HOURS", min=1, max=MAX_LOOKBACK_HOURS, help="Look back this many hours"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Process at most this many sessions, the oldest"),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help=f"Backfill from {TIME_HELP}")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Backfill up to such a time")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Backfill from such a time up to now")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only preview what would be created")] = False,
    confirm_empty: Annotated[
        bool,
        typer.Option(
            "--confirm-empty", help="Accept the key and a table without orders, and do what was held"
        ),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the run without following it")] = False,
    set_: SetOption = None,
    shape: ShapeOption = None,
) -> CommandResult:
    """Start a run and follow it to its end. Ctrl-C stops following; the run continues.

    With --dry-run the deployed producer previews it. With --shape or --set this machine does, with these
    settings and your own AWS credentials, so that it works before anything is deployed.
    """
    now = context.now()
    event = build_event(
        now,
        lookback_hours=lookback_hours,
        max_sessions=limit,
        dry_run=dry_run,
        confirm_empty=confirm_empty,
        period=read_period(from_, to, since, now),
    )
    if changes := read_changes(set_, shape):
        return preview_locally(context, event, changes)
    if dry_run:
        return preview_run(context, event)
    if no_wait:
        return start_run(context, event)
    return follow_run(context, event)


def read_period(start: str | None, end: str | None, since: str | None, now: int) -> tuple[int, int] | None:
    """Return the period of a backfill in epoch seconds, or None if no option gives one.

    Raise CommandError if no session can have been created in it.
    """
    if start is None and since is None:
        return None
    option = "--from" if since is None else "--since"
    beginning = parse_past_time(option, start or since or "", now)
    ending = now if end is None else parse_time_option("--to", end, now)
    if beginning >= ending:
        raise CommandError(f"{option} must be before {'now' if end is None else '--to'}")
    return beginning, ending


def require_writing(stack: Stack) -> None:
    """Raise CommandError if the stack makes every run a preview, which leaves no run to follow."""
    if stack.producer_settings.dry_run:
        raise CommandError(
            f"the stack {stack.name} is deployed with DryRun=true, so no run writes anything: "
            "give --dry-run for a preview, or deploy with DryRun=false"
        )


def start_run(context: CommandContext, event: RunEvent) -> CommandResult:
    """Start a run, wait until it has an id and leave it running."""
    stack = context.stack
    require_writing(stack)
    reader = create_reader(stack)
    invoke_async(stack.client("lambda", once=True), stack.outputs.producer, event)
    no_answer: Future[ProducerAnswer] = Future()
    run_id = create_tracker(reader, event, no_answer).wait_for_run_id(time.sleep)
    started = f"Started run {run_id}." if run_id else "The run was requested but has not started yet."
    return CommandResult(
        StartedRun(event["requestedAt"], run_id),
        lambda screen: screen.text(f"{started} `nightly-sync status` shows its progress."),
    )


def follow_run(context: CommandContext, event: RunEvent) -> CommandResult:
    """Start a run, show its progress and summarise it at its end."""
    stack = context.stack
    require_writing(stack)
    reader, client = create_reader(stack), stack.client("lambda", once=True)
    if not is_consuming(stack):
        context.screen.log("The consumer is paused: messages wait in the queue until `nightly-sync resume`.")
    try:
        answer = run_in_background(lambda: invoke(client, stack.outputs.producer, event))
        last = wait_for_end(context, create_tracker(reader, event, answer))
    except KeyboardInterrupt:
        context.screen.log("Stopped following; the run continues. `nightly-sync status` shows its progress.")
        raise
    summary = summarize(stack, last, context.now())
    needs_attention = summary.run.needs_attention or not summary.is_over
    return CommandResult(summary, lambda screen: show(screen, summary), needs_attention)


def create_reader(stack: Stack) -> ProgressReader:
    """Create the reader before the run is started, so that a missing permission starts nothing."""
    return ProgressReader(stack.runs, stack.sqs, stack.outputs.queue_url, stack.outputs.dlq_url)


def create_tracker(reader: ProgressReader, event: RunEvent, answer: Future[ProducerAnswer]) -> RunTracker:
    """Create the tracker of the run that the event requests."""
    return RunTracker(reader, parse_epoch(event["requestedAt"]), answer, time.monotonic)


def wait_for_end(context: CommandContext, run: RunTracker) -> RunProgress:
    """Show the progress until the run is over, stuck or stalled, and return the last snapshot."""

    def has_ended(progress: RunProgress) -> bool:
        stalled = progress.run is not None and is_stalled(progress.run, context.now())
        return run.has_ended(progress) or run.is_stuck or stalled

    snapshots = follow(
        run.poll,
        has_ended,
        timeout=math.inf,
        clock=time.monotonic,
        sleep=time.sleep,
    )
    return show_progress(context, snapshots)


def summarize(stack: Stack, last: RunProgress, now: int) -> RunSummary:
    """Read the run's outcomes and combine them with the last snapshot."""
    assert last.run is not None  # noqa: S101 - following ends only once there is a record
    sessions = list(read_sessions(stack.table, last.run.run_id, OutcomeFilter()))
    order_numbers = [one.order_number for one in sessions if one.order_number]
    return RunSummary(
        run=past_run(last.run, now),
        is_over=last.is_over,
        skipped_for=dict(Counter(one.reason for one in sessions if one.reason).most_common()),
        recovered=tuple(totals(recovered_amounts(sessions))),
        created_orders=tuple(order_numbers[:MAX_LISTED_ORDERS]),
        waiting=last.waiting,
        retrying=last.retrying,
        dead=last.dead,
    )


def show(screen: Screen, summary: RunSummary) -> None:
    """Print the summary and the commands that show details."""
    run = summary.run
    created = quantity(run.created, "order")
    if summary.recovered:
        created += f": {', '.join(map(str, summary.recovered))}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary.skipped_for.items())
    screen.facts(
        [
            ("run", f"{run.run_id}, {run.status}, {duration(run.seconds)}", ""),
            ("window", span(run.processed, run.window_from, run.window_to), ""),
            ("created", created, FINE if run.created else ""),
            *([("missing", str(run.missing), TROUBLE)] if run.missing else []),
            ("skipped", f"{run.skipped}: {reasons}" if reasons else str(run.skipped), ""),
            ("errors", str(run.errors), TROUBLE if run.errors else ""),
            ("drift", str(run.drifted), NOTICE if run.drifted else ""),
            *([("left out", f"{run.filtered} by the filter", "")] if run.filtered else []),
        ]
    )
    for warning in run.warnings:
        screen.text(f"Warning: {warning}", NOTICE)
    if run.errors:
        screen.text(f"Failed sessions: nightly-sync show {run.run_id} --outcome error", "bold")
    if run.missing:
        screen.text(f"Missing orders: nightly-sync missing --run {run.run_id}", "bold")
    if run.drifted:
        screen.text(f"Orders that differ: nightly-sync show {run.run_id} --drift", "bold")
    if failure := describe_failure(run):
        screen.text(failure.line, TROUBLE)
        screen.command(failure.command or "")
    elif not summary.is_over:
        screen.text(
            "Nothing has changed for more than an hour; stopped following. Check `nightly-sync status`.",
            TROUBLE,
        )
