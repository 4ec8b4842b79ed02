"""Finding the orders of a user. The sort key of the webhook's orders cannot be derived from the session."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from recon.domain.message import SessionMessage
from recon.domain.order_keys import ORDER_PREFIX, OrderSortKey, partition_key
from recon.domain.stripe_values import is_storable
from recon.domain.table_decision import ExistingOrder, find_own_orders, other_user_ids, user_ids
from recon.dynamodb.attribute_readers import read_integer, read_number, read_text
from recon.dynamodb.table import Item, Table
from recon.errors import SyncError, Unexpected
from recon.retry import Deadline

type Users = tuple[str, ...]  # ids of one user, which one lookup covers
type Orders = list[ExistingOrder] | SyncError

# The clocks of the webhook and of Stripe may differ. An extra order does no harm, a missed one is doubled.
CLOCK_SKEW_SECONDS = 300
EPOCH_DIGITS = 10  # from 2001 to 2286
MAX_KEY_BYTES = 2048  # of a partition key; a longer id can have no orders
# Sorts right after every `ORDER#…`.
BEHIND_ORDERS = "ORDER$"


def find_orders_by_session(
    table: Table,
    messages: Iterable[SessionMessage],
    pool: Executor,
    deadline: Deadline,
    *,
    sort_key: OrderSortKey,
) -> dict[SessionMessage, Orders]:
    """Return the orders of each session, looked up in parallel.

    All of them are looked up under the ids of `user_ids`, once for each user. Only those without an order
    there are looked up under the ids of `other_user_ids`, once for each id. A lookup is retried until the
    deadline. If it still fails, its sessions get the error instead of orders; so do those of a user whose
    items cannot be read.
    """
    lookup = _Lookup(table, pool, deadline, sort_key)
    messages = list(dict.fromkeys(messages))
    found = lookup.find({message: [user_ids(message)] for message in messages if user_ids(message)})
    orders = {message: found.get(message, []) for message in messages}
    missing = [message for message in messages if orders[message] == []]
    others = {message: [(other,) for other in other_user_ids(message)] for message in missing}
    return orders | lookup.find({message: ids for message, ids in others.items() if ids})


@dataclass(frozen=True)
class _Lookup:
    """Lookups of sessions by the ids of their users, each once for all sessions that need it."""

    table: Table
    pool: Executor
    deadline: Deadline
    sort_key: OrderSortKey

    def find(self, wanted: Mapping[SessionMessage, Sequence[Users]]) -> dict[SessionMessage, Orders]:
        """Return the orders of each session under all of its users, or the first error."""
        sessions: dict[Users, list[SessionMessage]] = {}
        for message, users in wanted.items():
            for user in users:
                sessions.setdefault(user, []).append(message)
        found = dict(zip(sessions, self.pool.map(self._find, sessions, sessions.values()), strict=True))
        return {
            message: _merge(message, [found[user] for user in users]) for message, users in wanted.items()
        }

    def _find(self, user: Users, messages: Sequence[SessionMessage]) -> Orders:
        since = min(message.created for message in messages)
        try:
            return find_orders(self.table, user, since, self.deadline, messages, sort_key=self.sort_key)
        except SyncError as error:
            return error
        except Exception as error:  # noqa: BLE001 - an unreadable item of one user must not fail the others
            return Unexpected(f"{type(error).__name__} while the orders of the user were read")


def _merge(message: SessionMessage, found: Sequence[Orders]) -> Orders:
    """Return the session's own orders of several lookups, or the first error if none has one."""
    orders = [order for each in found if not isinstance(each, SyncError) for order in each]
    own = find_own_orders(message, orders)
    return own or next((each for each in found if isinstance(each, SyncError)), [])


def is_proof(orders: Orders) -> bool:
    """Return True if one of a session's orders was not written by this sync."""
    return not isinstance(orders, SyncError) and not all(order.sync_run_id for order in orders)


def find_orders(
    table: Table,
    user_ids: Iterable[str],
    since: int,
    deadline: Deadline | None = None,
    sessions: Collection[SessionMessage] | None = None,
    *,
    sort_key: OrderSortKey = OrderSortKey.EPOCH,
) -> list[ExistingOrder]:
    """Return the orders under any of these ids that were written from `since` (epoch seconds) on.

    With a sort key that says nothing about the time, return all orders under these ids.

    With `sessions`, keep only their orders: a user such as `guest` may have hundreds of thousands. The reads
    are consistent and cover all pages. They set no `Limit`: DynamoDB applies it before the filter, so that a
    limit of one once missed, and doubled, orders of repeat customers.
    """
    first = first_sort_key(since, sort_key)
    found = (
        order for pk in map(partition_key, user_ids) for order in _orders_under(table, pk, first, deadline)
    )
    return [order for order in found if sessions is None or any(map(order.belongs_to, sessions))]


def _orders_under(table: Table, pk: str, first: str, deadline: Deadline | None) -> Iterator[ExistingOrder]:
    if not is_storable(pk) or len(pk.encode()) > MAX_KEY_BYTES:
        return
    items = table.query(
        "PK = :pk AND SK BETWEEN :first AND :behind",
        {":pk": pk, ":first": first, ":behind": BEHIND_ORDERS},
        projection="PK, SK, orderId, stripeSessionId, amount, currency, stripePaymentStatus, orderNumber, "
        "syncRunId, expiresAt, stripePaymentIntentId, paymentIntentId",
        deadline=deadline,
    )
    yield from map(parse_order, items)


def parse_order(item: Item) -> ExistingOrder:
    """Return the order of an item. Only its keys must be present."""
    return ExistingOrder(
        item["PK"],
        item["SK"],
        read_text(item, "orderId"),
        read_text(item, "stripeSessionId"),
        read_number(item, "amount"),
        read_text(item, "currency"),
        read_text(item, "stripePaymentStatus"),
        read_text(item, "orderNumber"),
        read_text(item, "syncRunId"),
        read_integer(item, "expiresAt"),
        read_text(item, "stripePaymentIntentId") or read_text(item, "paymentIntentId"),
    )


def first_sort_key(since: int, sort_key: OrderSortKey) -> str:
    """Return the first sort key to read for a session that was created at `since` (epoch seconds).

    Text sorts like time only among numbers of the same length.
    """
    earliest = str(since - CLOCK_SKEW_SECONDS)
    by_time = sort_key is OrderSortKey.EPOCH and len(earliest) == EPOCH_DIGITS
    return f"{ORDER_PREFIX}{earliest}" if by_time else ORDER_PREFIX
