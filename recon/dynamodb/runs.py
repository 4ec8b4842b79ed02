"""Writing the records of runs, from start to end, and the sync state with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recon.domain.run import Listing, RunStatus, Trigger
from recon.dynamodb.keys import RUN_PREFIX, run_key
from recon.dynamodb.records import (
    COUNTERS,
    Failure,
    Run,
    Sample,
    listing_field,
    parse_run,
    run_fields,
    sample_fields,
)
from recon.dynamodb.run_reader import RunReader
from recon.dynamodb.state_actions import (
    advance_state,
    close_state,
    reopen_state,
    take_over_state,
)
from recon.dynamodb.table import Action, Item, Table, TransactionCancelled
from recon.dynamodb.watermark import (
    Watermark,
    advance_watermark,
    claim_watermark,
    confirm_without_proof,
    store_proof,
)
from recon.errors import TableRefused, TableUnavailable
from recon.timestamps import parse_epoch, to_iso

# Longer than an invocation of the producer can last (15 minutes), so its producer is dead.
LISTING_STALE_SECONDS = 20 * 60
# A reopened run has not failed. `failedAttempts` stays, so that it counts all failed invocations.
_FORGET_FAILURE = "REMOVE syncCompletedAt, failureType, failureMessage, failedAt, failedRequestId"
# The texts of the project's own errors are far shorter.
_MAX_MESSAGE = 1000
_NO_WATERMARK = Watermark()
# Fewer paid sessions than this say nothing about the webhook. Of more, it loses single ones, not nine in ten.
NOTHING_FOUND_SESSIONS, NOTHING_FOUND_SHARE = 10, 0.9
NOTHING_FOUND = (
    "nothing_found: nine in ten of the run's paid sessions had no order, so the webhook is broken or writes "
    "orders where the sync does not look; check the webhook's deliveries at Stripe and its layout of orders"
)
_UNCHANGED = "#status = :running AND listed = :no AND listingMovedAt = :moved"


class CursorConflict(Exception):  # noqa: N818 - a signal to the producer, not an error of the system
    """Another invocation has continued the listing of this run. This one must stop."""


@dataclass(frozen=True)
class Progress:
    """The progress of a listing since the last update.

    `sent` more sessions were sent. All that were created up to `cursor` (epoch seconds) are sent now, or with
    None all outside the open parts of `listing`. `listed` is True if these were the last. `livemode` is for
    the next invocation. `covers_through` replaces the watermark that the run sets when it is done (0 for
    none). `filtered` more sessions were left out by the filter.
    """

    cursor: int | None
    sent: int
    listed: bool
    truncated: bool = False
    listing: Listing | None = None
    livemode: bool | None = None
    covers_through: int | None = None
    filtered: int = 0


def is_stalled(run: Run, now: int) -> bool:
    """Return True if the listing of an open run has not moved for longer than an invocation can last."""
    is_listing = run.status == RunStatus.RUNNING and not run.listed
    return is_listing and run.listing_moved_at <= now - LISTING_STALE_SECONDS


class Runs(RunReader):
    """The runs of one table, read and written."""

    def start(
        self, run: Run, now: int, watermark: Watermark = _NO_WATERMARK, stack: str | None = None
    ) -> Run:
        """Create the record of a run and take over the sync state. Resume the run if its record exists.

        If a run that started later owns the state, create the record only. `watermark` is the item as it was
        read: the same transaction stores what it lacks, with `stack` as the owner of the ledger, and the
        filter. Raises LedgerInUse if another stack owns it, TableUnavailable if an existing record
        disappears.
        """
        while True:
            claimed = _claim(run, watermark)
            claim = claim_watermark(self._table, watermark, claimed, stack, now) if stack else []
            created = _create(self._table, run, now)
            if self._transact_with_state(created, take_over_state(self._table, run, claimed, now), claim):
                return replace(run, listing_moved_at=now)
            read = self.watermark()
            if stack:
                read.check_owner(stack)
            if existing := self.get(run.run_id):
                return self.resume(existing, now)
            if read == watermark:
                raise TableUnavailable(f"the record of run {run.run_id} disappeared")
            # Another run has changed the item after it was read.
            watermark = read
            self._deadline.check()

    def resume(self, run: Run, now: int) -> Run:
        """Reopen a run that its producer continues, even a failed one. Leave a listed run as it is."""
        if run.listed:
            return run
        resume = self._table.update(
            run_key(run.run_id),
            f"SET #status = :running, listingMovedAt = :moved {_FORGET_FAILURE}",
            {":running": RunStatus.RUNNING, ":no": False, ":moved": now},
            condition="listed = :no",
            names={"#status": "status"},
        )
        if not self._transact_with_state(resume, reopen_state(self._table, run, now)):
            return self.get(run.run_id) or run
        return replace(run, status=RunStatus.RUNNING, completed_at=None, listing_moved_at=now, failure=None)

    def advance(self, run: Run, progress: Progress, now: int) -> Run:
        """Move the listing and `enqueued` together if the listing is still as it was read.

        Raises CursorConflict if it is not, so that a session that two invocations sent is counted once. While
        the window is listed in parts, the attribute `cursor` is null: an earlier version, which only knows
        the cursor, can neither continue the run nor count its sessions twice.
        """
        # Progress reopens a run that was marked failed in the meantime.
        fields = {
            "status": RunStatus.RUNNING,
            "listed": progress.listed,
            "truncated": run.truncated or progress.truncated,
            "listing": progress.listing and listing_field(progress.listing),
            "livemode": run.livemode if progress.livemode is None else progress.livemode,
            "coversThrough": progress.covers_through,
            "listingMovedAt": now,
            "updatedAt": to_iso(now),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        fields["cursor"] = progress.cursor
        values: Item = {f":{name}": value for name, value in fields.items()}
        unchanged, read = _unchanged_listing(run)
        values |= {":sent": progress.sent, ":filtered": progress.filtered, ":no": False} | read
        forget = _FORGET_FAILURE if progress.listing else f"{_FORGET_FAILURE}, #listing"
        adds = "ADD enqueued :sent, filtered :filtered"
        move = self._table.update(
            run_key(run.run_id),
            "SET " + ", ".join(f"#{name} = :{name}" for name in fields) + f" {forget} {adds}",
            values,
            condition=f"{unchanged} AND #listed = :no",
            names={f"#{name}": name for name in (*fields, "listing")},
        )
        advance = advance_state(
            self._table, run, progress.sent, progress.livemode, now, listed=progress.listed
        )
        if not self._transact_with_state(move, advance):
            raise CursorConflict
        return replace(
            run,
            cursor=progress.cursor,
            enqueued=run.enqueued + progress.sent,
            filtered=run.filtered + progress.filtered,
            listed=progress.listed,
            truncated=run.truncated or progress.truncated,
            listing=progress.listing,
            livemode=run.livemode if progress.livemode is None else progress.livemode,
            listing_moved_at=now,
        )

    def warn(self, run_id: str, warning: str) -> bool:
        """Add a warning to the record of a run. Return True if this call added it, False if it was there."""
        append = self._table.update(
            run_key(run_id),
            "SET warnings = list_append(if_not_exists(warnings, :none), :warnings)",
            {":none": [], ":warnings": [warning], ":warning": warning},
            condition="attribute_exists(PK) AND NOT contains(warnings, :warning)",
        )
        try:
            self._table.transact([append], self._deadline)
        except TransactionCancelled:
            return False
        return True

    def finish_if_complete(self, run_id: str, now: int) -> Run | None:
        """Mark a run done on its record and on the state if every listed session has an outcome.

        Return the run if this call marked it, None otherwise.
        """
        run = self.get(run_id)
        return self.finish(run, now) if run else None

    def finish(self, run: Run, now: int) -> Run | None:
        """Mark a run done as `finish_if_complete` does, for a run that was just read."""
        if run.status != RunStatus.RUNNING or not run.is_complete:
            return None
        complete = "#status = :running AND listed = :yes AND #processed >= enqueued"
        names, extra = {"#processed": "processed"}, ", unreported = :yes"
        values: Item = {":yes": True}
        if found_nothing(run):
            extra += ", warnings = list_append(if_not_exists(warnings, :none), :warning)"
            values |= {":none": [], ":warning": [NOTHING_FOUND]}
            run = replace(run, warnings=(*run.warnings, NOTHING_FOUND))
        done = self._close(run, RunStatus.DONE, complete, values, now, names, extra=extra)
        return done and replace(done, unreported=True)

    def mark_reported(self, run_id: str) -> None:
        """Store that the metrics of a done run are printed."""
        mark = self._table.update(run_key(run_id), "REMOVE unreported", {}, condition="attribute_exists(PK)")
        self._table.transact([mark], self._deadline)

    def hold(self, run: Run, sample: Sample, now: int) -> Run | None:
        """Mark a run held on its record and on the state, and store what it would have created.

        Return the held run, or None if another invocation has moved the run since it was read.
        """
        fields = sample_fields(sample)
        values: Item = {":no": False, ":moved": run.listing_moved_at}
        values |= {f":{name}": value for name, value in fields.items()}
        extra = "".join(f", {name} = :{name}" for name in fields)
        held = self._close(run, RunStatus.HELD, _UNCHANGED, values, now, extra=extra)
        return replace(held, sample=sample) if held else None

    def prove(self, session_id: str, created: int, shape: str, now: int) -> None:
        """Store the session as the proof of a layout, unless a newer one is stored. Times are in epoch."""
        self._put_on_watermark(store_proof(self._table, session_id, created, shape, now))

    def confirm(self, run_id: str, shape: str, now: int) -> None:
        """Store that an operator accepts table and layout without a proof, and forget an earlier proof."""
        self._put_on_watermark(confirm_without_proof(self._table, run_id, shape, now))

    def _put_on_watermark(self, action: Action) -> None:
        try:
            self._table.transact([action], self._deadline)
        except TransactionCancelled as cancelled:
            _raise_if_refused(cancelled)

    def close_stale_runs(self, run_id: str, now: int) -> list[Run]:
        """Close the other open runs: done if they are complete, failed if their producer is dead.

        Return all of them as they are now, and the done ones that still have to be reported. A run that stays
        open has the status `running`.
        """
        items = self._query(
            RUN_PREFIX,
            {":running": RunStatus.RUNNING, ":yes": True},
            names={"#status": "status"},
            only="#status = :running OR unreported = :yes",
        )
        others = [run for run in map(parse_run, items) if run.run_id != run_id]
        stale = [self._close_stale(run, now) or run for run in others if run.status == RunStatus.RUNNING]
        return stale + [run for run in others if run.must_be_reported(now)]

    def _close_stale(self, run: Run, now: int) -> Run | None:
        if run.is_complete:
            return self.finish_if_complete(run.run_id, now)
        if not is_stalled(run, now):
            return None
        values: Item = {":no": False, ":moved": run.listing_moved_at}
        return self._close(run, RunStatus.FAILED, _UNCHANGED, values, now)

    def fail(self, run: Run, failure: Failure) -> Run | None:
        """Mark a run failed on its record and on the state, and store the cause on the record.

        Return the failed run. Return None if its listing has ended or moved since `run` was read: then it
        does not depend on the invocation that failed. A later invocation of the run reopens it (`resume`).
        """
        values: Item = {
            ":no": False,
            ":moved": run.listing_moved_at,
            ":type": failure.error_type,
            ":message": failure.message[:_MAX_MESSAGE],
            ":request": failure.request_id,
            ":one": 1,
        }
        cause = (
            ", failureType = :type, failureMessage = :message, failedAt = :at, failedRequestId = :request "
            "ADD failedAttempts :one"
        )
        return self._close(run, RunStatus.FAILED, _UNCHANGED, values, parse_epoch(failure.at), extra=cause)

    def _close(
        self,
        run: Run,
        status: RunStatus,
        condition: str,
        values: Item,
        now: int,
        names: dict[str, str] | None = None,
        *,
        extra: str = "",
    ) -> Run | None:
        at = to_iso(now)
        close = self._table.update(
            run_key(run.run_id),
            f"SET #status = :status, syncCompletedAt = :at, updatedAt = :at{extra}",
            {":status": status, ":running": RunStatus.RUNNING, ":at": at} | values,
            condition=condition,
            names={"#status": "status"} | (names or {}),
        )
        while True:
            through, move = self._move_watermark(run, at) if status == RunStatus.DONE else (None, [])
            state_actions = close_state(self._table, run, status, through, self.state(), at)
            try:
                self._table.transact([close, *move, *state_actions], self._deadline)
            except TransactionCancelled as cancelled:
                if cancelled.reasons[0].failed:
                    return None
                _raise_if_refused(cancelled)
                # The state or the watermark changed after it was read: decide again from its new content.
                self._deadline.check()
            else:
                return replace(run, status=status, completed_at=at)

    def _move_watermark(self, run: Run, at: str) -> tuple[int | None, list[Action]]:
        """Return the watermark that a done run sets, if any, and the action that changes the item.

        A run whose filter is no longer that of the latest run sets none: the next run lists its time again.
        """
        read = self.watermark()
        through = run.covers_through if run.session_filter == read.session_filter else None
        lists_former = _lists_former_time(run, read)
        return through, advance_watermark(self._table, read, through, at, lists_former=lists_former)

    def _transact_with_state(
        self, run_action: Action, state_action: Action, others: Sequence[Action] = ()
    ) -> bool:
        """Apply `run_action`, `state_action` and `others` in one transaction.

        If another run owns the sync state, leave `state_action` out. Return False if the condition of another
        action failed. Raises TableRefused.
        """
        try:
            self._table.transact([run_action, state_action, *others], self._deadline)
        except TransactionCancelled as cancelled:
            _raise_if_refused(cancelled)
            if any(reason.failed for reason in (cancelled.reasons[0], *cancelled.reasons[2:])):
                return False
        else:
            return True
        try:
            self._table.transact([run_action, *others], self._deadline)
        except TransactionCancelled as cancelled:
            _raise_if_refused(cancelled)
            return False
        return True


def _claim(run: Run, watermark: Watermark) -> Watermark:
    """Return what the start of a run makes of the watermark item."""
    if run.trigger == Trigger.SCHEDULED and watermark.first_lookback_start is None:
        watermark = replace(watermark, first_lookback_start=run.lookback_start)
    return watermark.with_filter(run.session_filter)


def _lists_former_time(run: Run, watermark: Watermark) -> bool:
    """Return whether the run has listed the whole time of the former filter with the present one."""
    former = watermark.former_filter
    if former is None or run.session_filter != watermark.session_filter:
        return False
    is_whole = not run.truncated and run.covers_through != 0
    return is_whole and run.lookback_start <= former.start and run.lookback_end >= former.end


def found_nothing(run: Run) -> bool:
    """Return True if almost none of the run's paid sessions had an order before the run."""
    without = run.created + run.missing
    paid = without + run.existing
    return paid >= NOTHING_FOUND_SESSIONS and without >= NOTHING_FOUND_SHARE * paid


def _raise_if_refused(cancelled: TransactionCancelled) -> None:
    """Raise TableRefused if DynamoDB refused an action; then no other writer was faster."""
    if any(reason.refused for reason in cancelled.reasons):
        raise TableRefused("DynamoDB refuses an item of a run") from cancelled


def _unchanged_listing(run: Run) -> tuple[str, Item]:
    """Return the condition that no other invocation has counted sessions of a run, and its values.

    Progress in parts that counts no session may be repeated: what is left then contains what was left before.
    """
    if run.cursor is not None:
        return "#cursor = :read", {":read": run.cursor}
    if run.listing:
        same = "enqueued = :read AND (filtered = :left OR attribute_not_exists(filtered))"
        return f"attribute_exists(#listing) AND {same}", {":read": run.enqueued, ":left": run.filtered}
    return "attribute_not_exists(#cursor)", {}


def _create(table: Table, run: Run, now: int) -> Action:
    """Return an update, not a put, so that counters of results written before the record stay.

    Results precede the record of their run after a restore of the table, or if they were made manually.
    """
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
