"""The fake account's state: specs by id, and three time-ordered indexes that pages are cut from."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from testkit.fake_stripe.specs import SessionSpec

COMPLETED = "checkout.session.completed"
ASYNC_PAID = "checkout.session.async_payment_succeeded"

# Sorts after every id, and no id sorts before the empty string: the ends of one second in an index.
_AFTER_EVERY_ID = chr(0x10FFFF)

# A customer notices on the statement; how much later matters to nobody here.
_DISPUTED_AFTER_SECONDS = 3 * 24 * 3600

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One event of a session; the object it carries is built when it is served."""

    id: str
    created: int
    type: str
    session_id: str


@dataclass(frozen=True, slots=True)
class DisputeSpec:
    """The dispute of a session's charge; the object is built when it is served."""

    id: str
    created: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds on `created`, both inclusive, in epoch seconds."""

    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: at most one of the two ids is set."""

    starting_after: str | None = None
    ending_before: str | None = None


@dataclass(frozen=True, slots=True)
class Page[T]:
    """Newest first, as Stripe answers, whichever way it was paged."""

    items: list[T]
    has_more: bool


class UnknownCursorError(LookupError):
    """The object that a page should start at does not exist."""


class TimeIndex[T]:
    """Things by (created, id), oldest first inside, newest first outside."""

    def __init__(self, key_of: Callable[[T], Key]) -> None:
        self._key_of = key_of
        self._keys: list[Key] = []
        self._items: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return (self._items[item_id] for _, item_id in reversed(self._keys))

    def get(self, item_id: str) -> T | None:
        return self._items.get(item_id)

    def put(self, item: T) -> None:
        key = self._key_of(item)
        self.drop(key[1])
        insort(self._keys, key)
        self._items[key[1]] = item

    def put_all(self, items: Iterable[T]) -> None:
        """One sort for all of them: inserting 100,000 one by one would move the whole list each time."""
        self._items |= {self._key_of(item)[1]: item for item in items}
        self._keys = sorted(map(self._key_of, self._items.values()))

    def clear(self) -> None:
        self._keys.clear()
        self._items.clear()

    def drop(self, item_id: str) -> None:
        old = self._items.pop(item_id, None)
        if old is not None:
            del self._keys[bisect_left(self._keys, self._key_of(old))]

    def page(
        self, limit: int, window: Window, cursor: Cursor, wanted: Callable[[T], bool] = lambda _: True
    ) -> Page[T]:
        low, high = self._bounds(window)
        if cursor.ending_before is not None:
            newer = self._keys[max(low, self._position(cursor.ending_before) + 1) : high]
            found = self._first(newer, limit, wanted)
            return Page(found[:limit][::-1], len(found) > limit)
        if cursor.starting_after is not None:
            high = min(high, self._position(cursor.starting_after))
        found = self._first(_backwards(self._keys, low, high), limit, wanted)
        return Page(found[:limit], len(found) > limit)

    def _bounds(self, window: Window) -> tuple[int, int]:
        low = 0 if window.first is None else bisect_left(self._keys, (window.first, ""))
        high = (
            len(self._keys)
            if window.last is None
            else bisect_right(self._keys, (window.last, _AFTER_EVERY_ID))
        )
        return low, high

    def _position(self, item_id: str) -> int:
        item = self._items.get(item_id)
        if item is None:
            raise UnknownCursorError(item_id)
        return bisect_left(self._keys, self._key_of(item))

    def _first(self, keys: Iterable[Key], limit: int, wanted: Callable[[T], bool]) -> list[T]:
        """One more than asked for, which is how a page knows that there is another."""
        matching = (item for _, item_id in keys if wanted(item := self._items[item_id]))
        return list(islice(matching, limit + 1))


def _backwards(keys: Sequence[Key], low: int, high: int) -> Iterator[Key]:
    return (keys[position] for position in range(high - 1, low - 1, -1))


class Store:
    """Everything the account holds. Safe to change while the server answers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sessions = TimeIndex[SessionSpec](lambda spec: (spec.created, spec.id))
        self._events = TimeIndex[EventSpec](lambda event: (event.created, event.id))
        self._disputes = TimeIndex[DisputeSpec](lambda dispute: (dispute.created, dispute.id))

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, *specs: SessionSpec) -> None:
        """Add sessions with their events. One whose id is known is replaced, as when it is paid later."""
        if len(specs) > 1:
            self.add_all(specs)
            return
        with self._lock:
            for spec in specs:
                self._forget_what_it_made(spec)
                self._sessions.put(spec)
                for event in events_of(spec):
                    self._events.put(event)
                for dispute in disputes_of(spec):
                    self._disputes.put(dispute)

    def add_all(self, specs: Iterable[SessionSpec]) -> None:
        """As `add`, for many sessions at once."""
        added = list(specs)
        with self._lock:
            for spec in added:
                self._forget_what_it_made(spec)
            self._sessions.put_all(added)
            self._events.put_all(event for spec in added for event in events_of(spec))
            self._disputes.put_all(dispute for spec in added for dispute in disputes_of(spec))

    def remove(self, session_id: str) -> None:
        with self._lock:
            spec = self._sessions.get(session_id)
            if spec is not None:
                self._forget_what_it_made(spec)
                self._sessions.drop(session_id)

    def clear(self) -> None:
        with self._lock:
            self._sessions.clear()
            self._events.clear()
            self._disputes.clear()

    def session(self, session_id: str) -> SessionSpec | None:
        with self._lock:
            return self._sessions.get(session_id)

    def sessions(
        self, limit: int, window: Window, cursor: Cursor, wanted: Callable[[SessionSpec], bool]
    ) -> Page[SessionSpec]:
        with self._lock:
            return self._sessions.page(limit, window, cursor, wanted)

    def events(
        self, limit: int, window: Window, cursor: Cursor, wanted: Callable[[EventSpec], bool]
    ) -> Page[EventSpec]:
        with self._lock:
            return self._events.page(limit, window, cursor, wanted)

    def disputes(
        self, limit: int, window: Window, cursor: Cursor, wanted: Callable[[DisputeSpec], bool]
    ) -> Page[DisputeSpec]:
        with self._lock:
            return self._disputes.page(limit, window, cursor, wanted)

    def _forget_what_it_made(self, spec: SessionSpec) -> None:
        if self._sessions.get(spec.id) is not None:
            self._events.drop(spec.completed_event_id)
            self._events.drop(spec.async_paid_event_id)
            self._disputes.drop(spec.dispute_id)


def events_of(spec: SessionSpec) -> list[EventSpec]:
    """The events that Stripe made for a session, none where making them failed."""
    if not spec.event_made or spec.completion is None:
        return []
    made = [EventSpec(spec.completed_event_id, spec.completion, COMPLETED, spec.id)]
    if spec.async_paid_at is not None:
        made.append(EventSpec(spec.async_paid_event_id, spec.async_paid_at, ASYNC_PAID, spec.id))
    return made


def disputes_of(spec: SessionSpec) -> list[DisputeSpec]:
    """At most one: of the charge, where there is one."""
    if not spec.disputed:
        return []
    charged_at = spec.completion or spec.created
    return [DisputeSpec(spec.dispute_id, charged_at + _DISPUTED_AFTER_SECONDS, spec.id)]
