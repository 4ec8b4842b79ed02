"""Counts the units that DynamoDB charges and the calls of any client, from the actual items.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""

import re
from collections import Counter
from collections.abc import Mapping
from threading import Lock
from typing import Any

from recon.dynamodb.item_size import item_bytes
from recon.dynamodb.table import from_wire
from testkit.shapes import JsonObject

_READ_UNIT, _WRITE_UNIT = 4096, 1024
_TRANSACTIONAL = 2


class MeteredTable:
    """An in-memory DynamoDB with one table that counts the units of each call. Thread-safe.

    `calls` counts by method name; `reads` and `writes` are request units.
    """

    def __init__(self, memory: Any, table: str) -> None:  # noqa: ANN401 - the double
        self._memory = memory
        self._table = table
        self._lock = Lock()
        self.calls: Counter[str] = Counter()
        self.reads = 0
        self.writes = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else the double can
        return getattr(self._memory, name)

    def reset(self) -> None:
        self.calls, self.reads, self.writes = Counter(), 0, 0

    def get_item(self, **request: Any) -> JsonObject:  # noqa: ANN401 - boto3's arguments
        answer: JsonObject = self._memory.get_item(**request)
        self._note("get_item", reads=_read_units([_size(answer.get("Item"))]))
        return answer

    def batch_get_item(self, **request: Any) -> JsonObject:  # noqa: ANN401 - boto3's arguments
        """Charge each key separately, rounded up, even if it has no item."""
        keys = request["RequestItems"][self._table]["Keys"]
        units = sum(_read_units([self._size_at(key)]) for key in keys)
        answer: JsonObject = self._memory.batch_get_item(**request)
        self._note("batch_get_item", reads=units)
        return answer

    def query(self, **request: Any) -> JsonObject:  # noqa: ANN401 - boto3's arguments
        """Charge what is read before filter and projection, rounded up once."""
        whole = {name: value for name, value in request.items() if name not in _NARROWING}
        # What only the filter names would be refused as unused.
        used = set(re.findall(r"[:#]\w+", request["KeyConditionExpression"]))
        for name in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            kept = {alias: value for alias, value in whole.pop(name, {}).items() if alias in used}
            whole |= {name: kept} if kept else {}
        read: JsonObject = self._memory.query(**whole)
        answer: JsonObject = self._memory.query(**request)
        self._note("query", reads=_read_units(map(_size, read["Items"])))
        return answer

    def put_item(self, **request: Any) -> JsonObject:  # noqa: ANN401 - boto3's arguments
        """Charge the larger of the item before and after, even if the condition fails."""
        key = find_action_key({"Put": request})
        before = self._size_at(key)
        try:
            answer: JsonObject = self._memory.put_item(**request)
        finally:
            self._note("put_item", writes=_units(max(before, self._size_at(key)), _WRITE_UNIT))
        return answer

    def transact_write_items(self, **request: Any) -> JsonObject:  # noqa: ANN401 - boto3's arguments
        """Charge twice the larger of each item before and after, even if a condition cancels it."""
        keys = [find_action_key(action) for action in request["TransactItems"]]
        before = [self._size_at(key) for key in keys]
        try:
            answer: JsonObject = self._memory.transact_write_items(**request)
        finally:
            sizes = zip(before, map(self._size_at, keys), strict=True)
            units = sum(_TRANSACTIONAL * _units(max(pair), _WRITE_UNIT) for pair in sizes)
            self._note("transact_write_items", writes=units)
        return answer

    def _size_at(self, key: JsonObject) -> int:
        return _size(self._memory.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item"))

    def _note(self, method: str, reads: int = 0, writes: int = 0) -> None:
        with self._lock:
            self.calls[method] += 1
            self.reads += reads
            self.writes += writes


_NARROWING = ("ProjectionExpression", "FilterExpression")


class CallCounter:
    """A client whose calls are counted by name."""

    def __init__(self, client: Any, calls: Counter[str]) -> None:  # noqa: ANN401 - any client
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method
        method = getattr(self._client, name)

        def call(**request: Any) -> Any:  # noqa: ANN401
            self._calls[name] += 1
            return method(**request)

        return call


def find_action_key(action: Mapping[str, JsonObject]) -> JsonObject:
    [body] = action.values()
    source = body.get("Item") or body["Key"]
    return {"PK": source["PK"], "SK": source["SK"]}


def _size(item: JsonObject | None) -> int:
    return item_bytes(from_wire(item)) if item else 0


def _read_units(sizes: Any) -> int:  # noqa: ANN401 - any iterable of sizes
    return _units(sum(sizes), _READ_UNIT)


def _units(size: int, unit: int) -> int:
    """Return the units of a size, at least one: a missing item costs as much as the smallest."""
    return max(1, -(-size // unit))
