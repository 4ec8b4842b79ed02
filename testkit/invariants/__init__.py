"""Judges a table by its raw items and the truth about its shop; imports nothing of the product.

Violations name sessions and attributes, never a value that could be a name, an address or an e-mail.
"""

from testkit.invariants.checks import (
    Violation,
    changed_items,
    counter_mismatches,
    missing_orders,
    order_differences,
    pending_mismatches,
    run_incomplete,
    state_mismatches,
    surplus_orders,
    unfinished_runs,
)
from testkit.invariants.first_run import outcome_mismatches, verify, verify_records
from testkit.invariants.logs import leaked_secrets, unexpected_errors
from testkit.invariants.table_records import COUNTERS, RecordKey, TableRecords, WireItem, to_plain, to_wire

__all__ = [
    "COUNTERS",
    "RecordKey",
    "TableRecords",
    "Violation",
    "WireItem",
    "changed_items",
    "counter_mismatches",
    "leaked_secrets",
    "missing_orders",
    "order_differences",
    "outcome_mismatches",
    "pending_mismatches",
    "run_incomplete",
    "state_mismatches",
    "surplus_orders",
    "to_plain",
    "to_wire",
    "unexpected_errors",
    "unfinished_runs",
    "verify",
    "verify_records",
]
