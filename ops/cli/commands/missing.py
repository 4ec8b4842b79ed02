"""`nightly-sync missing`: the paid sessions whose order a shop with its own layout has not done."""

from dataclasses import dataclass
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.commands.show import find_run
from ops.cli.screen import NOTICE, TROUBLE, CommandResult, Screen
from ops.format.money import Money, format_worth, totals
from ops.format.text import format_time, quantity
from ops.runs.missing import ENDPOINT, MissingSession, add_events, find_abandoned, list_missing
from ops.runs.sessions import OutcomeFilter, read_sessions
from ops.stack.stripe_access import stripe_access
from recon.domain.outcome import Outcome
from recon.dynamodb.attention import find_attention

EXAMPLES = ["nightly-sync missing", "nightly-sync missing --run last", "nightly-sync missing --json"]


@dataclass(frozen=True)
class MissingSessions:
    """The sessions whose order is still missing, their money, and what could not be read from Stripe.

    `run_id` is the run that they are from, if one is named. `abandoned` are older sessions that nobody has
    acknowledged and whose order no run looks for any more.
    """

    stack: str
    run_id: str | None
    sessions: tuple[MissingSession, ...]
    money: tuple[Money, ...]
    problem: str | None
    abandoned: tuple[str, ...] = ()


def missing(
    context: CommandContext,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="List only what this run, or `last`, missed")
    ] = None,
) -> CommandResult:
    """List paid sessions whose order is missing, with the command that asks the shop's webhook again.

    The exit code is 1 when there are any.
    """
    stack = context.stack
    run_id, only = None, None
    if run is not None:
        run_id = find_run(stack, run, context.now(), "--run").run_id
        missed = read_sessions(stack.table, run_id, OutcomeFilter(outcome=Outcome.MISSING))
        only = {one.session_id for one in missed}
    found = list_missing(stack.runs.pending(), context.now(), only)
    with stripe_access(stack) as stripe:
        found, problem = add_events(found, stripe.source)
    money = tuple(totals(one.amount for one in found if one.amount))
    records = find_attention(stack.table, stack.deadline, only_open=True)
    abandoned = tuple(find_abandoned(records, found)) if run_id is None else ()
    result = MissingSessions(stack.name, run_id, tuple(found), money, problem, abandoned)
    return CommandResult(result, lambda screen: show(screen, result), bool(found or abandoned))


def show(screen: Screen, result: MissingSessions) -> None:
    """Print the sessions with their money, and the commands below them."""
    _show_sessions(screen, result)
    if result.abandoned:
        screen.text("No run looks for the orders of these any more; acknowledge them to end that:", NOTICE)
    for session_id in result.abandoned:
        screen.command(f"nightly-sync explain {session_id}")


def _show_sessions(screen: Screen, result: MissingSessions) -> None:
    if not result.sessions:
        screen.text("No order is missing." if result.run_id is None else "No order of this run is missing.")
        return
    unknown = sum(one.amount is None for one in result.sessions)
    worth = format_worth(result.money, unknown)
    screen.text(f"{quantity(len(result.sessions), 'order')} missing{f', {worth}' if worth else ''}.", TROUBLE)
    screen.table(
        ["session", "amount", "created", "missing since", "Stripe"],
        [_row(one) for one in result.sessions],
        right=["amount"],
        whole=["session", "Stripe"],
        drop=["missing since", "created"],
    )
    commands = [one.command for one in result.sessions if one.command]
    if commands:
        screen.text(f"Send the events again, with your endpoint's id in place of {ENDPOINT}:")
    for command in commands:
        screen.command(command)
    if len(commands) < len(result.sessions) and not result.problem:
        screen.text("Stripe has no event of the others any more; write their orders yourself.", NOTICE)
    if result.problem:
        screen.text(f"Not all events could be read: {result.problem}", NOTICE)
    screen.text("Runs look for these orders each night. `nightly-sync dismiss SESSION` ends that.", "dim")


def _row(one: MissingSession) -> list[str]:
    return [
        one.session_id,
        str(one.amount or "unknown"),
        format_time(one.created),
        format_time(one.missing_since),
        one.url,
    ]
