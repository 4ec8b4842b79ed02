"""Stripe's events about webhooks: which sessions to leave to the next run, and which events to fence."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.undelivered_events import DELIVERY, UndeliveredEvents
from producer.window import MARGIN
from recon.domain.message import SessionMessage
from recon.domain.stripe_objects import ASYNC_PAYMENT_SUCCEEDED, CHECKOUT_COMPLETED, UNPAID
from recon.errors import KeyNotAllowed
from recon.stripe.pages import PAGE_SIZE
from recon.timestamps import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon.domain.stripe_objects import Json
    from recon.stripe.source import SessionEvent, StripeSource

NO_EVENTS = (
    "no_events: the Stripe key may not read events, so late webhooks are not fenced and the grace period "
    "depends on the creation time only; give the key read access to Events"
)
UNREADABLE = (
    "unreadable: Stripe lists sessions without an id; all others were checked, and the next scheduled run "
    "starts from the same time"
)
MISSING_EVENTS = (
    "missing_events: there are more undelivered events than a run reads, so that some late webhooks are not "
    "fenced; look at Stripe for a forgotten endpoint that answers no event, and remove it"
)


class WebhookEvents:
    """Stripe's completion and payment events during one invocation.

    The webhook of a session completed or paid after `defer_after` (epoch seconds) may still be at work, so
    the session is left to the next run; with None no session is. `fence` is the time (epoch seconds) since
    which events are read that no webhook has acknowledged; with None they are not read.
    """

    def __init__(
        self,
        stripe: "Callable[[], StripeSource]",
        now: Callable[[], int],
        pool: Executor,
        *,
        defer_after: int | None,
        fence: int | None,
    ) -> None:
        self._stripe = stripe
        self._now = now
        self._pool = pool
        self._defer_after = defer_after
        self._fence = fence
        self._refreshed_at: int | None = None
        self._refreshing: tuple[int, Future[list[SessionEvent]]] | None = None
        self._newest: int | None = None
        self._completing: set[str] = set()
        self._paying: set[str] = set()
        self._recent: dict[str, dict[str, SessionEvent]] = {}
        self._undelivered: UndeliveredEvents | None = None
        self.may_read = True

    @property
    def known_until(self) -> int:
        """Return the time (epoch seconds) up to which the events are known."""
        return (self._refreshed_at or 0) - MINUTE

    @property
    def need_order(self) -> bool:
        """Return whether sessions have to come newest first, as the events are read beside them."""
        return self._undelivered is not None and not self._undelivered.are_few

    @property
    def are_missing(self) -> bool:
        """Return whether undelivered events of a message may be unknown, since there are too many."""
        return self._undelivered is not None and self._undelivered.are_missing

    def refresh(self) -> None:
        """Read the recent events, and on the first call also the newest that no webhook has acknowledged.

        Call it right before sending, so that it includes what happened while sessions were listed. It ends
        what `begin_refresh` began. It sets `may_read` to False if the key may not read events.
        """
        self.begin_refresh()
        if self._refreshing is None:
            return
        (began, recent), self._refreshing = self._refreshing, None
        try:
            self.read_undelivered()
        finally:
            # Before an error is raised, so that no thread keeps calling Stripe.
            wait([recent])
        with self._reading():
            self._add_recent(recent.result())
        self._refreshed_at = began

    def begin_refresh(self) -> None:
        """Begin to read the recent events in another thread, unless that has begun."""
        is_needed = self.may_read and (self._defer_after is not None or self._fence is not None)
        if is_needed and self._refreshing is None:
            began = self._now()
            listed = self._stripe().list_events(self._recent_since(began))
            self._refreshing = began, self._pool.submit(self._read_recent, listed)

    def close(self) -> None:
        """Cancel or await what `begin_refresh` began, so that no thread keeps calling Stripe."""
        if self._refreshing is not None and not self._refreshing[1].cancel():
            wait([self._refreshing[1]])

    def is_refreshed(self) -> bool:
        """Return whether `refresh` would not wait for the events that `begin_refresh` began to read."""
        return self._refreshing is None or self._refreshing[1].done()

    def read_undelivered(self) -> None:
        """Read the newest events that no webhook has acknowledged, unless they are read already."""
        if self._fence is not None and self._undelivered is None and self.may_read:
            with self._reading():
                self._undelivered = UndeliveredEvents(
                    self._list_undelivered, self._list_undelivered_payments, self._fence
                )

    @contextmanager
    def _reading(self) -> "Iterator[None]":
        try:
            yield
        except KeyNotAllowed:
            self.may_read = False

    def _list_undelivered(self, since: int, until: int | None) -> "Iterator[SessionEvent]":
        return self._stripe().list_events(since, undelivered=True, created_to=until)

    def _list_undelivered_payments(self, since: int) -> "Iterator[SessionEvent]":
        return self._stripe().list_events(since, undelivered=True, types=(ASYNC_PAYMENT_SUCCEEDED,))

    def _recent_since(self, began: int) -> int:
        """Return the start of the grace period, or of what the previous refresh may have missed.

        That is a minute before the newest event by Stripe's clock, or a margin before the refresh by ours.
        """
        graced = 0 if self._defer_after is None else self._defer_after + 1
        if self._defer_after is not None and self._refreshed_at is None:
            return graced
        missed = (self._refreshed_at or began) - MARGIN
        return max(missed if self._newest is None else self._newest - MINUTE, graced)

    def _read_recent(self, listed: "Iterator[SessionEvent]") -> "list[SessionEvent]":
        """Return the events up to a whole page of known ones. A large shop has many pages a minute."""
        events, known = [], 0
        for event in listed:
            events.append(event)
            known = known + 1 if event.session_id in self._find_deferred(event) else 0
            if known == PAGE_SIZE:
                break
        return events

    def _find_deferred(self, event: "SessionEvent") -> set[str]:
        return self._completing if event.type == CHECKOUT_COMPLETED else self._paying

    def _add_recent(self, events: "list[SessionEvent]") -> None:
        for event in events:
            self._newest = max(self._newest or 0, event.created)
            if self._defer_after is None:
                self._recent.setdefault(event.session_id, {})[event.id] = event
            else:
                self._find_deferred(event).add(event.session_id)

    def read_for(self, sessions: "Sequence[Json]") -> None:
        """Read the undelivered events of a page of sessions, newest first, as far as they are not known."""
        times = find_times(sessions)
        if self.may_read and self._undelivered is not None and times:
            with self._reading():
                self._undelivered.read_for(min(times), max(times))

    def read_for_waiting(self, times: "Sequence[int]") -> None:
        """Read the undelivered events of waiting sessions, created at these times, as far as not known.

        That is as far back as Stripe still delivers them. The sessions may be in any order.
        """
        now = self._now()
        recent = [created for created in times if created + DAY >= now - DELIVERY]
        if self.may_read and self._undelivered is not None and recent:
            with self._reading():
                # Up to now, so that the stream goes on with the sessions of the window.
                self._undelivered.read_for(max(min(recent), now - DELIVERY), now)

    def filter_message(self, message: SessionMessage) -> SessionMessage | None:
        """Return the message to send, or None if the session is left to the next run.

        A session completed within the grace period is in the next run's window. One that was only paid within
        it may be older than that window: it is sent as unpaid, so that it is stored as pending.
        """
        session_id = message.session_id
        if session_id in self._completing or (session_id in self._paying and message.pending is not None):
            return None
        if session_id in self._paying:
            return replace(message, payment_status=UNPAID)
        events = self.find_events(session_id)
        return replace(
            message,
            event_ids=tuple(event.id for event in events),
            event_types=tuple(event.type for event in events),
            event_times=tuple(event.created for event in events),
        )

    def find_events(self, session_id: str) -> "tuple[SessionEvent, ...]":
        """Return the known events of a session that its webhook may still receive, and forget them."""
        undelivered = () if self._undelivered is None else self._undelivered.take(session_id)
        known = {event.id: event for event in undelivered} | self._recent.pop(session_id, {})
        return tuple(known.values())


def find_times(sessions: "Sequence[Json]") -> list[int]:
    """Return the valid times of creation."""
    return [created for session in sessions if type(created := session.get("created")) is int]
