"""`nightly-sync dlq list`: the dead messages and their errors."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.dlq_text import show_hidden
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, Screen
from ops.cli.signals import interrupt_on_termination
from ops.dlq.check import check_letters, find_orders_by_now
from ops.dlq.dead_letters import DeadLetter, DeadLetterListing, list_dead_letters
from ops.dlq.queue import open_dead_letter_queue
from ops.format.money import UNKNOWN, format_price
from ops.format.text import duration, quantity
from ops.runs.prediction import PredictedAction, PredictedOutcome
from ops.stack.stack import Stack
from ops.stack.stripe_access import stripe_access
from recon.domain.outcome import SkipReason

EXAMPLES = ["nightly-sync dlq list", "nightly-sync dlq list --check"]
# Concurrent requests to Stripe; the connection limits their rate.
THREADS = 8


@dataclass(frozen=True)
class DeadLetterReport:
    """The dead messages, oldest first.

    `checked` is True if their outcomes were predicted. `hidden` counts messages in flight, which may be dead
    too.
    """

    letters: tuple[DeadLetter, ...]
    checked: bool
    hidden: int
    truncated: bool


def list_(
    context: CommandContext,
    with_check: Annotated[
        bool, typer.Option("--check", help="Also predict what a redrive of each would do")
    ] = False,
) -> CommandResult:
    """List dead messages with error, attempts, age and session, and move nothing."""
    stack, now = context.stack, context.now()
    with context.busy("reading the dead-letter queue"), interrupt_on_termination():
        listing = list_dead_letters(open_dead_letter_queue(stack), stack.table, now, stack.deadline)
        letters = _look_up(stack, listing, now, with_check=with_check)
    report = DeadLetterReport(letters, with_check, listing.hidden, listing.truncated)
    return CommandResult(
        report, lambda screen: show(screen, report), needs_attention=bool(letters or report.hidden)
    )


def _look_up(
    stack: Stack, listing: DeadLetterListing, now: int, *, with_check: bool
) -> tuple[DeadLetter, ...]:
    """Return the letters with their orders, and with a prediction of each if that is asked for."""
    with ThreadPoolExecutor(THREADS) as pool:
        known = replace(listing, letters=tuple(find_orders_by_now(listing, stack.table, pool)))
        if not with_check:
            return known.letters
        with stripe_access(stack) as stripe:
            return tuple(check_letters(known, stack.table, stripe.source, stack.settings, pool, now))


def show(screen: Screen, report: DeadLetterReport) -> None:
    """Print each dead message as a paragraph."""
    if not report.letters and not report.hidden:
        screen.text("The dead-letter queue is empty.", FINE)
    for one in report.letters:
        _show_letter(screen, one, checked=report.checked)
    show_hidden(screen, report.hidden)
    if report.truncated:
        screen.text("The queue has more messages than one listing reads.", NOTICE)


def _show_letter(screen: Screen, letter: DeadLetter, *, checked: bool) -> None:
    screen.text(letter.session_id or f"message {letter.message_id}", "bold")
    left = (letter.expires_at - letter.sent_at).total_seconds() - letter.age_seconds
    facts = [
        f"run {letter.run_id}" if letter.run_id else "",
        _describe_amount(letter),
        quantity(letter.attempts, "attempt") if letter.attempts else "",
        f"{duration(letter.age_seconds)} old",
        f"SQS deletes it in {duration(max(0.0, left))}",
    ]
    screen.detail(", ".join(filter(None, facts)))
    screen.detail(letter.why)
    if letter.has_order and not letter.is_settled:
        number = f" {letter.order_number}" if letter.order_number else ""
        screen.detail(f"its order{number} exists by now: a redrive only drops the message", FINE)
    elif checked:
        screen.detail(*_describe_prediction(letter.prospect))


def _describe_amount(letter: DeadLetter) -> str:
    price = format_price(letter.amount)
    return f"amount {price}" if price == UNKNOWN else price


def _describe_prediction(prediction: PredictedOutcome | None) -> tuple[str, str]:
    """Return what a redrive would do, and the style of the text."""
    match prediction:
        case None:
            return "nothing to do: already settled", FINE
        case PredictedOutcome(would=PredictedAction.CREATE):
            return f"now it would become order {prediction.order_number}", FINE
        case PredictedOutcome(would=PredictedAction.SKIP, reason=SkipReason.EXISTS):
            return "nothing to do: its order exists", FINE
        case PredictedOutcome(would=PredictedAction.SKIP):
            return f"nothing to do: it would be skipped as {prediction.reason}", FINE
        case PredictedOutcome(would=PredictedAction.MISSING):
            return "now it would be reported as missing", TROUBLE
        case _:
            return f"now it would fail: {prediction.error_type}: {prediction.error_message}", TROUBLE
