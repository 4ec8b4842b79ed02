"""A sample of the shop's recent paid sessions, spread over the last 30 days."""

from collections.abc import Callable
from concurrent.futures import Executor
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from recon.domain.message import SessionMessage, build_message, dumps, loads
from recon.domain.shape_decision import find_skip_reason
from recon.domain.stripe_objects import PAID, SETUP, Json
from recon.errors import MalformedMessage
from recon.timestamps import DAY, MINUTE

if TYPE_CHECKING:
    from recon.config import Settings
    from recon.stripe.source import StripeSource

# A sample takes one request for each part of its days, and more only in a part without a paid session.
SAMPLE_SIZE, SAMPLE_DAYS, SAMPLE_PARTS, MAX_PAGES = 50, 30, 6, 4

type Sampled = tuple[Json, SessionMessage]


def draw_sample(
    stripe: "StripeSource",
    pool: Executor,
    settings: "Settings",
    now: int,
    *,
    needs_user: bool,
) -> list[Sampled]:
    """Return up to 50 paid sessions of the shop, each with its message, the newest first.

    Leave out those whose webhook may still be at work, and those whose orders may have expired. With
    `needs_user`, leave out those without a user id, or without the key of a shape. `now` is in epoch seconds.
    """
    days = min(SAMPLE_DAYS, settings.order_ttl_days or SAMPLE_DAYS)
    end = now - settings.grace_minutes * MINUTE
    length = max(1, (end - (now - days * DAY)) // SAMPLE_PARTS)
    ends = [end - number * length for number in range(SAMPLE_PARTS)]

    def read(session: Json) -> Sampled | None:
        message = read_paid(session, settings)
        if message is None or (needs_user and find_skip_reason(message, settings.shape)):
            return None
        return session, message

    parts = list(pool.map(lambda last: _list_paid(stripe, last - length + 1, last, read), ends))
    # One of each part, then the second of each, until the sample is full.
    rounds = (sampled for row in zip_longest(*parts) for sampled in row if sampled)
    return sorted(islice(rounds, SAMPLE_SIZE), key=lambda sampled: sampled[1].created, reverse=True)


def _list_paid(
    stripe: "StripeSource", start: int, end: int, read: Callable[[Json], Sampled | None]
) -> list[Sampled]:
    """Return the paid sessions of the first page that has any, of at most `MAX_PAGES` pages."""
    after = None
    for _ in range(MAX_PAGES):
        page = stripe.list_sessions(start, end, after=after)
        paid = [sampled for session in page.sessions if (sampled := read(session))]
        if paid or not page.has_more:
            return paid
        after = page.sessions[-1]["id"]
    return []


def read_paid(session: Json, settings: "Settings") -> SessionMessage | None:
    """Return the message of a paid session that is the shop's, or None for any other."""
    message = read_message(session, settings) if settings.session_filter.passes(session) else None
    is_paid = message is not None and message.payment_status == PAID and message.mode != SETUP
    return message if is_paid else None


def read_message(session: Json, settings: "Settings") -> SessionMessage | None:
    """Return the message of a session, or None if it is malformed."""
    try:
        return loads(dumps(build_message(session, "sample", settings.user_ids, settings.shape)))
    except MalformedMessage:
        return None
