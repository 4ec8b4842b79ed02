"""`nightly-sync status`: the look in the morning."""

from dataclasses import dataclass, fields

from ops.cli.command import Operator
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.format.json_encoding import camel
from ops.format.text import counted, duration, span, when
from ops.runs.failures import describe_trouble
from ops.runs.status import Facts, Finding, find_problems, read_facts

EXAMPLES = ["nightly-sync status", "nightly-sync status --json | jq .findings"]
type Line = tuple[str, str, str]


@dataclass(frozen=True)
class Status:
    """What is known, and what of it needs a person: nothing, if `findings` is empty."""

    facts: Facts
    findings: tuple[Finding, ...]

    @property
    def json(self) -> dict[str, object]:
        """One object: the facts, what follows from them, and the findings."""
        known: dict[str, object] = {
            camel(field.name): getattr(self.facts, field.name) for field in fields(Facts)
        }
        lag = self.facts.watermark_lag_seconds
        return known | {"watermarkLagSeconds": lag, "findings": self.findings}


def status(operator: Operator) -> CommandResult:
    """How the sync is doing. Exit code 1 when something needs a person."""
    facts = read_facts(operator.place, operator.now())
    told = Status(facts, find_problems(facts))
    return CommandResult(told.json, lambda screen: show(screen, told), needs_attention=bool(told.findings))


def show(screen: Screen, status: Status) -> None:
    facts = status.facts
    where = facts.stack + (" in the sandbox" if facts.is_sandbox else "")
    screen.facts([("stack", where, ""), *_of_the_run(facts), *_of_the_queues(facts), *_of_the_clock(facts)])
    screen.text("")
    if not status.findings:
        screen.text("All is well.", FINE)
        return
    screen.text("Needs a person:", TROUBLE)
    for finding in status.findings:
        screen.text(f"  {finding.what}")
        screen.text(f"    {finding.command}", "bold")


def _of_the_run(facts: Facts) -> list[Line]:
    run = facts.last_run
    if run is None:
        return [("last run", "none yet", NOTICE)]
    ended = f"took {duration(run.seconds)}" if run.completed_at else f"open for {duration(run.seconds)}"
    return [
        (
            "last run",
            f"{run.run_id}  {run.trigger}, {run.status}, {ended}",
            TROUBLE if describe_trouble(run) else "",
        ),
        (
            "looked at",
            span(run.enqueued, run.window_from, run.window_to),
            "",
        ),
        ("created", counted(run.created, "order"), ""),
        ("skipped", str(run.skipped), ""),
        ("errors", str(run.errors), TROUBLE if run.errors else ""),
        ("drift", str(run.drifted), NOTICE if run.drifted else ""),
    ]


def _of_the_queues(facts: Facts) -> list[Line]:
    queue = f"{facts.waiting} waiting, {facts.retrying} in work or retrying"
    if not facts.consuming:
        queue += "; the consumer is paused"
    return [
        ("queue", queue, "" if facts.consuming else TROUBLE),
        ("dead letters", str(facts.dead), TROUBLE if facts.dead else ""),
        ("unpaid yet", str(facts.pending_payments), ""),
    ]


def _of_the_clock(facts: Facts) -> list[Line]:
    lag = facts.watermark_lag_seconds
    watermark = "none yet; the first scheduled run sets it"
    if facts.covered_through is not None:
        watermark = f"{when(facts.covered_through)} UTC, {duration(lag)} ago"
    schedule = facts.schedule
    due = "off"
    if schedule.enabled:
        due = f"{schedule.expression} {schedule.timezone}"
        due = f"{when(schedule.next_due)} UTC  ({due})" if schedule.next_due else due
    return [("covered up to", watermark, ""), ("next run due", due, "")]
