"""The watermark item: up to when all sessions are checked, and which stack the ledger belongs to.

It is apart from the sync state, because the Lambda that this system replaces puts the state whole and so
erases what it does not know.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from recon.domain.run import RunStatus
from recon.dynamodb.attribute_readers import read_integer, read_text
from recon.dynamodb.keys import WATERMARK_KEY
from recon.dynamodb.records import Run, State
from recon.dynamodb.table import Action, Item, Table
from recon.errors import LedgerInUse, LedgerNotMoved
from recon.timestamps import DAY, to_iso

MOVE_COMMAND = "nightly-sync ledger move"
# Runs list sessions again that were created up to a day, a session's life, before the watermark.
_OVERLAP = 2 * DAY


@dataclass(frozen=True)
class FilterPeriod:
    """Sessions created from `start` to `end` (epoch seconds), listed with an earlier filter and not since."""

    text: str
    start: int
    end: int

    @property
    def backfill_command(self) -> str:
        """Return the command that lists these sessions again."""
        return f"nightly-sync run --from {to_iso(self.start)} --to {to_iso(self.end)}"


@dataclass(frozen=True)
class Watermark:
    """The watermark item. If `is_stored` is False, its times are not stored yet but taken over.

    `covered_through` is the watermark and `first_lookback_start` the start of the first scheduled run's
    window, from which later runs list until a scheduled run is done; both are in epoch seconds. `proven_by`
    is the newest session, created at `proven_created` (epoch seconds), that was found with an order which
    this sync did not write: a key that can read it has the right account and mode. `confirmed_by` is the run
    with which an operator accepted a table without such an order. `proven_shape` is the text of shape.toml
    that both hold for, empty for this system's layout. `moved_to` is the table to which the ledger has moved,
    `moving_from` the one from which a move to this ledger has not ended. `session_filter` is the
    filter of the latest run, which lists sessions from `filter_start` on. `former_filter` is the time of an
    earlier one, until a run has listed it again.
    """

    covered_through: int | None = None
    first_lookback_start: int | None = None
    proven_by: str | None = None
    proven_created: int | None = None
    confirmed_by: str | None = None
    proven_shape: str = ""
    stack_name: str | None = None
    session_filter: str = ""
    filter_start: int | None = None
    former_filter: FilterPeriod | None = None
    is_stored: bool = False
    moved_to: str | None = None
    moving_from: str | None = None

    @property
    def has_times(self) -> bool:
        """Return True if a scheduled run has stored where its window began, or a watermark."""
        return self.covered_through is not None or self.first_lookback_start is not None

    def with_filter(self, text: str) -> "Watermark":
        """Return the watermark after a start with this filter.

        If the filter changed, the time of the earlier one becomes `former_filter`. A time without a filter
        does not: nothing was left out of it. Without a watermark, the next runs list all of it again.
        """
        if text == self.session_filter:
            return self
        former, end = self.former_filter, self.covered_through
        if self.session_filter and end is not None:
            starts = (self.filter_start or self.first_lookback_start or end, former.start if former else end)
            former = FilterPeriod(self.session_filter, min(starts), end)
        start = None if end is None else end - _OVERLAP
        return replace(self, session_filter=text, filter_start=start, former_filter=former)

    def check_owner(self, stack: str) -> None:
        """Raise LedgerInUse if the ledger belongs to another stack, LedgerNotMoved if it is not open."""
        self.check_open()
        if self.stack_name not in (None, stack):
            raise LedgerInUse(describe_owner(str(self.stack_name), stack))

    def check_open(self) -> None:
        """Raise LedgerNotMoved if the ledger has moved to another table, or its move has not ended."""
        # First, since a ledger that moves back has left this table before, and names it in turn.
        if self.moving_from:
            raise LedgerNotMoved(
                f"the move of the ledger from table {self.moving_from} has not ended: repeat `{MOVE_COMMAND}`"
            )
        if self.moved_to:
            raise LedgerNotMoved(describe_moved(self.moved_to))


def describe_moved(table: str) -> str:
    """Return why a ledger may not be used, and what to do."""
    return (
        f"the ledger has moved to table {table}: deploy with LedgerTable={table}, or with an empty "
        "LedgerTable if that is the shop's table"
    )


def describe_owner(owner: str, stack: str) -> str:
    """Return why a stack may not use the ledger, and what to do."""
    return (
        f"the ledger belongs to stack {owner}, and this is stack {stack}: two stacks on one table would move "
        f"each other's watermark. Delete the stack {owner}, or take its ledger over with make deploy ARGS=\""
        f'--stack {stack} --adopt"'
    )


def parse_watermark(item: Item) -> Watermark:
    """Return the watermark of an item. An attribute that is absent or of another type is None."""
    return Watermark(
        covered_through=read_integer(item, "lastCoveredThrough"),
        first_lookback_start=read_integer(item, "firstLookbackStart"),
        proven_by=read_text(item, "provenBy"),
        proven_created=read_integer(item, "provenCreated"),
        confirmed_by=read_text(item, "confirmedBy"),
        proven_shape=read_text(item, "provenShape") or "",
        stack_name=read_text(item, "stackName"),
        session_filter=read_text(item, "sessionFilter") or "",
        filter_start=read_integer(item, "sessionFilterFrom"),
        former_filter=_parse_period(item.get("formerFilter")),
        is_stored=True,
        moved_to=read_text(item, "movedTo"),
        moving_from=read_text(item, "movingFrom"),
    )


def _parse_period(value: object) -> FilterPeriod | None:
    if not isinstance(value, dict):
        return None
    start, end = read_integer(value, "from"), read_integer(value, "to")
    if start is None or end is None:
        return None
    return FilterPeriod(read_text(value, "sessionFilter") or "", start, end)


def take_over(stored: Watermark, state: State, scheduled: Callable[[], Iterable[Run]]) -> Watermark:
    """Return the watermark with the times that earlier versions kept on the sync state.

    If another program has erased them there, they are the newest watermark of a done scheduled run, or the
    earliest start of a scheduled run. An item without times takes them over too: scheduled runs of an earlier
    version may have followed it. `scheduled` reads the scheduled runs.
    """
    covered, first = state.covered_through, state.first_lookback_start
    if covered is None and first is None:
        runs = list(scheduled())
        done = [run.covers_through or 0 for run in runs if run.status == RunStatus.DONE]
        covered = max(done, default=0) or None
        first = min((run.lookback_start for run in runs), default=None)
    return replace(stored, covered_through=covered, first_lookback_start=first, is_stored=False)


def claim_watermark(table: Table, read: Watermark, claimed: Watermark, stack: str, now: int) -> list[Action]:
    """Return the action that stores the owner, the first start, the filter, and what a new item takes over.

    `read` is the item as it was read, and `claimed` is what the run makes of it. The condition is that the
    ledger belongs to no other stack, and that a watermark up to which an earlier filter counts is as read.
    Return no action if nothing is missing. `now` is in epoch seconds.
    """
    if read.is_stored and read.stack_name is not None and claimed == read:
        return []
    values: Item = {
        "stackName": stack,
        "lastCoveredThrough": claimed.covered_through,
        "firstLookbackStart": claimed.first_lookback_start,
    }
    values = {name: value for name, value in values.items() if value is not None}
    # Values that another start has stored since stay.
    sets = [f"{name} = if_not_exists({name}, :{name})" for name in values]
    condition = "(attribute_not_exists(stackName) OR stackName = :stackName)"
    unchanged: Item = {}
    if claimed.session_filter != read.session_filter:
        changed = _filter_fields(claimed)
        sets += [f"{name} = :{name}" for name in changed]
        values |= changed
        same_watermark, unchanged = _unchanged_watermark(read)
        condition += f" AND {same_watermark}"
    action = table.update(
        WATERMARK_KEY,
        "SET updatedAt = :now, " + ", ".join(sets),
        {f":{name}": value for name, value in values.items()} | {":now": to_iso(now)} | unchanged,
        condition=condition,
    )
    return [action]


def store_proof(table: Table, session_id: str, created: int, shape: str, now: int) -> Action:
    """Return the action that stores a proof session, unless a newer one of this layout is stored.

    `shape` is the text of shape.toml, empty for this system's layout. Times are in epoch seconds.
    """
    values = {":session": session_id, ":created": created, ":now": to_iso(now)}
    sets = "SET provenBy = :session, provenCreated = :created, updatedAt = :now"
    newer = "attribute_not_exists(provenCreated) OR provenCreated < :created"
    if shape:
        sets += ", provenShape = :shape"
        other, values[":shape"] = "NOT provenShape = :shape", shape
    else:
        sets, other = f"{sets} REMOVE provenShape", "attribute_exists(provenShape)"
    return table.update(WATERMARK_KEY, sets, values, condition=f"{newer} OR {other}")


def confirm_without_proof(table: Table, run_id: str, shape: str, now: int) -> Action:
    """Return the action that stores an operator's confirmation and forgets the proof session."""
    sets = "SET confirmedBy = :run, updatedAt = :now" + (", provenShape = :shape" if shape else "")
    removes = " REMOVE provenBy, provenCreated" + ("" if shape else ", provenShape")
    values = {":run": run_id, ":now": to_iso(now)} | ({":shape": shape} if shape else {})
    return table.update(WATERMARK_KEY, sets + removes, values)


def _filter_fields(watermark: Watermark) -> Item:
    former = watermark.former_filter
    period = former and {"sessionFilter": former.text, "from": former.start, "to": former.end}
    fields: Item = {
        "sessionFilter": watermark.session_filter,
        "sessionFilterFrom": watermark.filter_start,
        "formerFilter": period,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _unchanged_watermark(read: Watermark) -> tuple[str, Item]:
    """Return the condition that the watermark is still the one that was read, and its values."""
    if read.is_stored and read.covered_through is not None:
        return "lastCoveredThrough = :covered", {":covered": read.covered_through}
    # Neither absent attributes nor those of another type are compared with a number.
    return "NOT lastCoveredThrough >= :zero", {":zero": 0}


def _unchanged_filter(read: Watermark) -> tuple[str, Item]:
    """Return the condition that the filter is still the one that was read, and its values."""
    values: Item = {":filter": read.session_filter}
    return ("sessionFilter = :filter" if read.session_filter else "NOT sessionFilter > :filter"), values


def advance_watermark(
    table: Table, read: Watermark, through: int | None, at: str, *, lists_former: bool
) -> list[Action]:
    """Return the action that moves the watermark forward to `through`.

    Its condition is that watermark and filter are as they were read. With `lists_former`, it also forgets the
    time of the former filter, which a run has listed again. Return no action if `through` is None or not
    later and nothing is forgotten. `at` is ISO 8601.
    """
    forgets = " REMOVE formerFilter" if lists_former and read.former_filter else ""
    moves = through is not None and through > (read.covered_through or 0)
    if not moves and not forgets:
        return []
    condition, values = _unchanged_filter(read)
    values[":at"] = at
    if moves:
        values[":through"] = through
        same_watermark, covered = _unchanged_watermark(read)
        condition, values = f"{condition} AND {same_watermark}", values | covered
    sets = "lastCoveredThrough = :through, updatedAt = :at" if moves else "updatedAt = :at"
    expression = f"SET {sets}{forgets}"
    return [table.update(WATERMARK_KEY, expression, values, condition=condition)]
