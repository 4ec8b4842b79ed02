"""Tables of another shop beside those of the sync: any string keys and indexes, and reads only.

It implements what the sync may do with such a table, BatchGetItem and Query by equal keys, and what the
operator's `layout` may do besides, DescribeTable and bounded reads by key and of samples. It refuses the
rest. All other tables are those of the client that it wraps.
"""

# ruff: noqa: N803 - the arguments have boto3's names

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testkit.doubles.dynamodb import MemoryDynamoDB
from testkit.doubles.errors import ServiceRefusal, client_error, validation_error
from testkit.shapes import AttributeMap, JsonObject


@dataclass
class ForeignTable:
    """The table of another shop: the names of its keys, its indexes by name, and its items.

    `types` are the types of keys that are not texts. An index in `projected` has these attributes only.
    """

    keys: tuple[str, ...]
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    items: list[AttributeMap] = field(default_factory=list)
    types: Mapping[str, str] = field(default_factory=dict)
    projected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def describe(self, name: str) -> JsonObject:
        """Return the description of the table."""
        keys = dict.fromkeys((*self.keys, *(key for index in self.indexes.values() for key in index)))
        indexes = [
            {"IndexName": index, "KeySchema": _to_schema(keys), "Projection": self._projection(index)}
            for index, keys in self.indexes.items()
        ]
        return {
            "TableName": name,
            "KeySchema": _to_schema(self.keys),
            "AttributeDefinitions": [
                {"AttributeName": key, "AttributeType": self.types.get(key, "S")} for key in keys
            ],
            **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        }

    def _projection(self, index: str) -> JsonObject:
        if index not in self.projected:
            return {"ProjectionType": "ALL"}
        return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(self.projected[index])}

    def find(self, wanted: Mapping[str, Any]) -> list[AttributeMap]:
        """Return the items with these values."""
        return [item for item in self.items if all(item.get(name) == one for name, one in wanted.items())]


class ForeignTables:
    """A client with the tables of another shop.

    `denied` are operations that the role may not use on them. One BatchGetItem reads `most_keys` keys.
    """

    def __init__(self, memory: MemoryDynamoDB, tables: Mapping[str, ForeignTable]) -> None:
        self._memory = memory
        self._tables = tables
        self.denied: set[str] = set()
        self.requests: list[str] = []
        self.most_keys = 100

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._memory, name)
        if not callable(method):
            return method

        def call(*args: Any, **request: Any) -> Any:
            if request.get("TableName") in self._tables:
                raise AssertionError(f"{name} on the table of another shop")
            return method(*args, **request)

        return call

    def transact_write_items(self, **request: Any) -> JsonObject:
        names = {body["TableName"] for action in request["TransactItems"] for body in action.values()}
        assert not names & self._tables.keys(), "a write into the table of another shop"
        return self._memory.transact_write_items(**request)

    def batch_get_item(self, *, RequestItems: Mapping[str, JsonObject]) -> JsonObject:
        foreign = RequestItems.keys() & self._tables.keys()
        if not foreign:
            return self._memory.batch_get_item(RequestItems=RequestItems)
        [name] = RequestItems
        return self._answer("BatchGetItem", name, lambda: self._get_many(name, **RequestItems[name]))

    def _get_many(
        self,
        name: str,
        *,
        Keys: Sequence[AttributeMap],
        ConsistentRead: bool,
        ProjectionExpression: str = "",
        ExpressionAttributeNames: Mapping[str, str] | None = None,
    ) -> JsonObject:
        table = self._tables[name]
        assert ConsistentRead
        if len({str(sorted(key.items())) for key in Keys}) < len(Keys):
            raise validation_error("Provided list of item keys contains duplicates")
        if any(set(key) != set(table.keys) for key in Keys):
            raise validation_error("The provided key element does not match the schema")
        names = ExpressionAttributeNames or {}
        shown = [names[one] for one in ProjectionExpression.split(", ") if one]
        found = [item for key in Keys[: self.most_keys] for item in table.find(key)]
        left = {name: {"Keys": Keys[self.most_keys :]}} if len(Keys) > self.most_keys else {}
        return {"Responses": {name: [_project(item, shown) for item in found]}, "UnprocessedKeys": left}

    def describe_table(self, *, TableName: str) -> JsonObject:
        if TableName not in self._tables:
            return self._memory.describe_table(TableName=TableName)
        return {"Table": self._tables[TableName].describe(TableName)}

    def scan(self, **request: Any) -> JsonObject:
        if request["TableName"] not in self._tables:
            return self._memory.scan(**request)
        return self._answer("Scan", request["TableName"], lambda: self._scan(**request))

    def _scan(self, *, TableName: str, Segment: int, TotalSegments: int, Limit: int) -> JsonObject:
        items = self._tables[TableName].items[Segment::TotalSegments]
        last: JsonObject = {"LastEvaluatedKey": {}} if len(items) > Limit else {}
        return {"Items": [dict(item) for item in items[:Limit]], **last}

    def query(self, **request: Any) -> JsonObject:
        if request["TableName"] not in self._tables:
            return self._memory.query(**request)
        return self._answer("Query", request["TableName"], lambda: self._query(**request))

    def _query(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeNames: Mapping[str, str],
        ExpressionAttributeValues: AttributeMap,
        IndexName: str | None = None,
        ProjectionExpression: str = "",
        ScanIndexForward: bool = True,
        Limit: int | None = None,
    ) -> JsonObject:
        table = self._tables[TableName]
        if IndexName is not None and IndexName not in table.indexes:
            raise validation_error(f"The table does not have the specified index: {IndexName}")
        pairs = [part.split(" = ") for part in KeyConditionExpression.split(" AND ")]
        wanted = {ExpressionAttributeNames[name]: ExpressionAttributeValues[value] for name, value in pairs}
        keys = table.keys if IndexName is None else table.indexes[IndexName]
        if tuple(wanted) not in (keys, keys[:1]):
            raise validation_error("Query condition missed key schema element")
        shown = [ExpressionAttributeNames[one] for one in ProjectionExpression.split(", ") if one]
        if not shown and IndexName is not None and IndexName in table.projected:
            shown = [*table.keys, *keys, *table.projected[IndexName]]
        found = table.find(wanted)[:: 1 if ScanIndexForward else -1][:Limit]
        return {"Items": [_project(item, shown) for item in found]}

    def _answer(self, operation: str, table: str, answer: Any) -> JsonObject:
        self.requests.append(operation)
        try:
            if operation in self.denied:
                raise ServiceRefusal(  # noqa: TRY301 - as the service itself
                    "AccessDeniedException",
                    f"User is not authorized to perform: dynamodb:{operation} on {table}",
                )
            return dict(answer())
        except ServiceRefusal as error:
            raise client_error(self._memory.exceptions, operation, error.code, error.message) from None


def _to_schema(keys: Sequence[str]) -> list[JsonObject]:
    kinds = ("HASH", "RANGE")
    return [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)]


def _project(item: AttributeMap, shown: Sequence[str]) -> AttributeMap:
    return {name: item[name] for name in shown if name in item} if shown else dict(item)
