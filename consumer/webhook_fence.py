"""Fencing off the webhook: which of its events are marked as handled in the transaction of an outcome.

Events that Stripe could not deliver travel with the message. Of those that it delivered, one page around the
payments of a group shows most; a person may send these again. A second page follows for sessions without a
known time of payment, such as free ones. What neither shows is not fenced.
"""

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from recon.config import FenceMode
from recon.domain.fence import EventMark, FencedEvent, mark_events, select_of_found
from recon.domain.stripe_objects import UNPAID
from recon.dynamodb.markers import load_markers
from recon.errors import Retryable, SyncError
from recon.timestamps import DAY, HOUR, MINUTE, parse_epoch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.invocation import InvocationContext
    from recon.domain.message import SessionMessage
    from recon.domain.stripe_objects import Json
    from recon.domain.table_decision import ExistingOrder

# Stripe creates the event of a payment within seconds.
_AFTER_PAYMENT = 5 * MINUTE
# Most customers have paid by then. It is used where the time of the payment is not known.
_USUAL_CHECKOUT = HOUR
# A session that is open for longer expires.
_LONGEST_CHECKOUT = DAY
_ORDER_TIME = re.compile(r"ORDER#(\d{10})(?!\d)")


def count_pages(mode: FenceMode) -> int:
    """Return how many pages of events one group of sessions reads at most, which fetches leave time for."""
    return 0 if mode is FenceMode.OFF else 2


class WebhookFence:
    """The fence of one group of sessions.

    `markers` are those that were read with the batch. An order may be written of the sessions in `missing`,
    and `found` are the others with their orders.
    """

    def __init__(
        self,
        context: "InvocationContext",
        run_id: str,
        markers: dict[str, bool],
        missing: "Iterable[SessionMessage]",
        found: "Mapping[SessionMessage, Sequence[ExistingOrder]]",
    ) -> None:
        self._context = context
        self._mode = context.settings.webhook_fence
        self._run_id = run_id
        self._markers = dict(markers)
        self._found = found if self._mode is FenceMode.ALL else {}
        self._messages = {message.session_id: message for message in (*missing, *self._found)}
        # The times up to which pages around payments were read, and pages of what has none.
        self._next = max(0, min((message.created for message in self._messages.values()), default=0))
        self._next_unknown = 0
        self._delivered: dict[str, list[FencedEvent]] = defaultdict(list)

    @property
    def marks_found(self) -> bool:
        """Return whether events of sessions with an order are marked, after a page of them was read."""
        return bool(self._found)

    def read_delivered(
        self, written: "Iterable[tuple[SessionMessage, Json]]", *, marks_found: bool
    ) -> SyncError | None:
        """Read a page of events around the payments of these orders to write, and of found ones with `all`.

        What an earlier part of the group has read is not read again. Return the error if that may succeed
        later: an order to write then waits for it.
        """
        written = list(written)
        found = self._found if marks_found else {}
        if self._mode is FenceMode.OFF or not (written or found):
            return None
        try:
            self._read_delivered(written, found)
        except SyncError as error:
            self._context.telemetry.warning(f"Delivered events cannot be read: {error}", run_id=self._run_id)
            return error if isinstance(error, Retryable) else None
        return None

    def _read_delivered(
        self,
        written: "Sequence[tuple[SessionMessage, Json]]",
        found: "Mapping[SessionMessage, Sequence[ExistingOrder]]",
    ) -> None:
        # A delayed payment settles days after its charge was made, which is all that Stripe may say of it.
        times = [
            max(_find_paid_time(order, message.created + _USUAL_CHECKOUT), message.pending or 0)
            for message, order in written
        ]
        times += [_find_order_time(message, orders) for message, orders in found.items()]
        self._next = self._read(self._next, max(times) + _AFTER_PAYMENT)
        # Apart, since such a page may show less than the payments of a later part of the group.
        self._next_unknown = self._read(max(self._next, self._next_unknown), self._find_end(written))
        if found:
            # Their webhooks nearly always left a marker. Elsewhere, the condition of the put finds it.
            known = {event.id for message in self._messages.values() for event in message.events}
            new = {event.id for events in self._delivered.values() for event in events} - known
            self._markers |= load_markers(self._context.table, new, self._context.deadline)

    def _read(self, start: int, end: int) -> int:
        """Read the newest page of events within two times. Return from when on a further one begins."""
        end = min(end, self._context.now())
        if end < start:
            return start
        for event in self._context.stripe().find_events_between(start, end):
            if event.session_id in self._messages:
                self._delivered[event.session_id].append(FencedEvent(event.id, event.type, event.created))
        return end + 1

    def _find_end(self, written: "Sequence[tuple[SessionMessage, Json]]") -> int:
        """Return until when a session without a known event or time of payment may have completed, or 0."""
        unknown = (
            message.created
            for message, order in written
            if not (order.get("paidAt") or message.events or self._delivered[message.session_id])
        )
        latest = max(unknown, default=None)
        return 0 if latest is None else latest + _LONGEST_CHECKOUT + _AFTER_PAYMENT

    def mark_written(self, message: "SessionMessage", order: "Json") -> tuple[EventMark, ...]:
        """Return the marks that go with an order to write."""
        if self._mode is FenceMode.OFF:
            return ()
        return mark_events(
            self._find_events(message),
            self._markers,
            assumed=_find_paid_time(order, message.created),
            now=self._context.now(),
            order_number=order["orderNumber"],
        )

    def mark_found(
        self, message: "SessionMessage", orders: "Sequence[ExistingOrder]"
    ) -> tuple[EventMark, ...]:
        """Return the marks that go with existing orders of a session."""
        if self._mode is not FenceMode.ALL or not orders:
            return ()
        now = self._context.now()
        is_unpaid = all(order.payment_status == UNPAID for order in orders)
        events = select_of_found(self._find_events(message), is_unpaid=is_unpaid, now=now)
        number = next((order.order_number for order in orders if order.order_number), None)
        return mark_events(events, self._markers, assumed=message.created, now=now, order_number=number)

    def _find_events(self, message: "SessionMessage") -> list[FencedEvent]:
        """Return the events of a session. Those of the page have their times also if the message has none."""
        events = {event.id: event for event in message.events}
        events |= {event.id: event for event in self._delivered[message.session_id]}
        return list(events.values())


def _find_paid_time(order: "Json", unknown: int) -> int:
    """Return when a session was paid, or `unknown` (both epoch seconds)."""
    paid_at = order.get("paidAt")
    return parse_epoch(paid_at) if paid_at else unknown


def _find_order_time(message: "SessionMessage", orders: "Sequence[ExistingOrder]") -> int:
    """Return when the last of a session's orders was written, as its key says, or a usual checkout ended."""
    times = [int(match[1]) for order in orders if (match := _ORDER_TIME.match(order.sk))]
    return max(times, default=message.created + _USUAL_CHECKOUT)
