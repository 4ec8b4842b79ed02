"""`nightly-sync logs RUN`: the log lines of a run."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.show import RunId, find_run
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.times import TIME_HELP, parse_past_time
from ops.cli.usage import conflict
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
from recon.domain.run import RunStatus
from recon.dynamodb.keys import outcome_key

EXAMPLES = [
    "nightly-sync logs last --level WARNING",
    "nightly-sync logs last --follow",
    "nightly-sync logs 20261123T020000Z --session cs_live_a1B2c3",
    "nightly-sync logs last --json | jq .lines",
]
RULES = (
    conflict("--follow", "--json", because="JSON is one document, printed at the end"),
    conflict("--follow", "--quiet", because="it prints nothing else"),
)
FOLLOW_SECONDS = 2.0
# CloudWatch delivers lines with a delay; a run that is over may still have some under way.
DELIVERY_SECONDS = 15.0
# It is the same in all lines of an invocation, and only of use to X-Ray; the JSON has it.
_TRACE = "xray_trace_id"
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
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Show only lines since {TIME_HELP}")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the run is over")
    ] = False,
) -> CommandResult:
    """Show the log lines of a run from both functions, with Lambda's own messages about time-outs."""
    session_id, now = parse_session_id(session, "--session ") if session else None, context.now()
    earliest = None if since is None else parse_past_time("--since", since, now)
    condition = LogFilter(level, session_id, earliest)
    past = find_run(context.stack, run, now)
    if follow:
        return _follow(context, past, condition)
    result = _read_logs(context.stack, past, condition, now)
    return CommandResult(result, lambda screen: show(screen, result))


def _follow(context: CommandContext, run: PastRun, condition: LogFilter) -> CommandResult:
    """Print the lines as they arrive, until the run is over and its last lines are delivered."""
    printed: list[LogLine] = []
    over_since: float | None = None
    while over_since is None or time.monotonic() - over_since < DELIVERY_SECONDS:
        run = find_run(context.stack, run.run_id, context.now())
        if over_since is None and run.status != RunStatus.RUNNING:
            over_since = time.monotonic()
        new = [
            line
            for line in _read_lines(context.stack, run, context.now())
            if condition.matches(line) and line not in printed
        ]
        _print_lines(context.screen, new)
        printed += new
        time.sleep(FOLLOW_SECONDS)
    result = RunLogs(run.run_id, tuple(printed))
    return CommandResult(result, lambda screen: _explain_mark(screen, result.lines))


def _read_logs(stack: Stack, run: PastRun, condition: LogFilter, now: int) -> RunLogs:
    lines = _read_lines(stack, run, now)
    session_id = condition.session_id
    if session_id and not any(line.session_id == session_id for line in lines):
        _require_outcome(stack, run.run_id, session_id)
    matching = tuple(line for line in lines if condition.matches(line))
    kept = None if lines else read_retention_days(stack.client("logs"), _log_groups(stack)["producer"])
    return RunLogs(run.run_id, matching, kept)


def _read_lines(stack: Stack, run: PastRun, now: int) -> list[LogLine]:
    period = search_period(run.started_at, run.completed_at, now)
    return read_lines(stack.client("logs"), _log_groups(stack), run.run_id, period)


def _log_groups(stack: Stack) -> dict[str, str]:
    functions = {"producer": stack.outputs.producer, "consumer": stack.outputs.consumer}
    return {name: log_group(stack.configuration(function)) for name, function in functions.items()}


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
    _print_lines(screen, result.lines)
    _explain_mark(screen, result.lines)


def _print_lines(screen: Screen, lines: Iterable[LogLine]) -> None:
    for line in lines:
        screen.line(_format_line(line), _STYLES.get(line.level, ""))


def _explain_mark(screen: Screen, lines: Iterable[LogLine]) -> None:
    if not all(line.of_this_run for line in lines):
        screen.log("* logged by Lambda during this run; it may belong to another run.")


def _format_line(line: LogLine) -> str:
    mark = " " if line.of_this_run else "*"
    at = line.at.strftime("%Y-%m-%d %H:%M:%S")
    facts = " ".join(f"{name}={value}" for name, value in line.facts.items() if name != _TRACE)
    texts = [line.session_id, line.message, facts]
    return f"{at} {line.level:7} {line.function}{mark} " + "  ".join(filter(None, texts))
