"""`nightly-sync explain`: one session."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.commands.dlq_list import open_dead_letter_queue
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, FactLine, Screen
from ops.errors import CommandError
from ops.explain.facts import AtStripe, EventThere, Facts, InRun, Marker, OrderThere
from ops.explain.gather import Sources, gather
from ops.explain.ids import nobody_knows, session_id_of
from ops.explain.verdict import verdict_of
from ops.explain.verdict_types import Verdict
from ops.format.links import session_url
from ops.format.text import format_time
from ops.runs.status import Schedule, read_schedule
from ops.stack.stack import Stack
from ops.stack.stripe_access import StripeAccess, stripe_access
from recon.errors import KeyUnavailable

EXAMPLES = ["nightly-sync explain cs_live_a1b2c3", "nightly-sync explain cs_live_a1b2c3 --json | jq .verdict"]


@dataclass(frozen=True)
class Explanation:
    session_id: str
    url: str
    needs_attention: bool
    verdict: Verdict
    facts: Facts


def explain(
    context: CommandContext,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="A Checkout Session's id, cs_…")],
) -> CommandResult:
    """Everything known of one session, why it is as it is, and what the next run will do.

    Asks Stripe, the table, the dead-letter queue and the schedule. Exit code 1 when something is to be done.
    """
    session_id, place, now = session_id_of(session), context.stack, context.now()
    with stripe_access(place) as stripe:
        facts = gather(_sources(place, stripe, now), session_id, now)
        if not facts.is_known:
            raise CommandError(nobody_knows(facts, _livemode(stripe)))
    verdict = verdict_of(facts)
    told = Explanation(session_id, session_url(session_id), verdict.needs_attention, verdict, facts)
    return CommandResult(told, lambda screen: show(screen, told), told.needs_attention)


def _sources(place: Stack, stripe: StripeAccess, now: int) -> Sources:
    return Sources(
        table=place.table,
        box=open_dead_letter_queue(place),
        stripe=stripe.source,
        settings=place.settings,
        producer=place.producer_settings,
        schedule=_schedule(place, now),
        deadline=place.deadline,
    )


def _schedule(place: Stack, now: int) -> Schedule | None:
    """None for whoever may not look at it: everything else can be told all the same."""
    with suppress(ClientError, BotoCoreError):
        return read_schedule(place, now)
    return None


def _livemode(stripe: StripeAccess) -> bool | None:
    with suppress(KeyUnavailable):
        return stripe.livemode()
    return None


def show(screen: Screen, told: Explanation) -> None:
    facts, verdict = told.facts, told.verdict
    screen.text(verdict.why, TROUBLE if verdict.needs_attention else FINE)
    screen.text(verdict.next)
    if verdict.to_do:
        screen.text(verdict.to_do, NOTICE)
    _section(screen, "Stripe")
    screen.facts(_of_stripe(facts))
    screen.text(told.url, "dim")
    _show_orders(screen, facts)
    _show_runs(screen, facts)
    _show_events(screen, facts)
    if facts.dead_letters:
        _section(screen, "Dead letters")
        for letter in facts.dead_letters:
            screen.facts(
                [(letter.message_id, f"until {format_time(letter.expires_at)}  {letter.why}", TROUBLE)]
            )
    if facts.missing:
        _section(screen, "Not known")
        for gap in facts.missing:
            screen.text(gap, NOTICE)


def _section(screen: Screen, heading: str) -> None:
    screen.text("")
    screen.text(heading, "bold")


def _of_stripe(facts: Facts) -> Iterator[FactLine]:
    yield "session", facts.session_id, ""
    if facts.stripe:
        yield from _of_session(facts.stripe)
    elif facts.stripe_problem:
        yield "answer", f"{facts.stripe_problem.error_type}: {facts.stripe_problem.message}", NOTICE
    if facts.pending:
        seen = f", last seen {facts.pending.seen_at}" if facts.pending.seen_at else ""
        yield "waits", f"for its payment{seen}", ""


def _of_session(said: AtStripe) -> Iterator[FactLine]:
    yield (
        "status",
        f"{said.status}, {said.payment_status}, {said.mode}, {'live' if said.livemode else 'test'}",
        "",
    )
    if said.created:
        yield "created", f"{format_time(said.created)} UTC", ""
    yield "amount", str(said.amount or "free"), ""
    yield "user", said.user_id or "nobody", "" if said.user_id else NOTICE
    yield "line items", str(said.line_items), ""
    money = "refunded, or lost in a dispute" if said.refunded else "disputed" if said.disputed else ""
    if money:
        yield "money", money, NOTICE


def _show_orders(screen: Screen, facts: Facts) -> None:
    if not facts.orders:
        _section(screen, f"Orders: {'none found' if facts.orders_known else 'not looked for'}")
    for number, order in enumerate(facts.orders, start=1):
        _section(screen, f"Order {number} of {len(facts.orders)}" if len(facts.orders) > 1 else "Order")
        screen.facts(_of_order(order))


def _of_order(order: OrderThere) -> Iterator[FactLine]:
    yield "number", order.order_number or "-", ""
    yield "key", order.key, ""
    yield "written by", f"{order.source}, run {order.run_id}" if order.run_id else order.source, ""
    yield "status", order.status or "-", ""
    yield "amount", str(order.amount or "-"), ""
    yield "created", order.created_at or "-", ""
    yield "changed", order.updated_at or "-", ""


def _show_runs(screen: Screen, facts: Facts) -> None:
    _section(screen, "Runs" if facts.runs else "Runs: none has an outcome of it")
    if facts.runs:
        screen.table(
            ["run", "outcome", "at", "tries", "why"],
            map(_run_row, facts.runs),
            right=["tries"],
            whole=["run"],
        )


def _run_row(run: InRun) -> list[str | Text]:
    style = TROUBLE if run.error_type and run.outcome == "error" else NOTICE if run.drift else ""
    error = f"{run.error_type}: {run.error_message}" if run.error_type else ""
    dismissed = f"by {run.dismissed_by}: {run.dismissed_because}" if run.dismissed_by else ""
    why = "; ".join(filter(None, [run.reason or run.order_number or "", dismissed, error, *run.drift]))
    tries = "" if run.attempts is None else str(run.attempts)
    return [run.run_id, Text(run.outcome, style=style), run.updated_at or "", tries, why]


def _show_events(screen: Screen, facts: Facts) -> None:
    if facts.events:
        _section(screen, "Events")
        screen.table(
            ["event", "type", "at", "webhook", "handled"], map(_event_row, facts.events), whole=["event"]
        )


def _event_row(event: EventThere) -> list[str | Text]:
    delivered = "delivered" if event.delivered else Text("not delivered", style=NOTICE)
    kind = event.type.removeprefix("checkout.session.")
    handled = _handled(event.marker) if event.marker else "no record"
    return [event.id, kind, format_time(event.created), delivered, handled]


def _handled(marker: Marker) -> str:
    order = "order written" if marker.order_created else "no order"
    return f"by {marker.source}" + (f", {order}" if marker.order_created is not None else "")
