"""The state of the fake account: sessions, events and disputes in indexes ordered by time."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from testkit.fake_stripe.specs import LineSpec, SessionSpec

COMPLETED = "checkout.session.completed"
ASYNC_PAID = "checkout.session.async_payment_succeeded"

# The first and last key of one second are its time with the empty string and with this one.
_AFTER_EVERY_ID = chr(0x10FFFF)

# How long after its charge a dispute is opened; any value would do.
_DISPUTED_AFTER_SECONDS = 3 * 24 * 3600

# From so many on, items are added with one sort.
_MANY = 100

type _TimeKey = tuple[int, str]


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One event of a session. Its object is built when it is served."""

    id: str
    created: int
    type: str
    session_id: str


@dataclass(frozen=True, slots=True)
class DisputeSpec:
    """The dispute of a session's charge. Its object is built when it is served."""

    id: str
    created: int
    session_id: str
    charge: str | None


@dataclass(frozen=True, slots=True)
class CreatedRange:
    """Bounds on `created`, both inclusive, in epoch seconds."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class StorePage[T]:
    """One page of a list, newest first, as Stripe returns it."""

    items: list[T]
    has_more: bool


class UnknownCursorError(LookupError):
    """There is no object with the id that a page should start after."""


class TimeIndex[T]:
    """Items ordered by (created, id)."""

    def __init__(self, key_of: Callable[[T], _TimeKey]) -> None:
        self._key_of = key_of
        self._keys: list[_TimeKey] = []
        self._items: dict[str, T] = {}

    def get(self, item_id: str) -> T | None:
        return self._items.get(item_id)

    def put_all(self, items: Iterable[T]) -> None:
        """Add items, or replace those with the same id."""
        added = list(items)
        if len(added) > _MANY:
            # One sort, since inserting 100,000 one after the other would move the whole list each time.
            self._items |= {self._key_of(item)[1]: item for item in added}
            self._keys = sorted(map(self._key_of, self._items.values()))
            return
        for item in added:
            key = self._key_of(item)
            self.drop(key[1])
            insort(self._keys, key)
            self._items[key[1]] = item

    def clear(self) -> None:
        self._keys.clear()
        self._items.clear()

    def drop(self, item_id: str) -> None:
        old = self._items.pop(item_id, None)
        if old is not None:
            del self._keys[bisect_left(self._keys, self._key_of(old))]

    def page(
        self,
        limit: int,
        created: CreatedRange,
        after: str | None = None,
        wanted: Callable[[T], bool] = lambda _: True,
    ) -> StorePage[T]:
        """Return the newest items in a range of time, or those that follow the item with the id `after`."""
        low, high = self._bounds(created)
        if after is not None:
            high = min(high, self._position(after))
        ids = (self._keys[position][1] for position in range(high - 1, low - 1, -1))
        matching = (item for item_id in ids if wanted(item := self._items[item_id]))
        found = list(islice(matching, limit + 1))
        return StorePage(found[:limit], len(found) > limit)

    def _bounds(self, created: CreatedRange) -> tuple[int, int]:
        low = 0 if created.first is None else bisect_left(self._keys, (created.first, ""))
        last = len(self._keys)
        if created.last is not None:
            last = bisect_right(self._keys, (created.last, _AFTER_EVERY_ID))
        return low, last

    def _position(self, item_id: str) -> int:
        item = self._items.get(item_id)
        if item is None:
            raise UnknownCursorError(item_id)
        return bisect_left(self._keys, self._key_of(item))


class Store:
    """Everything in the account. It can be changed while the server answers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sessions = TimeIndex[SessionSpec](lambda spec: (spec.created, spec.id))
        self._events = TimeIndex[EventSpec](lambda event: (event.created, event.id))
        self._disputes = TimeIndex[DisputeSpec](lambda dispute: (dispute.created, dispute.id))
        self._invoices: dict[str, str] = {}
        self._products: dict[str, LineSpec] = {}

    def add(self, *specs: SessionSpec) -> None:
        """Add sessions with their events, or replace those with the same id, such as when they are paid."""
        self.add_all(specs)

    def add_all(self, specs: Iterable[SessionSpec]) -> None:
        """Add many sessions at once."""
        added = list(specs)
        with self._lock:
            for spec in added:
                self._remove_events_and_dispute(spec)
            self._sessions.put_all(added)
            self._events.put_all(event for spec in added for event in make_events(spec))
            self._disputes.put_all(dispute for spec in added for dispute in make_disputes(spec))
            self._invoices |= {spec.invoice: spec.id for spec in added if spec.invoice}
            self._products |= {line.product_id: line for spec in added for line in spec.lines}

    def remove(self, session_id: str) -> None:
        with self._lock:
            spec = self._sessions.get(session_id)
            if spec is not None:
                self._remove_events_and_dispute(spec)
                self._sessions.drop(session_id)

    def clear(self) -> None:
        with self._lock:
            self._sessions.clear()
            self._events.clear()
            self._disputes.clear()
            self._invoices.clear()
            self._products.clear()

    def session(self, session_id: str) -> SessionSpec | None:
        with self._lock:
            return self._sessions.get(session_id)

    def session_of_invoice(self, invoice: str) -> SessionSpec | None:
        """Return the session whose subscription began with an invoice."""
        with self._lock:
            return self._sessions.get(self._invoices.get(invoice, ""))

    def product(self, product_id: str) -> LineSpec | None:
        """Return a line that sold a product."""
        with self._lock:
            return self._products.get(product_id)

    def sessions(
        self, limit: int, created: CreatedRange, after: str | None, wanted: Callable[[SessionSpec], bool]
    ) -> StorePage[SessionSpec]:
        with self._lock:
            return self._sessions.page(limit, created, after, wanted)

    def events(
        self, limit: int, created: CreatedRange, after: str | None, wanted: Callable[[EventSpec], bool]
    ) -> StorePage[EventSpec]:
        with self._lock:
            return self._events.page(limit, created, after, wanted)

    def disputes(
        self, limit: int, created: CreatedRange, after: str | None, wanted: Callable[[DisputeSpec], bool]
    ) -> StorePage[DisputeSpec]:
        with self._lock:
            return self._disputes.page(limit, created, after, wanted)

    def _remove_events_and_dispute(self, spec: SessionSpec) -> None:
        if self._sessions.get(spec.id) is not None:
            self._events.drop(spec.completed_event_id)
            self._events.drop(spec.async_paid_event_id)
            self._disputes.drop(spec.dispute_id)


def make_events(spec: SessionSpec) -> list[EventSpec]:
    """Return the events that Stripe created for a session."""
    if not spec.event_made or spec.completion is None:
        return []
    made = [EventSpec(spec.completed_event_id, spec.completion, COMPLETED, spec.id)]
    if spec.async_paid_at is not None:
        made.append(EventSpec(spec.async_paid_event_id, spec.async_paid_at, ASYNC_PAID, spec.id))
    return made


def make_disputes(spec: SessionSpec) -> list[DisputeSpec]:
    """Return the dispute of a session's charge, if there is one."""
    if not spec.disputed:
        return []
    charged_at = spec.completion or spec.created
    return [DisputeSpec(spec.dispute_id, charged_at + _DISPUTED_AFTER_SECONDS, spec.id, spec.charge)]
