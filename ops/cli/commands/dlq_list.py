"""`nightly-sync dlq list`: what was given up, and why."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import Operator
from ops.cli.commands.dlq_text import show_hidden
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.signals import ending_like_ctrl_c
from ops.dlq.check import CheckedLetter, check_letters
from ops.dlq.dead_letters import DeadLetterListing, list_dead_letters
from ops.dlq.queue import open_dead_letter_queue
from ops.format.text import counted, duration, worth
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

    letters: tuple[CheckedLetter, ...]
    checked: bool
    hidden: int
    truncated: bool


def list_(
    operator: Operator,
    with_check: Annotated[
        bool, typer.Option("--check", help="Also tell whether each would succeed now")
    ] = False,
) -> CommandResult:
    """Each dead message with its error, attempts, age and session. Moves nothing."""
    place, now = operator.place, operator.now()
    with operator.busy("reading the dead-letter queue"), ending_like_ctrl_c():
        listing = list_dead_letters(open_dead_letter_queue(place), place.table, now, place.deadline)
        letters = (
            _checked(place, listing, now)
            if with_check
            else tuple(CheckedLetter(one, None) for one in listing.letters)
        )
    dead = Dead(letters, with_check, listing.hidden, listing.truncated)
    return CommandResult(
        dead, lambda screen: show(screen, dead), needs_attention=bool(letters or dead.hidden)
    )


def _checked(place: Stack, listing: DeadLetterListing, now: int) -> tuple[CheckedLetter, ...]:
    with ThreadPoolExecutor(THREADS) as pool, stripe_access(place) as stripe:
        return tuple(check_letters(listing, place.table, stripe, place.settings, pool, now))


def show(screen: Screen, dead: Dead) -> None:
    if not dead.letters and not dead.hidden:
        screen.text("The dead-letter queue is empty.", FINE)
    for one in dead.letters:
        _show_letter(screen, one, checked=dead.checked)
    show_hidden(screen, dead.hidden)
    if dead.truncated:
        screen.text("There are more than one look reads.", NOTICE)


def _show_letter(screen: Screen, one: CheckedLetter, *, checked: bool) -> None:
    letter = one.letter
    screen.text(letter.session_id or f"message {letter.message_id}", "bold")
    left = (letter.expires_at - letter.sent_at).total_seconds() - letter.age_seconds
    facts = [
        f"run {letter.run_id}" if letter.run_id else "",
        worth(letter.amount, letter.currency),
        counted(letter.attempts, "attempt") if letter.attempts else "",
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
