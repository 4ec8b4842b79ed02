"""`nightly-sync status`: the state of the sync and its problems."""

from dataclasses import dataclass, fields

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, FactLine, Screen
from ops.format.json_encoding import to_camel_case
from ops.format.text import duration, format_time, quantity, span
from ops.runs.failures import describe_failure
from ops.runs.status import StatusFacts, read_facts
from ops.runs.system_state import StateLevel, SystemState, assess

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
    """Show the state of the sync. The exit code is 1 when action is needed."""
    facts = read_facts(context.stack, context.now())
    result = Status(facts, assess(facts))
    needs_attention = result.state.level is not StateLevel.FINE
    return CommandResult(result.json, lambda screen: show(screen, result), needs_attention)


def show(screen: Screen, status: Status) -> None:
    """Print the facts, then the problems with the commands to start with."""
    facts = status.facts
    where = facts.stack + (" in the sandbox" if facts.is_sandbox else "")
    screen.facts([("stack", where, ""), *_run_lines(facts), *_queue_lines(facts), *_schedule_lines(facts)])
    screen.text("")
    state = status.state
    if state.level is StateLevel.FINE:
        screen.text(state.headline, FINE)
        return
    if state.level is StateLevel.NO_RUN:
        screen.text(state.headline, TROUBLE)
    screen.text("Action needed:", TROUBLE)
    for finding in state.actions:
        screen.text(f"  {finding.line}")
        screen.text(f"    {finding.command}", "bold")


def _run_lines(facts: StatusFacts) -> list[FactLine]:
    run = facts.last_run
    if run is None:
        return [("last run", "none yet", NOTICE)]
    ended = f"took {duration(run.seconds)}" if run.completed_at else f"open for {duration(run.seconds)}"
    summary = f"{run.run_id}  {run.trigger}, {run.status}, {ended}"
    return [
        ("last run", summary, TROUBLE if describe_failure(run) else ""),
        ("window", span(run.enqueued, run.window_from, run.window_to), ""),
        ("created", quantity(run.created, "order"), ""),
        ("skipped", str(run.skipped), ""),
        ("errors", str(run.errors), TROUBLE if run.errors else ""),
        ("drift", str(run.drifted), NOTICE if run.drifted else ""),
        *([("left out", f"{run.filtered} by the filter", "")] if run.filtered else []),
    ]


def _queue_lines(facts: StatusFacts) -> list[FactLine]:
    open_sessions = len({one.session_id for group in facts.attention for one in group.sessions})
    queue = f"{facts.waiting} waiting, {facts.retrying} in flight"
    if not facts.consuming:
        queue += "; the consumer is paused"
    return [
        ("queue", queue, "" if facts.consuming else TROUBLE),
        ("dead letters", str(facts.dead), TROUBLE if facts.dead else ""),
        ("awaiting payment", str(facts.pending_payments), ""),
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
        due = f"{format_time(schedule.next_due)} UTC  ({due})" if schedule.next_due else due
    return [("covered up to", watermark, ""), ("next run due", due, "")]
