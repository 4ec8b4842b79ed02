"""The raw items of a table, indexed by what they record."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from testkit.shop.records import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type RawItem = Mapping[str, Any]
type RecordKey = tuple[str, str]  # PK, SK

# The counters of a run's record; the state has them as `lastSync<Name>`.
COUNTERS: Final = ("enqueued", "processed", "created", "skipped", "errors")
_STATE: Final = "STRIPE_ORDER_SYNC"
_WATERMARK = "STRIPE_SYNC_WATERMARK"
_RUN: Final = "STRIPE_ORDER_SYNC#"
_PENDING: Final = "PENDING#"
_OUTCOMES: Final = "SYNC_RUN#"
_SESSION: Final = "SESSION#"


class TableRecords:
    """All items of a table in DynamoDB's own form, by key and by what they record.

    `orders` holds raw items by session and key, `outcomes` plain items by run and session, `runs` plain items
    by run, `pending` the sessions of the pending entries.
    """

    def __init__(self, items: Iterable[RawItem] = ()) -> None:
        self.items: dict[RecordKey, RawItem] = {}
        self.orders: defaultdict[str, dict[RecordKey, RawItem]] = defaultdict(dict)
        self.outcomes: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self.runs: dict[str, Record] = {}
        self.pending: set[str] = set()
        self.state: Record = {}
        self.watermark: Record = {}
        for item in items:
            self.put(item)

    @classmethod
    def scan(cls, client: "DynamoDBClient", table_name: str) -> "TableRecords":
        return cls(_scan(client, table_name))

    @property
    def last_run_id(self) -> str:
        """Return the run that holds the sync state; empty if there is none."""
        return str(self.state.get("lastSyncRunId", ""))

    def put(self, item: RawItem) -> None:
        """Add an item, or replace the one with its key."""
        key = pk, sk = item["PK"]["S"], item["SK"]["S"]
        self.remove(key)
        self.items[key] = item
        for session_id in _order_sessions(key, item):
            self.orders[session_id][key] = item
        if pk.startswith(_OUTCOMES):
            self.outcomes[pk.removeprefix(_OUTCOMES)][sk.removeprefix(_SESSION)] = to_plain(item)
        elif pk == "SYSTEM" and sk.startswith(_RUN):
            self.runs[sk.removeprefix(_RUN)] = to_plain(item)
        elif pk == "SYSTEM" and sk == _STATE:
            self.state = to_plain(item)
        elif pk == "SYSTEM" and sk == _WATERMARK:
            self.watermark = to_plain(item)
        elif pk == "SYSTEM" and sk.startswith(_PENDING):
            self.pending.add(sk.removeprefix(_PENDING))

    def remove(self, key: RecordKey) -> None:
        """Remove the item with this key, if there is one."""
        pk, sk = key
        item = self.items.pop(key, None)
        if item is None:
            return
        for session_id in _order_sessions(key, item):
            del self.orders[session_id][key]
        if pk.startswith(_OUTCOMES):
            del self.outcomes[pk.removeprefix(_OUTCOMES)][sk.removeprefix(_SESSION)]
        elif pk == "SYSTEM":
            self.runs.pop(sk.removeprefix(_RUN), None)
            self.pending.discard(sk.removeprefix(_PENDING))
            self.state = {} if sk == _STATE else self.state
            self.watermark = {} if sk == _WATERMARK else self.watermark

    def get(self, pk: str, sk: str) -> Record | None:
        item = self.items.get((pk, sk))
        return None if item is None else to_plain(item)

    def read_orders(self, session_id: str) -> list[Record]:
        """Return the orders of a session as plain items."""
        return [to_plain(item) for item in self.orders.get(session_id, {}).values()]


def to_wire(item: Record) -> RawItem:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def to_plain(item: RawItem) -> Record:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def _scan(client: "DynamoDBClient", table_name: str) -> Iterator[RawItem]:
    for page in client.get_paginator("scan").paginate(TableName=table_name, ConsistentRead=True):
        yield from page["Items"]


def _order_sessions(key: RecordKey, item: RawItem) -> set[str]:
    """Return the sessions that an item is an order of, by its attributes and by its key."""
    sessions = {item[name]["S"] for name in ("orderId", "stripeSessionId") if "S" in item.get(name, {})}
    return sessions | ({key[1].rpartition("#")[2]} if key[1].startswith("ORDER#") else set())
