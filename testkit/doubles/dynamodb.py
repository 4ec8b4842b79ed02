"""DynamoDB in memory: the methods of boto3's low-level client, the answers and refusals of the service.

One lock makes each operation atomic. Nothing here waits or draws lots: time comes from `clock`, and a history
played twice ends in the same bytes (`dump`). The contract suite holds it against DynamoDB Local. What a
parameter does that is not written down here is not ignored but refused: the operation has no such argument.
"""

# ruff: noqa: N803  the arguments are named as boto3 names them

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from threading import RLock
from typing import Any, Concatenate

import botocore.session
from botocore.paginate import Paginator

from testkit.doubles import transactions
from testkit.doubles.conditions import Placeholders
from testkit.doubles.dumps import dumped, loaded
from testkit.doubles.errors import (
    Meta,
    Refused,
    check_parameters,
    client_error,
    exceptions_of,
    invalid,
    metadata,
    service_model,
)
from testkit.doubles.operands import Trail
from testkit.doubles.predicates import Predicate
from testkit.doubles.queries import Page, answer, key_range, projected, queried, scanned, start_item
from testkit.doubles.tables import Key, KeySchema, Table
from testkit.doubles.values import Item, copied_item, normalised_item
from testkit.doubles.writes import Attributes, Names, Requests, Write, returned

type Answer = dict[str, Any]

MAX_BATCH_GET = 100
MAX_BATCH_WRITE = 25
PAGE_BYTES = 1024 * 1024


def operation[**P](
    name: str,
) -> Callable[
    [Callable[Concatenate["MemoryDynamoDB", P], Answer]], Callable[Concatenate["MemoryDynamoDB", P], Answer]
]:
    """Makes a method an operation: checked by botocore, alone under the lock, refused with ClientErrors."""

    def decorate(
        method: Callable[Concatenate["MemoryDynamoDB", P], Answer],
    ) -> Callable[Concatenate["MemoryDynamoDB", P], Answer]:
        @wraps(method)
        def call(self: "MemoryDynamoDB", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            if self._validate:
                check_parameters("dynamodb", name, kwargs)
            with self._lock:
                self._requests += 1
                try:
                    return {**method(self, *args, **kwargs), "ResponseMetadata": metadata(self._requests)}
                except Refused as refused:
                    raise client_error(
                        self.exceptions, name, refused.code, refused.message, members=refused.members
                    ) from None

        return call

    return decorate


class MemoryDynamoDB:
    """`page_items` forces short pages; `batch_items` leaves the rest of a larger BatchGetItem unprocessed;
    `replica_lag`: reads without ConsistentRead do not see that many of the latest writes yet;
    `validate=False` leaves out botocore's check of parameters, most of a call's time.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        page_items: int | None = None,
        page_bytes: int = PAGE_BYTES,
        batch_items: int | None = None,
        replica_lag: int = 0,
        validate: bool = True,
    ) -> None:
        self.page_items = page_items
        self.page_bytes = page_bytes
        self.batch_items = batch_items
        self.exceptions = exceptions_of("dynamodb")
        self.meta = Meta("dynamodb")
        self._clock = clock
        self._validate = validate
        self._lock = RLock()
        self._requests = 0
        self._tables: dict[str, Table] = {}
        self._tokens = transactions.Tokens(clock)
        self._bind = Requests(self._table)
        self._unseen: deque[list[tuple[str, Key, Item | None]]] = deque(maxlen=replica_lag)

    # Tables

    def add_table(self, name: str, hash_key: str = "PK", range_key: str = "SK") -> None:
        """The short way to a table whose keys are strings."""
        names = {"HASH": hash_key, "RANGE": range_key}
        self.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for kind, key in names.items()],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in names.values()],
            BillingMode="PAY_PER_REQUEST",
        )

    @operation("CreateTable")
    def create_table(
        self,
        *,
        TableName: str,
        KeySchema: Sequence[Mapping[str, str]],
        AttributeDefinitions: Sequence[Mapping[str, str]],
        BillingMode: str = "PAY_PER_REQUEST",
    ) -> Answer:
        if TableName in self._tables:
            raise Refused("ResourceInUseException", f"Table already exists: {TableName}")
        self._tables[TableName] = Table(TableName, _schema(KeySchema, AttributeDefinitions))
        return {"TableDescription": self._description(TableName)}

    @operation("DeleteTable")
    def delete_table(self, *, TableName: str) -> Answer:
        description = self._description(TableName)
        del self._tables[TableName]
        return {"TableDescription": {**description, "TableStatus": "DELETING"}}

    @operation("DescribeTable")
    def describe_table(self, *, TableName: str) -> Answer:
        return {"Table": self._description(TableName)}

    @operation("ListTables")
    def list_tables(self) -> Answer:
        return {"TableNames": sorted(self._tables)}

    @operation("UpdateTimeToLive")
    def update_time_to_live(self, *, TableName: str, TimeToLiveSpecification: Mapping[str, Any]) -> Answer:
        enabled = TimeToLiveSpecification["Enabled"]
        self._table(TableName).ttl_attribute = TimeToLiveSpecification["AttributeName"] if enabled else None
        return {"TimeToLiveSpecification": dict(TimeToLiveSpecification)}

    def _description(self, name: str) -> dict[str, Any]:
        table = self._table(name)
        attributes = table.schema.attributes
        return {
            "TableName": name,
            "TableStatus": "ACTIVE",
            "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
            "ItemCount": sum(1 for _ in table.items()),
            "KeySchema": [
                {"AttributeName": one.name, "KeyType": kind}
                for one, kind in zip(attributes, ("HASH", "RANGE"), strict=False)
            ],
            "AttributeDefinitions": [
                {"AttributeName": one.name, "AttributeType": one.kind}
                for one in sorted(attributes, key=lambda one: one.name)
            ],
        }

    # Reads

    @operation("GetItem")
    def get_item(
        self,
        *,
        TableName: str,
        Key: Attributes,
        ConsistentRead: bool = False,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
    ) -> Answer:
        table = self._read_from(TableName, consistent=ConsistentRead)
        trails = _only_projection(ExpressionAttributeNames, ProjectionExpression)
        item = table.get(table.exact_key(normalised_item(Key)))
        return {} if item is None else {"Item": projected(item, trails)}

    @operation("BatchGetItem")
    def batch_get_item(self, *, RequestItems: Mapping[str, Mapping[str, Any]]) -> Answer:
        if not RequestItems:
            raise invalid("The requestItems parameter is required for BatchGetItem")
        if sum(len(request["Keys"]) for request in RequestItems.values()) > MAX_BATCH_GET:
            raise invalid("Too many items requested for the BatchGetItem call")
        for name, request in RequestItems.items():
            table = self._table(name)
            _refuse_duplicates([table.exact_key(normalised_item(key)) for key in request["Keys"]])
        answered, left = self._split(RequestItems)
        got = {name: self._batch_got(name, **request) for name, request in answered.items()}
        return {"Responses": got, "UnprocessedKeys": left}

    def _split(
        self, requests: Mapping[str, Mapping[str, Any]]
    ) -> tuple[dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
        """What a batch reads, and what it leaves to the caller to ask for again."""
        answered: dict[str, Mapping[str, Any]] = {}
        left: dict[str, Mapping[str, Any]] = {}
        room = MAX_BATCH_GET if self.batch_items is None else self.batch_items
        for name, request in requests.items():
            keys = request["Keys"]
            answered[name] = {**request, "Keys": keys[:room]}
            if keys[room:]:
                left[name] = {**request, "Keys": keys[room:]}
            room = max(0, room - len(keys))
        return answered, left

    def _batch_got(
        self,
        name: str,
        *,
        Keys: Sequence[Attributes],
        ConsistentRead: bool = False,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
    ) -> list[Item]:
        table = self._read_from(name, consistent=ConsistentRead)
        trails = _only_projection(ExpressionAttributeNames, ProjectionExpression)
        keys = [table.exact_key(normalised_item(key)) for key in Keys]
        # The service promises no order; the reverse keeps a caller from leaning on its own.
        return [projected(item, trails) for key in reversed(keys) if (item := table.get(key)) is not None]

    @operation("Query")
    def query(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        FilterExpression: str | None = None,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
        ExpressionAttributeValues: Attributes | None = None,
        ConsistentRead: bool = False,
        ExclusiveStartKey: Attributes | None = None,
        Limit: int | None = None,
        ScanIndexForward: bool = True,
        Select: str | None = None,
    ) -> Answer:
        table = self._read_from(TableName, consistent=ConsistentRead)
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        within = key_range(table, placeholders, KeyConditionExpression)
        wanted = _filter(placeholders, FilterExpression, table.schema.names)
        trails = _projection(placeholders, ProjectionExpression)
        placeholders.finish()
        rows = queried(table, within, start_item(ExclusiveStartKey), forward=ScanIndexForward)
        return answer(table, rows, self._page(Limit), wanted, _shown(Select, trails))

    @operation("Scan")
    def scan(
        self,
        *,
        TableName: str,
        FilterExpression: str | None = None,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
        ExpressionAttributeValues: Attributes | None = None,
        ConsistentRead: bool = False,
        ExclusiveStartKey: Attributes | None = None,
        Limit: int | None = None,
        Segment: int | None = None,
        TotalSegments: int | None = None,
        Select: str | None = None,
    ) -> Answer:
        table = self._read_from(TableName, consistent=ConsistentRead)
        placeholders = Placeholders(ExpressionAttributeNames, ExpressionAttributeValues)
        wanted = _filter(placeholders, FilterExpression, frozenset())
        trails = _projection(placeholders, ProjectionExpression)
        placeholders.finish()
        _check_segments(Segment, TotalSegments)
        rows = scanned(table, start_item(ExclusiveStartKey), Segment, TotalSegments)
        return answer(table, rows, self._page(Limit), wanted, _shown(Select, trails))

    def get_paginator(self, operation_name: str) -> "Paginator[Any]":
        """botocore's own paginator over this client."""
        method = getattr(self, operation_name)
        name = "".join(word.capitalize() for word in operation_name.split("_"))
        config = botocore.session.get_session().get_paginator_model("dynamodb").get_paginator(name)
        return Paginator(method, config, service_model("dynamodb").operation_model(name))

    def _page(self, limit: int | None) -> Page:
        return Page(limit, self.page_items, self.page_bytes)

    # Single writes

    @operation("PutItem")
    def put_item(self, /, *, ReturnValues: str = "NONE", **put: Any) -> Answer:
        _check_return_values(ReturnValues, "NONE", "ALL_OLD")
        return self._written(self._bind.put(**put), ReturnValues)

    @operation("DeleteItem")
    def delete_item(self, /, *, ReturnValues: str = "NONE", **delete: Any) -> Answer:
        _check_return_values(ReturnValues, "NONE", "ALL_OLD")
        return self._written(self._bind.delete(**delete), ReturnValues)

    @operation("UpdateItem")
    def update_item(self, /, *, ReturnValues: str = "NONE", **update: Any) -> Answer:
        _check_return_values(ReturnValues, "NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")
        return self._written(self._bind.update(**update), ReturnValues)

    @operation("BatchWriteItem")
    def batch_write_item(self, *, RequestItems: Mapping[str, Sequence[Mapping[str, Any]]]) -> Answer:
        if sum(len(requests) for requests in RequestItems.values()) > MAX_BATCH_WRITE:
            raise invalid("Too many items requested for the BatchWriteItem call")
        writes = [
            self._bind.of_batch(name, **request)
            for name, requests in RequestItems.items()
            for request in requests
        ]
        _refuse_duplicates([(write.table.name, write.key) for write in writes])
        self._commit([(write, write.after()) for write in writes])
        return {"UnprocessedItems": {}}

    def _written(self, write: Write, return_values: str) -> Answer:
        before = write.before()
        write.check()
        after = write.after()
        self._commit([(write, after)])
        attributes = returned(write, before, after, return_values)
        return {"Attributes": attributes} if attributes else {}

    # Transactions

    @operation("TransactWriteItems")
    def transact_write_items(
        self, *, TransactItems: Sequence[Mapping[str, Any]], ClientRequestToken: str | None = None
    ) -> Answer:
        token = ClientRequestToken
        if token is not None and self._tokens.repeats(token, TransactItems):
            return {}
        writes = transactions.bound(self._bind, TransactItems)
        after = transactions.decided(writes)
        self._commit([pair for pair in zip(writes, after, strict=True) if pair[0].changes])
        if token is not None:
            self._tokens.remember(token, TransactItems)
        return {}

    @operation("TransactGetItems")
    def transact_get_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> Answer:
        if len(TransactItems) > transactions.MAX_ACTIONS:
            raise invalid("Member must have length less than or equal to 100")
        return {"Responses": [self._transact_got(**action["Get"]) for action in TransactItems]}

    def _transact_got(
        self,
        *,
        TableName: str,
        Key: Attributes,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: Names = None,
    ) -> Answer:
        trails = _only_projection(ExpressionAttributeNames, ProjectionExpression)
        table = self._table(TableName)
        item = table.get(table.exact_key(normalised_item(Key)))
        return {} if item is None else {"Item": projected(item, trails)}

    # The store

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            raise Refused("ResourceNotFoundException", "Requested resource not found")
        return self._tables[name]

    def _read_from(self, name: str, *, consistent: bool) -> Table:
        table = self._table(name)
        if consistent or not self._unseen:
            return table
        replica = table.clone()
        for writes in reversed(self._unseen):
            for table_name, key, before in writes:
                if table_name == name:
                    replica.write(key, before)
        return replica

    def _commit(self, writes: Sequence[tuple[Write, Item | None]]) -> None:
        if self._unseen.maxlen:
            self._unseen.append([(write.table.name, write.key, write.before()) for write, _ in writes])
        for write, after in writes:
            write.table.write(write.key, after)

    # For tests

    def items(self, table: str) -> list[Item]:
        """Every item, by key."""
        with self._lock:
            return [copied_item(item) for item in self._table(table).items()]

    def dump(self) -> bytes:
        """Everything in one order, whatever the history: equal bytes are equal tables."""
        with self._lock:
            return dumped(self._tables.values())

    def load(self, dump: bytes) -> None:
        """Replaces everything by what `dump` answered."""
        with self._lock:
            self._tables = loaded(dump)
            self._tokens.clear()
            self._unseen.clear()

    def expire(self) -> int:
        """Deletes what its TTL attribute says is over, as the service does in time; answers how many."""
        now = self._clock()
        with self._lock:
            expired = [
                (table, table.key_of(item))
                for table in self._tables.values()
                for item in _expired(table, now)
            ]
            for table, key in expired:
                table.remove(key)
        return len(expired)

    def close(self) -> None:
        """boto3's clients are closed; there is nothing to close here."""


# Pieces of the operations


def _filter(placeholders: Placeholders, text: str | None, keys: frozenset[str]) -> Predicate | None:
    return None if text is None else placeholders.condition("FilterExpression", text, refused=keys)


def _projection(placeholders: Placeholders, text: str | None) -> tuple[Trail, ...] | None:
    return None if text is None else placeholders.projection(text)


def _only_projection(names: Names, text: str | None) -> tuple[Trail, ...] | None:
    placeholders = Placeholders(names, None)
    trails = _projection(placeholders, text)
    placeholders.finish()
    return trails


def _shown(select: str | None, trails: tuple[Trail, ...] | None) -> Callable[[Item], Item] | None:
    if select == "COUNT":
        if trails is not None:
            raise invalid("Cannot specify the ProjectionExpression when choosing to get only the Count")
        return None
    return lambda item: projected(item, trails)


def _check_segments(segment: int | None, total: int | None) -> None:
    if (segment is None) != (total is None):
        raise invalid("Segment and TotalSegments belong together: one was given without the other")
    if segment is not None and segment >= (total or 0):
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {total}"
        )


def _check_return_values(given: str, *allowed: str) -> None:
    if given not in allowed:
        raise invalid("Return values set to invalid value")


def _refuse_duplicates(keys: Sequence[Any]) -> None:
    if len(set(keys)) < len(keys):
        raise invalid("Provided list of item keys contains duplicates")


def _expired(table: Table, now: float) -> Iterator[Item]:
    for item in table.items():
        stamp = item.get(table.ttl_attribute or "", {}).get("N")
        if stamp is not None and float(stamp) <= now:
            yield item


def _schema(schema: Sequence[Mapping[str, str]], definitions: Sequence[Mapping[str, str]]) -> KeySchema:
    """The argument of `create_table` hides the class of the same name."""
    return KeySchema.of(schema, definitions)
