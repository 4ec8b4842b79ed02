"""Keys and attributes of what the sync keeps in the shop's table: state, runs, outcomes."""

from dataclasses import dataclass
from typing import Any

from recon.domain.reconcile import Outcome
from recon.dynamodb.table import Item, Key
from recon.timestamps import DAY, parse_epoch, to_iso

STATE_KEY: Key = ("SYSTEM", "STRIPE_ORDER_SYNC")
RUN_PREFIX = "STRIPE_ORDER_SYNC#"
PENDING_PREFIX = "PENDING#"
RUN_DAYS = 90
# Longer than any payment method takes; a payment that has not settled by then never will.
PENDING_DAYS = 90
# As long as anything of the sync is kept; Stripe delivers an event for three days.
MARKER_DAYS = 90
# An outcome outlives the dead-letter queue's 14 days, so that a late redrive still finds what it corrects.
OUTCOME_DAYS = 30
COUNTERS = ("enqueued", "processed", "created", "skipped", "errors", "drifted")
RUNNING, DONE, FAILED = "running", "done", "failed"


def run_key(run_id: str) -> Key:
    return ("SYSTEM", f"{RUN_PREFIX}{run_id}")


def pending_key(session_id: str) -> Key:
    return ("SYSTEM", f"{PENDING_PREFIX}{session_id}")


def marker_key(event_id: str) -> Key:
    """The webhook's own record of an event that it has handled."""
    return (f"EVENT#{event_id}", "METADATA")


def outcome_partition(run_id: str) -> str:
    return f"SYNC_RUN#{run_id}"


def outcome_key(run_id: str, session_id: str) -> Key:
    return (outcome_partition(run_id), f"SESSION#{session_id}")


@dataclass(frozen=True)
class Failure:
    """Why the last invocation of a run failed: a word of the error tree, its text, and the time in ISO 8601.

    `attempts` counts the failed invocations of the run. `request_id` is Lambda's id of the last of them.
    """

    error_type: str
    message: str
    at: str
    attempts: int
    request_id: str


@dataclass(frozen=True)
class Run:
    """One run's record. Times are ISO 8601 UTC, `lookback_start` and `lookback_end` epoch seconds.

    `max_sessions` is set where a caller set a hard limit. `covers_through` is how far the run moves the
    watermark once it is done (epoch seconds), where it may move it at all. `cursor`: everything created up
    to then is sent. `slice_seconds`: how long the slices of the listing were at last. `failure` is set on a
    failed run whose producer could say why.
    """

    run_id: str
    trigger: str
    started_at: str
    lookback_hours: int
    lookback_start: int
    lookback_end: int
    max_sessions: int | None = None
    covers_through: int | None = None
    status: str = RUNNING
    completed_at: str | None = None
    enqueued: int = 0
    processed: int = 0
    created: int = 0
    skipped: int = 0
    errors: int = 0
    listed: bool = False
    truncated: bool = False
    drifted: int = 0
    cursor: int | None = None
    slice_seconds: int | None = None
    livemode: bool | None = None
    listing_moved_at: int = 0
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def is_complete(self) -> bool:
        """Everything listed has an outcome."""
        return self.listed and self.processed >= self.enqueued

    def seconds(self, now: int) -> int:
        """How long it has been going on; 0 for a record that does not say when it began."""
        try:
            return now - parse_epoch(self.started_at)
        except ValueError:
            return 0


def run_fields(run: Run, now: int) -> Item:
    """What a run's record begins with, keys and counters apart."""
    fields: Item = {
        "runId": run.run_id,
        "trigger": run.trigger,
        "status": run.status,
        "syncStartedAt": run.started_at,
        "lookbackHours": run.lookback_hours,
        "lookbackWindow": {"from": to_iso(run.lookback_start), "to": to_iso(run.lookback_end)},
        "lookbackStart": run.lookback_start,
        "lookbackEnd": run.lookback_end,
        "maxSessions": run.max_sessions,
        "coversThrough": run.covers_through,
        "listed": False,
        "truncated": False,
        "dryRun": False,
        "warnings": [],
        "listingMovedAt": now,
        "updatedAt": to_iso(now),
        "expiresAt": now + RUN_DAYS * DAY,
    }
    return {name: value for name, value in fields.items() if value is not None}


def parse_run(item: Item) -> Run:
    """Tolerant of what a record of another version lacks."""
    return Run(
        run_id=item["SK"].removeprefix(RUN_PREFIX),
        trigger=item.get("trigger", ""),
        started_at=item.get("syncStartedAt", ""),
        lookback_hours=item.get("lookbackHours", 0),
        lookback_start=item.get("lookbackStart", 0),
        lookback_end=item.get("lookbackEnd", 0),
        max_sessions=item.get("maxSessions"),
        covers_through=item.get("coversThrough"),
        drifted=item.get("drifted", 0),
        slice_seconds=item.get("sliceSeconds"),
        livemode=item.get("livemode"),
        status=item.get("status", RUNNING),
        completed_at=item.get("syncCompletedAt"),
        enqueued=item.get("enqueued", 0),
        processed=item.get("processed", 0),
        created=item.get("created", 0),
        skipped=item.get("skipped", 0),
        errors=item.get("errors", 0),
        listed=item.get("listed", False),
        truncated=item.get("truncated", False),
        cursor=item.get("cursor"),
        listing_moved_at=item.get("listingMovedAt", 0),
        warnings=tuple(item.get("warnings", ())),
        failure=failure_of(item),
    )


def failure_of(item: Item) -> Failure | None:
    """Return why a run failed, or None if it has not failed or its record does not say why.

    A version that does not know these attributes leaves them in place when it reopens a run, so they count
    only while the run is `failed`.
    """
    if item.get("status") != FAILED or "failureType" not in item:
        return None
    return Failure(
        error_type=item["failureType"],
        message=item.get("failureMessage", ""),
        at=item.get("failedAt", ""),
        attempts=item.get("failedAttempts", 1),
        request_id=item.get("failedRequestId", ""),
    )


@dataclass(frozen=True)
class State:
    """The sync state, as far as decisions depend on it. `covered_through`: the watermark, epoch seconds."""

    run_id: str | None = None
    covered_through: int | None = None
    livemode: bool | None = None
    # Where the first scheduled run began: what the next ones go back to until one of them has ended.
    first_lookback_start: int | None = None


def parse_state(item: Item | None) -> State:
    item = item or {}
    return State(
        item.get("lastSyncRunId"),
        item.get("lastCoveredThrough"),
        item.get("lastLivemode"),
        item.get("firstLookbackStart"),
    )


@dataclass(frozen=True)
class KnownOutcome:
    """An outcome as the table holds it, possibly of a version that knows other words."""

    outcome: str
    error_type: str | None = None
    message_id: str | None = None

    @property
    def is_final(self) -> bool:
        """Created or skipped; an error may still be corrected."""
        return self.outcome != Outcome.ERROR


def parse_known_outcome(item: dict[str, Any]) -> KnownOutcome:
    return KnownOutcome(str(item.get("outcome")), item.get("errorType"), item.get("messageId"))
