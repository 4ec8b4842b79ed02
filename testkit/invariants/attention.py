"""The check that attention items follow from the outcomes, and only from them."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from testkit.invariants.checks import Violation
from testkit.invariants.table_records import TableRecords
from testkit.shop.records import Record

ORDER_SAYS_UNPAID: Final = "order_says_unpaid"
# Words about a session that has no order: its next outcome without the word ends them.
_ABOUT_SESSIONS: Final = frozenset({"awaiting_capture", "gave_up_waiting", "gone", "no_user_paid", "missing"})


def compare_attention(
    session_id: str, before: Record, outcome: Record, after: Record, *, order_says_paid: bool
) -> Iterator[Violation]:
    """Compare the attention item that one transaction left with the outcome that it wrote.

    An absent item is {}. `order_says_paid` is True if an order of the session says that it is paid.
    """
    old, new = _read_words(before), _read_words(after)
    allowed = _list_allowed(old, outcome, order_says_paid=order_says_paid)
    if new not in allowed:
        yield Violation(session_id, f"its attention is {sorted(new)} and not {sorted(allowed[0])}")
    was_seen, is_seen = "acknowledgedBy" in before, "acknowledgedBy" in after
    if new and new <= old and (was_seen, before.get("since")) != (is_seen, after.get("since")):
        yield Violation(session_id, "its attention rings again for the same words")
    if new - old and is_seen:
        yield Violation(session_id, "its attention is silent about a new word")
    drift = [str(each).partition(":")[0] for each in outcome.get("drift", ())]
    if was_seen and ORDER_SAYS_UNPAID in old and "payment_status" in drift:
        yield Violation(session_id, "its order drifts again, which a person knows")


def check_attention_change(
    session_id: str, before: Record, after: Record, *, is_dismissed: bool
) -> Iterator[Violation]:
    """Check a change of an attention item without an outcome: only a person makes one."""
    if not after and is_dismissed:
        return
    is_seen = _read_words(before) == _read_words(after) and "acknowledgedBy" in after
    if not is_seen:
        yield Violation(session_id, "its attention changes without an outcome")


def compare_words(records: TableRecords, expected: Mapping[str, Collection[str]]) -> Iterator[Violation]:
    """Compare the attention items of a table at rest with the words that are `expected` of each session."""
    for session_id, words in expected.items():
        found = _read_words(records.get("SYSTEM", f"ATTENTION#{session_id}") or {})
        if found != set(words):
            yield Violation(session_id, f"a person is told {sorted(found)} and not {sorted(words)}")


def _list_allowed(old: frozenset[str], outcome: Record, *, order_says_paid: bool) -> list[frozenset[str]]:
    if outcome.get("outcome") == "error":
        return [old]
    if outcome.get("reason") == "dismissed":
        return [frozenset()]
    said = _read_words({"words": outcome.get("attention", ())})
    wanted = frozenset(word for word in old if word in said or word not in _ABOUT_SESSIONS) | said
    # The order may have been paid after it was read, so that the word may end and need not.
    ends = order_says_paid and ORDER_SAYS_UNPAID not in said
    return [wanted, wanted - {ORDER_SAYS_UNPAID}] if ends else [wanted]


def _read_words(item: Record) -> frozenset[str]:
    return frozenset(map(str, item.get("words", ())))
