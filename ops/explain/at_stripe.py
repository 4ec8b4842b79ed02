"""What Stripe says of one session, and of the events that told a webhook of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from ops.explain.facts import AtStripe, Problem
from ops.format.money import Money
from recon.domain.message import SessionMessage, build_message, dumps, loads
from recon.domain.reconcile import amount_and_currency, user_ids
from recon.domain.stripe_objects import Json
from recon.errors import MalformedMessage, SyncError
from recon.timestamps import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from recon.stripe.source import FetchedSession, SessionEvent, StripeSource

# Stripe's list of events can be asked from a moment on, and not for one session: a hundred pages are ten
# seconds, and the days of a busy shop may hold more.
MOST_EVENTS = 10_000
# https://docs.stripe.com/api/events: for 30 days.
EVENT_DAYS = 30
NOBODYS_RUN = "explain"  # no run: the message is looked at here and goes nowhere


@dataclass(frozen=True)
class Asked:
    """Stripe's answer. `raw` is the session's message as it is listed, `message` the same once it was read
    and checked, `problem` why there is none of either or of the second."""

    raw: SessionMessage | None = None
    message: SessionMessage | None = None
    said: AtStripe | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class Heard:
    """The events of a session, oldest first, the ids of those that some webhook has not acknowledged, and
    what could not be asked."""

    events: tuple["SessionEvent", ...] = ()
    undelivered: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()


def ask(stripe: "Callable[[], StripeSource]", session_id: str) -> Asked:
    """Raises nothing: that Stripe cannot be asked, or says what cannot be read, is an answer."""
    try:
        fetched = stripe().fetch(session_id)
    except SyncError as error:
        return Asked(problem=_problem(error))
    raw = build_message(fetched.session, NOBODYS_RUN)
    try:
        message = loads(dumps(raw))
    except MalformedMessage as error:
        return Asked(raw, None, _said(fetched, None), _problem(error))
    return Asked(raw, message, _said(fetched, message))


def _problem(error: SyncError) -> Problem:
    return Problem(type(error).__name__, str(error))


def _said(fetched: "FetchedSession", message: SessionMessage | None) -> AtStripe:
    session = fetched.session
    amount, currency = amount_and_currency(message) if message else (None, None)
    ids = user_ids(message) if message else ()
    return AtStripe(
        status=str(session.get("status")),
        payment_status=str(session.get("payment_status")),
        mode=str(session.get("mode")),
        livemode=session.get("livemode") is True,
        created=datetime.fromtimestamp(message.created, UTC) if message else None,
        amount=None if amount is None or currency is None else Money(currency, amount),
        user_id=ids[0] if ids else None,
        line_items=len(fetched.line_items),
        refunded=fetched.refunded if fetched.charges_known else None,
        disputed=_disputed(session),
    )


def _disputed(session: Json) -> bool:
    intent = session.get("payment_intent")
    charge = intent.get("latest_charge") if isinstance(intent, dict) else None
    return isinstance(charge, dict) and charge.get("disputed") is True


def hear(stripe: "Callable[[], StripeSource]", session_id: str, created: int, now: int) -> Heard:
    """Raises nothing, as `ask`. `created` of the session and `now` are in epoch seconds."""
    since = max(created, now - EVENT_DAYS * DAY)
    missing = []
    if since > created:
        missing.append(f"events: Stripe keeps them for {EVENT_DAYS} days, and the session is older")
    try:
        listed = list(islice(stripe().list_events(since), MOST_EVENTS))
        left = _of(session_id, islice(stripe().list_events(since, undelivered=True), MOST_EVENTS))
    except SyncError as error:
        return Heard(missing=(*missing, f"events: {error}"))
    if len(listed) == MOST_EVENTS:
        missing.append(f"events: only the latest {MOST_EVENTS:,} of the account were looked through")
    found = sorted(_of(session_id, listed), key=lambda event: event.created)
    return Heard(tuple(found), frozenset(event.id for event in left), tuple(missing))


def _of(session_id: str, events: "Iterable[SessionEvent]") -> "list[SessionEvent]":
    return [event for event in events if event.session_id == session_id]
