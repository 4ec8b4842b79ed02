"""`nightly-sync dlq redrive`: move messages back to the queue and follow their outcomes."""

import time
from collections.abc import Generator
from contextlib import closing
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.dlq_redrive_result import build_result, show, show_plan
from ops.cli.commands.dlq_text import require_any
from ops.cli.progress import create_bar
from ops.cli.screen import CommandResult
from ops.cli.signals import interrupt_on_termination
from ops.cli.usage import conflict
from ops.dlq.error_types import require_known
from ops.dlq.message_filter import MessageFilter
from ops.dlq.move_tasks import MoveTasks
from ops.dlq.outcome_poller import OutcomePoller, RedriveFate, SessionStatuses, follow_outcomes
from ops.dlq.queue import open_dead_letter_queue
from ops.dlq.redrive import Redrive, RedriveProgress
from ops.errors import CommandError
from ops.format.text import quantity
from ops.runs.status import is_consuming
from recon.aws.queue import BATCH

EXAMPLES = [
    "nightly-sync dlq redrive",
    "nightly-sync dlq redrive --error-type StripeUnavailable",
    "nightly-sync dlq redrive --session cs_live_a1b2c3 --dry-run",
]
RULES = (
    conflict(
        "--dry-run", "--per-second", "--timeout", because="without a move, there is nothing to pace or follow"
    ),
)
# Transient failures are retried for hours; the others have their outcome within this time.
TIMEOUT_SECONDS = 300.0
NO_SESSIONS: list[str] = []


def redrive(
    context: CommandContext,
    session: Annotated[
        list[str], typer.Option(metavar="ID", help="Move only this session; can be repeated")
    ] = NO_SESSIONS,
    message: Annotated[
        list[str], typer.Option(metavar="ID", help="Move only this message of `dlq list`; can be repeated")
    ] = NO_SESSIONS,
    error_type: Annotated[
        list[str], typer.Option(metavar="TYPE", help="Move only messages with this error; can be repeated")
    ] = NO_SESSIONS,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Move at most this many, the oldest")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be moved")] = False,
    per_second: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.1, max=500, help="Move at most this many a second"),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait at most this long for the outcomes")
    ] = TIMEOUT_SECONDS,
) -> CommandResult:
    """Move dead messages back to the queue and follow their outcomes.

    SQS moves the whole queue; a selection is moved in batches. Interrupting it at any point loses nothing.
    """
    for one in error_type:
        require_known(one)
    choice = MessageFilter(frozenset(session), frozenset(message), frozenset(error_type), limit)
    redrive = _create_redrive(context, per_second)
    with interrupt_on_termination():
        if dry_run:
            return _plan(redrive, choice)
        if per_second is not None and choice.is_everything and redrive.tasks.find_running():
            raise CommandError(
                "another move is running at its own rate: leave --per-second out to follow it, "
                "or wait until it ends"
            )
        # Read before the move, so that a missing permission is reported before anything is moved.
        is_paused = not is_consuming(context.stack)
        moved = _show_move(context, redrive.run(choice))
        require_any(choice, moved.missing, moved.hidden, "nothing was moved")
        paused = is_paused and bool(moved.moved)
        fates = _follow_outcomes(context, redrive, moved, 0.0 if paused else timeout)
    result = build_result(moved, fates, paused=paused)
    return CommandResult(result, lambda screen: show(screen, result), result.needs_attention)


def _plan(redrive: Redrive, choice: MessageFilter) -> CommandResult:
    plan = redrive.plan(choice)
    require_any(choice, plan.missing, plan.hidden, "nothing would be moved")
    return CommandResult(plan, lambda screen: show_plan(screen, plan), bool(plan.missing or plan.hidden))


def _create_redrive(context: CommandContext, per_second: float | None) -> Redrive:
    stack = context.stack
    return Redrive(
        queue=open_dead_letter_queue(stack),
        tasks=MoveTasks(stack.sqs, stack.outputs.dlq_url, stack.outputs.queue_url),
        table=stack.table,
        deadline=stack.deadline,
        now=time.time,
        clock=time.monotonic,
        sleep=time.sleep,
        per_second=per_second,
    )


def _show_move(context: CommandContext, snapshots: Generator[RedriveProgress]) -> RedriveProgress:
    """Show the move and return its last snapshot. Ctrl-C stops a move in batches, but not one by SQS."""
    last: RedriveProgress | None = None
    with create_bar(context) as bar:
        task = bar.add_task("moving", total=None)
        try:
            # Closing releases the held messages before anything is printed: the terminal may be gone.
            with closing(snapshots):
                for last in snapshots:
                    text = f"{last.left:,} of {last.total:,} left"
                    bar.update(task, completed=last.moved, total=last.total, description=text)
        except KeyboardInterrupt:
            context.screen.log(describe_interruption(last))
            raise
    assert last is not None  # noqa: S101 - a redrive yields at least once
    return last


def describe_interruption(last: RedriveProgress | None) -> str:
    """Return what is known of an interrupted move from its last snapshot.

    A batch is sent before it is deleted, so the next batch may be in both queues.
    """
    if last is None:
        return "Stopped before anything was moved; `nightly-sync dlq list` lists the queue."
    if last.task:
        return "Stopped following; SQS continues to move the messages."
    stopped = f"Stopped after {quantity(last.moved, 'message')}"
    if last.is_over:
        return f"{stopped}, which were all."
    batch = min(BATCH, last.left)
    return (
        f"{stopped}. Some of the next {batch} may be in both queues, which is harmless: each session is "
        "settled once. All others are still in the dead-letter queue."
    )


def _follow_outcomes(
    context: CommandContext, redrive: Redrive, moved: RedriveProgress, seconds: float
) -> SessionStatuses:
    poller = OutcomePoller(moved.letters, redrive.queue, redrive.table, redrive.deadline, time.time)
    last = SessionStatuses(())
    with create_bar(context) as bar:
        task = bar.add_task("waiting", total=len(moved.letters))
        try:
            for last in follow_outcomes(poller, timeout=seconds, clock=time.monotonic, sleep=time.sleep):
                waiting = last.count(RedriveFate.WAITING)
                text = f"{waiting:,} of {quantity(len(last.sessions), 'outcome')} left"
                bar.update(task, completed=len(last.sessions) - waiting, description=text)
        except KeyboardInterrupt:
            context.screen.log(
                "Stopped following; the consumer continues. `nightly-sync status` shows its progress."
            )
            raise
    return last
