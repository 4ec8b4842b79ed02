"""The events that Stripe could not deliver, read beside the listing of their sessions.

One forgotten endpoint of the account makes every event undelivered. The events are therefore read newest
first, only as far back as the sessions that are about to be sent, and kept only until their session comes.
Only payments are all read at once: they may be of any older session.
"""

from typing import TYPE_CHECKING

from recon.timestamps import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon.stripe.source import SessionEvent

# Stripe tries to deliver an event for three days, those of pending sessions too.
DELIVERY = 3 * DAY + HOUR
# If these are all, they are kept, and the window can be listed in any order.
FEW = 500
# The most events that one page of sessions waits for: those of a day, in shops up to this size. Each further
# page waits for two pages of them, so that neither delays the listing for long.
MOST_AWAITED, AWAITED_PER_PAGE = 10_000, 200
# The most sessions whose events are kept: those open at the same time.
MOST_KEPT = 20_000
# The most events of delayed payments that are read: twenty requests in each invocation.
MOST_PAYMENTS = 2_000


class UndeliveredEvents:
    """The undelivered events of one invocation.

    `list_events(start, end)` yields events newest first, both ends inclusive, and `list_payments(start)` only
    those of delayed payments, until now. None as the end is now. Only those since `since` (epoch seconds) are
    read. `are_few` is True if all are known. `are_missing` is True if there are too many payments, and once a
    session was looked up before its events could be read.
    """

    def __init__(
        self,
        list_events: "Callable[[int, int | None], Iterator[SessionEvent]]",
        list_payments: "Callable[[int], Iterator[SessionEvent]]",
        since: int,
    ) -> None:
        self._list_events = list_events
        self._since = since
        self._by_session: dict[str, list[SessionEvent]] = {}
        self._payments: dict[str, list[SessionEvent]] = {}
        self._awaited = MOST_AWAITED
        self.are_missing = False
        self._start_from(None)
        self.are_few = self._read(FEW) < FEW
        if not self.are_few:
            self._read_payments(list_payments(since))

    def _start_from(self, until: int | None) -> None:
        self._stream = self._list_events(self._since, until)
        self._top = self._reached = float("inf") if until is None else until

    def _read_payments(self, payments: "Iterator[SessionEvent]") -> None:
        for number, event in enumerate(payments):
            if number == MOST_PAYMENTS:
                self.are_missing = True
                return
            self._payments.setdefault(event.session_id, []).append(event)

    def _read(self, most: int, oldest: int | None = None) -> int:
        """Keep up to `most` further events, as far as the first before `oldest`. Return how many they are."""
        count = 0
        while count < most and (oldest is None or self._reached >= oldest):
            event = next(self._stream, None)
            if event is None:
                self._reached = float("-inf")
                break
            count, self._reached = count + 1, event.created
            self._by_session.setdefault(event.session_id, []).append(event)
            if len(self._by_session) > MOST_KEPT:
                del self._by_session[next(iter(self._by_session))]
                self.are_missing = True
        return count

    def read_for(self, oldest: int, newest: int) -> None:
        """Read the events between the creation of the oldest session and a day after that of the newest.

        Sessions complete within a day. The payments are known.
        """
        if self.are_few:
            return
        # Events above are of newer sessions, unless the stream has not begun high enough.
        if not self._reached <= newest + DAY <= self._top:
            self._start_from(newest + DAY)
        self._awaited = min(MOST_AWAITED, self._awaited + AWAITED_PER_PAGE)
        self._awaited -= self._read(self._awaited, oldest)
        self.are_missing |= self._reached >= oldest

    def take(self, session_id: str) -> "tuple[SessionEvent, ...]":
        """Return the events of a session and forget them."""
        events = [*self._by_session.pop(session_id, ()), *self._payments.pop(session_id, ())]
        return tuple({event.id: event for event in events}.values())
