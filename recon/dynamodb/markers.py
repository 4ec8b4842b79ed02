"""The webhook's markers of events that it has handled: `EVENT#<event> / METADATA`.

The sync reads those of a batch's sessions, puts those that are absent, and completes those that the webhook
left unfinished.
"""

from collections.abc import Iterable
from dataclasses import replace

from recon.domain.fence import COMPLETED, ENDED, EventMark
from recon.domain.order import SOURCE
from recon.dynamodb.keys import EVENT_PREFIX, marker_key
from recon.dynamodb.table import Action, Item, Table
from recon.retry import Deadline
from recon.timestamps import DAY, to_iso

# As long as any record of the sync is kept; Stripe delivers an event for three days.
MARKER_DAYS = 90


def load_markers(table: Table, event_ids: Iterable[str], deadline: Deadline) -> dict[str, bool]:
    """Return of each event with a marker whether that is completed, by consistent reads."""
    return read_markers(table.get_many(list(map(marker_key, event_ids)), deadline))


def read_markers(items: Iterable[Item]) -> dict[str, bool]:
    """Return of each event with a marker among these items whether that is completed."""
    markers = (item for item in items if item["PK"].startswith(EVENT_PREFIX))
    return {item["PK"].removeprefix(EVENT_PREFIX): is_completed(item) for item in markers}


def is_completed(item: Item) -> bool:
    """Return whether the webhook has handled the event of this marker to its end."""
    return "status" not in item or item["status"] in ENDED


def marker_action(table: Table, session_id: str, mark: EventMark, now: int) -> Action:
    """Return the action that marks an event as handled if its marker is still absent or unfinished.

    It replaces an unfinished marker whole. `now` is in epoch seconds.
    """
    pk, sk = marker_key(mark.event_id)
    known: Item = {
        "eventType": mark.event_type,
        "sessionId": session_id,
        "status": COMPLETED,
        "orderCreated": True,
        "orderNumber": mark.order_number,
        "source": SOURCE,
        "processedAt": to_iso(now),
        "expiresAt": now + MARKER_DAYS * DAY,
    }
    item = {"PK": pk, "SK": sk} | {name: value for name, value in known.items() if value is not None}
    if not mark.is_claimed:
        return table.put(item, "attribute_not_exists(PK)")
    # A put, since the role may update nothing in the shop's table.
    unfinished = "attribute_exists(#status) AND NOT (#status = :completed OR #status = :processed)"
    values: Item = {f":{status}": status for status in ENDED}
    action = table.put(item, unfinished, values)
    return replace(action, body=action.body | {"ExpressionAttributeNames": {"#status": "status"}})
