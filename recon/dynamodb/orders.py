"""Finding a user's orders: those of the webhook lie under a sort key that no one but the webhook knows."""

from collections.abc import Iterable
from concurrent.futures import Executor

from recon.domain.message import SessionMessage
from recon.domain.order import partition_key
from recon.domain.reconcile import ExistingOrder, user_ids
from recon.dynamodb.table import Table
from recon.errors import SyncError
from recon.retry import Deadline

type Users = tuple[str, ...]  # the ids one user's orders may lie under
type Orders = list[ExistingOrder] | SyncError

# The webhook's clock and Stripe's are two. An order found too much costs nothing, one missed is doubled.
CLOCK_SKEW_SECONDS = 300
EPOCH_DIGITS = 10  # from 2001 to 2286
MAX_KEY_BYTES = 2048  # of a partition key; a longer id can have no orders
# Sorts after every `ORDER#…` and before anything else.
_BEHIND_ORDERS = "ORDER$"


def find_orders_by_user(
    table: Table, messages: Iterable[SessionMessage], pool: Executor, deadline: Deadline
) -> dict[Users, Orders]:
    """The orders of the users of these sessions: each user asked for once, in parallel.

    A lookup that failed is its user's answer, and nobody else's; it is repeated while the deadline allows.
    """
    since: dict[Users, int] = {}
    for message in messages:
        if ids := user_ids(message):
            since[ids] = min(message.created, since.get(ids, message.created))

    def answer(ids: Users, since: int) -> Orders:
        try:
            return find_orders(table, ids, since, deadline)
        except SyncError as error:
            return error

    return dict(zip(since, pool.map(answer, since.keys(), since.values()), strict=True))


def find_orders(
    table: Table, user_ids: Iterable[str], since: int, deadline: Deadline | None = None
) -> list[ExistingOrder]:
    """The orders under any of the ids that were written from `since` (epoch seconds) on.

    Consistent, all pages. No `Limit`: with a filter it would look at one item only, which is how orders
    of repeat customers came to be doubled once.
    """
    keys = map(partition_key, user_ids)
    return [order for pk in keys for order in _orders_under(table, pk, since, deadline)]


def _orders_under(table: Table, pk: str, since: int, deadline: Deadline | None) -> list[ExistingOrder]:
    if len(pk.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return []
    items = table.query(
        "PK = :pk AND SK BETWEEN :since AND :behind",
        {":pk": pk, ":since": _lower_bound(since - CLOCK_SKEW_SECONDS), ":behind": _BEHIND_ORDERS},
        projection="PK, SK, orderId, stripeSessionId, amount, currency, stripePaymentStatus",
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
        )
        for item in items
    ]


def _lower_bound(since: int) -> str:
    """Sort keys compare as text, which agrees with time only among numbers of the same length."""
    return f"ORDER#{since}" if len(str(since)) == EPOCH_DIGITS else "ORDER#"
