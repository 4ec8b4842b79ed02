"""`nightly-sync runs`: the history."""

from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from ops.cli.command import Operator
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.format.text import duration, when
from ops.runs.failures import describe_trouble
from ops.runs.history import PastRun, past_run, sparkline

EXAMPLES = ["nightly-sync runs", "nightly-sync runs --limit 60 --json"]
# The newest; what is older has been looked at.
MOST_TROUBLES = 3
_STYLES = {"success": FINE, "running": "", "completed_with_errors": TROUBLE, "failed": TROUBLE}


@dataclass(frozen=True)
class History:
    """Newest first."""

    stack: str
    runs: tuple[PastRun, ...]


def runs(
    operator: Operator,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs, the newest")] = 14,
) -> CommandResult:
    """The last runs, newest first, with a small trend."""
    place, now = operator.place, operator.now()
    history = History(place.stack, tuple(past_run(run, now) for run in place.runs.latest(limit)))
    return CommandResult(history, lambda screen: show(screen, history))


def show(screen: Screen, history: History) -> None:
    if not history.runs:
        screen.text("No run yet. `nightly-sync run --dry-run` shows what one would do.")
        return
    screen.table(
        [
            "run",
            "status",
            "took",
            "from",
            "to",
            "enqueued",
            "created",
            "skipped",
            "errors",
            "drift",
            "warnings",
        ],
        [_row(run) for run in history.runs],
        right=["took", "enqueued", "created", "skipped", "errors", "drift", "warnings"],
        whole=["run"],
    )
    for what, command in islice(filter(None, map(describe_trouble, history.runs)), MOST_TROUBLES):
        screen.text(what, TROUBLE)
        screen.text(f"  {command}", "bold")
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
        when(run.window_from),
        when(run.window_to),
        str(run.enqueued),
        str(run.created),
        str(run.skipped),
        Text(str(run.errors), style=TROUBLE if run.errors else ""),
        Text(str(run.drifted), style=NOTICE if run.drifted else ""),
        Text(str(len(run.warnings)), style=NOTICE if run.warnings else ""),
    ]
