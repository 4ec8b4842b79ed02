"""The life of a run: started, listed page by page, done or failed. One record each, and the sync state."""

from dataclasses import dataclass, replace

from recon.clock import iso
from recon.errors import TableUnavailable
from recon.ledger.records import (
    COUNTERS,
    DONE,
    FAILED,
    RUN_PREFIX,
    RUNNING,
    STATE_KEY,
    Run,
    run_fields,
    run_key,
    run_of,
)
from recon.ledger.table import Action, Cancelled, Table
from recon.retry import Deadline

# Longer than a producer lives (15 minutes): whoever has not listed for so long is dead.
LISTING_STALE_SECONDS = 20 * 60


class ListingTaken(Exception):  # noqa: N818 - a signal to the producer, not an error of the system
    """Another invocation moved this run's cursor; it goes on, and this one stops."""


@dataclass(frozen=True)
class Progress:
    """How far a listing got: `sent` more sessions, up to `cursor`; `listed` when those were the last."""

    cursor: str | None
    sent: int
    listed: bool
    truncated: bool = False
    warnings: tuple[str, ...] = ()


class Runs:
    """The runs of one table."""

    def __init__(self, table: Table, deadline: Deadline) -> None:
        self._table = table
        self._deadline = deadline

    def get(self, run_id: str) -> Run | None:
        """Consistent."""
        item = self._table.get(run_key(run_id))
        return run_of(item) if item else None

    def start(self, run: Run, now: int) -> Run:
        """Creates the run's record and takes the sync state over; a run that is there is returned as it is.

        The state is not taken from a run that started later: then the run keeps its own record only.
        """
        if self._together(_create(self._table, run, now), _take_over(self._table, run, now)):
            return replace(run, listing_moved_at=now)
        found = self.get(run.run_id)
        if found is None:
            raise TableUnavailable(f"the record of run {run.run_id} is there and is not")
        return found if found.listed else self._resumed(found, now)

    def _resumed(self, run: Run, now: int) -> Run:
        """A run whose producer comes back goes on, also one that was given up meanwhile."""
        resume = self._table.update(
            run_key(run.run_id),
            "SET #status = :running, listingMovedAt = :moved REMOVE syncCompletedAt",
            {":running": RUNNING, ":no": False, ":moved": now},
            condition="listed = :no",
            names={"#status": "status"},
        )
        if not self._together(resume, self._running_again(run)):
            return self.get(run.run_id) or run
        return replace(run, status=RUNNING, completed_at=None, listing_moved_at=now)

    def _running_again(self, run: Run) -> Action:
        return self._table.update(
            STATE_KEY,
            "SET lastSyncStatus = :running REMOVE lastSyncCompletedAt",
            {":running": RUNNING, ":run": run.run_id},
            condition="lastSyncRunId = :run",
        )

    def advance(self, run: Run, progress: Progress, now: int) -> Run:
        """Moves the cursor and `enqueued` together, if the cursor is still the one that was read.

        Raises ListingTaken when it is not, so that every session is counted once whoever sends it.
        """
        values = {
            ":sent": progress.sent,
            ":listed": progress.listed,
            ":truncated": progress.truncated,
            ":warnings": list(progress.warnings),
            ":moved": now,
            ":now": iso(now),
            ":no": False,
            ":running": RUNNING,
        }
        # A page that moves the cursor says that the run lives, also to whoever gave it up meanwhile.
        setting = (
            "#status = :running, listed = :listed, truncated = :truncated, warnings = :warnings, "
            "listingMovedAt = :moved, updatedAt = :now"
        )
        if progress.cursor is not None:
            values[":cursor"] = progress.cursor
            setting += ", #cursor = :cursor"
        cursor_is_the_one_read = "attribute_not_exists(#cursor)"
        if run.cursor is not None:
            values[":read"] = run.cursor
            cursor_is_the_one_read = "#cursor = :read"
        move = self._table.update(
            run_key(run.run_id),
            f"SET {setting} REMOVE syncCompletedAt ADD enqueued :sent",
            values,
            condition=f"{cursor_is_the_one_read} AND listed = :no",
            names={"#cursor": "cursor", "#status": "status"},
        )
        state = self._table.update(
            STATE_KEY,
            "SET updatedAt = :now, lastSyncStatus = :running "
            "REMOVE lastSyncCompletedAt ADD lastSyncEnqueued :sent",
            {":now": iso(now), ":sent": progress.sent, ":run": run.run_id, ":running": RUNNING},
            condition="lastSyncRunId = :run",
        )
        if not self._together(move, state):
            raise ListingTaken
        return replace(
            run,
            cursor=progress.cursor or run.cursor,
            enqueued=run.enqueued + progress.sent,
            listed=progress.listed,
            truncated=progress.truncated,
            warnings=progress.warnings,
            listing_moved_at=now,
        )

    def finish_if_through(self, run_id: str, now: int) -> Run | None:
        """Marks a run done, on its record and on the state, if everything listed has an outcome.

        Returns the finished run to the one caller that finished it, None to everyone else.
        """
        run = self.get(run_id)
        if run is None or run.status != RUNNING or not run.is_through:
            return None
        through = "#status = :running AND listed = :yes AND #processed >= enqueued"
        names = {"#processed": "processed"}
        return self._close(run, DONE, through, {":yes": True}, now, names)

    def close_others(self, run_id: str, now: int) -> list[Run]:
        """Closes the other runs that are still open: done if they are, failed if their producer is dead."""
        items = self._table.query(
            "PK = :pk AND begins_with(SK, :runs)",
            {":pk": STATE_KEY[0], ":runs": RUN_PREFIX, ":running": RUNNING},
            names={"#status": "status"},
            only="#status = :running",
        )
        opened = [run for run in map(run_of, items) if run.run_id != run_id]
        return [closed for run in opened if (closed := self._closed(run, now))]

    def _closed(self, run: Run, now: int) -> Run | None:
        if run.is_through:
            return self.finish_if_through(run.run_id, now)
        if run.listed or run.listing_moved_at > now - LISTING_STALE_SECONDS:
            return None
        dead = "#status = :running AND listed = :no AND listingMovedAt = :moved"
        return self._close(run, FAILED, dead, {":no": False, ":moved": run.listing_moved_at}, now)

    def _close(
        self,
        run: Run,
        status: str,
        condition: str,
        values: dict[str, int | bool],
        now: int,
        names: dict[str, str] | None = None,
    ) -> Run | None:
        at = iso(now)
        close = self._table.update(
            run_key(run.run_id),
            "SET #status = :status, syncCompletedAt = :at, updatedAt = :at",
            {":status": status, ":running": RUNNING, ":at": at} | values,
            condition=condition,
            names={"#status": "status"} | (names or {}),
        )
        state = self._table.update(
            STATE_KEY,
            "SET lastSyncStatus = :status, lastSyncCompletedAt = :at, updatedAt = :at",
            {":status": status, ":at": at, ":run": run.run_id},
            condition="lastSyncRunId = :run",
        )
        return replace(run, status=status, completed_at=at) if self._together(close, state) else None

    def _together(self, run: Action, state: Action) -> bool:
        """Both, or the run's alone where the state belongs to another run; False: the run's did not hold."""
        try:
            self._table.transact([run, state], self._deadline)
        except Cancelled as cancelled:
            if cancelled.reasons[0].failed:
                return False
        else:
            return True
        try:
            self._table.transact([run], self._deadline)
        except Cancelled:
            return False
        return True


def _create(table: Table, run: Run, now: int) -> Action:
    """An update and not a put: a result that came before its run (hand-made, or after a restore of the table)
    has left counters that stay true."""
    fields = run_fields(run, now)
    setting = [f"#{name} = :{name}" for name in fields]
    counting = [f"#{name} = if_not_exists(#{name}, :zero)" for name in COUNTERS]
    return table.update(
        run_key(run.run_id),
        "SET " + ", ".join(setting + counting),
        {f":{name}": value for name, value in fields.items()} | {":zero": 0},
        condition="attribute_not_exists(syncStartedAt)",
        names={f"#{name}": name for name in (*fields, *COUNTERS)},
    )


def _take_over(table: Table, run: Run, now: int) -> Action:
    # A state without a run id was left by what this system replaces, whatever its times look like.
    nobody_started_later = "attribute_not_exists(lastSyncRunId) OR lastSyncStartedAt <= :started"
    return table.update(
        STATE_KEY,
        "SET lastSyncRunId = :run, lastSyncStartedAt = :started, lastSyncStatus = :running, "
        "lastLookbackStart = :from, lastLookbackEnd = :to, lastSyncEnqueued = :zero, "
        "lastSyncProcessed = :zero, lastSyncCreated = :zero, lastSyncSkipped = :zero, "
        "lastSyncErrors = :zero, updatedAt = :now REMOVE lastSyncCompletedAt",
        {
            ":run": run.run_id,
            ":started": run.started_at,
            ":running": RUNNING,
            ":from": run.lookback_start,
            ":to": run.lookback_end,
            ":zero": 0,
            ":now": iso(now),
        },
        condition=nobody_started_later,
    )
