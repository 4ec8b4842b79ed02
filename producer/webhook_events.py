"""Stripe's events about webhooks: which sessions to leave to the next run, and which events to fence."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.window import MARGIN
from recon.domain.message import SessionMessage
from recon.domain.stripe_objects import CHECKOUT_COMPLETED, UNPAID
from recon.errors import KeyNotAllowed
from recon.timestamps import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from recon.stripe.source import SessionEvent, StripeSource

NO_EVENTS = (
    "no_events: the Stripe key may not read events, so late webhooks are not fenced and the grace period "
    "depends on the creation time only; give the key read access to Events"
)
UNREADABLE = (
    "unreadable: Stripe lists sessions without an id; all others were checked, and the next scheduled run "
    "starts from the same time"
)
# Stripe tries to deliver an event for three days.
DELIVERY = 3 * DAY + HOUR


class WebhookEvents:
    """Stripe's completion and payment events during one invocation.

    The webhook of a session completed or paid after `defer_after` (epoch seconds) may still be at work, so
    the session is left to the next run; with None no session is. `fence_since` is how far back to read the
    events that no webhook has acknowledged (epoch seconds, at least three days are read); with None they are
    not read.
    """

    def __init__(
        self,
        stripe: "Callable[[], StripeSource]",
        now: Callable[[], int],
        pool: Executor,
        *,
        defer_after: int | None,
        fence_since: int | None,
    ) -> None:
        self._stripe = stripe
        self._now = now
        self._pool = pool
        self._defer_after = defer_after
        self._fence_since = fence_since
        self._refreshed_at: int | None = None
        self._completing: set[str] = set()
        self._paying: set[str] = set()
        self._events: dict[str, dict[str, SessionEvent]] = defaultdict(dict)
        self.may_read = True

    @property
    def known_until(self) -> int:
        """The time (epoch seconds) up to which the events are known."""
        return (self._refreshed_at or 0) - MINUTE

    def refresh(self) -> None:
        """Read the recent events, and on the first call also those that no webhook has acknowledged.

        Call it right before sending, so that it includes what happened while sessions were listed. It sets
        `may_read` to False if the key may not read events.
        """
        if not self.may_read or (self._defer_after is None and self._fence_since is None):
            return
        began, stripe = self._now(), self._stripe()
        requests = [
            (self._add_recent, self._pool.submit(list, stripe.list_events(self._recent_since(began))))
        ]
        if self._fence_since is not None and self._refreshed_at is None:
            since = min(self._fence_since, began - DELIVERY)
            undelivered = self._pool.submit(list, stripe.list_events(since, undelivered=True))
            requests.append((self._add_undelivered, undelivered))
        # Wait for all before one raises, so that no thread keeps calling Stripe.
        wait([future for _, future in requests])
        try:
            for add, future in requests:
                add(future.result())
        except KeyNotAllowed:
            self.may_read = False
        self._refreshed_at = began

    def _recent_since(self, began: int) -> int:
        """Return the start of the grace period, or of what the previous refresh may have missed."""
        graced = 0 if self._defer_after is None else self._defer_after + 1
        if self._defer_after is not None and self._refreshed_at is None:
            return graced
        return max((self._refreshed_at or began) - MARGIN, graced)

    def _add_undelivered(self, events: "list[SessionEvent]") -> None:
        for event in events:
            self._events[event.session_id][event.id] = event

    def _add_recent(self, events: "list[SessionEvent]") -> None:
        if self._defer_after is None:
            self._add_undelivered(events)
            return
        for event in events:
            (self._completing if event.type == CHECKOUT_COMPLETED else self._paying).add(event.session_id)

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
        events = self._events.get(session_id, {}).values()
        return replace(
            message,
            event_ids=tuple(event.id for event in events),
            event_types=tuple(event.type for event in events),
            event_times=tuple(event.created for event in events),
        )
