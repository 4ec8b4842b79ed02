"""What two nights over a shop with its own layout must leave, in its table and in the ledger."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from testkit.invariants.checks import (
    Violation,
    check_run_done,
    compare_counters,
    compare_state,
    showable,
)
from testkit.invariants.table_records import RawItem, TableRecords, to_wire
from testkit.shop.layout_shop import Fate, LayoutShop
from testkit.shop.records import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_FIRST = {
    Fate.FOUND: {"outcome": "skipped", "reason": "exists"},
    Fate.LATE: {"outcome": "missing"},
    Fate.LOST: {"outcome": "missing"},
    Fate.REFUNDED: {"outcome": "skipped", "reason": "refunded"},
}
_SECOND = _FIRST | {Fate.LATE: {"outcome": "skipped", "reason": "exists"}}


def verify_layout(
    client: "DynamoDBClient", table: str, ledger: str, shop: LayoutShop, run_ids: Sequence[str]
) -> list[Violation]:
    """Return all that differs from what these two runs must leave. An empty list is right."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    records = TableRecords.scan(client, ledger)
    return [
        *_compare_items(items, shop),
        *_compare_nights(records, shop, run_ids),
        *_compare_pending(records, shop),
        *compare_state(records),
        *(
            Violation(showable(name), "the sync wrote an order")
            for name, found in records.orders.items()
            if found
        ),
    ]


def _compare_items(found: Iterable[RawItem], shop: LayoutShop) -> Iterator[Violation]:
    """Compare the shop's table, byte for byte, with what the shop itself wrote."""

    def key(item: RawItem) -> tuple[str, ...]:
        return tuple(str(item.get(name)) for name in shop.layout.keys)

    wanted = {key(item): item for item in map(to_wire, shop.items_after())}
    items = {key(item): item for item in found}
    for name in wanted.keys() | items.keys():
        if wanted.get(name) != items.get(name):
            what = "was written" if name not in wanted else "is gone" if name not in items else "was changed"
            yield Violation("the shop's table", f"an item {what}")


def _compare_nights(records: TableRecords, shop: LayoutShop, run_ids: Sequence[str]) -> Iterator[Violation]:
    for run_id, wanted in zip(run_ids, (_FIRST, _SECOND), strict=True):
        outcomes = dict(records.outcomes.get(run_id, {}))
        for session_id, fate in shop.fates.items():
            yield from _compare_outcome(session_id, wanted[fate], outcomes.pop(session_id, {}), run_id)
        for session_id in outcomes:
            yield Violation(showable(session_id), f"run {run_id} has an outcome of an unknown session")
        yield from compare_counters(records, run_id)
        yield from check_run_done(records, run_id, len(shop.sessions))


def _compare_outcome(session_id: str, wanted: Record, outcome: Record, run_id: str) -> Iterator[Violation]:
    for name, value in wanted.items():
        if outcome.get(name) != value:
            yield Violation(session_id, f"its {name} in run {run_id} is {outcome.get(name)} and not {value}")


def _compare_pending(records: TableRecords, shop: LayoutShop) -> Iterator[Violation]:
    """Compare the entries of missing orders with those that are lost after both nights."""
    lost = {session_id for session_id, fate in shop.fates.items() if fate is Fate.LOST}
    for session_id in sorted(records.pending ^ lost):
        is_kept = session_id in records.pending
        yield Violation(session_id, "is still looked for" if is_kept else "is not looked for any more")
