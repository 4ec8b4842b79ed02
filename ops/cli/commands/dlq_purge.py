"""`nightly-sync dlq purge`: drops messages on purpose."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ops.cli.command import Operator
from ops.cli.commands.dlq_list import box_of
from ops.cli.screen import NOTICE, TROUBLE, Answer, Screen
from ops.dlq.choice import Choice
from ops.dlq.letters import list_letters
from ops.dlq.purge import Purge, Purged, Report, Verdict
from ops.errors import CannotRun
from ops.place import Place
from ops.words import when, worth

EXAMPLES = [
    "nightly-sync dlq purge --session cs_live_a1b2c3",
    'nightly-sync dlq purge --session cs_live_a1b2c3 --because "refunded by hand" --yes',
]
NONE: list[str] = []


def purge(
    operator: Operator,
    session: Annotated[list[str], typer.Option(metavar="ID", help="This session; can be repeated")] = NONE,
    message: Annotated[
        list[str], typer.Option(metavar="ID", help="This message, which names no session; can be repeated")
    ] = NONE,
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the outcome")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> Answer:
    """Gives sessions up for good: their outcome becomes skipped, dismissed, and their messages are deleted.

    Who did it and why is kept with the outcome. Asks before it does anything.
    """
    if not session and not message:
        raise CannotRun(
            "name what to drop: --session ID, or --message ID for a message that names no session"
        )
    place = operator.place
    if not yes:
        because = _asked(operator, Choice(frozenset(session), frozenset(message)), because)
    if not because:
        raise CannotRun('say why: --because "TEXT" is kept with the outcome')
    dropping = Purge(box_of(place), place.table, place.runs, place.settings, place.deadline, operator.now)
    report = dropping(session, message, caller(place), because)
    failed = bool(report.missing) or not all(one.is_deleted for one in report.purged)
    return Answer(report, lambda screen: show(screen, report), needs_attention=failed)


def caller(place: Place) -> str:
    """Who does it, as IAM knows them: the last part of an ARN such as `…:assumed-role/Operator/jane`."""
    arn: str = place.client("sts").get_caller_identity()["Arn"]
    return arn.rpartition("/")[2] if "/" in arn else arn.rpartition(":")[2]


def _asked(operator: Operator, choice: Choice, because: str | None) -> str | None:
    """Shows what is about to go and asks on the terminal; nobody there is nobody who agrees."""
    if operator.common.as_json or not sys.stdin.isatty():
        raise CannotRun("nobody is here to be asked: give --yes and --because")
    place = operator.place
    letters = choice.of(list_letters(box_of(place), place.table, operator.now(), place.deadline).letters)
    if not letters:
        return because or "-"
    for letter in letters:
        amount = worth(letter.amount, letter.currency)
        operator.screen.tell(f"{letter.session_id or letter.message_id}  {amount}  {letter.why}")
    if not typer.confirm("Give these up for good? Their orders will not be written", err=True):
        raise CannotRun("not agreed to; nothing was dropped")
    return because or str(typer.prompt("Why", err=True))


def show(screen: Screen, report: Report) -> None:
    for one in report.purged:
        screen.text(f"{one.session_id or one.message_id}: {_told(one)}")
        if one.listed_again_until:
            screen.text(
                "  Runs whose window holds it look at it again, until about "
                f"{when(one.listed_again_until)} UTC.",
                NOTICE,
            )
        if not one.is_deleted:
            screen.text("  SQS did not delete the message; purge it again.", TROUBLE)
    for run_id in report.finished_runs:
        screen.text(f"Run {run_id} is done: this was the last that it waited for.")
    _show_missing(screen, report.missing, report.hidden)


def _told(one: Purged) -> str:
    match one.verdict:
        case Verdict.DISMISSED:
            return "dismissed"
        case Verdict.SETTLED:
            return (
                f"was settled already ({one.outcome} {one.reason or ''}".rstrip()
                + "); the message is dropped"
            )
        case Verdict.NAMELESS:
            return "dropped; it named no session, so no outcome tells of it"


def _show_missing(screen: Screen, missing: Sequence[str], hidden: int) -> None:
    for name in missing:
        screen.text(f"Not in the dead-letter queue: {name}", TROUBLE)
    if missing and hidden:
        screen.text("It may be among the messages that another command holds at this moment.", NOTICE)
