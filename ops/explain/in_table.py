"""What the table holds of one session."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ops.explain.facts import EventThere, InRun, Marker, OrderThere, Pending
from ops.runs.sessions import read_money, session_outcome
from recon.domain.message import SessionMessage, loads
from recon.domain.reconcile import find_drift, user_ids
from recon.dynamodb.orders import find_orders
from recon.dynamodb.records import Run, marker_key, outcome_key, pending_key
from recon.dynamodb.table import Item, Table
from recon.errors import MalformedMessage
from recon.retry import Deadline

if TYPE_CHECKING:
    from ops.explain.at_stripe import Heard

WEBHOOK = "webhook"


@dataclass(frozen=True)
class Waiting:
    """The entry of a session that is not paid yet; `message` is None where it cannot be read."""

    entry: Pending
    message: SessionMessage | None


def orders_there(
    table: Table, message: SessionMessage, deadline: Deadline
) -> tuple[tuple[OrderThere, ...], tuple[str, ...]]:
    """The session's orders under every id its user may have, and where they differ from the message."""
    found = find_orders(table, user_ids(message), message.created)
    own = [order for order in found if order.belongs_to(message.session_id)]
    items = table.get_many([(order.pk, order.sk) for order in own], deadline)
    there = sorted((_order(item) for item in items), key=lambda order: order.key)
    return tuple(there), find_drift(message, own)


def _order(item: Item) -> OrderThere:
    return OrderThere(
        key=f"{item['PK']}/{item['SK']}",
        order_number=item.get("orderNumber"),
        source=item.get("source", WEBHOOK),
        run_id=item.get("syncRunId"),
        status=item.get("status"),
        amount=read_money(item),
        created_at=item.get("createdAt"),
        updated_at=item.get("updatedAt"),
    )


def outcomes_in(table: Table, session_id: str, runs: Sequence[Run], deadline: Deadline) -> tuple[InRun, ...]:
    """In the order of the runs."""
    keys = {outcome_key(run.run_id, session_id): run.run_id for run in runs}
    found = {keys[item["PK"], item["SK"]]: item for item in table.get_many(list(keys), deadline)}
    return tuple(_in_run(run.run_id, found[run.run_id]) for run in runs if run.run_id in found)


def _in_run(run_id: str, item: Item) -> InRun:
    outcome = session_outcome(item)
    return InRun(
        run_id=run_id,
        outcome=outcome.outcome,
        reason=outcome.reason,
        order_number=outcome.order_number,
        error_type=outcome.error_type,
        error_message=outcome.error_message,
        attempts=outcome.attempts,
        drift=outcome.drift,
        updated_at=outcome.updated_at,
        dismissed_by=item.get("dismissedBy"),
        dismissed_because=item.get("dismissedBecause"),
    )


def waiting_for_payment(table: Table, session_id: str) -> Waiting | None:
    item = table.get(pending_key(session_id))
    if item is None:
        return None
    expires = item.get("expiresAt")
    until = datetime.fromtimestamp(expires, UTC) if isinstance(expires, int) else None
    return Waiting(Pending(item.get("updatedAt"), until), _message(item))


def _message(item: Item) -> SessionMessage | None:
    try:
        return loads(item.get("message", ""))
    except MalformedMessage:
        return None


def with_markers(table: Table, heard: "Heard", deadline: Deadline) -> tuple[EventThere, ...]:
    """The events, each with the record that it was handled."""
    keys = [marker_key(event.id) for event in heard.events]
    markers = {(item["PK"], item["SK"]): _marker(item) for item in table.get_many(keys, deadline)}
    return tuple(
        EventThere(
            id=event.id,
            type=event.type,
            created=datetime.fromtimestamp(event.created, UTC),
            delivered=event.id not in heard.undelivered,
            marker=markers.get(key),
        )
        for event, key in zip(heard.events, keys, strict=True)
    )


def _marker(item: Item) -> Marker:
    return Marker(
        source=item.get("source", WEBHOOK),
        status=item.get("status"),
        order_created=item.get("orderCreated"),
        at=item.get("processedAt"),
    )
