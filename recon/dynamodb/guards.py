"""The guard of a session: the record that this sync has written its order once.

The transaction that writes an order also puts its guard, under the condition that there is none. So an order
that a person deleted, or that has another user id by now, is never written a second time. The guard holds
neither the address nor the user id, only a hash of the order's key.
"""

import hashlib
from collections.abc import Iterable

from recon.domain.table_decision import ExistingOrder
from recon.dynamodb.keys import guard_key
from recon.dynamodb.table import Action, Item, Key, Table
from recon.retry import Deadline
from recon.timestamps import to_iso


def find_guards(table: Table, session_ids: Iterable[str], deadline: Deadline) -> frozenset[str]:
    """Return those of the sessions whose order this sync has written once, by a consistent read."""
    keys = {guard_key(session_id): session_id for session_id in session_ids}
    items = table.get_many(list(keys), deadline)
    return frozenset(keys[item["PK"], item["SK"]] for item in items)


def guard_written(table: Table, session_id: str, order: Item, run_id: str, now: int) -> Action:
    """Return the action that guards the order that a run is about to write. `now` is in epoch seconds."""
    key, number, expires = (order["PK"], order["SK"]), order["orderNumber"], order.get("expiresAt")
    return _put_guard(table, session_id, key, number, run_id, now, expires)


def guard_found(table: Table, session_id: str, order: ExistingOrder, now: int) -> Action:
    """Return the action that guards an order that this sync wrote before it had guards."""
    key, run_id = (order.pk, order.sk), order.sync_run_id
    return _put_guard(table, session_id, key, order.order_number, run_id, now, order.expires_at)


def _put_guard(
    table: Table,
    session_id: str,
    order_key: Key,
    order_number: str | None,
    run_id: str | None,
    now: int,
    expires_at: int | None,
) -> Action:
    pk, sk = guard_key(session_id)
    fields: Item = {
        "PK": pk,
        "SK": sk,
        "orderNumber": order_number,
        "orderKeyHash": hash_order_key(order_key),
        "syncRunId": run_id,
        "createdAt": to_iso(now),
        "expiresAt": expires_at,
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return table.put(present, "attribute_not_exists(PK)")


def hash_order_key(key: Key) -> str:
    """Return the SHA-256 of an order's key, `PK/SK`, in hexadecimal digits."""
    return hashlib.sha256("/".join(key).encode("utf-8", "surrogatepass")).hexdigest()
