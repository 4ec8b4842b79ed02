"""Judges a table by its raw items and the truth about its shop; imports nothing of the product.

Violations name sessions and attributes, never a value that could be a name, an address or an e-mail.
"""

from testkit.invariants.attention import (
    ORDER_SAYS_UNPAID,
    check_attention_change,
    compare_attention,
    compare_words,
)
from testkit.invariants.checks import (
    Violation,
    check_run_done,
    compare_counters,
    compare_order,
    compare_pending,
    compare_state,
    find_changed_items,
    find_misplaced_items,
    find_missing_orders,
    find_surplus_orders,
    find_unfinished_runs,
)
from testkit.invariants.demo_check import compare_outcomes, verify, verify_records
from testkit.invariants.logs import find_leaked_secrets, find_unexpected_errors
from testkit.invariants.table_records import COUNTERS, RawItem, RecordKey, TableRecords, to_plain, to_wire

__all__ = [
    "COUNTERS",
    "ORDER_SAYS_UNPAID",
    "RawItem",
    "RecordKey",
    "TableRecords",
    "Violation",
    "check_attention_change",
    "check_run_done",
    "compare_attention",
    "compare_counters",
    "compare_order",
    "compare_outcomes",
    "compare_pending",
    "compare_state",
    "compare_words",
    "find_changed_items",
    "find_leaked_secrets",
    "find_misplaced_items",
    "find_missing_orders",
    "find_surplus_orders",
    "find_unexpected_errors",
    "find_unfinished_runs",
    "to_plain",
    "to_wire",
    "verify",
    "verify_records",
]
