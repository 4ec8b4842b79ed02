"""Finding the orders of a user. The sort key of the webhook's orders cannot be derived from the session."""

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor

from recon.domain.message import SessionMessage
from recon.domain.order import partition_key
from recon.domain.reconcile import ExistingOrder, user_ids
from recon.dynamodb.attribute_readers import read_integer, read_number, read_text
from recon.dynamodb.table import Table
from recon.errors import SyncError, Unexpected
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
    """Return the orders of these sessions by user, with one lookup for each user, in parallel.

    A lookup is retried until the deadline. If it still fails, its user gets the error instead of orders; so
    does a user whose items cannot be read.
    """
    since: dict[Users, int] = {}
    sessions: dict[Users, set[str]] = {}
    for message in messages:
        if ids := user_ids(message):
            since[ids] = min(message.created, since.get(ids, message.created))
            sessions.setdefault(ids, set()).add(message.session_id)

    def find(ids: Users) -> Orders:
        try:
            return find_orders(table, ids, since[ids], deadline, sessions[ids])
        except SyncError as error:
            return error
        except Exception as error:  # noqa: BLE001 - an unreadable item of one user must not fail the others
            return Unexpected(f"{type(error).__name__} while the orders of the user were read")

    return dict(zip(since, pool.map(find, since), strict=True))


def is_proof(message: SessionMessage, orders: dict[Users, Orders]) -> bool:
    """Return True if the session has an order that this sync did not write."""
    found = orders.get(user_ids(message), [])
    if isinstance(found, SyncError):
        return False
    return any(order.belongs_to(message.session_id) and not order.sync_run_id for order in found)


def find_orders(
    table: Table,
    user_ids: Iterable[str],
    since: int,
    deadline: Deadline | None = None,
    sessions: Collection[str] | None = None,
) -> list[ExistingOrder]:
    """Return the orders under any of these ids that were written from `since` (epoch seconds) on.

    With `sessions`, keep only their orders: a user such as `guest` may have hundreds of thousands. The reads
    are consistent and cover all pages. They set no `Limit`: DynamoDB applies it before the filter, so that a
    limit of one once missed, and doubled, orders of repeat customers.
    """
    found = (
        order for pk in map(partition_key, user_ids) for order in _orders_under(table, pk, since, deadline)
    )
    return [order for order in found if sessions is None or any(map(order.belongs_to, sessions))]


def _orders_under(table: Table, pk: str, since: int, deadline: Deadline | None) -> Iterator[ExistingOrder]:
    if len(pk.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return
    items = table.query(
        "PK = :pk AND SK BETWEEN :since AND :behind",
        {":pk": pk, ":since": _lower_bound(since - CLOCK_SKEW_SECONDS), ":behind": _BEHIND_ORDERS},
        projection="PK, SK, orderId, stripeSessionId, amount, currency, stripePaymentStatus, orderNumber, "
        "syncRunId, expiresAt",
        deadline=deadline,
    )
    for item in items:
        yield ExistingOrder(
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
        )


def _lower_bound(since: int) -> str:
    """Return the first sort key to read. Text sorts like time only among numbers of the same length."""
    return f"ORDER#{since}" if len(str(since)) == EPOCH_DIGITS else "ORDER#"
