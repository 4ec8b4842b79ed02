"""Finding the orders of a user. The sort key of the webhook's orders cannot be derived from the session."""

from collections.abc import Iterable
from concurrent.futures import Executor

from recon.domain.message import SessionMessage
from recon.domain.order import partition_key
from recon.domain.reconcile import ExistingOrder, user_ids
from recon.dynamodb.attribute_readers import read_integer, read_text
from recon.dynamodb.table import Table
from recon.errors import SyncError
from recon.retry import Deadline

type Users = tuple[str, ...]  # the ids under which one user may have orders
type Orders = list[ExistingOrder] | SyncError

# The clocks of the webhook and of Stripe may differ. An extra order does no harm, a missed one is doubled.
CLOCK_SKEW_SECONDS = 300
EPOCH_DIGITS = 10  # from 2001 to 2286
MAX_KEY_BYTES = 2048  # of a partition key; a longer id can have no orders
# Sorts right after every `ORDER#…`.
_BEHIND_ORDERS = "ORDER$"


def find_orders_by_user(
    table: Table, messages: Iterable[SessionMessage], pool: Executor, deadline: Deadline
) -> dict[Users, Orders]:
    """Return the orders of the users of these sessions, with one lookup for each user, in parallel.

    A lookup is retried until the deadline. If it still fails, its user gets the error instead of orders.
    """
    since: dict[Users, int] = {}
    for message in messages:
        if ids := user_ids(message):
            since[ids] = min(message.created, since.get(ids, message.created))

    def find(ids: Users, since: int) -> Orders:
        try:
            return find_orders(table, ids, since, deadline)
        except SyncError as error:
            return error

    return dict(zip(since, pool.map(find, since.keys(), since.values()), strict=True))


def find_orders(
    table: Table, user_ids: Iterable[str], since: int, deadline: Deadline | None = None
) -> list[ExistingOrder]:
    """Return the orders under any of these ids that were written from `since` (epoch seconds) on.

    The reads are consistent and cover all pages. They set no `Limit`: DynamoDB applies it before the filter,
    so that a limit of one once missed, and doubled, orders of repeat customers.
    """
    keys = map(partition_key, user_ids)
    return [order for pk in keys for order in _orders_under(table, pk, since, deadline)]


def _orders_under(table: Table, pk: str, since: int, deadline: Deadline | None) -> list[ExistingOrder]:
    if len(pk.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return []
    items = table.query(
        "PK = :pk AND SK BETWEEN :since AND :behind",
        {":pk": pk, ":since": _lower_bound(since - CLOCK_SKEW_SECONDS), ":behind": _BEHIND_ORDERS},
        projection="PK, SK, orderId, stripeSessionId, amount, currency, stripePaymentStatus, orderNumber, "
        "syncRunId, expiresAt",
        deadline=deadline,
    )
    return [
        ExistingOrder(
            item["PK"],
            item["SK"],
            item.get("orderId"),
            item.get("stripeSessionId"),
            item.get("amount"),
            item.get("currency"),
            item.get("stripePaymentStatus"),
            read_text(item, "orderNumber"),
            read_text(item, "syncRunId"),
            read_integer(item, "expiresAt"),
        )
        for item in items
    ]


def _lower_bound(since: int) -> str:
    """Return the first sort key to read. Text sorts like time only among numbers of the same length."""
    return f"ORDER#{since}" if len(str(since)) == EPOCH_DIGITS else "ORDER#"
