"""The updates of the sync state that accompany those of a run's record.

Each is conditional on the state as the run knows it, since another run may take it over at any time.
"""

from recon.domain.run import RunStatus
from recon.dynamodb.keys import STATE_KEY
from recon.dynamodb.listing_lease import LEASE_SECONDS
from recon.dynamodb.records import Run, State
from recon.dynamodb.table import Action, Item, Table
from recon.dynamodb.watermark import Watermark
from recon.timestamps import to_iso


def take_over_state(table: Table, run: Run, watermark: Watermark, now: int) -> Action:
    """Return the action that gives the state to a new run, unless a run that started later owns it.

    It copies the watermark to the state, where versions without the watermark item look for it.
    """
    # A state without a run id is from the single-function system before this one; ignore its times, and those
    # that are numbers, which only another program stores.
    no_later_run = "attribute_not_exists(lastSyncRunId) OR NOT lastSyncStartedAt > :started"
    mirrored: Item = {}
    mirror = ""
    if watermark.first_lookback_start is not None:
        mirror += ", firstLookbackStart = if_not_exists(firstLookbackStart, :first)"
        mirrored[":first"] = watermark.first_lookback_start
    if watermark.covered_through is not None:
        mirror += ", lastCoveredThrough = :covered"
        mirrored[":covered"] = watermark.covered_through
    return table.update(
        STATE_KEY,
        "SET lastSyncRunId = :run, lastSyncStartedAt = :started, lastSyncStatus = :running, "
        "lastLookbackStart = :from, lastLookbackEnd = :to, lastSyncEnqueued = :zero, "
        "lastSyncProcessed = :zero, lastSyncCreated = :zero, lastSyncSkipped = :zero, "
        "lastSyncErrors = :zero, lastSyncDrifted = :zero, "
        "updatedAt = :now, listingUntil = :until, "
        f"listingRunId = :run{mirror} "
        "REMOVE lastSyncCompletedAt, lastSyncMissing",
        {
            ":run": run.run_id,
            ":started": run.started_at,
            ":running": RunStatus.RUNNING,
            ":from": run.lookback_start,
            ":to": run.lookback_end,
            ":zero": 0,
            ":now": to_iso(now),
            ":until": now + LEASE_SECONDS,
        }
        | mirrored,
        condition=no_later_run,
    )


def reopen_state(table: Table, run: Run, now: int) -> Action:
    """Return the action that sets the state to running again, and says that sessions are listed."""
    return table.update(
        STATE_KEY,
        "SET lastSyncStatus = :running, listingUntil = :until, listingRunId = :run "
        "REMOVE lastSyncCompletedAt",
        {":running": RunStatus.RUNNING, ":run": run.run_id, ":until": now + LEASE_SECONDS},
        condition="lastSyncRunId = :run",
    )


def advance_state(
    table: Table, run: Run, sent: int, livemode: bool | None, now: int, *, listed: bool = False
) -> Action:
    """Return the action that adds `sent` to the state's `enqueued`, and stores the mode if it is known.

    It renews the lease of the listing, or ends it if the run is listed.
    """
    values: Item = {
        ":now": to_iso(now),
        ":sent": sent,
        ":run": run.run_id,
        ":running": RunStatus.RUNNING,
        ":until": now if listed else now + LEASE_SECONDS,
    }
    set_livemode = ""
    if livemode is not None:
        values[":livemode"] = livemode
        set_livemode = ", lastLivemode = :livemode"
    return table.update(
        STATE_KEY,
        "SET updatedAt = :now, lastSyncStatus = :running, listingUntil = :until, listingRunId = :run"
        f"{set_livemode} REMOVE lastSyncCompletedAt ADD lastSyncEnqueued :sent",
        values,
        condition="lastSyncRunId = :run",
    )


def close_state(
    table: Table, run: Run, status: RunStatus, through: int | None, state: State, at: str
) -> list[Action]:
    """Return the update of the state at the end of a run, on the condition that `state` is still current.

    The state gets the end of the run if it still belongs to the run. It mirrors the watermark, `through`, in
    any case.
    """
    sets = ["updatedAt = :at"]
    values: Item = {":at": at, ":owner": state.run_id}
    if state.run_id == run.run_id:
        sets += ["lastSyncStatus = :status", "lastSyncCompletedAt = :at"]
        values |= {":status": status}
    if through and through > (state.covered_through or 0):
        sets.append("lastCoveredThrough = :through")
        values |= {":through": through}
    if len(sets) == 1 or state.run_id is None:
        return []
    if state.covered_through is not None:
        unchanged = "lastCoveredThrough = :covered"
        values |= {":covered": state.covered_through}
    else:
        # Neither an absent attribute nor one of another type is compared with a number.
        unchanged = "NOT lastCoveredThrough >= :zero"
        values |= {":zero": 0}
    return [
        table.update(
            STATE_KEY,
            "SET " + ", ".join(sets),
            values,
            condition=f"lastSyncRunId = :owner AND {unchanged}",
        )
    ]
