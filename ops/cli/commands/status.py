"""`nightly-sync status`: the look in the morning."""

from dataclasses import dataclass, fields
from datetime import datetime

from ops.cli.command import Operator
from ops.cli.screen import FINE, NOTICE, TROUBLE, Answer, Screen
from ops.history import PastRun
from ops.status import Facts, Finding, Schedule, facts_of, findings_of
from ops.words import counted, duration, span, when

EXAMPLES = ["nightly-sync status", "nightly-sync status --json | jq .findings"]
type Line = tuple[str, str, str]


@dataclass(frozen=True)
class Status:
    """The facts, and what of them needs a person: nothing, if `findings` is empty."""

    stack: str
    is_sandbox: bool
    checked_at: datetime
    last_run: PastRun | None
    night: PastRun | None
    last_completed_at: datetime | None
    schedule: Schedule
    consuming: bool
    waiting: int
    retrying: int
    dead: int
    pending_payments: int
    covered_through: datetime | None
    watermark_lag_seconds: int | None
    findings: tuple[Finding, ...]


def status(operator: Operator) -> Answer:
    """How the sync is doing. Exit code 1 when something needs a person."""
    facts = facts_of(operator.place, operator.now())
    known = {field.name: getattr(facts, field.name) for field in fields(Facts)}
    told = Status(**known, watermark_lag_seconds=facts.watermark_lag_seconds, findings=findings_of(facts))
    return Answer(told, lambda screen: show(screen, told), needs_attention=bool(told.findings))


def show(screen: Screen, status: Status) -> None:
    where = status.stack + (" in the sandbox" if status.is_sandbox else "")
    screen.facts(
        [("stack", where, ""), *_of_the_run(status), *_of_the_queues(status), *_of_the_clock(status)]
    )
    screen.text("")
    if not status.findings:
        screen.text("All is well.", FINE)
        return
    screen.text("Needs a person:", TROUBLE)
    for finding in status.findings:
        screen.text(f"  {finding.what}")
        screen.text(f"    {finding.command}", "bold")


def _of_the_run(status: Status) -> list[Line]:
    run = status.last_run
    if run is None:
        return [("last run", "none yet", NOTICE)]
    ended = f"took {duration(run.seconds)}" if run.completed_at else f"open for {duration(run.seconds)}"
    return [
        (
            "last run",
            f"{run.run_id}  {run.trigger}, {run.status}, {ended}",
            TROUBLE if run.status == "failed" else "",
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


def _of_the_queues(status: Status) -> list[Line]:
    queue = f"{status.waiting} waiting, {status.retrying} in work or retrying"
    if not status.consuming:
        queue += "; the consumer is paused"
    return [
        ("queue", queue, "" if status.consuming else TROUBLE),
        ("dead letters", str(status.dead), TROUBLE if status.dead else ""),
        ("unpaid yet", str(status.pending_payments), ""),
    ]


def _of_the_clock(status: Status) -> list[Line]:
    lag = status.watermark_lag_seconds
    watermark = "none yet; the first scheduled run sets it"
    if status.covered_through is not None:
        watermark = f"{when(status.covered_through)} UTC, {duration(lag)} ago"
    schedule = status.schedule
    due = "off"
    if schedule.enabled:
        due = f"{schedule.expression} {schedule.timezone}"
        due = f"{when(schedule.next_due)} UTC  ({due})" if schedule.next_due else due
    return [("covered up to", watermark, ""), ("next run due", due, "")]
