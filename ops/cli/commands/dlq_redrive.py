"""`nightly-sync dlq redrive`: back to the queue, and what becomes of it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ops.cli.command import Operator
from ops.cli.commands.dlq_list import box_of
from ops.cli.screen import FINE, NOTICE, TROUBLE, Answer, Screen
from ops.dlq.choice import Choice
from ops.dlq.fates import Became, Fate, Fates, Looking, follow_fates
from ops.dlq.redrive import Moving, Plan, Redrive
from ops.dlq.tasks import MoveTasks
from ops.words import counted, worth

EXAMPLES = [
    "nightly-sync dlq redrive",
    "nightly-sync dlq redrive --error-type StripeUnavailable",
    "nightly-sync dlq redrive --session cs_live_a1b2c3 --dry-run",
]
# What fails for a passing reason comes back for hours; whoever waits wants to know about the rest.
FOLLOW_SECONDS = 300.0
NO_SESSIONS: list[str] = []


@dataclass(frozen=True)
class Redriven:
    """`fates` holds one entry a session; those that wait still are tried again by the queue itself."""

    moved: int
    rejected: int
    missing: tuple[str, ...]
    hidden: int
    task_status: str | None
    task_failure: str | None
    fates: tuple[Became, ...]

    def count(self, fate: Fate) -> int:
        return sum(1 for one in self.fates if one.fate is fate)

    @property
    def needs_attention(self) -> bool:
        stopped = self.task_status not in (None, "COMPLETED")
        unsettled = self.count(Fate.FAILED) + self.count(Fate.DEAD) + self.count(Fate.WAITING)
        return bool(self.rejected or self.missing or stopped or unsettled)


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
    per_second: Annotated[float | None, typer.Option(min=0.1, max=500, help="Messages a second")] = None,
    follow: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for the outcomes")
    ] = FOLLOW_SECONDS,
) -> Answer:
    """Moves dead messages back to the queue and follows what becomes of them.

    Everything is moved by SQS itself; a selection one by one. Stopped at any point, nothing is lost.
    """
    choice = Choice(frozenset(session), frozenset(message), frozenset(error_type), most)
    moving = _redrive(operator, per_second)
    if dry_run:
        plan = moving.plan(choice)
        return Answer(plan, lambda screen: show_plan(screen, plan), needs_attention=bool(plan.missing))
    moved = _watched(operator, moving(choice))
    fates = _followed(operator, moving, moved, follow)
    task = moved.task
    redriven = Redriven(
        moved=moved.moved,
        rejected=moved.rejected,
        missing=moved.missing,
        hidden=moved.hidden,
        task_status=task.status if task else None,
        task_failure=task.failure if task else None,
        fates=fates.sessions,
    )
    return Answer(redriven, lambda screen: show(screen, redriven), redriven.needs_attention)


def _redrive(operator: Operator, per_second: float | None) -> Redrive:
    place = operator.place
    return Redrive(
        box=box_of(place),
        tasks=MoveTasks(place.sqs, place.names.dlq_url, place.names.queue_url),
        table=place.table,
        deadline=place.deadline,
        now=time.time,
        clock=time.monotonic,
        sleep=time.sleep,
        per_second=per_second,
    )


def _watched(operator: Operator, seen: Iterator[Moving]) -> Moving:
    """The end of the move. Ctrl-C stops a move by hand after its batch; SQS goes on with its own."""
    last: Moving | None = None
    with _bar(operator) as bar:
        task = bar.add_task("moving", total=None)
        try:
            for last in seen:
                bar.update(task, completed=last.moved, total=last.total, description=f"moved {last.moved}")
        except KeyboardInterrupt:
            goes_on = last is not None and last.task is not None
            moved = last.moved if last else 0
            operator.screen.tell(
                "Not followed any more; SQS goes on moving."
                if goes_on
                else f"Stopped after {counted(moved, 'message')}; all others are where they were."
            )
            raise
    assert last is not None  # noqa: S101 - a redrive says how far it got at least once
    return last


def _followed(operator: Operator, redrive: Redrive, moved: Moving, seconds: float) -> Fates:
    looking = Looking(moved.letters, redrive.box, redrive.table, redrive.deadline, time.time)
    last = Fates(())
    with _bar(operator) as bar:
        task = bar.add_task("waiting", total=len(moved.letters))
        try:
            for last in follow_fates(looking, timeout=seconds, clock=time.monotonic, sleep=time.sleep):
                waiting = last.count(Fate.WAITING)
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


def show_plan(screen: Screen, plan: Plan) -> None:
    screen.text(f"Would move {counted(len(plan.chosen), 'message')}; {plan.others} would stay.")
    screen.table(
        ["session", "run", "amount", "error"],
        [
            [
                one.session_id or f"message {one.message_id}",
                one.run_id or "-",
                worth(one.amount, one.currency),
                one.why,
            ]
            for one in plan.chosen
        ],
        right=["amount"],
        whole=["session", "run"],
    )
    _show_missing(screen, plan.missing, plan.hidden)


def show(screen: Screen, redriven: Redriven) -> None:
    screen.text(f"Moved {counted(redriven.moved, 'message')} back to the queue.")
    if redriven.task_failure:
        screen.text(f"SQS stopped moving: {redriven.task_failure}", TROUBLE)
    if redriven.rejected:
        screen.text(
            f"SQS did not take {counted(redriven.rejected, 'message')}; they are where they were.", TROUBLE
        )
    _show_missing(screen, redriven.missing, redriven.hidden)
    for fate, words, style in (
        (Fate.CREATED, "now have their order", FINE),
        (Fate.SKIPPED, "need none", FINE),
        (Fate.FAILED, "failed again", TROUBLE),
        (Fate.DEAD, "are dead letters again", TROUBLE),
        (Fate.WAITING, "have no outcome yet; the queue tries them again by itself", NOTICE),
    ):
        if count := redriven.count(fate):
            screen.text(f"  {count} {words}", style)
    failed = [one for one in redriven.fates if one.fate in (Fate.FAILED, Fate.DEAD)]
    if failed:
        screen.table(
            ["session", "error"],
            [[one.session_id, f"{one.error_type or '-'}: {one.error_message or '-'}"] for one in failed],
            whole=["session"],
        )


def _show_missing(screen: Screen, missing: tuple[str, ...], hidden: int) -> None:
    for name in missing:
        screen.text(f"Not in the dead-letter queue: {name}", TROUBLE)
    if hidden:
        screen.text(f"Another command holds {counted(hidden, 'message')} more at this moment.", NOTICE)
