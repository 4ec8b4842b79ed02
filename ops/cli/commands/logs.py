"""`nightly-sync logs RUN`: the log lines of a run."""

from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.show import RunId, find_run
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.errors import CommandError
from ops.explain.ids import parse_session_id
from ops.runs.history import PastRun
from ops.runs.logs import (
    Level,
    LogFilter,
    LogLine,
    log_group,
    read_lines,
    read_retention_days,
    search_period,
)
from ops.stack.stack import Stack
from recon.dynamodb.keys import outcome_key

EXAMPLES = [
    "nightly-sync logs last --level WARNING",
    "nightly-sync logs 20261123T020000Z --session cs_live_a1B2c3",
    "nightly-sync logs last --json | jq .lines",
]
_STYLES = {"WARNING": NOTICE, "ERROR": TROUBLE}


@dataclass(frozen=True)
class RunLogs:
    """The matching lines of a run, oldest first.

    `kept_days` is the retention of the log group. It is read only if the run has no line, and None if lines
    do not expire.
    """

    run_id: str
    lines: tuple[LogLine, ...]
    kept_days: int | None = None


def logs(
    context: CommandContext,
    run: RunId,
    level: Annotated[
        Level, typer.Option(case_sensitive=False, help="Show only lines of at least this level")
    ] = Level.INFO,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Show only lines of this session")] = None,
) -> CommandResult:
    """Show the log lines of a run from both functions, with Lambda's own messages about time-outs."""
    session_id = parse_session_id(session) if session else None
    past = find_run(context.stack, run, context.now())
    result = _read_logs(context.stack, past, LogFilter(level, session_id), context.now())
    return CommandResult(result, lambda screen: show(screen, result))


def _read_logs(stack: Stack, run: PastRun, condition: LogFilter, now: int) -> RunLogs:
    client = stack.client("logs")
    functions = {"producer": stack.outputs.producer, "consumer": stack.outputs.consumer}
    groups = {name: log_group(stack.configuration(function)) for name, function in functions.items()}
    period = search_period(run.started_at, run.completed_at, now)
    lines = read_lines(client, groups, run.run_id, period)
    session_id = condition.session_id
    if session_id and not any(line.session_id == session_id for line in lines):
        _require_outcome(stack, run.run_id, session_id)
    matching = tuple(line for line in lines if condition.matches(line))
    return RunLogs(run.run_id, matching, None if lines else read_retention_days(client, groups["producer"]))


def _require_outcome(stack: Stack, run_id: str, session_id: str) -> None:
    """Raise CommandError if the run has no outcome of the session."""
    if stack.table.get(outcome_key(run_id, session_id)) is None:
        raise CommandError(
            f"neither a log line nor an outcome of run {run_id} names {session_id}; "
            f"`nightly-sync show {run_id}` lists its sessions"
        )


def show(screen: Screen, result: RunLogs) -> None:
    """Print the lines."""
    if not result.lines:
        kept = f"; logs are kept for {result.kept_days} days" if result.kept_days else ""
        screen.text(f"No matching log line of run {result.run_id}{kept}.")
    for line in result.lines:
        screen.line(_format_line(line), _STYLES.get(line.level, ""))
    if not all(line.of_this_run for line in result.lines):
        screen.log("* logged by Lambda during this run; it may belong to another run.")


def _format_line(line: LogLine) -> str:
    mark = " " if line.of_this_run else "*"
    time = line.at.strftime("%Y-%m-%d %H:%M:%S")
    facts = " ".join(f"{name}={value}" for name, value in line.facts.items())
    texts = [line.session_id, line.message, facts]
    return f"{time} {line.level:7} {line.function}{mark} " + "  ".join(filter(None, texts))
