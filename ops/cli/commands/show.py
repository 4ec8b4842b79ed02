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
from ops.format.money import format_price, totals
from ops.format.text import quantity
from ops.runs.history import PastRun, past_run
from ops.runs.sessions import OutcomeFilter, SessionOutcome, read_sessions, recovered_amounts
from ops.stack.stack import Stack
from recon.domain.outcome import SkipReason
from recon.dynamodb.records import OUTCOME_DAYS

EXAMPLES = [
    "nightly-sync show last",
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
    conflict(
        "--all",
        "--drift",
        "--reason",
        "--outcome created",
        "--outcome error",
        because="it lists the sessions whose order exists, too",
    ),
)
LAST = "last"
_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or `last`")]


class OutcomeChoice(StrEnum):
    """The values of `--outcome`."""

    CREATED = "created"
    SKIPPED = "skipped"
    MISSING = "missing"
    ERROR = "error"


@dataclass(frozen=True)
class RunSessions:
    """A run and those of its sessions that match the filter, newest first.

    `hidden` is how many others match whose order exists, with nothing to say about it.
    """

    run: PastRun
    sessions: tuple[SessionOutcome, ...]
    hidden: int = 0


def _list_words(words: type[StrEnum]) -> str:
    return ", ".join(word.value for word in words)


def show(
    context: CommandContext,
    run: RunId,
    outcome: Annotated[
        OutcomeChoice | None,
        typer.Option(
            metavar="OUTCOME", help=f"List only sessions with this outcome: {_list_words(OutcomeChoice)}"
        ),
    ] = None,
    reason: Annotated[
        SkipReason | None,
        typer.Option(
            metavar="REASON",
            help=f"List only sessions that were skipped for this reason: {_list_words(SkipReason)}",
        ),
    ] = None,
    drift: Annotated[
        bool, typer.Option("--drift", help="List only sessions whose order differs from Stripe")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="List also sessions whose order existed, most of a good night")
    ] = False,
) -> CommandResult:
    """List the sessions of a run, newest first: outcome, order number, amount, attempts, reason, link.

    Sessions whose order existed are only counted unless --all, --reason exists or --drift is given.
    """
    past = find_run(context.stack, run, context.now())
    outcomes = OutcomeFilter(outcome and outcome.value, reason and reason.value, drift)
    found = sorted(read_sessions(context.stack.table, past.run_id, outcomes), key=written_at, reverse=True)
    shown = found if everything or reason or drift else [one for one in found if not _only_exists(one)]
    matching = RunSessions(past, tuple(shown), len(found) - len(shown))
    return CommandResult(matching, lambda screen: show_sessions(screen, matching))


def written_at(one: SessionOutcome) -> str:
    """Return when an outcome was written, or an empty text that sorts before all times."""
    return one.updated_at or ""


def _only_exists(one: SessionOutcome) -> bool:
    """Return True if there is nothing to say but that the order exists."""
    return one.reason == SkipReason.EXISTS and not one.drift and not one.attention


def find_run(stack: Stack, name: str, now: int, option: str = "RUN") -> PastRun:
    """Return the run with this id, or the latest for `last`.

    Raise CommandError if there is none, or if the name, which `option` gives, cannot be one.
    """
    if name == LAST:
        latest = stack.runs.latest(1)
        if not latest:
            raise CommandError("no run yet; `nightly-sync run` starts one")
        return past_run(latest[0], now)
    if not _RUN_ID.fullmatch(name):
        raise CommandError(
            f"{option} must be a run's id such as 20261123T020000Z, or `last`; `nightly-sync runs` lists them"
        )
    if record := stack.runs.get(name):
        return past_run(record, now)
    known = ", ".join(run.run_id for run in stack.runs.latest(3)) or "none yet"
    raise CommandError(f"there is no run {name}; the latest are {known} (records are kept for 90 days)")


def show_sessions(screen: Screen, matching: RunSessions) -> None:
    """Print the sessions as a table with details below it."""
    run, sessions = matching.run, matching.sessions
    missing = f"{run.missing:,} missing, " if run.missing else ""
    screen.text(
        f"Run {run.run_id}: {quantity(run.processed, 'session')} processed, "
        f"{run.created:,} created, {missing}{run.skipped:,} skipped, {run.errors:,} errors. "
        f"Showing {len(sessions):,} of {run.processed:,}."
    )
    if run.filtered:
        screen.text(f"{quantity(run.filtered, 'session')} left out by the filter (SessionFilter).")
    if matching.hidden:
        screen.text(f"{quantity(matching.hidden, 'session')} whose order existed: --all lists them.", "dim")
    elif not sessions:
        screen.text(f"No session of this run matches; outcomes are kept for {OUTCOME_DAYS} days.")
    if not sessions:
        return
    screen.table(
        ["session", "outcome", "order", "amount", "attempts", "reason"],
        [_row(one) for one in sessions],
        right=["amount", "attempts"],
        whole=["session", "outcome", "order"],
        drop=["attempts"],
    )
    for one in sessions:
        if details := _details(one):
            screen.text(one.session_id, TROUBLE if one.outcome == "error" else NOTICE)
        for line in details:
            screen.detail(line)
    if sums := totals(recovered_amounts(sessions)):
        screen.text("Recovered: " + ", ".join(map(str, sums)))
    if len(sessions) == 1:
        screen.link(sessions[0].url, f"At Stripe: {sessions[0].session_id}")


def _row(one: SessionOutcome) -> list[str | Text]:
    style = TROUBLE if one.outcome == "error" else NOTICE if one.drift or one.attention else ""
    return [
        Text(one.session_id, style=f"link {one.url}"),
        Text(one.outcome, style=style),
        one.order_number or "",
        format_price(one.amount),
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
