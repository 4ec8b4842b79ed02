"""One write, alone or in a transaction: a Put, an Update, a Delete or a ConditionCheck."""

# ruff: noqa: N803  the arguments are named as boto3 names them

from collections.abc import Callable, Mapping
from typing import Any, Literal

from testkit.doubles.conditions import Placeholders
from testkit.doubles.errors import Refused, invalid
from testkit.doubles.operands import found
from testkit.doubles.predicates import Predicate
from testkit.doubles.queries import projected
from testkit.doubles.tables import Key, Table
from testkit.doubles.updates import Update, bind_update
from testkit.doubles.values import Item, check_item_size, copied_item, normalised_item

type Names = Mapping[str, str] | None
type Attributes = Mapping[str, Mapping[str, Any]]
type OnFailure = Literal["ALL_OLD", "NONE"]
type TableOf = Callable[[str], Table]


class Write:
    """One Put, Update, Delete or ConditionCheck, checked as far as that goes without looking at an item."""

    def __init__(self, table: Table, key: Key, condition: Predicate | None, on_failure: OnFailure) -> None:
        self.table = table
        self.key = key
        self._condition = condition
        self._on_failure = on_failure

    @property
    def changes(self) -> bool:
        return True

    def before(self) -> Item | None:
        return self.table.get(self.key)

    def check(self) -> None:
        before = self.before()
        if self._condition is None or self._condition(before or {}):
            return
        held = {} if before is None or self._on_failure != "ALL_OLD" else {"Item": copied_item(before)}
        raise Refused("ConditionalCheckFailedException", "The conditional request failed", **held)

    def after(self) -> Item | None:
        return self.before()


class Put(Write):
    def __init__(self, item: Item, *args: Any) -> None:
        super().__init__(*args)
        self._item = item
        self.size = check_item_size(item)

    def after(self) -> Item | None:
        return self._item


class Delete(Write):
    def after(self) -> Item | None:
        return None


class Check(Write):
    @property
    def changes(self) -> bool:
        return False


class UpdateItem(Write):
    def __init__(self, update: Update | None, key_item: Item, *args: Any) -> None:
        super().__init__(*args)
        self.update = update
        self._key_item = key_item

    def after(self) -> Item | None:
        before = self.before() or self._key_item
        if self.update is None:
            return before
        after = self.update.applied(before)
        check_item_size(after, "Item size to update has exceeded the maximum allowed size")
        return after


class Requests:
    """Turns requests, as boto3 takes them, into writes; `table_of` finds their tables."""

    def __init__(self, table_of: Callable[[str], Table]) -> None:
        self._table_of = table_of

    def action(self, action: Mapping[str, Any]) -> Write:
        """One entry of TransactItems."""
        if len(action) != 1:
            raise invalid("TransactItems can only contain one of Check, Put, Update or Delete")
        ((kind, request),) = action.items()
        binders: dict[str, Callable[..., Write]] = {
            "Put": self.put,
            "Update": self.update,
            "Delete": self.delete,
            "ConditionCheck": self.check,
        }
        return binders[kind](**request)

    def of_batch(
        self,
        table_name: str,
        PutRequest: Mapping[str, Any] | None = None,
        DeleteRequest: Mapping[str, Any] | None = None,
    ) -> Write:
        """One entry of a BatchWriteItem."""
        if PutRequest is not None and DeleteRequest is None:
            return self.put(TableName=table_name, **PutRequest)
        if DeleteRequest is not None and PutRequest is None:
            return self.delete(TableName=table_name, **DeleteRequest)
        raise invalid(
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes"
        )

    def put(
        self,
        *,
        TableName: str,
        Item: Attributes,
        ConditionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
        ExpressionAttributeValues: Attributes | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> Put:
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        condition = _condition(placeholders, ConditionExpression)
        placeholders.finish()
        table = self._table_of(TableName)
        item = normalised_item(Item)
        return Put(item, table, table.key_of(item), condition, ReturnValuesOnConditionCheckFailure)

    def delete(self, **request: Any) -> Delete:
        return Delete(*self._keyed(**request))

    def check(self, *, ConditionExpression: str, **request: Any) -> Check:
        return Check(*self._keyed(ConditionExpression=ConditionExpression, **request))

    def _keyed(
        self,
        *,
        TableName: str,
        Key: Attributes,
        ConditionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
        ExpressionAttributeValues: Attributes | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> tuple[Table, Key, Predicate | None, OnFailure]:
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        condition = _condition(placeholders, ConditionExpression)
        placeholders.finish()
        table = self._table_of(TableName)
        return table, table.exact_key(normalised_item(Key)), condition, ReturnValuesOnConditionCheckFailure

    def update(
        self,
        *,
        TableName: str,
        Key: Attributes,
        UpdateExpression: str | None = None,
        ConditionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
        ExpressionAttributeValues: Attributes | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> UpdateItem:
        table = self._table_of(TableName)
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        update = None
        if UpdateExpression is not None:
            update = bind_update(placeholders, UpdateExpression, table.schema.names)
        condition = _condition(placeholders, ConditionExpression)
        placeholders.finish()
        item = normalised_item(Key)
        key = table.exact_key(item)
        return UpdateItem(update, item, table, key, condition, ReturnValuesOnConditionCheckFailure)


def _condition(placeholders: Placeholders, text: str | None) -> Predicate | None:
    return None if text is None else placeholders.condition("ConditionExpression", text)


def returned(write: Write, before: Item | None, after: Item | None, wanted: str) -> Item | None:
    """What `ReturnValues` asks for."""
    source = {"ALL_OLD": before, "UPDATED_OLD": before, "ALL_NEW": after, "UPDATED_NEW": after}.get(wanted)
    if source is None:
        return None
    if wanted.startswith("ALL"):
        return copied_item(source)
    update = write.update if isinstance(write, UpdateItem) else None
    trails = () if update is None else tuple(t for t in update.trails if found(source, t) is not None)
    return projected(source, trails)
