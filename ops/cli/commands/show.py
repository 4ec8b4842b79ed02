"""`nightly-sync show RUN`: each session of a run."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.usage import conflict
from ops.errors import CommandError
from ops.format.money import totals
from ops.format.text import quantity
from ops.runs.history import PastRun, past_run
from ops.runs.sessions import Filter, SessionOutcome, read_sessions, recovered
from ops.stack.stack import Stack
from recon.domain.reconcile import SkipReason
from recon.dynamodb.records import OUTCOME_DAYS

EXAMPLES = [
    "nightly-sync show last --outcome created",
    "nightly-sync show 20261123T020000Z --outcome error",
    "nightly-sync show last --drift --json",
]
_NOT_SKIPPED = ("--outcome created", "--outcome error")
RULES = (
    conflict("--reason", *_NOT_SKIPPED, because="only skipped sessions have a reason"),
    conflict(
        "--drift",
        *_NOT_SKIPPED,
        *(f"--reason {reason}" for reason in SkipReason if reason is not SkipReason.EXISTS),
        because="only a session that was skipped because its order exists can have drift",
    ),
)
LAST = "last"
_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or `last`")]


class OutcomeChoice(StrEnum):
    CREATED = "created"
    SKIPPED = "skipped"
    ERROR = "error"


@dataclass(frozen=True)
class Shown:
    run: PastRun
    sessions: tuple[SessionOutcome, ...]


def show(
    context: CommandContext,
    run: RunId,
    outcome: Annotated[OutcomeChoice | None, typer.Option(help="Only these")] = None,
    reason: Annotated[SkipReason | None, typer.Option(help="Only what was skipped for this reason")] = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="Only orders that say something else than Stripe")
    ] = False,
) -> CommandResult:
    """Each session of a run: outcome, reason, order number, amount, attempts, link."""
    found = run_named(context.stack, run, context.now())
    wanted = Filter(outcome and outcome.value, reason and reason.value, drift)
    shown = Shown(found, tuple(read_sessions(context.stack.table, found.run_id, wanted)))
    return CommandResult(shown, lambda screen: show_sessions(screen, shown))


def run_named(place: Stack, name: str, now: int) -> PastRun:
    """Raises CannotRun where there is no such run."""
    if name == LAST:
        latest = place.runs.latest(1)
        if not latest:
            raise CommandError("no run yet; `nightly-sync run` starts one")
        return past_run(latest[0], now)
    if not _RUN_ID.fullmatch(name):
        raise CommandError(
            "RUN must be a run's id such as 20261123T020000Z, or `last`; `nightly-sync runs` lists them"
        )
    if record := place.runs.get(name):
        return past_run(record, now)
    known = ", ".join(run.run_id for run in place.runs.latest(3)) or "none yet"
    raise CommandError(f"there is no run {name}; the latest are {known} (records are kept for 90 days)")


def show_sessions(screen: Screen, shown: Shown) -> None:
    run = shown.run
    screen.text(
        f"Run {run.run_id}: {quantity(run.processed, 'session')} done, {run.created} created, "
        f"{run.skipped} skipped, {run.errors} errors. Here: {len(shown.sessions)}."
    )
    if not shown.sessions:
        screen.text(f"No session of this run matches; outcomes are kept for {OUTCOME_DAYS} days.")
        return
    screen.table(
        ["session", "outcome", "order", "amount", "tries", "why"],
        [_row(one) for one in shown.sessions],
        right=["amount", "tries"],
        whole=["session", "order"],
    )
    for one in shown.sessions:
        for line in _details(one):
            screen.text(one.session_id, TROUBLE if one.outcome == "error" else NOTICE)
            screen.indented(line)
    if sums := totals(recovered(shown.sessions)):
        screen.text("Recovered: " + ", ".join(map(str, sums)))
    screen.text(f"At Stripe: {shown.sessions[0].url}", "dim")


def _row(one: SessionOutcome) -> list[str | Text]:
    style = TROUBLE if one.outcome == "error" else NOTICE if one.drift else ""
    return [
        Text(one.session_id, style=f"link {one.url}"),
        Text(one.outcome, style=style),
        one.order_number or "",
        str(one.amount) if one.amount else "",
        "" if one.attempts is None else str(one.attempts),
        Text(_why(one), style=style),
    ]


def _why(one: SessionOutcome) -> str:
    error = one.error_type if one.outcome == "error" else None
    return ", ".join(filter(None, [one.reason, error, "drift" if one.drift else None]))


def _details(one: SessionOutcome) -> tuple[str, ...]:
    """What is too long for a table."""
    return (one.error_message or "-", *one.drift) if one.outcome == "error" else one.drift
