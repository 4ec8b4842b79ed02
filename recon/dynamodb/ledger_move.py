"""Moving a ledger to another table: the records are copied, compared, and only then used.

A move first reserves the new table and closes the old one: from then on, every run and every batch on the old
ledger is refused. It waits until the batches that began before have ended, and copies until a pass over both
tables finds no difference. Then it opens the new ledger with one transaction, which puts the state and the
watermark. A move that is stopped at any point is repeated from its beginning and copies only what differs.
The old records stay where they are, and nothing reads them.
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
from recon.errors import LedgerNotMoved, TableUnavailable
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
    moved to a third table, if the destination has a ledger in use, or if something else writes the ledger.
    """
    watermark = parse_watermark(source.get(WATERMARK_KEY, deadline) or {})
    if watermark.moved_to not in (None, destination.ledger):
        watermark.check_open()
    if watermark.moved_to is None:
        watermark.check_owner(stack)
        _refuse_open_runs(source, now, deadline)
    elif _is_open(destination, deadline):
        return LedgerMove(source.ledger, destination.ledger, _count(destination, deadline), was_moved=True)
    _reserve(destination, source.ledger, deadline)
    wait_for_batches(_close(source, destination.ledger, stack, now, deadline))
    written = removed = 0
    for _ in range(_MOST_PASSES):
        changes = _differences(source, destination, deadline)
        done = Counter(_apply(destination, changes, deadline))
        written, removed = written + done["Put"], removed + done["Delete"]
        if not done:
            _open(source, destination, deadline)
            records = _count(destination, deadline)
            return LedgerMove(source.ledger, destination.ledger, records, written, removed)
    raise LedgerNotMoved(
        f"table {source.ledger} or {destination.ledger} changes while it is copied: find what writes it, "
        "then repeat the command"
    )


def _is_open(destination: Table, deadline: Deadline) -> bool:
    item = destination.get(WATERMARK_KEY, deadline)
    return item is not None and parse_watermark(item).moving_from is None


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


def _reserve(destination: Table, source: str, deadline: Deadline) -> None:
    """Mark the destination, so that no run uses it before the move has ended."""
    reserve = destination.update(
        WATERMARK_KEY,
        "SET movingFrom = :source",
        {":source": source},
        condition="attribute_not_exists(PK) OR movingFrom = :source OR attribute_exists(movedTo)",
    )
    try:
        destination.transact([reserve], deadline)
    except TransactionCancelled:
        raise LedgerNotMoved(
            f"table {destination.ledger} has a ledger in use; move to an empty table"
        ) from None


def _close(source: Table, destination: str, stack: str, now: int, deadline: Deadline) -> int:
    """Mark the watermark, which every run and every batch reads, so that they refuse the old ledger.

    Return when that was first done (epoch seconds): a repeated move need not wait again.
    """
    close = source.update(
        WATERMARK_KEY,
        "SET movedTo = :to, movedAt = if_not_exists(movedAt, :at), "
        "stackName = if_not_exists(stackName, :stack)",
        {":to": destination, ":at": to_iso(now), ":stack": stack},
    )
    source.transact([close], deadline)
    closed = source.get(WATERMARK_KEY, deadline) or {}
    return parse_epoch(closed["movedAt"])


def _open(source: Table, destination: Table, deadline: Deadline) -> None:
    """Put state and watermark without the marks of the move: from then on the destination is the ledger."""
    items = {(item["PK"], item["SK"]): item for item in source.get_many([STATE_KEY, WATERMARK_KEY], deadline)}
    cleared = {
        key: {name: value for name, value in item.items() if name not in _MARKS}
        for key, item in items.items()
    }
    actions = [destination.put(item) for key, item in cleared.items() if key == STATE_KEY]
    watermark = destination.put(cleared[WATERMARK_KEY], "movingFrom = :source", {":source": source.ledger})
    try:
        destination.transact([*actions, watermark], deadline)
    except TransactionCancelled:
        raise TableUnavailable("another call has opened the ledger") from None


def _differences(source: Table, destination: Table, deadline: Deadline) -> Iterator[Action]:
    """Yield the actions that make the records of the destination those of the source."""
    for items in batched(_records(source, deadline), 100):
        stored = _by_key(destination, map(_key, items), deadline)
        yield from (destination.put(item) for item in items if stored.get(_key(item)) != item)
    for items in batched(_records(destination, deadline), 100):
        wanted = _by_key(source, map(_key, items), deadline)
        yield from (destination.delete(_key(item)) for item in items if _key(item) not in wanted)


def _apply(destination: Table, changes: Iterable[Action], deadline: Deadline) -> Iterator[str]:
    """Apply the actions and yield their kinds."""
    for actions in batched(changes, _ITEMS_OF_A_WRITE):
        destination.transact(actions, deadline)
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
