"""Writes of one item, alone or in a transaction, bound from boto3's requests; a check leaves its item."""

# ruff: noqa: N803 - the arguments have boto3's names

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from testkit.doubles.conditions import Placeholders, Predicate
from testkit.doubles.errors import ServiceRefusal, validation_error
from testkit.doubles.tables import ItemKey, MemoryTable, exact_key, key_of_item
from testkit.doubles.updates import bind_update
from testkit.doubles.values import check_item_size, copy_item, normalize_item
from testkit.shapes import AttributeMap

type NamePlaceholders = Mapping[str, str] | None
type RequestItem = Mapping[str, Mapping[str, Any]]
type OnFailure = Literal["ALL_OLD", "NONE"]


@dataclass(frozen=True, slots=True)
class Write:
    """One write, checked as far as that is possible without looking at an item.

    `change` returns what is stored after it, None for nothing. `put_bytes` is the size of the item of a Put.
    """

    table: MemoryTable
    key: ItemKey
    condition: Predicate | None
    on_failure: OnFailure
    change: Callable[[AttributeMap | None], AttributeMap | None]
    put_bytes: int = 0

    def before(self) -> AttributeMap | None:
        return self.table.get(self.key)

    def after(self) -> AttributeMap | None:
        """Return what is stored afterwards. Raise a service error if the write is refused."""
        before = self.before()
        if self.condition is not None and not self.condition(before or {}):
            members = (
                {"Item": copy_item(before)} if before is not None and self.on_failure == "ALL_OLD" else {}
            )
            raise ServiceRefusal(
                "ConditionalCheckFailedException", "The conditional request failed", **members
            )
        return self.change(before)


class WriteBinder:
    """The conversion of requests into writes. `find_table` returns a table by name or raises."""

    def __init__(self, find_table: Callable[[str], MemoryTable]) -> None:
        self._find_table = find_table

    def bind_action(self, action: Mapping[str, Any]) -> Write:
        """Bind one entry of TransactItems."""
        if len(action) != 1:
            raise validation_error("TransactItems can only contain one of Check, Put, Update or Delete")
        ((kind, request),) = action.items()
        binders: dict[str, Callable[..., Write]] = {
            "Put": self.put,
            "Update": self.update,
            "Delete": self.delete,
            "ConditionCheck": self.check,
        }
        return binders[kind](**request)

    def put(
        self,
        *,
        TableName: str,
        Item: RequestItem,
        ConditionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
        ExpressionAttributeValues: RequestItem | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> Write:
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        condition = placeholders.condition("ConditionExpression", ConditionExpression)
        placeholders.finish()
        table = self._find_table(TableName)
        item = normalize_item(Item)
        key, size = key_of_item(item), check_item_size(item)
        return Write(table, key, condition, ReturnValuesOnConditionCheckFailure, lambda _: item, size)

    def delete(
        self,
        *,
        TableName: str,
        Key: RequestItem,
        ConditionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
        ExpressionAttributeValues: RequestItem | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> Write:
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        condition = placeholders.condition("ConditionExpression", ConditionExpression)
        placeholders.finish()
        key = exact_key(normalize_item(Key))
        return Write(
            self._find_table(TableName), key, condition, ReturnValuesOnConditionCheckFailure, lambda _: None
        )

    def check(
        self,
        *,
        TableName: str,
        Key: RequestItem,
        ConditionExpression: str,
        ExpressionAttributeNames: NamePlaceholders = None,
        ExpressionAttributeValues: RequestItem | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> Write:
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        condition = placeholders.condition("ConditionExpression", ConditionExpression)
        placeholders.finish()
        key = exact_key(normalize_item(Key))
        return Write(
            self._find_table(TableName),
            key,
            condition,
            ReturnValuesOnConditionCheckFailure,
            lambda before: before,
        )

    def update(
        self,
        *,
        TableName: str,
        Key: RequestItem,
        UpdateExpression: str,
        ConditionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
        ExpressionAttributeValues: RequestItem | None = None,
        ReturnValuesOnConditionCheckFailure: OnFailure = "NONE",
    ) -> Write:
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        update = bind_update(placeholders, UpdateExpression)
        condition = placeholders.condition("ConditionExpression", ConditionExpression)
        placeholders.finish()
        key_item = normalize_item(Key)

        def change(before: AttributeMap | None) -> AttributeMap:
            after = update(before or key_item)
            check_item_size(after, "Item size to update has exceeded the maximum allowed size")
            return after

        table, key = self._find_table(TableName), exact_key(key_item)
        return Write(table, key, condition, ReturnValuesOnConditionCheckFailure, change)
