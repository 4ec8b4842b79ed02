"""Finding the orders of sessions: in the layout of this system, or where another shop keeps them.

Two plain ways behind one protocol. Neither scans a table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from recon.domain.message import SessionMessage
from recon.domain.order_keys import OrderSortKey
from recon.domain.shape import FILE, Shape
from recon.domain.shape_decision import knows_key, make_key
from recon.domain.table_decision import ExistingOrder
from recon.dynamodb.table import Item, Table
from recon.dynamodb.user_orders import Orders, find_orders_by_session
from recon.errors import ShapeMismatch, SyncError, TableRefused, Unexpected
from recon.retry import Deadline

type OrdersBySession = dict[SessionMessage, Orders]
type _Values = tuple[str, ...]  # of the key attributes, in the order of the shape


class OrderLookup(Protocol):
    """How the orders of sessions are found."""

    def find(self, messages: Iterable[SessionMessage], deadline: Deadline) -> OrdersBySession:
        """Return the orders of each session, or the error of its lookup."""
        ...


def make_lookup(table: Table, pool: Executor, shape: Shape | None, sort_key: OrderSortKey) -> OrderLookup:
    """Return the lookup of a shop's layout; without a shape, that is the layout of this system."""
    return UserLookup(table, pool, sort_key) if shape is None else ShapeLookup(table, shape, pool)


@dataclass(frozen=True)
class UserLookup:
    """The layout of this system: the orders of a user are under the user's id."""

    table: Table
    pool: Executor
    sort_key: OrderSortKey

    def find(self, messages: Iterable[SessionMessage], deadline: Deadline) -> OrdersBySession:
        """Return the orders under the session's user ids, one query for each user."""
        return find_orders_by_session(self.table, messages, self.pool, deadline, sort_key=self.sort_key)


@dataclass(frozen=True)
class ShapeLookup:
    """The layout of another shop: an order is under a key that is made from the session.

    An order that the shop has not done yet, such as one that was made before the checkout, is missing.
    """

    table: Table
    shape: Shape
    pool: Executor

    def find(self, messages: Iterable[SessionMessage], deadline: Deadline) -> OrdersBySession:
        """Return the done orders: by consistent reads of 100 keys, or by one query of the index for each."""
        messages = list(dict.fromkeys(messages))
        keys = {message: self._values(message) for message in messages}
        wanted = list(dict.fromkeys(key for key in keys.values() if key))
        look_up = self._query if self.shape.index else self._get
        found = look_up(wanted, deadline)
        return {message: self._to_orders(message, found.get(key or (), [])) for message, key in keys.items()}

    def _values(self, message: SessionMessage) -> _Values | None:
        key = make_key(message, self.shape) if knows_key(message, self.shape) else None
        return None if key is None else tuple(key.values())

    def _get(self, wanted: Sequence[_Values], deadline: Deadline) -> dict[_Values, list[Item] | SyncError]:
        try:
            items = self.table.get_shop_items([*map(self._to_key, wanted)], self._attributes, deadline)
        except SyncError as error:
            return dict.fromkeys(wanted, self._explain(error))
        found: dict[_Values, list[Item] | SyncError] = {}
        for item in items:
            found[tuple(item[name] for name in self.shape.key)] = [item]
        return found

    def _query(self, wanted: Sequence[_Values], deadline: Deadline) -> dict[_Values, list[Item] | SyncError]:
        def query(values: _Values) -> list[Item] | SyncError:
            try:
                items = self.table.query_shop(
                    self.shape.index or "", self._to_key(values), self._attributes, deadline
                )
                return list(self._until_done(items))
            except SyncError as error:
                return self._explain(error)

        return dict(zip(wanted, self.pool.map(query, wanted), strict=True))

    def _until_done(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items up to the first that the shop has done, since no other changes the result."""
        for item in items:
            yield item
            if self.shape.is_done(item) and not self.shape.find_foreign_word(item):
                return

    def _to_key(self, values: _Values) -> dict[str, str]:
        return dict(zip(self.shape.key, values, strict=True))

    @property
    def _attributes(self) -> list[str]:
        return list(dict.fromkeys((*self.shape.key, *self.shape.attributes)))

    def _explain(self, error: SyncError) -> SyncError:
        """Return the error, or the one that names the file if DynamoDB refuses the keys made from it."""
        if not isinstance(error, TableRefused):
            return error
        names = " and ".join(self.shape.key)
        where = f"index {self.shape.index} of table" if self.shape.index else "table"
        shown = " or ".join(self.shape.attributes) if self.shape.index else ""
        projection = f", or the index does not project {shown}" if shown else ""
        return ShapeMismatch(
            f"{FILE}: find.key has {names}, which are not the string keys of {where} {self.table.shop}"
            f"{projection}; compare them with `aws dynamodb describe-table`"
        )

    def _to_orders(self, message: SessionMessage, items: list[Item] | SyncError) -> Orders:
        if isinstance(items, SyncError):
            return items
        try:
            done = [item for item in items if self.shape.is_done(item)]
            # Several items are parts of one order, and the last is the one that the shop has done, if any is.
            return [self._to_order(message, item) for item in done[-1:]]
        except Exception as error:  # noqa: BLE001 - an unreadable item must not fail the other sessions
            return Unexpected(f"{type(error).__name__} while the order of the session was read")

    def _to_order(self, message: SessionMessage, item: Mapping[str, object]) -> ExistingOrder:
        """Return the order as one of the session, by whose key it was found."""
        pk, *rest = (str(item[name]) for name in self.shape.key)
        return ExistingOrder(
            pk,
            rest[0] if rest else "",
            message.session_id,
            message.session_id,
            foreign_word=self.shape.find_foreign_word(item),
        )
