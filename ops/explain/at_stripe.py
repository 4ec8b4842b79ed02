"""What Stripe knows of one session and of the events that notified a webhook of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from ops.explain.facts import CurrentSession, StripeProblem
from ops.format.money import read_amount
from recon.domain.message import SessionMessage, build_message, dumps, loads
from recon.domain.outcome import SkipReason
from recon.domain.payment_state import PaymentState, read_payment_state
from recon.domain.table_decision import user_ids
from recon.errors import MalformedMessage, SyncError
from recon.timestamps import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from recon.config import Settings
    from recon.stripe.source import FetchedSession, SessionEvent, StripeSource

# Stripe lists events from a time on and not for one session. A hundred pages take ten seconds; a few days of
# a busy shop may have more.
MOST_EVENTS = 10_000
# https://docs.stripe.com/api/events: for 30 days.
EVENT_DAYS = 30
NO_RUN = "explain"  # the run id of a message that is only read here and never sent


@dataclass(frozen=True)
class StripeLookup:
    """Stripe's answer for a session.

    `raw` is the message that a producer would send, `message` the same after parsing, as the consumer
    sees it. `problem` says why one of them is missing.
    """

    raw: SessionMessage | None = None
    message: SessionMessage | None = None
    session: CurrentSession | None = None
    problem: StripeProblem | None = None


@dataclass(frozen=True)
class EventLookup:
    """The events of a session, oldest first.

    `undelivered` are the ids of events that a webhook endpoint has not acknowledged. `missing` lists what
    could not be read.
    """

    events: tuple["SessionEvent", ...] = ()
    undelivered: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()


def fetch_session(
    stripe: "Callable[[], StripeSource]", session_id: str, settings: "Settings"
) -> StripeLookup:
    """Fetch a session. An error of Stripe or an unreadable session is part of the result.

    `settings` are the producer's.
    """
    try:
        fetched = stripe().fetch(session_id)
    except SyncError as error:
        return StripeLookup(problem=_to_problem(error))
    raw = build_message(fetched.session, NO_RUN, settings.user_ids, settings.shape)
    left_out_by = settings.session_filter.find_failed(fetched.session)
    try:
        message = loads(dumps(raw))
    except MalformedMessage as error:
        current = _to_current_session(fetched, None, left_out_by)
        return StripeLookup(raw, None, current, _to_problem(error))
    return StripeLookup(raw, message, _to_current_session(fetched, message, left_out_by))


def _to_problem(error: SyncError) -> StripeProblem:
    return StripeProblem(type(error).__name__, str(error))


def _to_current_session(
    fetched: "FetchedSession", message: SessionMessage | None, left_out_by: str | None
) -> CurrentSession:
    session, state = fetched.session, _read_state(fetched)
    ids = user_ids(message) if message else ()
    return CurrentSession(
        status=str(session.get("status")),
        payment_status=str(session.get("payment_status")),
        mode=str(session.get("mode")),
        livemode=session.get("livemode") is True,
        created=datetime.fromtimestamp(message.created, UTC) if message else None,
        amount=read_amount(message) if message else None,
        user_id=ids[0] if ids else None,
        line_items=len(fetched.line_items),
        refunded=state.skip is SkipReason.REFUNDED if fetched.charges_known else None,
        disputed=(fetched.payment.charge or {}).get("disputed") is True,
        attention=state.attention,
        capture_before=_to_time(state.until),
        payment_intent_status=_read_intent_status(fetched),
        skip_reason=state.skip,
        left_out_by=left_out_by,
    )


def _read_state(fetched: "FetchedSession") -> PaymentState:
    """Return the payment's state, or an empty one if it cannot be read; the prediction names the error."""
    try:
        return read_payment_state(fetched.session, fetched.payment)
    except SyncError:
        return PaymentState()


def _read_intent_status(fetched: "FetchedSession") -> str | None:
    status = (fetched.payment.intent or {}).get("status")
    return status if isinstance(status, str) else None


def _to_time(epoch: int | None) -> datetime | None:
    try:
        return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def fetch_events(
    stripe: "Callable[[], StripeSource]", session_id: str, created: int, now: int
) -> EventLookup:
    """Fetch the events of a session. An error of Stripe is part of the result.

    `created` (of the session) and `now` are in epoch seconds.
    """
    since = max(created, now - EVENT_DAYS * DAY)
    missing = []
    if since > created:
        missing.append(f"events: Stripe keeps them for {EVENT_DAYS} days, and the session is older")
    try:
        listed = list(islice(stripe().list_events(since), MOST_EVENTS))
        undelivered = _filter_events(
            session_id, islice(stripe().list_events(since, undelivered=True), MOST_EVENTS)
        )
    except SyncError as error:
        return EventLookup(missing=(*missing, f"events: {error}"))
    if len(listed) == MOST_EVENTS:
        missing.append(f"events: only the latest {MOST_EVENTS:,} of the account were searched")
    events = sorted(_filter_events(session_id, listed), key=lambda event: event.created)
    return EventLookup(tuple(events), frozenset(event.id for event in undelivered), tuple(missing))


def _filter_events(session_id: str, events: "Iterable[SessionEvent]") -> "list[SessionEvent]":
    return [event for event in events if event.session_id == session_id]
