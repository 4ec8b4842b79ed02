"""One session's records in the table."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ops.explain.facts import WEBHOOK, EventDelivery, EventMarker, OutcomeInRun, PendingEntry, StoredOrder
from ops.format.money import NO_AMOUNT, Amount, Money, to_money
from ops.format.text import standard_time
from ops.runs.attention import OpenAttention, to_open_attention
from recon.domain.message import SessionMessage, loads
from recon.domain.order_keys import OrderSortKey
from recon.domain.shape import Shape
from recon.domain.stripe_objects import FREE
from recon.domain.table_decision import find_drift, other_user_ids, user_ids
from recon.domain.waiting import LONGEST_MISSING, LONGEST_WAIT, is_missing_due
from recon.dynamodb.attention import parse_attention
from recon.dynamodb.attribute_readers import read_boolean, read_integer, read_text, read_time
from recon.dynamodb.keys import attention_key, marker_key, pending_key
from recon.dynamodb.order_lookup import make_lookup
from recon.dynamodb.outcomes import find_outcomes
from recon.dynamodb.records import OutcomeRecord, Run
from recon.dynamodb.table import Item, Table
from recon.dynamodb.user_orders import find_orders
from recon.errors import MalformedMessage, SyncError
from recon.retry import Deadline

if TYPE_CHECKING:
    from ops.explain.at_stripe import EventLookup


@dataclass(frozen=True)
class PendingSession:
    """The entry of an unpaid session; `message` is None if it cannot be read."""

    entry: PendingEntry
    message: SessionMessage | None


def load_orders(
    table: Table,
    message: SessionMessage,
    sort_key: OrderSortKey,
    deadline: Deadline,
    shape: Shape | None = None,
) -> tuple[tuple[StoredOrder, ...], tuple[str, ...]]:
    """Return the session's orders under every id its user may have, and how they differ from the message.

    With a shape, return those that the shop has done.
    """
    if shape:
        return _load_shop_orders(table, message, sort_key, deadline, shape)
    ids = (*user_ids(message), *other_user_ids(message))
    own = find_orders(table, ids, message.created, sessions=(message,), sort_key=sort_key)
    items = table.get_many([(order.pk, order.sk) for order in own], deadline)
    orders = sorted((_parse_order(item) for item in items), key=lambda order: order.key)
    return tuple(orders), find_drift(message, own)


def _load_shop_orders(
    table: Table, message: SessionMessage, sort_key: OrderSortKey, deadline: Deadline, shape: Shape
) -> tuple[tuple[StoredOrder, ...], tuple[str, ...]]:
    with ThreadPoolExecutor(1) as pool:
        found = make_lookup(table, pool, shape, sort_key).find([message], deadline)[message]
    if isinstance(found, SyncError):
        raise found
    keys = ["/".join(filter(None, (order.pk, order.sk))) for order in found]
    orders = (StoredOrder(key, None, WEBHOOK, None, None, None, None, None) for key in keys)
    return tuple(orders), find_drift(message, found)


def _parse_order(item: Item) -> StoredOrder:
    return StoredOrder(
        key=f"{item['PK']}/{item['SK']}",
        order_number=read_text(item, "orderNumber"),
        source=read_text(item, "source") or WEBHOOK,
        run_id=read_text(item, "syncRunId"),
        status=read_text(item, "status"),
        amount=_read_amount(item),
        created_at=read_time(item, "createdAt"),
        updated_at=read_time(item, "updatedAt"),
    )


def _read_amount(item: Item) -> Amount:
    """Return the amount of an order; of a free session Stripe may state none."""
    if "amount" in item:
        return to_money(item["amount"], item.get("currency"))
    return Money("", 0) if item.get("stripePaymentStatus") == FREE else NO_AMOUNT


def load_outcomes(
    table: Table, session_id: str, runs: Sequence[Run], deadline: Deadline
) -> tuple[OutcomeInRun, ...]:
    """Return the outcomes of a session in the order of the runs."""
    sessions = [(run.run_id, session_id) for run in runs]
    outcomes = find_outcomes(table, sessions, deadline)
    return tuple(_to_outcome_in_run(key[0], outcomes[key]) for key in sessions if key in outcomes)


def _to_outcome_in_run(run_id: str, outcome: OutcomeRecord) -> OutcomeInRun:
    return OutcomeInRun(
        run_id=run_id,
        outcome=outcome.outcome,
        reason=outcome.reason,
        order_number=outcome.order_number,
        error_type=outcome.error_type,
        error_message=outcome.error_message,
        attempts=outcome.attempts,
        drift=outcome.drift,
        updated_at=standard_time(outcome.updated_at),
        dismissed_by=outcome.dismissed_by,
        dismissed_because=outcome.dismissed_because,
    )


def load_attention(table: Table, session_id: str) -> OpenAttention | None:
    """Return what a person has to look at about a session, or None."""
    item = table.get(attention_key(session_id))
    return to_open_attention(parse_attention(item)) if item else None


def load_pending(table: Table, session_id: str, now: int) -> PendingSession | None:
    """Return the pending entry of a session, or None if it has none that runs still check."""
    item = table.get(pending_key(session_id))
    if item is None:
        return None
    message, seen = _parse_message(item), read_time(item, "updatedAt")
    since = read_integer(item, "missingSince")
    if since is None:
        until = datetime.fromtimestamp(message.created + LONGEST_WAIT, UTC) if message else None
        return PendingSession(PendingEntry(seen, until), message)
    if not is_missing_due(since, now):
        return None
    first, last = (datetime.fromtimestamp(one, UTC) for one in (since, since + LONGEST_MISSING))
    return PendingSession(PendingEntry(seen, last, missing_since=first), message)


def _parse_message(item: Item) -> SessionMessage | None:
    try:
        return loads(read_text(item, "message") or "")
    except MalformedMessage:
        return None


def attach_markers(
    table: Table | None, lookup: "EventLookup", deadline: Deadline
) -> tuple[EventDelivery, ...]:
    """Return the events, each with the record that it was handled; without a table there is none."""
    keys = [marker_key(event.id) for event in lookup.events]
    items = table.get_many(keys, deadline) if table else []
    markers = {(item["PK"], item["SK"]): _parse_marker(item) for item in items}
    return tuple(
        EventDelivery(
            id=event.id,
            type=event.type,
            created=datetime.fromtimestamp(event.created, UTC),
            delivered=event.id not in lookup.undelivered,
            marker=markers.get(key),
        )
        for event, key in zip(lookup.events, keys, strict=True)
    )


def _parse_marker(item: Item) -> EventMarker:
    return EventMarker(
        source=read_text(item, "source") or WEBHOOK,
        status=read_text(item, "status"),
        order_created=read_boolean(item, "orderCreated"),
        at=read_time(item, "processedAt"),
    )
