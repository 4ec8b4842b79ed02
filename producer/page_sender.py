"""Sends listed pages beside the listing, after the recent events were read again for many of them at once."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from recon.errors import SyncError

if TYPE_CHECKING:
    from recon.domain.message import SessionMessage
    from recon.domain.run import Listing

# Reading the events takes requests that pages would need. It is repeated after a quarter of the listing's
# time so far, and after this many seconds at most.
SHARE_OF_TIME, LONGEST_WAIT = 1 / 4, 15
# So many pages wait at most, with about a kilobyte for each session; fewer once the next reading is due.
MOST_PAGES, MOST_DUE_PAGES = 150, 12
# So many messages are sent at a time, between two looks at the requests for further pages.
SENT_TOGETHER = 400


@dataclass(frozen=True)
class Steps[P]:
    """The steps from pages to counted messages.

    `begin_refresh` begins to read the events, and `is_refreshed` returns whether that has ended.
    `filter_pages` awaits it and returns the messages to send. `enqueue` sends messages, and `count` counts so
    many sent ones with what is left of the listing.
    """

    begin_refresh: Callable[[], None]
    is_refreshed: Callable[[], bool]
    filter_pages: Callable[[list[P]], "list[SessionMessage]"]
    enqueue: Callable[["list[SessionMessage]"], None]
    count: Callable[[int, "Listing"], None]


class PageSender[P]:
    """The pages that were listed and not counted yet; `clock` is monotonic.

    At the end of the block the rest is sent, also after an error of the listing, but not after one of a step:
    then pages are not counted whose messages were not sent, and the next invocation lists them again.
    """

    def __init__(self, steps: Steps[P], clock: Callable[[], float]) -> None:
        self._steps = steps
        self._clock = clock
        self._began = self._due_at = clock()
        self._waiting: list[P] = []
        self._waiting_left: Listing | None = None
        self._refreshing: list[P] = []
        self._messages: list[SessionMessage] = []
        self._sent = 0
        self._left: Listing | None = None
        self._has_failed = False

    def add(self, pages: list[P], left: "Listing") -> None:
        """Add pages with what is left of the listing after them, and take the next step of sending."""
        self._waiting += pages
        self._waiting_left = left
        is_due = self._clock() >= self._due_at
        most = MOST_DUE_PAGES if is_due else MOST_PAGES
        if self._left is None:
            if is_due or len(self._waiting) >= most:
                self._begin()
        elif self._messages or self._steps.is_refreshed():
            self._step()
        while self._left is not None and len(self._waiting) >= most:
            self._step()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SyncError) and not self._has_failed):
            while self._left is not None or self._waiting_left is not None:
                if self._left is None:
                    self._begin()
                self._step()

    def _begin(self) -> None:
        self._refreshing, self._left = self._waiting, self._waiting_left
        self._waiting, self._waiting_left = [], None
        now = self._clock()
        self._due_at = now + min(LONGEST_WAIT, (now - self._began) * SHARE_OF_TIME)
        self._steps.begin_refresh()

    def _step(self) -> None:
        """Send the next messages of the pages whose events were read, and count them after the last."""
        self._has_failed = True  # until the end of this step
        if self._refreshing:
            self._messages, self._refreshing = self._steps.filter_pages(self._refreshing), []
        part, self._messages = self._messages[:SENT_TOGETHER], self._messages[SENT_TOGETHER:]
        self._steps.enqueue(part)
        self._sent += len(part)
        if not self._messages and self._left is not None:
            self._steps.count(self._sent, self._left)
            self._sent, self._left = 0, None
        self._has_failed = False
