"""`nightly-sync status`: the state of the sync and its problems."""

from dataclasses import dataclass, fields

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, FactLine, Screen
from ops.format.json_encoding import to_camel_case
from ops.format.money import format_worth
from ops.format.text import duration, format_time, quantity, span
from ops.runs.attention import describe_session_command
from ops.runs.failures import describe_failure
from ops.runs.finding import StatusFinding
from ops.runs.history import PastRun
from ops.runs.status import StatusFacts, parse_time, read_facts
from ops.runs.system_state import StateLevel, SystemState, assess

# The other sessions of a group are in the JSON.
MAX_COMMANDS = 5
EXAMPLES = ["nightly-sync status", "nightly-sync status --json | jq .findings"]


@dataclass(frozen=True)
class Status:
    """The facts of a stack and the state that follows from them."""

    facts: StatusFacts
    state: SystemState

    @property
    def json(self) -> dict[str, object]:
        """Return the facts, the lag of the watermark, the state and the findings as one object."""
        facts: dict[str, object] = {
            to_camel_case(field.name): getattr(self.facts, field.name) for field in fields(StatusFacts)
        }
        lag = self.facts.watermark_lag_seconds
        state = {"state": self.state.level, "headline": self.state.headline, "findings": self.state.actions}
        return facts | {"watermarkLagSeconds": lag} | state


def status(context: CommandContext) -> CommandResult:
    """Show the state of the sync, what needs action, and what the last scheduled run recovered.

    The exit code is 1 when action is needed.
    """
    facts = read_facts(context.stack, context.now())
    result = Status(facts, assess(facts))
    needs_attention = result.state.level is not StateLevel.FINE
    return CommandResult(result.json, lambda screen: show(screen, result), needs_attention)


def show(screen: Screen, status: Status) -> None:
    """Print the state, the problems with the commands to start with, then the last night and the rest."""
    facts, state = status.facts, status.state
    screen.text(state.headline, FINE if state.level is StateLevel.FINE else TROUBLE)
    for finding in state.actions:
        screen.text(f"  {finding.line}")
        for command in _list_commands(finding, facts):
            screen.command(command)
    screen.text("")
    where = facts.stack + (" in the sandbox" if facts.is_sandbox else "")
    screen.facts([("stack", where, ""), *_night_lines(facts), *_queue_lines(facts), *_schedule_lines(facts)])


def _list_commands(finding: StatusFinding, facts: StatusFacts) -> list[str]:
    """Return the command to start with; for a group of sessions one for each of the most urgent."""
    group = next((one for one in facts.attention if one.word == finding.code), None)
    if group is None or group.command != describe_session_command(group.sessions[0].session_id):
        return [finding.command or ""]
    commands = [describe_session_command(one.session_id) for one in group.sessions[:MAX_COMMANDS]]
    more = group.count - len(commands)
    return [*commands, f"nightly-sync status --json   # lists the {more:,} others"] if more else commands


def _night_lines(facts: StatusFacts) -> list[FactLine]:
    run = facts.last_night
    if run is None:
        return [("last night", "no scheduled run yet", NOTICE), *_later_lines(facts)]
    recovered = quantity(run.created, "order")
    if worth := format_worth(facts.recovered, facts.recovered_unknown):
        recovered += f", {worth}"
    return [
        ("last night", _describe_run(run, facts), TROUBLE if describe_failure(run) else ""),
        ("window", span(run.enqueued, run.window_from, run.window_to), ""),
        ("recovered", recovered, FINE if run.created else ""),
        *([("missing", f"{run.missing:,}", TROUBLE)] if run.missing else []),
        ("skipped", f"{run.skipped:,}", ""),
        ("errors", f"{run.errors:,}", TROUBLE if run.errors else ""),
        ("drift", f"{run.drifted:,}", NOTICE if run.drifted else ""),
        *([("left out", f"{run.filtered:,} by the filter", "")] if run.filtered else []),
        *_later_lines(facts),
    ]


def _later_lines(facts: StatusFacts) -> list[FactLine]:
    """Return the line about the last run, if that is no scheduled one."""
    run = facts.last_run
    if run is None or run == facts.last_night:
        return []
    style = TROUBLE if describe_failure(run) else ""
    created = quantity(run.created, "order")
    return [("since then", f"{_describe_run(run, facts)}; {run.trigger}, {created} recovered", style)]


def _describe_run(run: PastRun, facts: StatusFacts) -> str:
    """Return id, status, how long ago it ended and how long it took."""
    ended = parse_time(run.completed_at)
    if ended is None:
        return f"{run.run_id}  {run.status}, began {duration(run.seconds)} ago"
    age = duration((facts.checked_at - ended).total_seconds())
    return f"{run.run_id}  {run.status}, {age} ago, took {duration(run.seconds)}"


def _queue_lines(facts: StatusFacts) -> list[FactLine]:
    open_sessions = len({one.session_id for group in facts.attention for one in group.sessions})
    queue = f"{facts.waiting:,} waiting, {facts.retrying:,} in flight"
    if not facts.consuming:
        queue += "; the consumer is paused"
    return [
        ("queue", queue, "" if facts.consuming else TROUBLE),
        ("dead letters", f"{facts.dead:,}", TROUBLE if facts.dead else ""),
        ("awaiting payment", f"{facts.pending_payments:,}", ""),
        *([("need a person", quantity(open_sessions, "session"), NOTICE)] if open_sessions else []),
    ]


def _schedule_lines(facts: StatusFacts) -> list[FactLine]:
    watermark = "none yet; the first scheduled run sets it"
    if facts.covered_through is not None:
        lag = duration(facts.watermark_lag_seconds)
        watermark = f"{format_time(facts.covered_through)} UTC, {lag} ago"
    schedule, due = facts.schedule, "off"
    if schedule.enabled:
        due = f"{schedule.expression} {schedule.timezone}"
        if schedule.next_due:
            left = duration((schedule.next_due - facts.checked_at).total_seconds())
            due = f"in {left}, {format_time(schedule.next_due)} UTC  ({due})"
    return [("covered up to", watermark, ""), ("next run due", due, "")]
