"""The life of a run: started, listed page by page, done or failed. One record each, and the sync state."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from recon.dynamodb.outcomes import find_settled_pending
from recon.dynamodb.records import (
    COUNTERS,
    DONE,
    FAILED,
    PENDING_PREFIX,
    RUN_PREFIX,
    RUNNING,
    STATE_KEY,
    Failure,
    Run,
    State,
    parse_run,
    parse_state,
    run_fields,
    run_key,
)
from recon.dynamodb.table import Action, Item, Table, TransactionCancelled
from recon.errors import TableRefused, TableUnavailable
from recon.retry import Deadline
from recon.timestamps import parse_epoch, to_iso, to_run_id

# Longer than a producer lives (15 minutes): whoever has not listed for so long is dead.
LISTING_STALE_SECONDS = 20 * 60
# A run that goes on again has not failed. `failedAttempts` stays and counts on.
_FORGET_FAILURE = "REMOVE syncCompletedAt, failureType, failureMessage, failedAt, failedRequestId"
# Our own texts are far shorter.
_LONGEST_MESSAGE = 1000
_UNMOVED = "#status = :running AND listed = :no AND listingMovedAt = :moved"


class CursorConflict(Exception):  # noqa: N818 - a signal to the producer, not an error of the system
    """Another invocation moved this run's cursor; it goes on, and this one stops."""


@dataclass(frozen=True)
class Progress:
    """How far a listing got: `sent` more sessions, everything created up to `cursor` (epoch seconds);
    `listed` when those were the last. `slice_seconds` and `livemode` are for whoever goes on;
    `covers_through` takes back what the run had hoped to move the watermark to (0: not at all)."""

    cursor: int
    sent: int
    listed: bool
    truncated: bool = False
    slice_seconds: int | None = None
    livemode: bool | None = None
    covers_through: int | None = None


def is_stalled(run: Run, now: int) -> bool:
    """Return True if the listing of an open run has not moved for longer than an invocation can last."""
    return run.status == RUNNING and not run.listed and run.listing_moved_at <= now - LISTING_STALE_SECONDS


class Runs:
    """The runs of one table."""

    def __init__(self, table: Table, deadline: Deadline) -> None:
        self._table = table
        self._deadline = deadline

    def get(self, run_id: str) -> Run | None:
        """Consistent."""
        item = self._table.get(run_key(run_id), self._deadline)
        return parse_run(item) if item else None

    def start(self, run: Run, now: int) -> Run:
        """Creates the run's record and takes the sync state over; a run that is there is returned as it is.

        The state is not taken from a run that started later: then the run keeps its own record only.
        """
        origin = _keep_origin(self._table, run)
        if self._together(_create(self._table, run, now), _take_over(self._table, run, now), *origin):
            return replace(run, listing_moved_at=now)
        found = self.get(run.run_id)
        if found is None:
            raise TableUnavailable(f"the record of run {run.run_id} is there and is not")
        return self.resume(found, now)

    def resume(self, run: Run, now: int) -> Run:
        """A run whose producer comes back goes on, also one that was given up meanwhile; one that is listed
        stays as it is."""
        if run.listed:
            return run
        resume = self._table.update(
            run_key(run.run_id),
            f"SET #status = :running, listingMovedAt = :moved {_FORGET_FAILURE}",
            {":running": RUNNING, ":no": False, ":moved": now},
            condition="listed = :no",
            names={"#status": "status"},
        )
        if not self._together(resume, self._running_again(run)):
            return self.get(run.run_id) or run
        return replace(run, status=RUNNING, completed_at=None, listing_moved_at=now, failure=None)

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
        # A page that moves the cursor says that the run lives, also to whoever gave it up meanwhile.
        fields = {
            "status": RUNNING,
            "cursor": progress.cursor,
            "listed": progress.listed,
            "truncated": run.truncated or progress.truncated,
            "sliceSeconds": progress.slice_seconds or run.slice_seconds,
            "livemode": run.livemode if progress.livemode is None else progress.livemode,
            "coversThrough": progress.covers_through,
            "listingMovedAt": now,
            "updatedAt": to_iso(now),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        values: Item = {f":{name}": value for name, value in fields.items()}
        values |= {":sent": progress.sent, ":no": False}
        values |= {":read": run.cursor} if run.cursor is not None else {}
        cursor_is_the_one_read = "attribute_not_exists(#cursor)" if run.cursor is None else "#cursor = :read"
        move = self._table.update(
            run_key(run.run_id),
            "SET "
            + ", ".join(f"#{name} = :{name}" for name in fields)
            + f" {_FORGET_FAILURE} ADD enqueued :sent",
            values,
            condition=f"{cursor_is_the_one_read} AND #listed = :no",
            names={f"#{name}": name for name in fields},
        )
        if not self._together(move, self._progress_of_state(run, progress, now)):
            raise CursorConflict
        return replace(
            run,
            cursor=progress.cursor,
            enqueued=run.enqueued + progress.sent,
            listed=progress.listed,
            truncated=run.truncated or progress.truncated,
            slice_seconds=progress.slice_seconds or run.slice_seconds,
            livemode=run.livemode if progress.livemode is None else progress.livemode,
            listing_moved_at=now,
        )

    def _progress_of_state(self, run: Run, progress: Progress, now: int) -> Action:
        values: Item = {":now": to_iso(now), ":sent": progress.sent, ":run": run.run_id, ":running": RUNNING}
        livemode = ""
        if progress.livemode is not None:
            values[":livemode"] = progress.livemode
            livemode = ", lastLivemode = :livemode"
        return self._table.update(
            STATE_KEY,
            f"SET updatedAt = :now, lastSyncStatus = :running{livemode} "
            "REMOVE lastSyncCompletedAt ADD lastSyncEnqueued :sent",
            values,
            condition="lastSyncRunId = :run",
        )

    def state(self) -> State:
        """Consistent."""
        return parse_state(self._table.get(STATE_KEY, self._deadline))

    def warn(self, run_id: str, warning: str) -> bool:
        """Keeps a warning on the run's record; True to the one caller that was the first to say it."""
        say = self._table.update(
            run_key(run_id),
            "SET warnings = list_append(if_not_exists(warnings, :none), :warnings)",
            {":none": [], ":warnings": [warning], ":warning": warning},
            condition="attribute_exists(PK) AND NOT contains(warnings, :warning)",
        )
        try:
            self._table.transact([say], self._deadline)
        except TransactionCancelled:
            return False
        return True

    def pending(self) -> Iterator[Item]:
        """The entries of sessions that were complete and not paid when they were last seen."""
        return self._table.query(
            "PK = :pk AND begins_with(SK, :pending)",
            {":pk": STATE_KEY[0], ":pending": PENDING_PREFIX},
            deadline=self._deadline,
        )

    def find_settled_pending(self, run_id: str) -> set[str]:
        """The pending sessions that a run has an outcome of already."""
        return find_settled_pending(self._table, run_id, self._deadline)

    def find_by_request(self, request: str, since: int) -> str | None:
        """The id of a run by hand that a request (the end of its id) has begun since then."""
        items = self._table.query(
            "PK = :pk AND SK BETWEEN :since AND :end",
            {
                ":pk": STATE_KEY[0],
                ":since": f"{RUN_PREFIX}{to_run_id(since)}",
                ":end": f"{RUN_PREFIX}9",
            },
            projection="SK",
            deadline=self._deadline,
        )
        ids = [item["SK"].removeprefix(RUN_PREFIX) for item in items]
        return next((run_id for run_id in ids if run_id.endswith(f"-{request}")), None)

    def scheduled_before(self, run_id: str, count: int) -> list[Run]:
        """The latest scheduled runs but this one, newest first."""
        items = self._table.query(
            "PK = :pk AND begins_with(SK, :runs)",
            {":pk": STATE_KEY[0], ":runs": RUN_PREFIX, ":scheduled": "scheduled"},
            names={"#trigger": "trigger"},
            only="#trigger = :scheduled",
            newest_first=True,
            deadline=self._deadline,
        )
        others = (run for run in map(parse_run, items) if run.run_id != run_id)
        return list(islice(others, count))

    def latest(self, count: int) -> list[Run]:
        """The latest runs of either kind, newest first."""
        items = self._table.query(
            "PK = :pk AND begins_with(SK, :runs)",
            {":pk": STATE_KEY[0], ":runs": RUN_PREFIX},
            newest_first=True,
            deadline=self._deadline,
        )
        return [parse_run(item) for item in islice(items, count)]

    def find_by_time(self, moment: int) -> list[str]:
        """The ids of the runs by hand that were asked for at that second."""
        items = self._table.query(
            "PK = :pk AND begins_with(SK, :runs)",
            {":pk": STATE_KEY[0], ":runs": f"{RUN_PREFIX}{to_run_id(moment)}-"},
            projection="SK",
            deadline=self._deadline,
        )
        return [item["SK"].removeprefix(RUN_PREFIX) for item in items]

    def finish_if_complete(self, run_id: str, now: int) -> Run | None:
        """Marks a run done, on its record and on the state, if everything listed has an outcome.

        Returns the finished run to the one caller that finished it, None to everyone else.
        """
        run = self.get(run_id)
        return self.finish(run, now) if run else None

    def finish(self, run: Run, now: int) -> Run | None:
        """As `finish_if_through`, of a run that was read just now."""
        if run.status != RUNNING or not run.is_complete:
            return None
        through = "#status = :running AND listed = :yes AND #processed >= enqueued"
        names = {"#processed": "processed"}
        return self._close(run, DONE, through, {":yes": True}, now, names)

    def close_stale_runs(self, run_id: str, now: int) -> list[Run]:
        """Closes the other runs that are still open: done if they are, failed if their producer is dead.

        Returns all of them as they are now; one that stays open is `running`.
        """
        items = self._table.query(
            "PK = :pk AND begins_with(SK, :runs)",
            {":pk": STATE_KEY[0], ":runs": RUN_PREFIX, ":running": RUNNING},
            names={"#status": "status"},
            only="#status = :running",
            deadline=self._deadline,
        )
        opened = [run for run in map(parse_run, items) if run.run_id != run_id]
        return [self._closed(run, now) or run for run in opened]

    def _closed(self, run: Run, now: int) -> Run | None:
        if run.is_complete:
            return self.finish_if_complete(run.run_id, now)
        if not is_stalled(run, now):
            return None
        values: Item = {":no": False, ":moved": run.listing_moved_at}
        return self._close(run, FAILED, _UNMOVED, values, now)

    def fail(self, run: Run, failure: Failure) -> Run | None:
        """Mark a run `failed` and keep why, on its record and on the state.

        Return the failed run. Return None if its listing has ended or has moved since `run` was read: then it
        does not depend on the invocation that failed. A later invocation of the run reopens it (`resume`).
        """
        values: Item = {
            ":no": False,
            ":moved": run.listing_moved_at,
            ":type": failure.error_type,
            ":message": failure.message[:_LONGEST_MESSAGE],
            ":request": failure.request_id,
            ":one": 1,
        }
        keep = (
            ", failureType = :type, failureMessage = :message, failedAt = :at, failedRequestId = :request "
            "ADD failedAttempts :one"
        )
        return self._close(run, FAILED, _UNMOVED, values, parse_epoch(failure.at), keep=keep)

    def _close(
        self,
        run: Run,
        status: str,
        condition: str,
        values: Item,
        now: int,
        names: dict[str, str] | None = None,
        *,
        keep: str = "",
    ) -> Run | None:
        at = to_iso(now)
        close = self._table.update(
            run_key(run.run_id),
            f"SET #status = :status, syncCompletedAt = :at, updatedAt = :at{keep}",
            {":status": status, ":running": RUNNING, ":at": at} | values,
            condition=condition,
            names={"#status": "status"} | (names or {}),
        )
        while True:
            state = self.state()
            moves = self._closing_of_state(run, status, state, at)
            try:
                self._table.transact([close, *moves], self._deadline)
            except TransactionCancelled as cancelled:
                if cancelled.reasons[0].failed:
                    return None
                _raise_if_refused(cancelled)
                # The state moved since it was read: decided again with what it says now.
                self._deadline.check()
            else:
                return replace(run, status=status, completed_at=at)

    def _closing_of_state(self, run: Run, status: str, state: State, at: str) -> list[Action]:
        """What the end of a run changes on the state: its completion, if the state is still this run's, and
        the watermark, whoever's the state is. Under the condition that both are what was read."""
        sets = ["updatedAt = :at"]
        values: Item = {":at": at, ":holder": state.run_id}
        if state.run_id == run.run_id:
            sets += ["lastSyncStatus = :status", "lastSyncCompletedAt = :at"]
            values |= {":status": status}
        through = run.covers_through if status == DONE else None
        if through and through > (state.covered_through or 0):
            sets.append("lastCoveredThrough = :through")
            values |= {":through": through}
        if len(sets) == 1 or state.run_id is None:
            return []
        unmoved = "attribute_not_exists(lastCoveredThrough)"
        if state.covered_through is not None:
            unmoved = "lastCoveredThrough = :covered"
            values |= {":covered": state.covered_through}
        return [
            self._table.update(
                STATE_KEY,
                "SET " + ", ".join(sets),
                values,
                condition=f"lastSyncRunId = :holder AND {unmoved}",
            )
        ]

    def _together(self, run: Action, state: Action, *otherwise: Action) -> bool:
        """Both, or the run's with `otherwise` where the state belongs to another run; False: the run's did
        not hold."""
        try:
            self._table.transact([run, state], self._deadline)
        except TransactionCancelled as cancelled:
            if cancelled.reasons[0].failed:
                return False
            _raise_if_refused(cancelled)
        else:
            return True
        try:
            self._table.transact([run, *otherwise], self._deadline)
        except TransactionCancelled as cancelled:
            _raise_if_refused(cancelled)
            return False
        return True


def _raise_if_refused(cancelled: TransactionCancelled) -> None:
    """What DynamoDB refuses is no condition that did not hold: nobody else has done it."""
    if any(reason.refused for reason in cancelled.reasons):
        raise TableRefused("DynamoDB refuses an item of a run") from cancelled


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


def _keep_origin(table: Table, run: Run) -> list[Action]:
    """Where the first scheduled run began is kept also while another run holds the state."""
    if run.trigger != "scheduled":
        return []
    keep = "SET firstLookbackStart = if_not_exists(firstLookbackStart, :from)"
    return [table.update(STATE_KEY, keep, {":from": run.lookback_start})]


def _take_over(table: Table, run: Run, now: int) -> Action:
    # A state without a run id was left by what this system replaces, whatever its times look like.
    nobody_started_later = "attribute_not_exists(lastSyncRunId) OR lastSyncStartedAt <= :started"
    origin = ""
    if run.trigger == "scheduled":
        origin = ", firstLookbackStart = if_not_exists(firstLookbackStart, :from)"
    return table.update(
        STATE_KEY,
        "SET lastSyncRunId = :run, lastSyncStartedAt = :started, lastSyncStatus = :running, "
        "lastLookbackStart = :from, lastLookbackEnd = :to, lastSyncEnqueued = :zero, "
        "lastSyncProcessed = :zero, lastSyncCreated = :zero, lastSyncSkipped = :zero, "
        f"lastSyncErrors = :zero, lastSyncDrifted = :zero, updatedAt = :now{origin} "
        "REMOVE lastSyncCompletedAt",
        {
            ":run": run.run_id,
            ":started": run.started_at,
            ":running": RUNNING,
            ":from": run.lookback_start,
            ":to": run.lookback_end,
            ":zero": 0,
            ":now": to_iso(now),
        },
        condition=nobody_started_later,
    )
