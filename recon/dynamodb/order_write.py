"""The write of an order: the put, its guard and the check for a dismissal, and what their conditions mean.

They are actions in the transaction of the outcome. Their conditions make sure that no order is overwritten,
written twice, or written although an operator has decided against it.
"""

from collections.abc import Iterator, Mapping

from recon.dynamodb.guards import guard_found, guard_written
from recon.dynamodb.keys import dismissed_key, guard_key
from recon.dynamodb.session_result import SessionResult
from recon.dynamodb.table import Action, CancellationReason, Key, Table

_ABSENT = "attribute_not_exists(PK)"


def order_actions(table: Table, run_id: str, result: SessionResult, now: int) -> Iterator[Action]:
    """Yield the actions that write the order of a result, or that guard the order which it found."""
    if result.order:
        # Only if its key is free, so no order is ever overwritten.
        yield table.put(result.order, _ABSENT)
        yield table.check(dismissed_key(result.session_id), _ABSENT)
    yield from _guard_actions(table, run_id, result, now)


def _guard_actions(table: Table, run_id: str, result: SessionResult, now: int) -> Iterator[Action]:
    """Yield the action that guards the order to write, or the order that was found without a guard."""
    if result.order:
        yield guard_written(table, result.session_id, result.order, run_id, now)
    if result.unguarded:
        yield guard_found(table, result.session_id, result.unguarded, now)


def resolve_order(result: SessionResult, reasons: Mapping[Key, CancellationReason]) -> SessionResult | None:
    """Return the skip in place of an order that must not be written, or None if nothing is against it.

    `reasons` are those of the cancelled transaction, by the key of each action.
    """
    if result.order_key is None:
        return None
    if reasons[dismissed_key(result.session_id)].failed:
        return result.to_dismissed()
    if reasons[result.order_key].failed:
        return result.to_skipped_existing()
    # If only the guard is there, an order was written under another user id, or written and removed.
    return result.to_removed() if reasons[guard_key(result.session_id)].failed else None
