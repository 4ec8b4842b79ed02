"""Pure: what the sort keys of orders have in common."""

from enum import StrEnum

ORDER_PREFIX = "ORDER#"


class OrderSortKey(StrEnum):
    """The part that follows `ORDER#` in the sort keys of the webhook's orders.

    `EPOCH` is the time of writing in epoch seconds, so that a lookup reads a user's orders from the session's
    creation on. With `ANY` it says nothing about the time, and a lookup reads all orders of the user.
    """

    EPOCH = "epoch"
    ANY = "any"
