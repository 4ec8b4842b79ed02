"""`nightly-sync dlq redrive`: back to the queue, and what becomes of it."""

import time
from collections.abc import Generator
from contextlib import closing
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ops.cli.command import Operator
from ops.cli.commands.dlq_redriven import redriven_of, show, show_plan
from ops.cli.commands.dlq_text import require_any
from ops.cli.screen import CommandResult
from ops.cli.signals import ending_like_ctrl_c
from ops.cli.usage import conflict
from ops.dlq.error_types import require_known
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTasks
from ops.dlq.outcome_poller import OutcomePoller, RedriveFate, SessionStatuses, follow_outcomes
from ops.dlq.queue import open_dead_letter_queue
from ops.dlq.redrive import Redrive, RedriveProgress
from ops.errors import CommandError
from ops.format.text import counted
from ops.runs.status import is_consuming
from recon.aws.queue import BATCH

EXAMPLES = [
    "nightly-sync dlq redrive",
    "nightly-sync dlq redrive --error-type StripeUnavailable",
    "nightly-sync dlq redrive --session cs_live_a1b2c3 --dry-run",
]
RULES = (
    conflict(
        "--dry-run", "--per-second", "--follow", because="without a move, there is nothing to pace or follow"
    ),
)
# What fails for a passing reason comes back for hours; whoever waits wants to know about the rest.
FOLLOW_SECONDS = 300.0
NO_SESSIONS: list[str] = []


def redrive(
    operator: Operator,
    session: Annotated[
        list[str], typer.Option(metavar="ID", help="Only this session; can be repeated")
    ] = NO_SESSIONS,
    message: Annotated[
        list[str], typer.Option(metavar="ID", help="Only this message, of `dlq list`; can be repeated")
    ] = NO_SESSIONS,
    error_type: Annotated[
        list[str], typer.Option(metavar="TYPE", help="Only what failed so; can be repeated")
    ] = NO_SESSIONS,
    most: Annotated[int | None, typer.Option("--max", min=1, help="So many at most, the oldest")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be moved")] = False,
    per_second: Annotated[
        float | None, typer.Option(min=0.1, max=500, help="Messages a second at most")
    ] = None,
    follow: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for the outcomes")
    ] = FOLLOW_SECONDS,
) -> CommandResult:
    """Moves dead messages back to the queue and follows what becomes of them.

    Everything is moved by SQS itself; a selection one by one. Stopped at any point, nothing is lost.
    """
    for one in error_type:
        require_known(one)
    choice = MessageFilter(frozenset(session), frozenset(message), frozenset(error_type), most)
    redrive = _redrive(operator, per_second)
    with ending_like_ctrl_c():
        if dry_run:
            return _planned(redrive, choice)
        if per_second is not None and choice.is_everything and redrive.tasks.find_running():
            raise CommandError(
                "another move is under way, at its own pace: leave --per-second out to follow it, "
                "or wait until it is over"
            )
        # Asked first: whoever may not ask is told before anything is moved.
        is_paused = not is_consuming(operator.place)
        moved = _watched(operator, redrive.run(choice))
        require_any(choice, moved.missing, moved.hidden, "nothing was moved")
        paused = is_paused and bool(moved.moved)
        fates = _followed(operator, redrive, moved, 0.0 if paused else follow)
    redriven = redriven_of(moved, fates, paused=paused)
    return CommandResult(redriven, lambda screen: show(screen, redriven), redriven.needs_attention)


def _planned(redrive: Redrive, choice: MessageFilter) -> CommandResult:
    plan = redrive.plan(choice)
    require_any(choice, plan.missing, plan.hidden, "nothing would be moved")
    return CommandResult(plan, lambda screen: show_plan(screen, plan), bool(plan.missing or plan.hidden))


def _redrive(operator: Operator, per_second: float | None) -> Redrive:
    place = operator.place
    return Redrive(
        queue=open_dead_letter_queue(place),
        tasks=MoveTasks(place.sqs, place.names.dlq_url, place.names.queue_url),
        table=place.table,
        deadline=place.deadline,
        now=time.time,
        clock=time.monotonic,
        sleep=time.sleep,
        per_second=per_second,
    )


def _watched(operator: Operator, seen: Generator[RedriveProgress]) -> RedriveProgress:
    """The end of the move. Ctrl-C stops a move by hand; SQS goes on with its own."""
    last: RedriveProgress | None = None
    with _bar(operator) as bar:
        task = bar.add_task("moving", total=None)
        try:
            # What is held is given back before anything is told: the terminal may be gone.
            with closing(seen):
                for last in seen:
                    words = f"moved {last.moved}"
                    bar.update(task, completed=last.moved, total=last.total, description=words)
        except KeyboardInterrupt:
            operator.screen.tell(stopped(last))
            raise
    assert last is not None  # noqa: S101 - a redrive says how far it got at least once
    return last


def stopped(last: RedriveProgress | None) -> str:
    """`last`: what was heard of the move. A batch that was on its way then was sent first, to be deleted
    after."""
    if last is None:
        return "Stopped at the beginning; `nightly-sync dlq list` shows what is there."
    if last.task:
        return "Not followed any more; SQS goes on moving."
    told = f"Stopped after {counted(last.moved, 'message')}"
    if last.is_over:
        return f"{told}, which were all."
    most = min(BATCH, last.left)
    return (
        f"{told}. Of the next {most}, some may be in both queues, which does no harm: a session is settled "
        "once. All others are where they were."
    )


def _followed(
    operator: Operator, redrive: Redrive, moved: RedriveProgress, seconds: float
) -> SessionStatuses:
    poller = OutcomePoller(moved.letters, redrive.queue, redrive.table, redrive.deadline, time.time)
    last = SessionStatuses(())
    with _bar(operator) as bar:
        task = bar.add_task("waiting", total=len(moved.letters))
        try:
            for last in follow_outcomes(poller, timeout=seconds, clock=time.monotonic, sleep=time.sleep):
                waiting = last.count(RedriveFate.WAITING)
                words = f"waiting for {counted(waiting, 'outcome')}"
                bar.update(task, completed=len(last.sessions) - waiting, description=words)
        except KeyboardInterrupt:
            operator.screen.tell("Not followed any more; the consumer goes on. `nightly-sync status` tells.")
            raise
    return last


def _bar(operator: Operator) -> Bar:
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    watched = operator.is_watched
    return Bar(*columns, console=operator.screen.err, transient=True, disable=not watched)
