"""`nightly-sync logs RUN`: what both functions logged of a run."""

from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import Operator
from ops.cli.commands.show import RunId, run_named
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.errors import CommandError
from ops.explain.ids import parse_session_id
from ops.runs.history import PastRun
from ops.runs.logs import Filter, Level, LogLine, kept_days, log_group, period_of, read_lines
from ops.stack.stack import Stack
from recon.dynamodb.records import outcome_key

EXAMPLES = [
    "nightly-sync logs last --level WARNING",
    "nightly-sync logs 20261123T020000Z --session cs_live_a1B2c3",
    "nightly-sync logs last --json | jq .lines",
]
_STYLES = {"WARNING": NOTICE, "ERROR": TROUBLE}


@dataclass(frozen=True)
class Logged:
    """The oldest line first. `kept_days` is asked for where there is no line, None then: for ever."""

    run_id: str
    lines: tuple[LogLine, ...]
    kept_days: int | None = None


def logs(
    operator: Operator,
    run: RunId,
    level: Annotated[
        Level, typer.Option(case_sensitive=False, help="Only lines of this level and above")
    ] = Level.INFO,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Only lines of this session")] = None,
) -> CommandResult:
    """The run's log lines, ordered, from both functions, and Lambda's own of time-outs meanwhile."""
    session_id = parse_session_id(session) if session else None
    place, now = operator.place, operator.now()
    found = run_named(place, run, now)
    logged = _logged(place, found, Filter(level, session_id), now)
    return CommandResult(logged, lambda screen: show(screen, logged))


def _logged(place: Stack, run: PastRun, wanted: Filter, now: int) -> Logged:
    client = place.client("logs")
    functions = {"producer": place.names.producer, "consumer": place.names.consumer}
    groups = {name: log_group(place.configuration(function)) for name, function in functions.items()}
    lines = read_lines(client, groups, run.run_id, period_of(run.started_at, run.completed_at, now))
    if wanted.session_id and not any(line.session_id == wanted.session_id for line in lines):
        _require_outcome(place, run.run_id, wanted.session_id)
    taken = tuple(line for line in lines if wanted.takes(line))
    return Logged(run.run_id, taken, None if lines else kept_days(client, groups["producer"]))


def _require_outcome(place: Stack, run_id: str, session_id: str) -> None:
    """Raise CannotRun if the run has no outcome of the session."""
    if place.table.get(outcome_key(run_id, session_id)) is None:
        raise CommandError(
            f"neither a log line nor an outcome of run {run_id} names {session_id}; "
            f"`nightly-sync show {run_id}` lists its sessions"
        )


def show(screen: Screen, logged: Logged) -> None:
    if not logged.lines:
        kept = f"; logs are kept for {logged.kept_days} days" if logged.kept_days else ""
        screen.text(f"No line of run {logged.run_id} that was asked for{kept}.")
    for line in logged.lines:
        screen.line(_text(line), _STYLES.get(line.level, ""))
    if not all(line.of_this_run for line in logged.lines):
        screen.tell("* Lambda's own words, which name no run: said while this one was going on.")


def _text(line: LogLine) -> str:
    mark = " " if line.of_this_run else "*"
    moment = line.at.strftime("%Y-%m-%d %H:%M:%S")
    facts = " ".join(f"{name}={value}" for name, value in line.facts.items())
    words = [line.session_id, line.message, facts]
    return f"{moment} {line.level:7} {line.function}{mark} " + "  ".join(filter(None, words))
