"""`nightly-sync show RUN`: the sessions of a run."""

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
from ops.format.attention import describe_stored_attention
from ops.format.money import totals
from ops.format.text import quantity
from ops.runs.history import PastRun, past_run
from ops.runs.sessions import OutcomeFilter, SessionOutcome, read_sessions, recovered_amounts
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
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or `last`")]


class OutcomeChoice(StrEnum):
    """The values of `--outcome`."""

    CREATED = "created"
    SKIPPED = "skipped"
    ERROR = "error"


@dataclass(frozen=True)
class RunSessions:
    """A run and those of its sessions that match the filter."""

    run: PastRun
    sessions: tuple[SessionOutcome, ...]


def show(
    context: CommandContext,
    run: RunId,
    outcome: Annotated[
        OutcomeChoice | None, typer.Option(help="List only sessions with this outcome")
    ] = None,
    reason: Annotated[
        SkipReason | None, typer.Option(help="List only sessions that were skipped for this reason")
    ] = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="List only sessions whose order differs from Stripe")
    ] = False,
) -> CommandResult:
    """List the sessions of a run: outcome, order number, amount, attempts, reason, link."""
    past = find_run(context.stack, run, context.now())
    outcomes = OutcomeFilter(outcome and outcome.value, reason and reason.value, drift)
    matching = RunSessions(past, tuple(read_sessions(context.stack.table, past.run_id, outcomes)))
    return CommandResult(matching, lambda screen: show_sessions(screen, matching))


def find_run(stack: Stack, name: str, now: int) -> PastRun:
    """Return the run with this id, or the latest for `last`. Raise CommandError if there is none."""
    if name == LAST:
        latest = stack.runs.latest(1)
        if not latest:
            raise CommandError("no run yet; `nightly-sync run` starts one")
        return past_run(latest[0], now)
    if not _RUN_ID.fullmatch(name):
        raise CommandError(
            "RUN must be a run's id such as 20261123T020000Z, or `last`; `nightly-sync runs` lists them"
        )
    if record := stack.runs.get(name):
        return past_run(record, now)
    known = ", ".join(run.run_id for run in stack.runs.latest(3)) or "none yet"
    raise CommandError(f"there is no run {name}; the latest are {known} (records are kept for 90 days)")


def show_sessions(screen: Screen, matching: RunSessions) -> None:
    """Print the sessions as a table with details below it."""
    run, sessions = matching.run, matching.sessions
    screen.text(
        f"Run {run.run_id}: {quantity(run.processed, 'session')} processed, {run.created} created, "
        f"{run.skipped} skipped, {run.errors} errors. Showing {len(sessions):,} of {run.processed:,}."
    )
    if run.filtered:
        screen.text(f"{quantity(run.filtered, 'session')} left out by the filter (SYNC_ONLY).")
    if not sessions:
        screen.text(f"No session of this run matches; outcomes are kept for {OUTCOME_DAYS} days.")
        return
    screen.table(
        ["session", "outcome", "order", "amount", "attempts", "reason"],
        [_row(one) for one in sessions],
        right=["amount", "attempts"],
        whole=["session", "order"],
    )
    for one in sessions:
        for line in _details(one):
            screen.text(one.session_id, TROUBLE if one.outcome == "error" else NOTICE)
            screen.detail(line)
    if sums := totals(recovered_amounts(sessions)):
        screen.text("Recovered: " + ", ".join(map(str, sums)))
    screen.text(f"At Stripe: {sessions[0].url}", "dim")


def _row(one: SessionOutcome) -> list[str | Text]:
    style = TROUBLE if one.outcome == "error" else NOTICE if one.drift or one.attention else ""
    return [
        Text(one.session_id, style=f"link {one.url}"),
        Text(one.outcome, style=style),
        one.order_number or "",
        str(one.amount) if one.amount else "",
        "" if one.attempts is None else str(one.attempts),
        Text(_reason(one), style=style),
    ]


def _reason(one: SessionOutcome) -> str:
    error = one.error_type if one.outcome == "error" else None
    words = [one.reason, error, "drift" if one.drift else None, *one.attention]
    return ", ".join(dict.fromkeys(filter(None, words)))


def _details(one: SessionOutcome) -> tuple[str, ...]:
    """Return the texts that are too long for a table cell."""
    error = [one.error_message or "-"] if one.outcome == "error" else []
    return (*error, *one.drift, *map(describe_stored_attention, one.attention))
