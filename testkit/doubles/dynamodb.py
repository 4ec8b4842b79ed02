"""DynamoDB in memory, as boto3's low-level client: the operations and expressions that this project uses.

A history that is repeated ends in the same bytes (`dump`): time comes from `clock`, and nothing is random.
The contract suite compares it with DynamoDB Local. An operation, an argument or an expression that it does
not implement is refused, never ignored.
"""

# ruff: noqa: N803 - the arguments have boto3's names

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import botocore.session
from botocore.paginate import Paginator

from testkit.doubles.client import MemoryClient, operation
from testkit.doubles.conditions import Placeholders
from testkit.doubles.errors import ServiceRefusal, service_model, validation_error
from testkit.doubles.queries import (
    PageLimits,
    bind_key_condition,
    project,
    query_items,
    read_page,
    scan_items,
)
from testkit.doubles.tables import KEY_NAMES, MemoryTable, exact_key, key_of_item
from testkit.doubles.transactions import RequestTokens, bind_actions, decide_writes
from testkit.doubles.values import copy_item, normalize_item
from testkit.doubles.writes import NamePlaceholders, RequestItem, Write, WriteBinder
from testkit.shapes import AttributeMap, JsonObject

MAX_BATCH_GET = 100


class MemoryDynamoDB(MemoryClient):
    """DynamoDB with tables whose keys are the strings PK and SK.

    `page_items` makes pages shorter than 1 MB; `batch_items` leaves the rest of a larger BatchGetItem
    unprocessed; `validate=False` skips botocore's validation.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        page_items: int | None = None,
        batch_items: int | None = None,
        validate: bool = True,
    ) -> None:
        super().__init__("dynamodb", clock, validate=validate)
        self.page_items = page_items
        self.batch_items = batch_items
        self._tables: dict[str, MemoryTable] = {}
        self._tokens = RequestTokens()
        self._binder = WriteBinder(self._find_table)

    def add_table(self, name: str) -> None:
        self._tables[name] = MemoryTable(name)

    def _find_table(self, name: str) -> MemoryTable:
        if name not in self._tables:
            raise ServiceRefusal("ResourceNotFoundException", "Requested resource not found")
        return self._tables[name]

    @operation("DescribeTable")
    def describe_table(self, *, TableName: str) -> JsonObject:
        self._find_table(TableName)
        schema = [
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(KEY_NAMES, ("HASH", "RANGE"), strict=True)
        ]
        attributes = [{"AttributeName": name, "AttributeType": "S"} for name in KEY_NAMES]
        return {"Table": {"TableName": TableName, "KeySchema": schema, "AttributeDefinitions": attributes}}

    # Reads, all of them consistent

    @operation("GetItem")
    def get_item(
        self,
        *,
        TableName: str,
        Key: RequestItem,
        ConsistentRead: bool = False,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
    ) -> JsonObject:
        shown = _bind_projection(ExpressionAttributeNames, ProjectionExpression)
        item = self._find_table(TableName).get(exact_key(normalize_item(Key)))
        return {} if item is None else {"Item": project(item, shown)}

    @operation("BatchGetItem")
    def batch_get_item(self, *, RequestItems: Mapping[str, JsonObject]) -> JsonObject:
        if not RequestItems:
            raise validation_error("The requestItems parameter is required for BatchGetItem")
        if sum(len(request["Keys"]) for request in RequestItems.values()) > MAX_BATCH_GET:
            raise validation_error("Too many items requested for the BatchGetItem call")
        left = MAX_BATCH_GET if self.batch_items is None else self.batch_items
        responses: dict[str, list[AttributeMap]] = {}
        unprocessed: dict[str, JsonObject] = {}
        for name, request in RequestItems.items():
            keys = request["Keys"]
            responses[name] = self._get_many(name, left, **request)
            if keys[left:]:
                unprocessed[name] = {**request, "Keys": keys[left:]}
            left = max(0, left - len(keys))
        return {"Responses": responses, "UnprocessedKeys": unprocessed}

    def _get_many(
        self,
        table: str,
        most: int,
        *,
        Keys: Sequence[RequestItem],
        ConsistentRead: bool = False,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
    ) -> list[AttributeMap]:
        shown = _bind_projection(ExpressionAttributeNames, ProjectionExpression)
        found = self._find_table(table)
        keys = [exact_key(normalize_item(key)) for key in Keys]
        if len(set(keys)) < len(keys):
            raise validation_error("Provided list of item keys contains duplicates")
        # The service promises no order. The reverse order keeps a caller from relying on one.
        return [project(item, shown) for key in reversed(keys[:most]) if (item := found.get(key))]

    @operation("Query")
    def query(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        FilterExpression: str | None = None,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
        ExpressionAttributeValues: RequestItem | None = None,
        ConsistentRead: bool = False,
        ExclusiveStartKey: RequestItem | None = None,
        Limit: int | None = None,
        ScanIndexForward: bool = True,
    ) -> JsonObject:
        table = self._find_table(TableName)
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        within = bind_key_condition(placeholders, KeyConditionExpression)
        wanted = placeholders.condition("FilterExpression", FilterExpression, forbidden=KEY_NAMES)
        shown = placeholders.projection(ProjectionExpression)
        placeholders.finish()
        items = query_items(table, within, ExclusiveStartKey, forward=ScanIndexForward)
        return read_page(items, PageLimits(Limit, self.page_items), wanted, shown)

    @operation("Scan")
    def scan(
        self,
        *,
        TableName: str,
        FilterExpression: str | None = None,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: NamePlaceholders = None,
        ExpressionAttributeValues: RequestItem | None = None,
        ConsistentRead: bool = False,
        ExclusiveStartKey: RequestItem | None = None,
        Limit: int | None = None,
        Segment: int = 0,
        TotalSegments: int = 1,
    ) -> JsonObject:
        table = self._find_table(TableName)
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        wanted = placeholders.condition("FilterExpression", FilterExpression)
        shown = placeholders.projection(ProjectionExpression)
        placeholders.finish()
        items = scan_items(table, ExclusiveStartKey, Segment, TotalSegments)
        return read_page(items, PageLimits(Limit, self.page_items), wanted, shown)

    def get_paginator(self, operation_name: str) -> "Paginator[Any]":
        """Return botocore's own paginator over this client."""
        method = getattr(self, operation_name)
        name = self.meta.method_to_api_mapping[operation_name]
        config = botocore.session.get_session().get_paginator_model("dynamodb").get_paginator(name)
        return Paginator(method, config, service_model("dynamodb").operation_model(name))

    # Writes

    @operation("PutItem")
    def put_item(self, /, **put: Any) -> JsonObject:
        return self._write(self._binder.put(**put))

    @operation("DeleteItem")
    def delete_item(self, /, **delete: Any) -> JsonObject:
        return self._write(self._binder.delete(**delete))

    @operation("UpdateItem")
    def update_item(self, /, **update: Any) -> JsonObject:
        return self._write(self._binder.update(**update))

    def _write(self, write: Write) -> JsonObject:
        self._commit([(write, write.after())])
        return {}

    @operation("TransactWriteItems")
    def transact_write_items(
        self, *, TransactItems: Sequence[Mapping[str, Any]], ClientRequestToken: str | None = None
    ) -> JsonObject:
        token, now = ClientRequestToken, self._clock()
        if token is not None and self._tokens.is_repeat(token, TransactItems, now):
            return {}
        writes = bind_actions(self._binder, TransactItems)
        self._commit(list(zip(writes, decide_writes(writes), strict=True)))
        if token is not None:
            self._tokens.remember(token, TransactItems, now)
        return {}

    def _commit(self, writes: Sequence[tuple[Write, AttributeMap | None]]) -> None:
        for write, after in writes:
            write.table.write(write.key, after)

    # For tests

    def items(self, table: str) -> list[AttributeMap]:
        """Return every item, ordered by key."""
        with self._lock:
            return [copy_item(item) for item in self._find_table(table).items()]

    def dump(self) -> bytes:
        """Return all tables as bytes that do not depend on their history: equal bytes are equal tables."""
        with self._lock:
            tables = {name: list(table.items()) for name, table in self._tables.items()}
            return json.dumps(tables, sort_keys=True, separators=(",", ":")).encode()

    def load(self, dump: bytes) -> None:
        """Replace all tables by those in `dump`."""
        with self._lock:
            self._tables.clear()
            for name, items in json.loads(dump).items():
                self.add_table(name)
                for item in items:
                    self._tables[name].write(key_of_item(item), item)
            self._tokens = RequestTokens()


def _bind_projection(names: NamePlaceholders, text: str | None) -> tuple[str, ...] | None:
    placeholders = Placeholders(names, None)
    shown = placeholders.projection(text)
    placeholders.finish()
    return shown
