"""`nightly-sync runs`: the history."""

from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.format.text import duration, format_time
from ops.runs.failures import describe_failure
from ops.runs.history import PastRun, past_run, sparkline

EXAMPLES = ["nightly-sync runs", "nightly-sync runs --limit 60 --json"]
# Only the newest failures are explained; an operator has seen the older ones.
MAX_FAILURES = 3
_STYLES = {
    "success": FINE,
    "running": "",
    "completed_with_errors": TROUBLE,
    "failed": TROUBLE,
    "held": TROUBLE,
}
_NUMBERS = ("enqueued", "created", "skipped", "errors", "drift", "warnings")


@dataclass(frozen=True)
class RunHistory:
    """The latest runs of a stack, newest first."""

    stack: str
    runs: tuple[PastRun, ...]


def runs(
    context: CommandContext,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="List this many runs, the newest")] = 14,
) -> CommandResult:
    """List recent runs, newest first, with a trend."""
    stack, now = context.stack, context.now()
    history = RunHistory(stack.name, tuple(past_run(run, now) for run in stack.runs.latest(limit)))
    return CommandResult(history, lambda screen: show(screen, history))


def show(screen: Screen, history: RunHistory) -> None:
    """Print the runs as a table, the newest failures and the trends of created orders and errors."""
    if not history.runs:
        screen.text("No run yet. `nightly-sync run --dry-run` previews one.")
        return
    screen.table(
        ["run", "status", "took", "from", "to", *_NUMBERS],
        [_row(run) for run in history.runs],
        right=["took", *_NUMBERS],
        whole=["run"],
    )
    for failure in islice(filter(None, map(describe_failure, history.runs)), MAX_FAILURES):
        screen.text(failure.line, TROUBLE)
        screen.text(f"  {failure.command}", "bold")
    oldest_first = history.runs[::-1] if len(history.runs) > 1 else ()
    for name, numbers in (
        ("created", [run.created for run in oldest_first]),
        ("errors", [run.errors for run in oldest_first]),
    ):
        if trend := sparkline(numbers):
            screen.text(f"{name:8} {trend}  oldest to newest, at most {max(numbers)}", "dim")


def _row(run: PastRun) -> list[str | Text]:
    return [
        run.run_id,
        Text(run.status, style=_STYLES.get(run.status, "")),
        duration(run.seconds),
        format_time(run.window_from),
        format_time(run.window_to),
        str(run.enqueued),
        str(run.created),
        str(run.skipped),
        Text(str(run.errors), style=TROUBLE if run.errors else ""),
        Text(str(run.drifted), style=NOTICE if run.drifted else ""),
        Text(str(len(run.warnings)), style=NOTICE if run.warnings else ""),
    ]
