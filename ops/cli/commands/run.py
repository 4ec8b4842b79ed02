"""`nightly-sync run`: a run by hand, followed to its end."""

import math
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from ops.cli.command import Operator
from ops.cli.progress import watch
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.usage import conflict, requires
from ops.errors import CommandError
from ops.format.money import Money, totals
from ops.format.text import counted, duration, span
from ops.runs.failures import describe_trouble
from ops.runs.follow import Progress, Watch, follow
from ops.runs.history import PastRun, past_run
from ops.runs.invocation import AnswerLost, Body, Event, build_event, hand_over, in_background, invoke
from ops.runs.run_tracker import RunTracker
from ops.runs.sessions import Filter, read_sessions, recovered
from ops.runs.status import is_consuming
from ops.stack.stack import Stack
from producer.request import read_time
from recon.config import MAX_LOOKBACK_HOURS
from recon.dynamodb.runs import is_stalled
from recon.timestamps import parse_epoch

EXAMPLES = [
    "nightly-sync run --dry-run",
    "nightly-sync run --lookback-hours 168",
    "nightly-sync run --from 2026-11-01T00:00:00Z --to 2026-11-02T00:00:00Z",
    "nightly-sync run --no-wait --json",
]
RULES = (
    conflict("--dry-run", "--no-wait", because="a preview leaves nothing but its answer"),
    conflict("--lookback-hours", "--from", "--to", because="both set the window"),
    requires("--from", "--to", because="a backfill has a beginning and an end"),
    requires("--to", "--from", because="a backfill has a beginning and an end"),
)
SHOWN_ORDERS = 20


@dataclass(frozen=True)
class Begun:
    """`run_id` is None where the producer takes longer to begin than anybody wants to wait."""

    requested_at: str
    run_id: str | None


@dataclass(frozen=True)
class Summary:
    """`skipped_for` counts reasons. `is_over` is False where nothing moved any more and nobody waited on."""

    run: PastRun
    is_over: bool
    skipped_for: dict[str, int]
    recovered: tuple[Money, ...]
    created_orders: tuple[str, ...]
    waiting: int
    retrying: int
    dead: int


def run(
    operator: Operator,
    lookback_hours: Annotated[
        int | None, typer.Option(min=1, max=MAX_LOOKBACK_HOURS, help="Hours to look back")
    ] = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Look at so many sessions at most, the oldest")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Backfill from, in UTC")] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="Backfill up to, in UTC")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be created")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it and do not follow it")] = False,
) -> CommandResult:
    """Starts a run and follows it. Ctrl-C stops following; the run goes on."""
    if from_ is not None:
        require_period(from_, to, operator.now())
    event = build_event(
        operator.now(),
        lookback_hours=lookback_hours,
        max_sessions=max_sessions,
        dry_run=dry_run,
        period=(from_, to),
    )
    if dry_run:
        return preview(operator, event)
    if no_wait:
        return started(operator, event)
    return followed(operator, event)


def require_period(start: str, end: str | None, now: int) -> None:
    """Raise InvalidRequest or CannotRun if no session can have been created in the period."""
    beginning = read_time(start, "--from")
    if beginning >= read_time(end, "--to"):
        raise CommandError("--from must be before --to")
    if beginning > now:
        raise CommandError("--from is in the future, where there are no sessions yet")


def preview(operator: Operator, event: Event) -> CommandResult:
    place = operator.place
    lambda_ = place.client("lambda", once=True)
    with operator.busy("looking each session up; nothing is written"):
        try:
            body = invoke(lambda_, place.names.producer, event)
        except AnswerLost as lost:
            raise CommandError(f"the answer was lost ({lost}); nothing was written, try again") from lost
    return CommandResult(body, lambda screen: show_preview(screen, body), needs_attention=_warns(body))


def require_writing(place: Stack) -> None:
    """Raise CannotRun if the stack makes every run a preview, which leaves no run to follow."""
    if place.producer_settings.dry_run:
        raise CommandError(
            f"the stack {place.stack} is deployed with DryRun=true, so no run writes anything: "
            "give --dry-run for a preview, or deploy with DryRun=false"
        )


def started(operator: Operator, event: Event) -> CommandResult:
    place = operator.place
    require_writing(place)
    where = watch_of(place)
    hand_over(place.client("lambda", once=True), place.names.producer, event)
    nobody: Future[Body] = Future()
    begun = Begun(event["requestedAt"], started_of(where, event, nobody).name(time.sleep))
    words = f"Started run {begun.run_id}." if begun.run_id else "Asked for; it has not begun yet."
    return CommandResult(
        begun, lambda screen: screen.text(f"{words} `nightly-sync status` tells how it does.")
    )


def followed(operator: Operator, event: Event) -> CommandResult:
    place = operator.place
    require_writing(place)
    where, client = watch_of(place), place.client("lambda", once=True)
    if not is_consuming(place):
        operator.screen.tell("The consumer is paused: what is enqueued waits until `nightly-sync resume`.")
    try:
        answer = in_background(lambda: invoke(client, place.names.producer, event))
        last = to_its_end(operator, started_of(where, event, answer))
    except KeyboardInterrupt:
        operator.screen.tell(
            "Not followed any more; the run goes on. `nightly-sync status` tells how it does."
        )
        raise
    summary = summary_of(place, last, operator.now())
    needs = summary.run.needs_attention or not summary.is_over
    return CommandResult(summary, lambda screen: show(screen, summary), needs_attention=needs)


def watch_of(place: Stack) -> Watch:
    """Made before anything is sent: what cannot be watched is not started."""
    return Watch(place.runs, place.sqs, place.names.queue_url, place.names.dlq_url)


def started_of(where: Watch, event: Event, answer: Future[Body]) -> RunTracker:
    return RunTracker(where, parse_epoch(event["requestedAt"]), answer, time.monotonic)


def to_its_end(operator: Operator, run: RunTracker) -> Progress:
    return watch(
        operator,
        follow(
            run.look,
            lambda progress: progress.is_over or run.is_stuck or _is_stalled(progress, operator.now()),
            timeout=math.inf,
            clock=time.monotonic,
            sleep=time.sleep,
        ),
    )


def _is_stalled(progress: Progress, now: int) -> bool:
    return progress.run is not None and is_stalled(progress.run, now)


def summary_of(place: Stack, last: Progress, now: int) -> Summary:
    assert last.run is not None  # noqa: S101 - nobody stops following before there is a run
    sessions = list(read_sessions(place.table, last.run.run_id, Filter()))
    return Summary(
        run=past_run(last.run, now),
        is_over=last.is_over,
        skipped_for=dict(Counter(one.reason for one in sessions if one.reason).most_common()),
        recovered=tuple(totals(recovered(sessions))),
        created_orders=tuple(one.order_number for one in sessions if one.order_number)[:SHOWN_ORDERS],
        waiting=last.waiting,
        retrying=last.retrying,
        dead=last.dead,
    )


def show(screen: Screen, summary: Summary) -> None:
    run = summary.run
    screen.facts(
        [
            ("run", f"{run.run_id}, {run.status}, {duration(run.seconds)}", ""),
            (
                "looked at",
                span(run.processed, run.window_from, run.window_to),
                "",
            ),
            (
                "created",
                counted(run.created, "order") + _worth(summary.recovered),
                FINE if run.created else "",
            ),
            ("skipped", f"{run.skipped}{_reasons(summary.skipped_for)}", ""),
            ("errors", str(run.errors), TROUBLE if run.errors else ""),
            ("drift", str(run.drifted), NOTICE if run.drifted else ""),
        ]
    )
    for warning in run.warnings:
        screen.text(f"Warning: {warning}", NOTICE)
    if run.errors:
        screen.text(f"What failed: nightly-sync show {run.run_id} --outcome error", "bold")
    if run.drifted:
        screen.text(f"What differs: nightly-sync show {run.run_id} --drift", "bold")
    if trouble := describe_trouble(run):
        screen.text(trouble[0], TROUBLE)
        screen.text(trouble[1], "bold")
    elif not summary.is_over:
        screen.text(
            "Nothing has moved for more than an hour; it is not followed any longer: nightly-sync status",
            TROUBLE,
        )


def _worth(sums: tuple[Money, ...]) -> str:
    return f": {', '.join(map(str, sums))}" if sums else ""


def _reasons(counts: dict[str, int]) -> str:
    return f": {', '.join(f'{count} {reason}' for reason, count in counts.items())}" if counts else ""


def _warns(body: Body) -> bool:
    return bool(body["errors"] or body["warnings"] or body["truncated"])


def show_preview(screen: Screen, body: dict[str, Any]) -> None:
    window = body["lookbackWindow"]
    screen.facts(
        [
            (
                "would look at",
                span(body["processed"], _time(window["from"]), _time(window["to"])),
                "",
            ),
            ("would create", f"{counted(body['created'], 'order')}, at most: refunds show only in a run", ""),
            ("would skip", str(body["skipped"]), ""),
            ("cannot read", str(body["errors"]), TROUBLE if body["errors"] else ""),
        ]
    )
    if body["createdOrders"]:
        more = body["created"] - len(body["createdOrders"])
        screen.text("Orders: " + ", ".join(body["createdOrders"]) + (f" and {more} more" if more > 0 else ""))
    for warning in body["warnings"]:
        screen.text(f"Warning: {warning}", NOTICE)
    screen.text("Nothing was written.")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
