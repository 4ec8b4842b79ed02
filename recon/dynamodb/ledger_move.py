"""Moving a ledger to another table: the records are copied, compared, and only then used.

A move first reserves the new table and closes the old one: from then on, every run and every batch on the old
ledger is refused. It waits until the batches that began before have ended, and copies until a pass over both
tables finds no difference. Then it opens the new ledger with one transaction, which puts the state and the
watermark. A move that is stopped at any point is repeated from its beginning and copies only what differs.
The old records stay where they are, and nothing reads them. The watermark of the shop's table, which every
run reads, always names the ledger in use if this stack ever had or reserved a ledger there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import batched

from recon.domain.run import RunStatus
from recon.dynamodb.keys import (
    OUTCOMES_PREFIX,
    RUN_PREFIX,
    SESSION_PREFIX,
    STATE_KEY,
    SYSTEM,
    WATERMARK_KEY,
    is_ledger_record,
)
from recon.dynamodb.records import parse_run
from recon.dynamodb.runs import is_stalled
from recon.dynamodb.table import Action, Item, Key, Table, TransactionCancelled
from recon.dynamodb.watermark import parse_watermark
from recon.errors import LedgerNotMoved, TableRefused
from recon.retry import Deadline
from recon.timestamps import parse_epoch, to_iso

# Each of at most 400 KB, so that a transaction stays below 4 MB.
_ITEMS_OF_A_WRITE = 10
# The first copies. Every further one finds differences only if something else writes.
_MOST_PASSES = 5
_RECORDS = "PK = :system OR begins_with(PK, :outcomes) OR begins_with(PK, :session)"
_VALUES = {":system": SYSTEM, ":outcomes": OUTCOMES_PREFIX, ":session": SESSION_PREFIX}
_MARKS = ("movedTo", "movedAt", "movingFrom")


@dataclass(frozen=True)
class LedgerMove:
    """The result of a move.

    `records` counts those of the new ledger by kind, `written` and `removed` those that this call changed
    there. `was_moved` is True if an earlier call has completed the move.
    """

    source: str
    destination: str
    records: Mapping[str, int]
    written: int = 0
    removed: int = 0
    was_moved: bool = False


def move_ledger(
    source: Table,
    destination: Table,
    stack: str,
    now: int,
    deadline: Deadline,
    wait_for_batches: Callable[[int], None],
) -> LedgerMove:
    """Move the ledger of a stack from one table to another. `now` is in epoch seconds.

    `wait_for_batches` gets the time (epoch seconds) when the old ledger was closed, and returns once each
    batch that began before has ended: its commit would miss the copy.

    Raises LedgerInUse if the ledger belongs to another stack, LedgerNotMoved if a run is open, if it has
    moved to a third table, if the destination has another ledger, or if something else writes the ledger.
    """
    watermark = parse_watermark(source.get(WATERMARK_KEY, deadline) or {})
    if watermark.moved_to not in (None, destination.ledger):
        watermark.check_open()
    found = destination.get(WATERMARK_KEY, deadline)
    reserved = parse_watermark(found or {})
    if watermark.moved_to is None:
        watermark.check_owner(stack)
        _refuse_open_runs(source, now, deadline)
    elif found is not None and reserved.moving_from != source.ledger:
        # The move has ended. The ledger may have moved on since, and then the old records must stay unused.
        reserved.check_owner(stack)
        _redirect_shop(source, destination.ledger, stack, deadline)
        return LedgerMove(source.ledger, destination.ledger, _count(destination, deadline), was_moved=True)
    if found is None and _has_records(destination, deadline):
        raise _occupied(destination)
    _reserve(destination, source.ledger, stack, deadline)
    wait_for_batches(_close(source, destination.ledger, stack, now, deadline))
    _redirect_shop(source, destination.ledger, stack, deadline)
    written = removed = 0
    for _ in range(_MOST_PASSES):
        changes = _differences(source, destination, deadline)
        done = Counter(_apply(source, destination, changes, deadline))
        written, removed = written + done["Put"], removed + done["Delete"]
        if not done:
            _open(source, destination, deadline)
            records = _count(destination, deadline)
            return LedgerMove(source.ledger, destination.ledger, records, written, removed)
    raise LedgerNotMoved(
        f"table {source.ledger} or {destination.ledger} changes while it is copied: find what writes it, "
        "then repeat the command"
    )


def _refuse_open_runs(source: Table, now: int, deadline: Deadline) -> None:
    items = source.query(
        "PK = :pk AND begins_with(SK, :prefix)",
        {":pk": SYSTEM, ":prefix": RUN_PREFIX, ":running": RunStatus.RUNNING},
        names={"#status": "status"},
        only="#status = :running",
        deadline=deadline,
    )
    # The next run closes one whose producer is dead.
    still_open = [run.run_id for run in map(parse_run, items) if not is_stalled(run, now)]
    if still_open:
        raise LedgerNotMoved(
            f"run {', '.join(still_open)} is open: wait until it is done (nightly-sync status), then repeat "
            "the command"
        )


def _has_records(destination: Table, deadline: Deadline) -> bool:
    """Return whether the table has a ledger of a version before the watermark item, or a part of one."""
    state = destination.get(STATE_KEY, deadline)
    return state is not None or any(True for _ in _records(destination, deadline))


def _occupied(destination: Table) -> LedgerNotMoved:
    return LedgerNotMoved(
        f"table {destination.ledger} has a ledger in use, or records of another one; move to an empty table"
    )


def _reserve(destination: Table, source: str, stack: str, deadline: Deadline) -> None:
    """Mark the destination, so that no run uses it before the move has ended.

    It is new, or this stack has left it or reserved it before.
    """
    reserve = destination.update(
        WATERMARK_KEY,
        "SET movingFrom = :source, stackName = :stack",
        {":source": source, ":stack": stack},
        condition="attribute_not_exists(PK) OR movingFrom = :source OR movedTo = :source "
        "OR (stackName = :stack AND (attribute_exists(movingFrom) OR attribute_exists(movedTo)))",
    )
    try:
        destination.transact([reserve], deadline)
    except TransactionCancelled:
        raise _occupied(destination) from None


def _close(source: Table, destination: str, stack: str, now: int, deadline: Deadline) -> int:
    """Mark the watermark, which every run and every batch reads, so that they refuse the old ledger.

    Return when that was first done (epoch seconds): a repeated move need not wait again.
    """
    close = source.update(
        WATERMARK_KEY,
        "SET movedTo = :to, movedAt = if_not_exists(movedAt, :at), "
        "stackName = if_not_exists(stackName, :stack)",
        {":to": destination, ":at": to_iso(now), ":stack": stack},
        condition="attribute_not_exists(movedTo) OR movedTo = :to",
    )
    _transact(source, [close], deadline)
    closed = source.get(WATERMARK_KEY, deadline) or {}
    return parse_epoch(closed["movedAt"])


def _redirect_shop(source: Table, ledger: str, stack: str, deadline: Deadline) -> None:
    """Let the closed or reserved watermark of this stack in the shop's table name the new ledger.

    Until then it names the one before, and every run on the new one would be refused.
    """
    shop = source.at(source.shop)
    try:
        item = shop.get(WATERMARK_KEY, deadline)
    except TableRefused:
        # The table has other keys than PK and SK, so no ledger was ever in it.
        return
    mark = parse_watermark(item or {})
    if shop.ledger == ledger or mark.stack_name != stack or mark.moved_to == ledger:
        return
    redirect = shop.update(
        WATERMARK_KEY,
        "SET movedTo = :to REMOVE movingFrom",
        {":to": ledger},
        condition="attribute_exists(movedTo) OR attribute_exists(movingFrom)",
    )
    _transact(shop, [redirect], deadline)


def _open(source: Table, destination: Table, deadline: Deadline) -> None:
    """Put state and watermark without the marks of the move: from then on the destination is the ledger."""
    items = {(item["PK"], item["SK"]): item for item in source.get_many([STATE_KEY, WATERMARK_KEY], deadline)}
    cleared = {
        key: {name: value for name, value in item.items() if name not in _MARKS}
        for key, item in items.items()
    }
    actions = [destination.put(item) for key, item in cleared.items() if key == STATE_KEY]
    watermark = destination.put(cleared[WATERMARK_KEY], "movingFrom = :source", {":source": source.ledger})
    _transact(destination, [*actions, watermark], deadline)


def _transact(table: Table, actions: list[Action], deadline: Deadline) -> None:
    """Apply the actions. Raise LedgerNotMoved if a condition failed, since only another call changes it."""
    try:
        table.transact(actions, deadline)
    except TransactionCancelled:
        raise LedgerNotMoved(
            "another call moves the ledger at the same time: repeat the command when it has ended"
        ) from None


def _differences(source: Table, destination: Table, deadline: Deadline) -> Iterator[Action]:
    """Yield the actions that make the records of the destination those of the source."""
    for items in batched(_records(source, deadline), 100):
        stored = _by_key(destination, map(_key, items), deadline)
        yield from (destination.put(item) for item in items if stored.get(_key(item)) != item)
    for items in batched(_records(destination, deadline), 100):
        wanted = _by_key(source, map(_key, items), deadline)
        yield from (destination.delete(_key(item)) for item in items if _key(item) not in wanted)


def _apply(source: Table, destination: Table, changes: Iterable[Action], deadline: Deadline) -> Iterator[str]:
    """Apply the actions to the reserved destination, never to one that is open, and yield their kinds."""
    reserved = destination.check(WATERMARK_KEY, "movingFrom = :source", {":source": source.ledger})
    for actions in batched(changes, _ITEMS_OF_A_WRITE):
        _transact(destination, [reserved, *actions], deadline)
        yield from (action.kind for action in actions)


def _records(table: Table, deadline: Deadline) -> Iterator[Item]:
    return (item for item in table.scan(_RECORDS, _VALUES, deadline) if is_ledger_record(_key(item)))


def _by_key(table: Table, keys: Iterable[Key], deadline: Deadline) -> dict[Key, Item]:
    return {_key(item): item for item in table.get_many(list(keys), deadline)}


def _key(item: Item) -> Key:
    return (item["PK"], item["SK"])


def _count(table: Table, deadline: Deadline) -> dict[str, int]:
    """Return the number of records by kind: the prefix of the key that names it."""
    return dict(sorted(Counter(map(_kind, _records(table, deadline))).items()))


def _kind(item: Item) -> str:
    pk, sk = _key(item)
    return (sk if pk == SYSTEM else pk).partition("#")[0]
