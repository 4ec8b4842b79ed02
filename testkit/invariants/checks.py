"""The invariants of any table of the sync: each check yields violations, and nothing if all is right."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from testkit.invariants.table_records import COUNTERS, RawItem, TableRecords
from testkit.shop.records import Record

# A recovered order has these attributes beyond those of the truth: the times of writing, and the run.
_WRITTEN_AT: Final = ("updatedAt", "completedAt", "syncedAt")
_RUN_ID: Final = "syncRunId"
_OPTIONAL: Final = frozenset({"expiresAt"})
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# Only these values may be shown: numbers, codes and states.
_PUBLIC: Final = frozenset(
    {"amount", "amountSubtotal", "currency", "itemCount", "orderNumber", "source", "status", "createdAt"}
)
_STORED_WITH_COMPLETION: Final = frozenset(
    ["status", "eventType", "sessionId", "processedAt", "expiresAt", "orderCreated", "orderNumber", "source"]
)
_SHOWABLE: Final = re.compile(r"[A-Za-z0-9_]{1,100}")
_OF_THE_SHOP: Final = ("USER#", "EVENT#")
_OUTCOME_OF_COUNTER: Final = {"created": "created", "skipped": "skipped", "errors": "error"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, and the session or record that it is wrong with."""

    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


def find_missing_orders(records: TableRecords, wanted: Mapping[str, int]) -> Iterator[Violation]:
    """Yield the sessions with fewer orders than `wanted`, which has the numbers by session id."""
    for session_id, number in wanted.items():
        if len(records.orders.get(session_id, ())) < number:
            yield Violation(session_id, "the order is missing")


def find_surplus_orders(records: TableRecords, wanted: Mapping[str, int]) -> Iterator[Violation]:
    """Yield the sessions with more orders than `wanted`, and the orders of unknown sessions."""
    for session_id, orders in sorted(records.orders.items()):
        allowed = wanted.get(session_id)
        if not orders:
            continue
        if allowed is None:
            yield Violation(showable(session_id), "an order of a session that the shop never had")
        elif len(orders) > allowed:
            yield Violation(session_id, f"{len(orders)} orders instead of {allowed}")


def find_changed_items(records: TableRecords, written: Iterable[RawItem]) -> Iterator[Violation]:
    """Yield the webhook's items that are not byte for byte as they were `written`.

    Only an event record with the status of unfinished work may be completed; its other attributes stay.
    """
    for item in written:
        pk, sk = item["PK"]["S"], item["SK"]["S"]
        is_event = pk.startswith("EVENT#")
        name = "the webhook's event record" if is_event else "the webhook's order"
        session = item.get("sessionId" if is_event else "orderId", {}).get("S", "")
        subject = showable(session or (pk if is_event else sk).rpartition("#")[2])
        found = records.items.get((pk, sk))
        if found is None:
            yield Violation(subject, f"{name} is gone")
        elif found != item and not (is_event and _is_completed_claim(item, found)):
            changed = sorted(part for part in item.keys() | found if item.get(part) != found.get(part))
            yield Violation(subject, f"{name} was changed: {', '.join(changed)}")


def _is_completed_claim(written: RawItem, found: RawItem) -> bool:
    if written.get("status") in (None, {"S": "completed"}, {"S": "processed"}):
        return False
    kept = written.keys() - _STORED_WITH_COMPLETION
    is_completed = found.get("status") == {"S": "completed"}
    return is_completed and all(found.get(name) == written[name] for name in kept)


def compare_order(
    session_id: str, expected: Record, order: Record, run_ids: Collection[str]
) -> Iterator[Violation]:
    """Compare each attribute of an order of the sync with the `expected` one, and its run with `run_ids`."""
    for name, value in expected.items():
        if name not in order:
            yield Violation(session_id, f"{name} is missing")
        elif order[name] != value:
            shown = f"{order[name]} and not {value}" if name in _PUBLIC else "not what it must be"
            yield Violation(session_id, f"{name} is {shown}")
    for name in _WRITTEN_AT:
        if not _MOMENT.fullmatch(str(order.get(name, ""))):
            yield Violation(session_id, f"{name} is no UTC time")
    if order.get(_RUN_ID) not in run_ids:
        yield Violation(session_id, f"{_RUN_ID} is not that of the run")
    for name in sorted(order.keys() - expected.keys() - {*_WRITTEN_AT, _RUN_ID} - _OPTIONAL):
        yield Violation(session_id, f"{name} should not be there")


def compare_counters(records: TableRecords, run_id: str) -> Iterator[Violation]:
    """Compare the counters of a run's record with its outcomes."""
    run = records.runs.get(run_id, {})
    outcomes = Counter(str(outcome.get("outcome")) for outcome in records.outcomes.get(run_id, {}).values())
    expected = {name: outcomes[outcome] for name, outcome in _OUTCOME_OF_COUNTER.items()}
    for name, number in ({"processed": outcomes.total()} | expected).items():
        if run.get(name) != number:
            yield Violation(f"run {run_id}", f"{name} is {run.get(name)} and not {number}")
    # A run of an earlier version has no such counter.
    if run.get("missing", 0) != outcomes["missing"]:
        yield Violation(f"run {run_id}", f"missing is {run.get('missing')} and not {outcomes['missing']}")


def check_run_done(records: TableRecords, run_id: str, sessions: int | None = None) -> Iterator[Violation]:
    """Check that a run is done and enqueued `sessions`, by default as many as it has outcomes."""
    run = records.runs.get(run_id, {})
    outcomes = len(records.outcomes.get(run_id, ()))
    number = outcomes if sessions is None else sessions
    if run.get("status") != "done":
        yield Violation(f"run {run_id}", f"status is {run.get('status')} and not done")
    if run.get("enqueued") != number or outcomes != number:
        yield Violation(
            f"run {run_id}", f"enqueued is {run.get('enqueued')} of {number}, with {outcomes} outcomes"
        )


def find_unfinished_runs(records: TableRecords) -> Iterator[Violation]:
    """Yield the runs that are neither done nor failed."""
    for run_id, run in records.runs.items():
        if run.get("status") not in ("done", "failed", "held"):
            yield Violation(f"run {run_id}", f"status is {run.get('status')}: it never ends")


def compare_state(records: TableRecords) -> Iterator[Violation]:
    """Compare the sync state with the record of the run that holds it.

    A state without a run id was put by another program, which erased what the sync kept in it.
    """
    if records.state and not records.last_run_id:
        return
    run = records.runs.get(records.last_run_id)
    if run is None:
        yield Violation("sync state", "no record of its run" if records.state else "is missing")
        return
    for name in (*COUNTERS, "status"):
        attribute = f"lastSync{name.capitalize()}"
        if records.state.get(attribute) != run.get(name):
            found = records.state.get(attribute)
            yield Violation("sync state", f"{attribute} is {found} and not {run.get(name)} as in its run")
    # A run without missing orders has no such counter.
    if records.state.get("lastSyncMissing", 0) != run.get("missing", 0):
        yield Violation("sync state", f"lastSyncMissing is not {run.get('missing', 0)} as in its run")


def compare_pending(records: TableRecords, unpaid: Collection[str]) -> Iterator[Violation]:
    """Compare the pending entries with the sessions that are `unpaid`."""
    for session_id in sorted(records.pending.symmetric_difference(unpaid)):
        waits = "still waits" if session_id in records.pending else "does not wait"
        yield Violation(session_id, f"{waits} for its payment")


def find_misplaced_items(shop: Iterable[RawItem], ledger: Iterable[RawItem]) -> Iterator[Violation]:
    """Yield what is in the wrong table if the sync has a separate ledger table."""
    for item in shop:
        if not item["PK"]["S"].startswith(_OF_THE_SHOP):
            yield Violation(
                f"{item['PK']['S']} {item['SK']['S']}", "a record of the sync in the shop's table"
            )
    for item in ledger:
        if item["PK"]["S"].startswith(_OF_THE_SHOP):
            yield Violation("ledger", "it holds an order or an event of the webhook")


def showable(text: str) -> str:
    """Return the text if it can only be an id, else a placeholder: an address must not be shown."""
    return text if _SHOWABLE.fullmatch(text) else "an item"
