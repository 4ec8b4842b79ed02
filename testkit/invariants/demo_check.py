"""The check of the table after the first run over a seeded shop."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

from testkit.invariants.checks import (
    Violation,
    compare_order,
    compare_state,
    find_changed_items,
    find_missing_orders,
    find_surplus_orders,
    showable,
)
from testkit.invariants.table_records import TableRecords, to_wire
from testkit.shop.records import Record
from testkit.shop.truth import Expected, Shop, Truth

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def verify(client: "DynamoDBClient", table_name: str, shop: Shop, *, healed: bool) -> list[Violation]:
    """Scan the table and return all that differs from what the first run over this shop must leave.

    `healed` says whether the dead sessions were healed and redriven. An empty list is right.
    """
    return verify_records(TableRecords.scan(client, table_name), shop, healed=healed)


def verify_records(records: TableRecords, shop: Shop, *, healed: bool) -> list[Violation]:
    """Return the same as `verify` for a table that was read already."""
    wanted = shop.wanted_orders(healed=healed)
    webhook_items = map(to_wire, chain(shop.webhook_orders, shop.webhook_events))
    return [
        *find_changed_items(records, webhook_items),
        *find_missing_orders(records, wanted),
        *find_surplus_orders(records, wanted),
        *_order_contents(records, shop, records.last_run_id),
        *compare_outcomes(records, shop, records.last_run_id, healed=healed),
        *_counters(records, shop, records.last_run_id, healed=healed),
        *compare_state(records),
    ]


def compare_outcomes(records: TableRecords, shop: Shop, run_id: str, *, healed: bool) -> Iterator[Violation]:
    """Compare the outcomes of a run that found the shop unsynced with the truth, session by session."""
    outcomes = dict(records.outcomes.get(run_id, {}))
    for truth in shop.truth:
        outcome = outcomes.pop(truth.session_id, None)
        if outcome is None:
            yield Violation(truth.session_id, "no outcome")
        else:
            yield from _compare_outcome(truth, outcome, healed=healed)
    for session_id in outcomes:
        yield Violation(showable(session_id), "an outcome of an unknown session")


def _order_contents(records: TableRecords, shop: Shop, run_id: str) -> Iterator[Violation]:
    for truth in shop.truth:
        if truth.order is not None:
            for order in records.read_orders(truth.session_id):
                yield from compare_order(truth.session_id, truth.order, order, {run_id})


def _compare_outcome(truth: Truth, outcome: Record, *, healed: bool) -> Iterator[Violation]:
    expected = _expected_outcome(truth, healed=healed)
    for name, value in expected.items():
        if outcome.get(name) != value:
            yield Violation(
                truth.session_id, f"its outcome's {name} is {outcome.get(name)!r} and not {value!r}"
            )
    if expected["outcome"] == "error" and not outcome.get("errorType"):
        yield Violation(truth.session_id, "its outcome has no errorType")


def _expected_outcome(truth: Truth, *, healed: bool) -> Record:
    if truth.expected is Expected.DEAD and not healed:
        return {"outcome": "error"}
    if truth.order is not None:
        return {"outcome": "created", "orderNumber": truth.order["orderNumber"]}
    return {"outcome": "skipped", "reason": truth.reason}


def _counters(records: TableRecords, shop: Shop, run_id: str, *, healed: bool) -> Iterator[Violation]:
    """Compare the run's record with the truth; the sync state is compared with the record."""
    run = records.runs.get(run_id)
    if run is None:
        yield Violation("run record", "is missing")
        return
    for name, number in asdict(shop.counters(healed=healed)).items():
        if run.get(name) != number:
            yield Violation("run record", f"{name} is {run.get(name)} and not {number}")
