"""What Stripe's events say about webhooks: which sessions to leave to the next run, and what to fence off."""

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
    "no_events: the Stripe key may not read events, so a webhook that comes late is not fenced off and the "
    "grace is by creation alone; give the key read access to Events"
)
UNREADABLE = (
    "unreadable: Stripe lists sessions without an id; all others were looked at, and the next scheduled run "
    "goes back to the same time"
)
# Stripe tries to deliver an event for three days.
DELIVERY = 3 * DAY + HOUR


class WebhookEvents:
    """What Stripe's events say of webhooks: which sessions to leave to the next run, since theirs may still
    be at work, and which events of the others a webhook may still get.

    `leaves_after`: what happened after that moment is left to the next run; None: nothing is. `fence_since`:
    from when on (epoch seconds) to ask for events that no webhook has acknowledged, three days at least;
    None: they are not asked for.
    """

    def __init__(
        self,
        stripe: "Callable[[], StripeSource]",
        now: Callable[[], int],
        pool: Executor,
        *,
        leaves_after: int | None,
        fence_since: int | None,
    ) -> None:
        self._stripe = stripe
        self._now = now
        self._pool = pool
        self._leaves_after = leaves_after
        self._fence_since = fence_since
        self._looked_at: int | None = None
        self._completing: set[str] = set()
        self._paying: set[str] = set()
        self._events: dict[str, dict[str, str]] = defaultdict(dict)
        self.may_read = True

    @property
    def known_until(self) -> int:
        """What happened after that moment (epoch seconds) nobody here has asked about."""
        return (self._looked_at or 0) - MINUTE

    def look(self) -> None:
        """Right before anything is sent, so that what happened while sessions were listed is seen too. What
        no webhook has acknowledged is asked for once, at the same time as what is younger than the grace."""
        if not self.may_read or (self._leaves_after is None and self._fence_since is None):
            return
        began, stripe = self._now(), self._stripe()
        asked = [(self._take, self._pool.submit(list, stripe.list_events(self._young_since(began))))]
        if self._fence_since is not None and self._looked_at is None:
            since = min(self._fence_since, began - DELIVERY)
            undelivered = self._pool.submit(list, stripe.list_events(since, undelivered=True))
            asked.append((self._fence_off, undelivered))
        # All of them, before one raises: nobody goes on asking behind the back of whoever handles the error.
        wait([answer for _, answer in asked])
        try:
            for keep, answer in asked:
                keep(answer.result())
        except KeyNotAllowed:
            self.may_read = False
        self._looked_at = began

    def _young_since(self, began: int) -> int:
        """What the grace leaves to the next run, and without a grace what the last look may have missed."""
        graced = 0 if self._leaves_after is None else self._leaves_after + 1
        if self._leaves_after is not None and self._looked_at is None:
            return graced
        return max((self._looked_at or began) - MARGIN, graced)

    def _fence_off(self, events: "list[SessionEvent]") -> None:
        for event in events:
            self._events[event.session_id][event.id] = event.type

    def _take(self, events: "list[SessionEvent]") -> None:
        if self._leaves_after is None:
            self._fence_off(events)
            return
        for event in events:
            (self._completing if event.type == CHECKOUT_COMPLETED else self._paying).add(event.session_id)

    def left(self, message: SessionMessage) -> SessionMessage | None:
        """The message as it is to be sent, or None: the next run is sure to see the session.

        A session that was completed within the grace lies in the next run's window. One that was only paid
        within it may be older than that: it is sent as it was before, unpaid, and waits as pending.
        """
        session_id = message.session_id
        if session_id in self._completing or (session_id in self._paying and message.pending is not None):
            return None
        if session_id in self._paying:
            return replace(message, payment_status=UNPAID)
        events = self._events.get(session_id, {})
        return replace(message, event_ids=tuple(events), event_types=tuple(events.values()))
