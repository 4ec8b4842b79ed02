"""`nightly-sync explain`: everything about one session."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from ops.cli.command import CommandContext
from ops.cli.screen import FINE, NOTICE, TROUBLE, CommandResult, FactLine, Screen
from ops.dlq.queue import open_dead_letter_queue
from ops.errors import CommandError
from ops.explain.facts import (
    CurrentSession,
    EventDelivery,
    EventMarker,
    OutcomeInRun,
    SessionFacts,
    StoredOrder,
)
from ops.explain.find_session import SessionFinder
from ops.explain.gather import FactSources, gather_facts
from ops.explain.ids import describe_unknown_session
from ops.explain.references import parse_reference
from ops.explain.verdict import decide_verdict
from ops.explain.verdict_types import SessionVerdict
from ops.format.attention import describe_stored_attention
from ops.format.links import session_url
from ops.format.money import format_price
from ops.format.text import format_stored_time, format_time, format_utc
from ops.runs.status import Schedule, read_schedule
from ops.stack.stack import Stack
from ops.stack.stripe_access import StripeAccess, stripe_access
from recon.domain.attention import Attention
from recon.errors import KeyUnavailable

EXAMPLES = [
    "nightly-sync explain cs_live_a1b2c3",
    "nightly-sync explain BC-1A2B3C4D",
    "nightly-sync explain pi_3MtwBwLkdIwHu7ix",
    "nightly-sync explain jane@example.com",
    "nightly-sync explain https://dashboard.stripe.com/payments/pi_3MtwBwLk",
    "nightly-sync explain cs_live_a1b2c3 --json | jq .verdict",
]


@dataclass(frozen=True)
class Explanation:
    """A session's facts and the verdict on them."""

    session_id: str
    url: str
    needs_attention: bool
    verdict: SessionVerdict
    facts: SessionFacts


def explain(
    context: CommandContext,
    session: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="A session (cs_…), a payment (pi_…), an order number, an e-mail address, or the Dashboard's "
            "address of a session or payment",
        ),
    ],
) -> CommandResult:
    """Explain one session: what is known, why it is so, and what the next run will do.

    Read Stripe, the table, the dead-letter queue and the schedule. The exit code is 1 if there is something
    to do.
    """
    reference, stack, now = parse_reference(session), context.stack, context.now()
    with stripe_access(stack) as stripe:
        finder = SessionFinder(
            stack.table, stack.runs, stripe.source, stack.settings.order_number_prefix, now
        )
        with context.busy("looking for the session"):
            session_id = finder.find(reference)
        facts = gather_facts(_build_sources(stack, stripe, now), session_id, now)
        if not facts.is_known:
            raise CommandError(describe_unknown_session(facts, _read_livemode(stripe)))
    verdict = decide_verdict(facts)
    url = session_url(session_id)
    is_open = facts.attention is not None and facts.attention.is_open
    result = Explanation(session_id, url, verdict.needs_attention or is_open, verdict, facts)
    return CommandResult(result, lambda screen: show(screen, result), result.needs_attention)


def _build_sources(stack: Stack, stripe: StripeAccess, now: int) -> FactSources:
    return FactSources(
        table=stack.table,
        queue=open_dead_letter_queue(stack),
        stripe=stripe.source,
        settings=stack.settings,
        producer=stack.producer_settings,
        schedule=_read_schedule(stack, now),
        deadline=stack.deadline,
    )


def _read_schedule(stack: Stack, now: int) -> Schedule | None:
    """Return None if the operator may not read the schedule: the rest can be shown without it."""
    with suppress(ClientError, BotoCoreError):
        return read_schedule(stack, now)
    return None


def _read_livemode(stripe: StripeAccess) -> bool | None:
    with suppress(KeyUnavailable):
        return stripe.livemode()
    return None


def show(screen: Screen, explanation: Explanation) -> None:
    facts, verdict = explanation.facts, explanation.verdict
    screen.text(verdict.why, TROUBLE if verdict.needs_attention else FINE)
    screen.text(verdict.next)
    if verdict.to_do:
        screen.text(verdict.to_do, NOTICE)
    _show_attention(screen, facts)
    if facts.dismissal and facts.orders:
        # The verdict is about the order, which a dismissal leaves as it is.
        screen.text(f"Dismissed by {facts.dismissal.by}: {facts.dismissal.because}", NOTICE)
    _section(screen, "Stripe")
    screen.facts(_stripe_lines(facts))
    screen.link(explanation.url, f"At Stripe: {explanation.session_id}")
    _show_orders(screen, facts)
    _show_runs(screen, facts)
    _show_events(screen, facts)
    if facts.dead_letters:
        _section(screen, "Dead letters")
        for letter in facts.dead_letters:
            until = format_utc(letter.expires_at)
            screen.facts([(letter.message_id, f"until {until}  {letter.why}", TROUBLE)])
    if facts.missing:
        _section(screen, "Could not be read")
        for gap in facts.missing:
            screen.text(gap, NOTICE)


def _show_attention(screen: Screen, facts: SessionFacts) -> None:
    if (one := facts.attention) is None:
        return
    for word in one.words:
        until = ""
        if word == Attention.AWAITING_CAPTURE and one.until:
            until = f"; it can be captured until {format_utc(one.until)}"
        screen.text(f"{word}: {describe_stored_attention(word)}{until}", TROUBLE if one.is_open else NOTICE)
    if one.is_open:
        screen.text(f"When that is settled: nightly-sync ack {one.session_id}", NOTICE)
    else:
        screen.text(f"Acknowledged by {one.acknowledged_by}.", "dim")


def _section(screen: Screen, heading: str) -> None:
    screen.text("")
    screen.text(heading, "bold")


def _stripe_lines(facts: SessionFacts) -> Iterator[FactLine]:
    yield "session", facts.session_id, ""
    if facts.stripe:
        yield from _session_lines(facts.stripe)
    elif facts.stripe_problem:
        yield "answer", f"{facts.stripe_problem.error_type}: {facts.stripe_problem.message}", NOTICE
    if facts.pending:
        at = format_stored_time(facts.pending.seen_at)
        seen = f", last seen {at} UTC" if at else ""
        until = facts.pending.asked_until
        end = f", until {format_utc(until)} at most" if until else ""
        since = facts.pending.missing_since
        what = f"its order is missing since {format_utc(since)}" if since else "waits for its payment"
        yield "pending", f"{what}{seen}{end}", ""


def _session_lines(session: CurrentSession) -> Iterator[FactLine]:
    livemode = "live" if session.livemode else "test"
    yield "status", f"{session.status}, {session.payment_status}, {session.mode}, {livemode}", ""
    if session.created:
        yield "created", f"{format_utc(session.created)}", ""
    yield "amount", format_price(session.amount), ""
    yield "user", session.user_id or "none", "" if session.user_id else NOTICE
    yield "line items", str(session.line_items), ""
    if session.payment_intent_status:
        until = f", capture before {format_utc(session.capture_before)}" if session.capture_before else ""
        yield "payment", f"{session.payment_intent_status}{until}", NOTICE if until else ""
    disputed = ["disputed"] if session.disputed and "disputed" not in session.attention else []
    words = [*(word.replace("_", " ") for word in session.attention), *disputed]
    money = ["refunded, or lost in a dispute"] if session.refunded else words
    if money:
        yield "money", ", ".join(money), NOTICE


def _show_orders(screen: Screen, facts: SessionFacts) -> None:
    if not facts.orders:
        _section(screen, f"Orders: {'none found' if facts.orders_known else 'not searched'}")
    for number, order in enumerate(facts.orders, start=1):
        _section(screen, f"Order {number} of {len(facts.orders)}" if len(facts.orders) > 1 else "Order")
        screen.facts(_order_lines(order))


def _order_lines(order: StoredOrder) -> Iterator[FactLine]:
    yield "number", order.order_number or "-", ""
    yield "key", order.key, ""
    yield "written by", f"{order.source}, run {order.run_id}" if order.run_id else order.source, ""
    yield "status", order.status or "-", ""
    yield "amount", format_price(order.amount), ""
    for name, stored in (("created", order.created_at), ("changed", order.updated_at)):
        at = format_stored_time(stored)
        yield name, f"{at} UTC" if at else "-", ""


def _show_runs(screen: Screen, facts: SessionFacts) -> None:
    _section(screen, "Runs" if facts.runs else "Runs: none has an outcome")
    if facts.runs:
        screen.table(
            ["run", "outcome", "at", "attempts", "details"],
            map(_run_row, facts.runs),
            right=["attempts"],
            whole=["run", "outcome", "at"],
            drop=["at", "attempts"],
        )


def _run_row(run: OutcomeInRun) -> list[str | Text]:
    style = TROUBLE if run.error_type and run.outcome == "error" else NOTICE if run.drift else ""
    error = f"{run.error_type}: {run.error_message}" if run.error_type else ""
    dismissed = f"by {run.dismissed_by}: {run.dismissed_because}" if run.dismissed_by else ""
    why = "; ".join(filter(None, [run.reason or run.order_number or "", dismissed, error, *run.drift]))
    attempts = "" if run.attempts is None else str(run.attempts)
    at = format_stored_time(run.updated_at) or ""
    return [run.run_id, Text(run.outcome, style=style), at, attempts, why]


def _show_events(screen: Screen, facts: SessionFacts) -> None:
    if facts.events:
        _section(screen, "Events")
        screen.table(
            ["event", "type", "at", "webhook", "handled"],
            map(_event_row, facts.events),
            whole=["event", "at"],
            drop=["at", "type"],
        )


def _event_row(event: EventDelivery) -> list[str | Text]:
    delivered = "delivered" if event.delivered else Text("not delivered", style=NOTICE)
    kind = event.type.removeprefix("checkout.session.")
    handled = _describe_marker(event.marker) if event.marker else "no record"
    return [event.id, kind, format_time(event.created), delivered, handled]


def _describe_marker(marker: EventMarker) -> str:
    order = "order written" if marker.order_created else "no order"
    return f"by {marker.source}" + (f", {order}" if marker.order_created is not None else "")
