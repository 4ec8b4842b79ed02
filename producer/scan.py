"""Which sessions a run looks at: the window by `created`, page by page from where the cursor stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon.order import Json

if TYPE_CHECKING:
    from recon.stripe_source import StripeSource

HOUR = 3600
PAGE_SIZE = 100  # Stripe's maximum; not from the adapter, which imports the library


@dataclass(frozen=True)
class Window:
    """Sessions created from `start` to `end`, both included, in epoch seconds."""

    start: int
    end: int


@dataclass(frozen=True)
class Slice:
    """The next sessions, newest first. `cursor` is the last one's id, `more` whether others follow."""

    sessions: list[Json]
    cursor: str | None
    more: bool


def window(end: int, lookback_hours: int) -> Window:
    """Ends at the scheduled time, never at now: a run that is repeated later looks at the same sessions."""
    return Window(end - lookback_hours * HOUR, end)


def slices(
    stripe: "StripeSource", looked_at: Window, *, cursor: str | None, limit: int | None
) -> Iterator[Slice]:
    """Page after page of the complete sessions behind the cursor, `limit` sessions at most in all.

    Always yields at least one slice, so that an empty window is seen to be empty.
    """
    while True:
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit)
        page = stripe.list_sessions(looked_at.start, looked_at.end, after=cursor, limit=size)
        cursor = page.sessions[-1]["id"] if page.sessions else cursor
        limit = None if limit is None else limit - len(page.sessions)
        yield Slice(page.sessions, cursor, page.has_more)
        if not page.has_more or limit == 0:
            return
