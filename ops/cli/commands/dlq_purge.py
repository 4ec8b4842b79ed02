"""`nightly-sync dlq purge`: drops messages on purpose."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import typer

from ops.cli.command import Operator
from ops.cli.commands.dlq_text import not_there, require_any, show_missing
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.signals import ending_like_ctrl_c
from ops.cli.usage import requires
from ops.dlq.dead_letters import list_dead_letters
from ops.dlq.message_filter import MessageFilter
from ops.dlq.purge import LONGEST_REASON, Purge, PurgedMessage, PurgeReport, PurgeVerdict
from ops.dlq.queue import open_dead_letter_queue
from ops.errors import CommandError
from ops.format.text import when, worth
from ops.stack.stack import Stack

EXAMPLES = [
    "nightly-sync dlq purge --session cs_live_a1b2c3",
    'nightly-sync dlq purge --session cs_live_a1b2c3 --because "refunded by hand" --yes',
]
RULES = (requires("--yes", "--because", because="the reason is kept with the outcome"),)
NONE: list[str] = []
NOTHING = "nothing was dropped"


def purge(
    operator: Operator,
    session: Annotated[list[str], typer.Option(metavar="ID", help="This session; can be repeated")] = NONE,
    message: Annotated[
        list[str], typer.Option(metavar="ID", help="This message, which names no session; can be repeated")
    ] = NONE,
    because: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept with the outcome")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> CommandResult:
    """Gives sessions up for good: their outcome becomes skipped, dismissed, and their messages are deleted.

    Who did it and why is kept with the outcome. Asks before it does anything.
    """
    if not session and not message:
        raise CommandError(
            "name what to drop: --session ID, or --message ID for a message that names no session"
        )
    if because is not None:
        require_reason(because)
    choice = MessageFilter(frozenset(session), frozenset(message))
    with ending_like_ctrl_c():
        agreed = Agreed(choice, because) if yes else _asked(operator, choice, because)
        report = _dropped(operator, agreed)
    failed = bool(report.missing or report.lapsed) or not all(one.is_deleted for one in report.purged)
    return CommandResult(report, lambda screen: show(screen, report), needs_attention=failed)


@dataclass(frozen=True)
class Agreed:
    """`names`: what was shown of the messages that `choice` names, by message id. `missing`: named at first,
    and not there to be shown."""

    choice: MessageFilter
    because: str | None
    names: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def _dropped(operator: Operator, agreed: Agreed) -> PurgeReport:
    place, choice, because = operator.place, agreed.choice, agreed.because or ""
    require_reason(because)
    purge_letters = Purge(
        open_dead_letter_queue(place), place.table, place.runs, place.settings, place.deadline, operator.now
    )
    try:
        report = purge_letters.run(list(choice.sessions), list(choice.message_ids), caller(place), because)
    except KeyboardInterrupt:
        operator.screen.tell("Stopped. Some may be given up already; the same purge again drops the rest.")
        raise
    gone = tuple(agreed.names.get(name, name) for name in report.missing)
    if not report.purged and not report.lapsed:
        raise not_there(gone, report.hidden, NOTHING)
    return replace(report, missing=(*agreed.missing, *gone))


def require_reason(because: str) -> None:
    """Raise CannotRun if there is no reason, or if it would be cut."""
    if not because.strip():
        raise CommandError('say why: --because "TEXT" is kept with the outcome')
    if len(because) > LONGEST_REASON:
        raise CommandError(f"--because has {len(because)} characters; at most {LONGEST_REASON} are kept")


def caller(place: Stack) -> str:
    """Who does it, as IAM knows them: the last part of an ARN such as `…:assumed-role/Operator/jane`."""
    arn: str = place.client("sts").get_caller_identity()["Arn"]
    return arn.rpartition("/")[2] if "/" in arn else arn.rpartition(":")[2]


def _asked(operator: Operator, choice: MessageFilter, because: str | None) -> Agreed:
    """Shows what is about to go and asks on the terminal; nobody there is nobody who agrees. What was agreed
    to are the messages that were shown, whatever the queue holds of their sessions by then."""
    if operator.common.as_json or not sys.stdin.isatty():
        raise CommandError("nobody is here to be asked: give --yes and --because")
    place = operator.place
    listing = list_dead_letters(open_dead_letter_queue(place), place.table, operator.now(), place.deadline)
    missing = choice.find_missing(listing.letters)
    require_any(choice, missing, listing.hidden, NOTHING)
    letters = choice.select(listing.letters)
    for letter in letters:
        amount = worth(letter.amount, letter.currency)
        operator.screen.tell(f"{letter.session_id or letter.message_id}  {amount}  {letter.why}")
    if not typer.confirm("Give these up for good? Their orders will not be written", err=True):
        raise CommandError("not agreed to; nothing was dropped")
    because = because or str(typer.prompt("Why", err=True))
    names = {letter.message_id: letter.session_id or letter.message_id for letter in letters}
    return Agreed(MessageFilter(message_ids=frozenset(names)), because, names, tuple(missing))


def show(screen: Screen, report: PurgeReport) -> None:
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
    for message_id in report.lapsed:
        screen.text(f"Could not hold message {message_id} until its turn; purge it again.", TROUBLE)
    show_missing(screen, report.missing, report.hidden if report.missing else 0)


def _told(one: PurgedMessage) -> str:
    match one.verdict:
        case PurgeVerdict.DISMISSED:
            return "dismissed"
        case PurgeVerdict.SETTLED:
            return (
                f"was settled already ({one.outcome} {one.reason or ''}".rstrip()
                + "); the message is dropped"
            )
        case PurgeVerdict.NAMELESS:
            return "dropped; it named no session, so no outcome tells of it"
