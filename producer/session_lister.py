"""Listing a window oldest first, in slices of time, several in flight, in as few calls as pages are needed.

Stripe lists newest first and a page at a time, so the order is made here: the window is cut into slices that
hold a few pages each, by the density seen so far. A slice that turns out too large is not asked for again:
what was read of it, its later part, is kept for its turn, and its earlier part becomes slices again.
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

# Sessions that a slice should hold at most: eight pages, so that the last one, half empty, is a sixteenth of
# it. Less, where the caller wants less.
AIM = 800
# So many times that before it is cut; they are held in memory, about a kilobyte each.
MOST_AIMS = 3
# The first page of a window: most shops fit into it, and for all others it shows the density.
FIRST = 100
STEP = 8  # a slice is at most so many times longer or shorter than the one before it
BACK = 1 / 4  # and after one that held too much, so much of its length
# While less than this is held, a slice is read to the end whatever its pages say; beyond, one that is going
# to hold too much is left at its first pages. Else one quiet stretch after another would fill the memory.
PATIENCE = 1000
AHEAD = 4  # slices in flight, once the density is known to hold
BEGIN_AHEAD = 2  # at first, when all that is known is how dense one page was, or the slices before
# A remainder that is not much longer than a slice is taken along: cut, it would take more pages.
MOST_LENGTHS = 2.5
HALVED_LENGTHS = 1.5  # one that is longer than so many is listed as two halves at once, by whoever goes on


@dataclass(frozen=True)
class TimeRange:
    """A part of the window that nobody has listed yet; both ends included, epoch seconds."""

    start: int
    end: int
    # Of its last second, what comes before this id is read already, and kept here: a second may hold any
    # number of sessions, and a page ends anywhere in it.
    after: str | None = None
    read: tuple[Any, ...] = ()

    @property
    def seconds(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True)
class ListedRange[T]:
    """A part of the window, listed whole; `found` in Stripe's order, newest first."""

    start: int
    end: int
    found: list[T]


@dataclass(frozen=True)
class _Asked[T]:
    region: TimeRange
    answer: "Future[tuple[ListedRange[T], TimeRange | None]]"


class SessionLister[T]:
    """The slices of a window, oldest first.

    `list_page(start, end, after)` asks Stripe, from several threads; `make` keeps what is needed of a
    session; `wanted` says how many more the caller can use, so that none are asked for in vain.
    """

    def __init__(
        self,
        list_page: "Callable[[int, int, str | None], Page]",
        make: Callable[[Json], T],
        pool: Executor,
        wanted: Callable[[], int],
    ) -> None:
        self._list_page = list_page
        self._make = make
        self._pool = pool
        self._wanted = wanted
        # Half more than is wanted: a little too much is sent, a little too little costs another page. In two
        # slices where that is possible, since they are listed at the same time.
        useful = max(FIRST, wanted() * 3 // 2)
        self._aim = max(FIRST, min(AIM, useful // 2))
        self._most = min(AIM, useful) * MOST_AIMS
        self._ahead = BEGIN_AHEAD
        self._goes_on = False
        self._parts: deque[TimeRange | ListedRange[T] | _Asked[T]] = deque()
        # How long the next slice is; for whoever goes on with this listing, too.
        self.seconds = 0

    def __call__(self, window: TimeRange, seconds: int | None = None) -> Generator[ListedRange[T]]:
        """`seconds`: how long slices were when this listing was left, None when it begins."""
        if seconds:
            self.seconds = seconds
            self._goes_on = True
            self._parts.append(window)
        else:
            self._begin(*self._list(window, FIRST))
        try:
            yield from self._in_turn()
        finally:
            # Whoever stops early leaves no thread behind that goes on asking.
            asked = [part.answer for part in self._parts if isinstance(part, _Asked)]
            wait([answer for answer in asked if not answer.cancel()])

    @property
    def held(self) -> int:
        """Sessions that are listed already and wait for their turn, and about as many as are being listed."""
        return self._kept + self._aim * sum(isinstance(part, _Asked) for part in self._parts)

    @property
    def _kept(self) -> int:
        return sum(len(part.found) for part in self._parts if isinstance(part, ListedRange))

    def _begin(self, listed: ListedRange[T], rest: TimeRange | None) -> None:
        """The first page is the whole window, or it shows how dense its end is."""
        length = listed.end - listed.start + 1
        self.seconds = max(1, length * self._aim // max(1, len(listed.found)))
        self._take(listed, rest)

    def _in_turn(self) -> Iterator[ListedRange[T]]:
        while self._parts:
            self._ask()
            match self._parts.popleft():
                case ListedRange() as listed:
                    yield self._with_the_next(listed) if self._goes_on else listed
                case _Asked() as asked:
                    self._await(asked)

    def _with_the_next(self, listed: ListedRange[T]) -> ListedRange[T]:
        """And what is being listed right behind it, where both are small: the caller does for each slice what
        it does, and two of them were asked for at a time only to wait less."""
        most = self._most // 2
        while self._parts and len(listed.found) + self._aim <= most:
            following = self._parts.popleft()
            if isinstance(following, _Asked) and not following.answer.exception():
                self._await(following)
                following = self._parts.popleft()
            # One that failed raises in its own turn, when what is before it has been sent.
            if not isinstance(following, ListedRange) or len(listed.found) + len(following.found) > most:
                self._parts.appendleft(following)
                break
            listed = ListedRange(listed.start, following.end, following.found + listed.found)
        return listed

    def _await(self, asked: _Asked[T]) -> None:
        listed, rest = asked.answer.result()
        self._learn(asked.region, len(listed.found), rest)
        self._take(listed, rest)

    def _take(self, listed: ListedRange[T], rest: TimeRange | None) -> None:
        self._parts.appendleft(listed)
        if rest:
            self._parts.appendleft(rest)

    def _learn(self, region: TimeRange, found: int, rest: TimeRange | None) -> None:
        """Sizes the next slice by what this one held, and asks for several at a time only while they do.

        Steps are bounded: a quiet hour says little about the next one, and an overshoot costs one call.
        """
        growth = min(STEP, max(1 / STEP, self._aim / found)) if found else STEP
        self.seconds = max(1, int(region.seconds * (BACK if rest else growth)))
        self._ahead = min(AHEAD, self._ahead * 2) if not rest and found >= self._aim / 2 else 1

    def _ask(self) -> None:
        """Cuts what comes next into slices and asks for them, as many as are useful at this moment."""
        expected, parts = 0, self._parts
        for position in range(self._ahead):
            if position >= len(parts):
                return
            part = parts[position]
            if isinstance(part, TimeRange):
                if position and expected >= self._wanted():
                    return
                part = self._cut(position, part)
            expected += self._aim if isinstance(part, _Asked) else len(part.found)

    def _cut(self, position: int, region: TimeRange) -> _Asked[T]:
        length = region.seconds if region.seconds <= self.seconds * MOST_LENGTHS else self.seconds
        if self._goes_on and length > self.seconds * HALVED_LENGTHS:
            length = (length + 1) // 2
        now = region
        if length < region.seconds:
            now = TimeRange(region.start, region.start + length - 1)
        ask = partial(self._list, now, self._most, patient=self._kept < PATIENCE)
        asked: _Asked[T] = _Asked(now, self._pool.submit(ask))
        self._parts[position] = asked
        if now.end < region.end:
            self._parts.insert(position + 1, replace(region, start=now.end + 1))
        return asked

    def _list(
        self, region: TimeRange, most: int, *, patient: bool = False
    ) -> tuple[ListedRange[T], TimeRange | None]:
        """The region, or where it holds more than `most` (or, without patience, is going to): its later part,
        and what is left before that."""
        found: list[tuple[int, T]] = [(region.end, kept) for kept in region.read]
        oldest, after = region.end + 1, region.after
        while True:
            page = self._list_page(region.start, region.end, after)
            for session in page.sessions:
                newer = found[-1][0] if found else region.end
                found.append((_created(session, region.start, newer), self._make(session)))
            if not page.has_more:
                return ListedRange(region.start, region.end, [kept for _, kept in found]), None
            newest, oldest, after = oldest, found[-1][0], page.sessions[-1]["id"]
            # As dense as this page to the beginning?
            to_come = len(page.sessions) * (oldest - region.start) / max(1, newest - oldest)
            will_be = len(found) if patient else len(found) + to_come / 2
            if oldest < region.end and will_be >= most:
                later = [kept for created, kept in found if created > oldest]
                read = tuple(kept for created, kept in found if created == oldest)
                return ListedRange(oldest + 1, region.end, later), TimeRange(
                    region.start, oldest, after, read
                )


def _created(session: Json, oldest: int, newer: int) -> int:
    """When it was created; where it does not say, or not what was asked for, its place in the list does."""
    created = session.get("created")
    return created if type(created) is int and oldest <= created <= newer else newer
