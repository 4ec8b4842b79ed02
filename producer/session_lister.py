"""The listing of a window: in a few parts side by side, each newest first and a page at a time.

Stripe lists newest first. A part is resumed exactly, after the id of its last session, so that no page is
requested twice, and only the last page of a part is not full.
"""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recon.domain.run import Listing, Part

if TYPE_CHECKING:
    from recon.domain.stripe_objects import Json
    from recon.stripe.pages import Page

# Stripe's maximum, which `recon.stripe.source` requests.
PAGE = 100
# Four answers of 350 ms at a time are nearly the twelve requests a second that the pipeline has by default.
WIDTH = 4
# A dense part is cut again while fewer than `WIDTH` are open. Each part costs up to one page that is not
# full, so that N sessions take at most N / 100 + 11 requests.
MOST_PARTS = 10

type ListPage = Callable[[int, int, str | None], "Page"]


@dataclass(frozen=True)
class _OpenPart:
    """A part, and about how many pages it still holds (0 if that is unknown)."""

    part: Part
    pages: float = 0


class SessionLister:
    """Lists the open parts of a window.

    `list_page(start, end, after)` calls Stripe and runs in several threads. `demand` returns how many more
    sessions the caller can use.
    """

    def __init__(
        self, list_page: ListPage, pool: Executor, listing: Listing, demand: Callable[[], float]
    ) -> None:
        self._list_page = list_page
        self._pool = pool
        self._demand = demand
        self._made = listing.made
        self._open = [_OpenPart(part) for part in reversed(listing.parts)]  # newest first
        self._requests: dict[Future[Page], _OpenPart] = {}
        self._pages: list[Page] = []
        self._first: Page | None = None

    @property
    def listing(self) -> Listing:
        """Return what is left after the pages that were yielded."""
        return Listing(tuple(left.part for left in reversed(self._open)), self._made)

    def list_first(self) -> None:
        """List the first page in the calling thread, before it is known how many to request at a time."""
        part = self._open[0].part
        self._first = self._list_page(part.start, part.end, part.after)

    def list_pages(self, width: int = WIDTH, together: int = WIDTH) -> "Generator[list[Page]]":
        """Yield pages until the window is listed or the demand is met, newest parts first.

        At most `width` pages are requested at a time, and at least `together` are yielded at a time, but for
        the first and the last. Close the generator to stop early.
        """
        enough = 1  # The first page is not held back, since the consumers wait for it.
        try:
            if self._first is None:
                self.list_first()
            if self._first is not None:
                self._add(self._open[0], self._first, width)
            while True:
                self._request_more(width)
                if len(self._pages) >= enough or not self._requests:
                    pages, self._pages, enough = self._pages, [], together
                    yield pages
                    self._request_more(width)
                if not self._requests:
                    return
                done, _ = wait(self._requests, return_when=FIRST_COMPLETED)
                for future in [future for future in self._requests if future in done]:
                    self._add(self._requests.pop(future), future.result(), width)
        finally:
            # Cancel or await requests in flight, so that no thread keeps calling Stripe.
            wait([future for future in self._requests if not future.cancel()])

    def _request_more(self, width: int) -> None:
        requested = list(self._requests.values())
        for left in self._open:
            coming = PAGE * (len(self._requests) + len(self._pages))
            if left not in requested and len(self._requests) < width and coming < self._demand():
                self._request(left)

    def _request(self, left: _OpenPart) -> None:
        part = left.part
        self._requests[self._pool.submit(self._list_page, part.start, part.end, part.after)] = left

    def _add(self, listed: _OpenPart, page: "Page", width: int) -> None:
        """Add the next page of a part, and put what is left of the part in its place."""
        self._pages.append(page)
        place = self._open.index(listed)
        self._open[place : place + 1] = self._cut(_follow(listed.part, page), width) if page.has_more else []

    def _cut(self, left: _OpenPart, width: int) -> list[_OpenPart]:
        """Return the part in as many pieces as can be requested at once, newest first.

        Only the densest part is cut, into pieces of at least a page: its density is a weak predictor.
        """
        part, reached = left.part, left.part.reached
        free = min(width - len(self._open), MOST_PARTS - self._made)
        pieces = min(free + 1, int(left.pages))
        if reached is None or pieces < 2 or any(other.pages > left.pages for other in self._open):  # noqa: PLR2004
            return [left]
        self._made += pieces - 1
        # Below the second that was reached, so that no session is in two pieces.
        seconds = reached - part.start
        starts = [part.start + seconds * number // pieces for number in range(pieces)]
        ends = [start - 1 for start in starts[1:]] + [part.end]
        cut = [Part(start, end) for start, end in zip(starts, ends, strict=True)]
        cut[-1] = replace(part, start=starts[-1])
        return [_OpenPart(piece, left.pages / pieces) for piece in reversed(cut)]


def list_oldest[T](
    list_page: ListPage,
    pool: Executor,
    window: Part,
    limit: int,
    convert: "Callable[[Page], list[T]]",
) -> Generator[tuple[Part, list[T]]]:
    """Yield parts of a window, oldest first, with their items in that order, until `limit` is exceeded.

    `convert` returns the items of a page. The last part has one item more than the limit leaves if there are
    more; its newer ones are dropped, so that a part takes no more memory than the limit.
    """
    first = list_page(window.start, window.end, None)
    pieces = MOST_PARTS if first.has_more else 1
    seconds = window.end - window.start + 1
    starts = sorted({window.start + seconds * number // pieces for number in range(pieces)})
    ends = [start - 1 for start in starts[1:]] + [window.end]
    for start, end in zip(starts, ends, strict=True):
        part = Part(start, end)
        items: deque[T] = deque(maxlen=limit + 1)
        if not first.has_more:
            items.extend(convert(first))
        else:
            lister = SessionLister(list_page, pool, Listing((part,)), lambda: float("inf"))
            with closing(lister.list_pages(width=1)) as batches:
                for page in (page for pages in batches for page in pages):
                    items.extend(convert(page))
        yield part, list(reversed(items))
        limit -= len(items)
        if limit < 0:
            return


def _follow(part: Part, page: "Page") -> _OpenPart:
    """Return the part after a page of it."""
    newest, oldest = (_creation_time(page.sessions[place], part) for place in (0, -1))
    rest = replace(part, after=page.sessions[-1]["id"], reached=oldest)
    if newest is None or oldest is None:
        return _OpenPart(rest)
    return _OpenPart(rest, (oldest - part.start) / max(1, newest - oldest))


def _creation_time(session: "Json", part: Part) -> int | None:
    """Return when a session was created, or None if its time is not valid in the part."""
    created = session.get("created")
    return created if type(created) is int and part.start <= created <= part.end else None
