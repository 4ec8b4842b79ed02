"""Pure: the keys of orders, `USER#<user id>` / `ORDER#…`: those of this sync and those of the webhook.

The sync's sort key is made from the session. The webhook's begins with the time at which it wrote the order,
so it cannot be derived from the session.
"""

from enum import StrEnum

ORDER_PREFIX = "ORDER#"


class OrderSortKey(StrEnum):
    """The part that follows `ORDER#` in the sort keys of the webhook's orders.

    `EPOCH` is the time of writing in epoch seconds, so that a lookup reads a user's orders from the session's
    creation on. With `ANY` it says nothing about the time, and a lookup reads all orders of the user.
    """

    EPOCH = "epoch"
    ANY = "any"


def partition_key(user_id: str) -> str:
    """Return the partition key of all orders of a user, those of the webhook included."""
    return f"USER#{user_id}"


def own_sort_key(created: int, session_id: str) -> str:
    """Return the sort key of an order that this sync writes; `created` is the session's (epoch seconds)."""
    return f"{ORDER_PREFIX}{created}#{session_id}"
