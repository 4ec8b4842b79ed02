"""`nightly-sync runs`: the history."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.times import TIME_HELP, parse_past_time
from ops.format.text import duration, format_time
from ops.runs.failures import describe_failure
from ops.runs.history import PastRun, past_run, sparkline
from ops.stack.stack import Stack

EXAMPLES = ["nightly-sync runs", "nightly-sync runs --since 7d", "nightly-sync runs --limit 60 --json"]
DEFAULT_LIMIT, MAX_LIMIT = 14, 1000
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
# Only the runs of a stack with a shape.toml have any.
_MISSING = "missing"


@dataclass(frozen=True)
class RunHistory:
    """The latest runs of a stack, newest first."""

    stack: str
    runs: tuple[PastRun, ...]


def _describe_none(stack: Stack, earliest: int) -> str:
    """Return why no run is listed."""
    if stack.runs.latest(1):
        return f"No run has started since {format_time(datetime.fromtimestamp(earliest, UTC))} UTC."
    return "No run yet. `nightly-sync run --dry-run` previews one."


def runs(
    context: CommandContext,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_LIMIT,
            help=f"List this many runs, the newest; {DEFAULT_LIMIT}, or with --since all, if not given",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"List only runs that started since {TIME_HELP}")
    ] = None,
) -> CommandResult:
    """List recent runs, newest first, with a trend."""
    now = context.now()
    earliest = 0 if since is None else parse_past_time("--since", since, now)
    stack = context.stack
    latest = stack.runs.latest(limit or (DEFAULT_LIMIT if since is None else MAX_LIMIT))
    # A run whose start is unreadable is listed, as it may be one of them.
    started = (run for run in latest if (run.started_epoch or now) >= earliest)
    history = RunHistory(stack.name, tuple(past_run(run, now) for run in started))
    if not history.runs:
        none = _describe_none(stack, earliest)
        return CommandResult(history, lambda screen: screen.text(none))
    return CommandResult(history, lambda screen: show(screen, history))


def show(screen: Screen, history: RunHistory) -> None:
    """Print the runs as a table, the newest failures and the trends of created orders and errors."""
    has_missing = any(run.missing for run in history.runs)
    numbers = (*_NUMBERS, _MISSING) if has_missing else _NUMBERS
    screen.table(
        ["run", "status", "took", "from", "to", *numbers],
        [_row(run)[: 5 + len(numbers)] for run in history.runs],
        right=["took", *numbers],
        whole=["run", "status", "took", "from", "to"],
        drop=["to", "from", "enqueued", "took", "skipped"],
    )
    for failure in islice(filter(None, map(describe_failure, history.runs)), MAX_FAILURES):
        screen.text(failure.line, TROUBLE)
        screen.command(failure.command or "")
    oldest_first = history.runs[::-1] if len(history.runs) > 1 else ()
    for name, trend_numbers in (
        ("created", [run.created for run in oldest_first]),
        ("errors", [run.errors for run in oldest_first]),
    ):
        if trend := sparkline(trend_numbers):
            screen.text(f"{name:8} {trend}  oldest to newest, at most {max(trend_numbers)}", "dim")


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
        Text(str(run.missing), style=TROUBLE if run.missing else ""),
    ]
