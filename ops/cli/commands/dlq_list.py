"""`nightly-sync dlq list`: what was given up, and why."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.dlq_text import show_hidden
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.signals import ending_like_ctrl_c
from ops.dlq.check import Checked, check
from ops.dlq.dead_letters import Listing, list_dead_letters
from ops.dlq.queue import DeadLetterQueue
from ops.format.text import duration, format_amount, quantity
from ops.runs.prediction import PredictedAction, PredictedOutcome
from ops.stack.stack import Stack
from ops.stack.stripe_access import stripe_access

EXAMPLES = ["nightly-sync dlq list", "nightly-sync dlq list --check"]
# Enough to wait for Stripe in parallel; its pace is the connection's business.
THREADS = 8


@dataclass(frozen=True)
class Dead:
    """Oldest first. `checked`: whether anybody asked what would become of them. `hidden`: messages in flight
    at this moment, which may be dead as well."""

    letters: tuple[Checked, ...]
    checked: bool
    hidden: int
    truncated: bool


def list_(
    context: CommandContext,
    with_check: Annotated[
        bool, typer.Option("--check", help="Also tell whether each would succeed now")
    ] = False,
) -> CommandResult:
    """Each dead message with its error, attempts, age and session. Moves nothing."""
    place, now = context.stack, context.now()
    with context.busy("reading the dead-letter queue"), ending_like_ctrl_c():
        listing = list_dead_letters(open_dead_letter_queue(place), place.table, now, place.deadline)
        letters = (
            _checked(place, listing, now)
            if with_check
            else tuple(Checked(one, None) for one in listing.letters)
        )
    dead = Dead(letters, with_check, listing.hidden, listing.truncated)
    return CommandResult(
        dead, lambda screen: show(screen, dead), needs_attention=bool(letters or dead.hidden)
    )


def open_dead_letter_queue(place: Stack) -> DeadLetterQueue:
    return DeadLetterQueue(place.sqs, place.outputs.dlq_url, place.outputs.queue_url)


def _checked(place: Stack, listing: Listing, now: int) -> tuple[Checked, ...]:
    with ThreadPoolExecutor(THREADS) as pool, stripe_access(place) as stripe:
        return tuple(check(listing, place.table, stripe.source, place.settings, pool, now))


def show(screen: Screen, dead: Dead) -> None:
    if not dead.letters and not dead.hidden:
        screen.text("The dead-letter queue is empty.", FINE)
    for one in dead.letters:
        _show_letter(screen, one, checked=dead.checked)
    show_hidden(screen, dead.hidden)
    if dead.truncated:
        screen.text("There are more than one look reads.", NOTICE)


def _show_letter(screen: Screen, one: Checked, *, checked: bool) -> None:
    letter = one.letter
    screen.text(letter.session_id or f"message {letter.message_id}", "bold")
    left = (letter.expires_at - letter.sent_at).total_seconds() - letter.age_seconds
    facts = [
        f"run {letter.run_id}" if letter.run_id else "",
        format_amount(letter.amount, letter.currency),
        quantity(letter.attempts, "attempt") if letter.attempts else "",
        f"{duration(letter.age_seconds)} old",
        f"SQS deletes it in {duration(max(0.0, left))}",
    ]
    screen.indented(", ".join(filter(None, facts)))
    screen.indented(letter.why)
    if checked:
        screen.indented(*_now(one.prospect))


def _now(prospect: PredictedOutcome | None) -> tuple[str, str]:
    """What a redrive would come to, and how good that is."""
    match prospect:
        case None:
            return "settled: nothing left to do", FINE
        case PredictedOutcome(would=PredictedAction.CREATE):
            return f"now it would become order {prospect.order_number}", FINE
        case PredictedOutcome(would=PredictedAction.SKIP):
            return f"now it would be skipped: {prospect.reason}", FINE
        case _:
            return f"now it would fail: {prospect.error_type}: {prospect.error_message}", TROUBLE
