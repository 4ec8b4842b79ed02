"""The paid sessions whose order is missing in another shop's layout, and how its webhook is asked again."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from ops.format.links import session_url
from ops.format.money import Money, to_money
from recon.domain.attention import Attention
from recon.domain.message import loads
from recon.domain.table_decision import amount_and_currency
from recon.domain.waiting import LONGEST_MISSING, is_missing_due
from recon.dynamodb.attribute_readers import read_integer, read_text
from recon.errors import MalformedMessage, SyncError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recon.dynamodb.attention import AttentionRecord
    from recon.dynamodb.table import Item
    from recon.stripe.source import SessionEvent, StripeSource

# A hundred pages take ten seconds.
MOST_EVENTS = 10_000
ENDPOINT = "we_YOUR_ENDPOINT"


@dataclass(frozen=True)
class MissingSession:
    """A paid session whose order the shop has not done.

    Runs look for it until `asked_until`. `event_id` is the event that notifies the shop's webhook, if Stripe
    still has it, and `command` sends it again.
    """

    session_id: str
    amount: Money | None
    created: datetime
    missing_since: datetime
    asked_until: datetime
    url: str
    event_id: str | None = None
    command: str | None = None


def list_missing(
    entries: "Iterable[Item]", now: int, only: Collection[str] | None = None
) -> list[MissingSession]:
    """Return the sessions of the entries whose order is missing, the oldest first; `now` is epoch seconds."""
    found = [one for one in _read(entries, now) if only is None or one.session_id in only]
    return sorted(found, key=lambda one: (one.created, one.session_id))


def _read(entries: "Iterable[Item]", now: int) -> Iterator[MissingSession]:
    for entry in entries:
        since = read_integer(entry, "missingSince")
        if since is None or not is_missing_due(since, now):
            continue
        try:
            message = loads(read_text(entry, "message") or "")
        except MalformedMessage:
            continue
        yield MissingSession(
            session_id=message.session_id,
            amount=to_money(*amount_and_currency(message)),
            created=datetime.fromtimestamp(message.created, UTC),
            missing_since=datetime.fromtimestamp(since, UTC),
            asked_until=datetime.fromtimestamp(since + LONGEST_MISSING, UTC),
            url=session_url(message.session_id),
        )


def add_events(
    sessions: list[MissingSession], stripe: "Callable[[], StripeSource]"
) -> tuple[list[MissingSession], str | None]:
    """Return the sessions with their latest events, and why some may lack theirs, if Stripe did not say."""
    if not sessions:
        return sessions, None
    first = int(sessions[0].created.timestamp())
    # They were paid, and so had their events, before a run missed their orders.
    last = int(max(one.missing_since for one in sessions).timestamp())
    try:
        listed = list(islice(stripe().list_events(first, created_to=last), MOST_EVENTS))
    except SyncError as error:
        return sessions, f"events: {error}"
    # Newest first, so that the latest of a session is its last one here.
    latest = {event.session_id: event for event in reversed(listed)}
    problem = f"events: only {MOST_EVENTS:,} were searched" if len(listed) == MOST_EVENTS else None
    return [_add_event(one, latest) for one in sessions], problem


def _add_event(one: MissingSession, events: "Mapping[str, SessionEvent]") -> MissingSession:
    event = events.get(one.session_id)
    if event is None:
        return one
    return replace(one, event_id=event.id, command=resend_command(event.id))


def resend_command(event_id: str) -> str:
    """Return the command that sends an event to the shop's webhook again."""
    return f"stripe events resend {event_id} --webhook-endpoint={ENDPOINT}"


def find_abandoned(records: "Iterable[AttentionRecord]", sessions: Iterable[MissingSession]) -> list[str]:
    """Return the sessions that nobody has acknowledged and whose order no run looks for any more."""
    looked_for = {one.session_id for one in sessions}
    missing = (one.session_id for one in records if one.is_open and Attention.MISSING in one.words)
    return [session_id for session_id in missing if session_id not in looked_for]
