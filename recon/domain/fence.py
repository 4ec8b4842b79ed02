"""Pure: which of the webhook's event markers go with the outcome of a session.

The webhook skips an event that has a marker. A marker with another status than `completed` is a claim: the
webhook has begun to handle the event and has not ended. A webhook that stores no status claims nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recon.domain.stripe_objects import ASYNC_PAYMENT_SUCCEEDED
from recon.timestamps import HOUR, MINUTE

COMPLETED = "completed"
# The words that webhooks store as the status of an event that they have handled to its end.
ENDED = (COMPLETED, "processed")
# A webhook that has not ended after this time never will: Stripe waits for seconds, a queue for minutes.
CLAIM_SECONDS = 15 * MINUTE
# A webhook that acknowledges first and works later gets this long to write the order and its own marker.
FOUND_SECONDS = HOUR
# How far Stripe's clock may be ahead. A later time is not believed.
_CLOCK_SKEW = 5 * MINUTE


@dataclass(frozen=True)
class FencedEvent:
    """An event that the webhook may receive once more. `created` is in epoch seconds, None if unknown."""

    id: str
    type: str
    created: int | None = None


@dataclass(frozen=True)
class EventMark:
    """An event to mark as handled. `is_claimed` is True if the webhook has an unfinished marker of it.

    `created` is in epoch seconds. `order_number` is the number of the session's order.
    """

    event_id: str
    event_type: str
    created: int
    order_number: str | None = None
    is_claimed: bool = False

    def wait_seconds(self, now: int) -> int:
        """Return how long the webhook may still be working on the event, 0 unless it has just claimed it."""
        return max(0, self.created + CLAIM_SECONDS - now) if self.is_claimed else 0


def mark_events(
    events: Iterable[FencedEvent],
    markers: Mapping[str, bool],
    *,
    assumed: int,
    now: int,
    order_number: str | None,
) -> tuple[EventMark, ...]:
    """Return the marks of the events without a completed marker.

    `markers` says of each event with a marker whether that is completed. An event of unknown age counts as
    created at `assumed`. Times are in epoch seconds.
    """
    marks = {}
    for event in events:
        if not markers.get(event.id):
            created = assumed if event.created is None else event.created
            created = assumed if created > now + _CLOCK_SKEW else created
            is_claimed = event.id in markers
            marks[event.id] = EventMark(event.id, event.type, created, order_number, is_claimed)
    return tuple(marks.values())


def select_of_found(events: Iterable[FencedEvent], *, is_unpaid: bool, now: int) -> list[FencedEvent]:
    """Return the events of a session with an order that the webhook does not need any more.

    With `is_unpaid`, its only order is unpaid, and the event of the payment may still change that.
    """
    return [
        event
        for event in events
        if event.created is not None
        and event.created < now - FOUND_SECONDS
        and not (is_unpaid and event.type == ASYNC_PAYMENT_SUCCEEDED)
    ]
