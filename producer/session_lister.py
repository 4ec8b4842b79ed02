"""The listing of a window, oldest first, in ranges of time that are listed concurrently with few calls.

Stripe lists newest first, one page at a time. The window is therefore cut into ranges of a few pages each, by
the density observed so far. If a range holds too much, the part that was read is buffered until its turn and
the rest is cut into ranges again, so that no page is requested twice.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from recon.domain.stripe_objects import Json

if TYPE_CHECKING:
    from recon.stripe.source import Page

# The most sessions that a range should hold: eight pages, so that the last one, on average half empty, is a
# sixteenth of the calls. A range holds fewer if the caller can use fewer.
AIM = 800
# A range is cut beyond this many times its aim. Its sessions are held in memory, about a kilobyte each.
MOST_AIMS = 3
# The first page of a window. Most shops fit into it; for the others it shows the density.
FIRST = 100
STEP = 8  # a range is at most this many times longer or shorter than the one before it
BACK = 1 / 4  # the length after a range that held too much, relative to it
# While fewer sessions than this are buffered, a range is read to its end regardless of its density. Beyond,
# a range that is going to hold too much is cut at its first pages, so that the memory stays bounded.
PATIENCE = 1000
AHEAD = 4  # ranges in flight once the density is stable
BEGIN_AHEAD = 2  # ranges in flight at the start, when only one density is known
# A remainder up to this many ranges long is listed whole: cutting it would take more pages.
MOST_LENGTHS = 2.5
HALVED_LENGTHS = 1.5  # a resumed listing lists a range longer than this as two halves at once


@dataclass(frozen=True)
class TimeRange:
    """A part of the window that is not listed yet, with both ends inclusive, in epoch seconds.

    A page may end within a second. `read` holds the items of the last second that were read already, and
    `after` is the id of the last of them.
    """

    start: int
    end: int
    after: str | None = None
    read: tuple[Any, ...] = ()

    @property
    def seconds(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True)
class ListedRange[T]:
    """A part of the window that is listed completely. `items` are in Stripe's order, newest first."""

    start: int
    end: int
    items: list[T]


@dataclass(frozen=True)
class _RangeRequest[T]:
    """A range that is being listed. The result is the listed part and the rest before it, if any."""

    range: TimeRange
    future: "Future[tuple[ListedRange[T], TimeRange | None]]"


class SessionLister[T]:
    """Lists the sessions of one window, oldest first.

    `list_page(start, end, after)` calls Stripe and runs in several threads. `convert` returns the item to
    keep of a session. `demand` returns how many more sessions the caller can use. `seconds` is the length of
    the next range, to be stored for a later invocation that resumes the listing.
    """

    def __init__(
        self,
        list_page: "Callable[[int, int, str | None], Page]",
        convert: Callable[[Json], T],
        pool: Executor,
        demand: Callable[[], int],
    ) -> None:
        self._list_page = list_page
        self._convert = convert
        self._pool = pool
        self._demand = demand
        # Half more than the demand, since listing too little costs another page. Two ranges where possible,
        # since they are listed concurrently.
        useful = max(FIRST, demand() * 3 // 2)
        self._aim = max(FIRST, min(AIM, useful // 2))
        self._most = min(AIM, useful) * MOST_AIMS
        self._ahead = BEGIN_AHEAD
        self._resumed = False
        self._parts: deque[TimeRange | ListedRange[T] | _RangeRequest[T]] = deque()
        self.seconds = 0

    def list_ranges(self, window: TimeRange, seconds: int | None = None) -> Generator[ListedRange[T]]:
        """Yield the ranges of the window. Close the generator to stop early.

        `seconds` is the length of ranges when the listing was interrupted, or None if it starts now.
        """
        if seconds:
            self.seconds = seconds
            self._resumed = True
            self._parts.append(window)
        else:
            self._add_first(*self._list_range(window, FIRST))
        try:
            yield from self._yield_in_order()
        finally:
            # Cancel or await requests in flight, so that no thread keeps calling Stripe.
            futures = [part.future for part in self._parts if isinstance(part, _RangeRequest)]
            wait([future for future in futures if not future.cancel()])

    @property
    def buffered(self) -> int:
        """How many sessions are listed and not yielded yet, including an estimate of those in flight."""
        return self._listed + self._aim * sum(isinstance(part, _RangeRequest) for part in self._parts)

    @property
    def _listed(self) -> int:
        return sum(len(part.items) for part in self._parts if isinstance(part, ListedRange))

    def _add_first(self, listed: ListedRange[T], rest: TimeRange | None) -> None:
        """Add the first page, which is the whole window or shows the density at its end."""
        length = listed.end - listed.start + 1
        self.seconds = max(1, length * self._aim // max(1, len(listed.items)))
        self._add(listed, rest)

    def _yield_in_order(self) -> Iterator[ListedRange[T]]:
        while self._parts:
            self._submit_requests()
            match self._parts.popleft():
                case ListedRange() as listed:
                    yield self._merge_following(listed) if self._resumed else listed
                case _RangeRequest() as request:
                    self._await(request)

    def _merge_following(self, listed: ListedRange[T]) -> ListedRange[T]:
        """Return the range together with those after it while they are small.

        The caller has fixed costs per range, and ranges are kept small only to list them concurrently.
        """
        most = self._most // 2
        while self._parts and len(listed.items) + self._aim <= most:
            following = self._parts.popleft()
            if isinstance(following, _RangeRequest) and not following.future.exception():
                self._await(following)
                following = self._parts.popleft()
            # A failed request raises in its own turn, after the ranges before it were sent.
            if not isinstance(following, ListedRange) or len(listed.items) + len(following.items) > most:
                self._parts.appendleft(following)
                break
            listed = ListedRange(listed.start, following.end, following.items + listed.items)
        return listed

    def _await(self, request: _RangeRequest[T]) -> None:
        listed, rest = request.future.result()
        self._adapt(request.range, len(listed.items), rest)
        self._add(listed, rest)

    def _add(self, listed: ListedRange[T], rest: TimeRange | None) -> None:
        self._parts.appendleft(listed)
        if rest:
            self._parts.appendleft(rest)

    def _adapt(self, range_: TimeRange, count: int, rest: TimeRange | None) -> None:
        """Set the length of the next range and the number of ranges in flight by what this one held.

        The steps are bounded: a quiet hour is a weak predictor, and listing too much costs one call.
        """
        growth = min(STEP, max(1 / STEP, self._aim / count)) if count else STEP
        self.seconds = max(1, int(range_.seconds * (BACK if rest else growth)))
        self._ahead = min(AHEAD, self._ahead * 2) if not rest and count >= self._aim / 2 else 1

    def _submit_requests(self) -> None:
        """Cut the next parts into ranges and request them, as many as the caller can use."""
        expected, parts = 0, self._parts
        for position in range(self._ahead):
            if position >= len(parts):
                return
            part = parts[position]
            if isinstance(part, TimeRange):
                if position and expected >= self._demand():
                    return
                part = self._request_part(position, part)
            expected += self._aim if isinstance(part, _RangeRequest) else len(part.items)

    def _request_part(self, position: int, part: TimeRange) -> _RangeRequest[T]:
        """Request the first range of a part and put the request in its place, with the rest behind it."""
        length = part.seconds if part.seconds <= self.seconds * MOST_LENGTHS else self.seconds
        if self._resumed and length > self.seconds * HALVED_LENGTHS:
            length = (length + 1) // 2
        first = part
        if length < part.seconds:
            first = TimeRange(part.start, part.start + length - 1)
        task = partial(self._list_range, first, self._most, patient=self._listed < PATIENCE)
        request: _RangeRequest[T] = _RangeRequest(first, self._pool.submit(task))
        self._parts[position] = request
        if first.end < part.end:
            self._parts.insert(position + 1, replace(part, start=first.end + 1))
        return request

    def _list_range(
        self, range_: TimeRange, most: int, *, patient: bool = False
    ) -> tuple[ListedRange[T], TimeRange | None]:
        """Return the listed range and None, or its later part and the range that is left before it.

        A range is cut if it holds more than `most` sessions, or without `patient` if it is going to.
        """
        items: list[tuple[int, T]] = [(range_.end, item) for item in range_.read]
        oldest, after = range_.end + 1, range_.after
        while True:
            page = self._list_page(range_.start, range_.end, after)
            for session in page.sessions:
                newer = items[-1][0] if items else range_.end
                items.append((_creation_time(session, range_.start, newer), self._convert(session)))
            if not page.has_more:
                return ListedRange(range_.start, range_.end, [item for _, item in items]), None
            newest, oldest, after = oldest, items[-1][0], page.sessions[-1]["id"]
            # If the rest is as dense as this page:
            to_come = len(page.sessions) * (oldest - range_.start) / max(1, newest - oldest)
            expected = len(items) if patient else len(items) + to_come / 2
            if oldest < range_.end and expected >= most:
                later = [item for created, item in items if created > oldest]
                read = tuple(item for created, item in items if created == oldest)
                return ListedRange(oldest + 1, range_.end, later), TimeRange(
                    range_.start, oldest, after, read
                )


def _creation_time(session: Json, oldest: int, newer: int) -> int:
    """Return when a session was created, or the time of the one before it if its own is not valid."""
    created = session.get("created")
    return created if type(created) is int and oldest <= created <= newer else newer
