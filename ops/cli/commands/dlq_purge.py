"""`nightly-sync dlq purge`: give sessions up and delete their messages."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.dlq_text import missing_error, require_any, show_missing
from ops.cli.operator import caller_name, require_reason
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.signals import interrupt_on_termination
from ops.cli.usage import requires
from ops.dlq.dead_letters import list_dead_letters
from ops.dlq.message_filter import MessageFilter
from ops.dlq.purge import Purge, PurgedMessage, PurgeReport, PurgeVerdict
from ops.dlq.queue import open_dead_letter_queue
from ops.errors import CommandError
from ops.format.money import format_price
from ops.format.text import format_time

EXAMPLES = [
    "nightly-sync dlq purge --session cs_live_a1b2c3",
    "nightly-sync dlq purge --session cs_live_a1b2c3 --because refunded --yes",
]
RULES = (requires("--yes", "--because", because="the reason is kept with the outcome"),)
NONE: list[str] = []
NOTHING_PURGED = "nothing was dropped"


def purge(
    context: CommandContext,
    session: Annotated[
        list[str], typer.Option(metavar="ID", help="Purge this session; can be repeated")
    ] = NONE,
    message: Annotated[
        list[str],
        typer.Option(metavar="ID", help="Purge this message, which names no session; can be repeated"),
    ] = NONE,
    because: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Give the reason, which is kept with the outcome")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation")] = False,
) -> CommandResult:
    """Give sessions up for good: dismiss them, so that no run writes their order, and delete their messages.

    The operator's name and the reason are kept. `nightly-sync allow` takes it back. Ask for
    confirmation unless --yes is given.
    """
    if not session and not message:
        raise CommandError(
            "name what to drop: --session ID, or --message ID for a message that names no session"
        )
    if because is not None:
        require_reason(because)
    choice = MessageFilter(frozenset(session), frozenset(message))
    with interrupt_on_termination():
        confirmed = Confirmed(choice, because) if yes else _confirm(context, choice, because)
        report = _purge(context, confirmed)
    failed = bool(report.missing or report.lapsed) or not all(one.is_deleted for one in report.purged)
    return CommandResult(report, lambda screen: show(screen, report), needs_attention=failed)


@dataclass(frozen=True)
class Confirmed:
    """A confirmed choice of messages.

    `names` maps the message ids that were listed to what was shown. `missing` are the named sessions that
    were not in the queue.
    """

    choice: MessageFilter
    because: str | None
    names: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def _purge(context: CommandContext, confirmed: Confirmed) -> PurgeReport:
    stack, choice, because = context.stack, confirmed.choice, confirmed.because or ""
    require_reason(because)
    queue = open_dead_letter_queue(stack)
    purge = Purge(queue, stack.table, stack.runs, stack.settings, stack.deadline, context.now)
    try:
        report = purge.run(list(choice.sessions), list(choice.message_ids), caller_name(stack), because)
    except KeyboardInterrupt:
        context.screen.log("Stopped. Some may be purged already; run the same purge again for the rest.")
        raise
    gone = tuple(confirmed.names.get(name, name) for name in report.missing)
    if not report.purged and not report.lapsed:
        raise missing_error(gone, report.hidden, NOTHING_PURGED)
    return replace(report, missing=(*confirmed.missing, *gone))


def _confirm(context: CommandContext, choice: MessageFilter, because: str | None) -> Confirmed:
    """List the messages and ask for confirmation on the terminal.

    The result names exactly the listed messages, even if the queue receives others of the same sessions.
    Raise CommandError without a terminal and if the answer is no.
    """
    if context.options.as_json or not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask for confirmation: give --yes and --because")
    stack = context.stack
    listing = list_dead_letters(open_dead_letter_queue(stack), stack.table, context.now(), stack.deadline)
    missing = choice.find_missing(listing.letters)
    require_any(choice, missing, listing.hidden, NOTHING_PURGED)
    letters = choice.select(listing.letters)
    for letter in letters:
        amount = format_price(letter.amount)
        context.screen.log(f"{letter.session_id or letter.message_id}  {amount}  {letter.why}")
    if not typer.confirm("Give these up? Their orders will not be written", err=True):
        raise CommandError(f"not confirmed; {NOTHING_PURGED}")
    because = because or str(typer.prompt("Reason", err=True))
    names = {letter.message_id: letter.session_id or letter.message_id for letter in letters}
    return Confirmed(MessageFilter(message_ids=frozenset(names)), because, names, tuple(missing))


def show(screen: Screen, report: PurgeReport) -> None:
    """Print what was purged and what was not."""
    for one in report.purged:
        screen.text(f"{one.session_id or one.message_id}: {_describe(one)}")
        if one.listed_again_until:
            screen.text(
                f"  Runs skip it. The nights list it until about {format_time(one.listed_again_until)} UTC.",
                NOTICE,
            )
        if not one.is_deleted:
            screen.text("  SQS did not delete the message; purge it again.", TROUBLE)
    for run_id in report.finished_runs:
        screen.text(f"Run {run_id} is done: this was its last open session.")
    for message_id in report.lapsed:
        screen.text(f"Could not hold message {message_id} until its turn; purge it again.", TROUBLE)
    show_missing(screen, report.missing, report.hidden if report.missing else 0)


def _describe(one: PurgedMessage) -> str:
    match one.verdict:
        case PurgeVerdict.DISMISSED:
            return "dismissed: no run writes its order"
        case PurgeVerdict.SETTLED:
            outcome = f"{one.outcome} {one.reason or ''}".rstrip()
            return f"already settled ({outcome}); the message was dropped"
        case PurgeVerdict.NAMELESS:
            return "dropped; it names no session, so there is no outcome"
