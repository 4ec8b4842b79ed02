"""The webhook's markers of events that it has handled: `EVENT#<event> / METADATA`.

The sync puts those that are absent, and completes those that the webhook left unfinished.
"""

from recon.domain.fence import COMPLETED, ENDED, EventMark
from recon.domain.order import SOURCE
from recon.dynamodb.keys import marker_key
from recon.dynamodb.records import MARKER_DAYS
from recon.dynamodb.table import Action, Item, Table
from recon.timestamps import DAY, to_iso


def is_completed(item: Item) -> bool:
    """Return whether the webhook has handled the event of this marker to its end."""
    return "status" not in item or item["status"] in ENDED


def marker_action(table: Table, session_id: str, mark: EventMark, now: int) -> Action:
    """Return the action that marks an event as handled if its marker is still absent or unfinished.

    The attributes that the webhook stored in an unfinished marker stay. `now` is in epoch seconds.
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
    fields = {name: value for name, value in known.items() if value is not None}
    if not mark.is_claimed:
        return table.put({"PK": pk, "SK": sk} | fields, "attribute_not_exists(PK)")
    return table.update(
        (pk, sk),
        "SET " + ", ".join(f"#{name} = :{name}" for name in fields),
        {f":{name}": value for name, value in fields.items()} | {":ended": ENDED[1]},
        condition="attribute_exists(#status) AND NOT (#status = :status OR #status = :ended)",
        names={f"#{name}": name for name in fields},
    )
