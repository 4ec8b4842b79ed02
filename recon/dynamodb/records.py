"""The records of the sync's own items, as written and read: the sync state, runs and outcomes.

Every reader of these items parses them here. A parser accepts items of other versions: an attribute that is
absent or has an unexpected type gets the default of its field, and an unknown word stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recon.domain.outcome import Outcome
from recon.domain.run import Listing, Part, RunStatus
from recon.dynamodb.attribute_readers import read_boolean, read_integer, read_text, read_texts
from recon.dynamodb.keys import RUN_PREFIX, SESSION_PREFIX
from recon.dynamodb.listing_lease import NO_LEASE, Lease, parse_lease
from recon.dynamodb.table import Item
from recon.errors import Unfinished
from recon.timestamps import DAY, parse_epoch, to_iso

RUN_DAYS = 90
# An outcome outlives the dead-letter queue's 14 days, so that a late redrive still finds what it corrects.
OUTCOME_DAYS = 30
# Longer than the function that closed a run needs to report it, shorter than any retry takes to begin.
REPORT_SECONDS = 60
COUNTERS = ("enqueued", "processed", "created", "skipped", "errors", "drifted", "existing", "filtered")
UNKNOWN_OUTCOME = "unknown"


@dataclass(frozen=True)
class Failure:
    """The error of the last failed invocation of a run.

    `error_type` is a class name of `recon.errors` and `at` is ISO 8601. `attempts` counts the failed
    invocations of the run, and `request_id` is Lambda's id of the last of them.
    """

    error_type: str
    message: str
    at: str
    attempts: int
    request_id: str


@dataclass(frozen=True)
class Sample:
    """Paid sessions that a held run looked up in the table.

    `size` is how many, `missing` how many of them have no order, and `amounts` the money of these by
    currency, in the currency's smallest unit.
    """

    size: int = 0
    missing: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """The record of one run. Times are ISO 8601 in UTC, `lookback_start` and `lookback_end` epoch seconds.

    `trigger` is a `Trigger` and `status` a `RunStatus`, or a word of another version. `max_sessions` is the
    hard limit that the caller set. `covers_through` is the watermark (epoch seconds) that the run sets when
    it is done, if it may set one. Every session created up to `cursor` (epoch seconds) is sent. It is
    None until there is such a time, which `listing` replaces while the window is listed in parts.
    `session_filter` is the filter of the run, and `filtered` is how many sessions of the window it left out.
    `failure` is set if the run failed and its producer could store the cause, `sample` if the run is held.
    `existing` counts the skips with the reason `exists`, `missing` the orders that another shop's layout
    lacks. `unreported` is True from the end of a done run until its metrics are printed.
    """

    run_id: str
    trigger: str
    started_at: str
    lookback_hours: int
    lookback_start: int
    lookback_end: int
    max_sessions: int | None = None
    covers_through: int | None = None
    status: str = RunStatus.RUNNING
    completed_at: str | None = None
    enqueued: int = 0
    processed: int = 0
    created: int = 0
    skipped: int = 0
    errors: int = 0
    listed: bool = False
    truncated: bool = False
    drifted: int = 0
    filtered: int = 0
    cursor: int | None = None
    listing: Listing | None = None
    livemode: bool | None = None
    listing_moved_at: int = 0
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
    existing: int = 0
    missing: int = 0
    sample: Sample | None = None
    unreported: bool = False
    session_filter: str = ""

    @property
    def has_begun(self) -> bool:
        """Return True once sessions were sent, or the listing has come to a later time without any."""
        return self.cursor is not None or self.listing is not None

    @property
    def is_complete(self) -> bool:
        """Return True if the listing has ended and every listed session has an outcome."""
        return self.listed and self.processed >= self.enqueued

    @property
    def started_epoch(self) -> int | None:
        """Return the start in epoch seconds, or None if the record has no valid time."""
        return _epoch(self.started_at)

    @property
    def completed_epoch(self) -> int | None:
        """Return the end in epoch seconds, or None if the run is open or the time is invalid."""
        return _epoch(self.completed_at)

    def must_be_reported(self, now: int) -> bool:
        """Return True if the function that closed the run was killed before it printed the run's metrics."""
        return self.unreported and (self.completed_epoch or 0) <= now - REPORT_SECONDS

    def seconds(self, now: int) -> int:
        """Return the seconds from the start until `now`, or 0 if the start is unknown."""
        started = self.started_epoch
        return 0 if started is None else now - started


def run_fields(run: Run, now: int) -> Item:
    """Return the first attributes of a run's record, except for its keys and counters."""
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
        "sessionFilter": run.session_filter or None,
        "listed": False,
        "truncated": False,
        "dryRun": False,
        "warnings": [],
        "listingMovedAt": now,
        "updatedAt": to_iso(now),
        "expiresAt": now + RUN_DAYS * DAY,
    }
    return _known(fields)


def parse_run(item: Item) -> Run:
    """Return the run of an item. Only its sort key must be present."""
    return Run(
        run_id=item["SK"].removeprefix(RUN_PREFIX),
        trigger=read_text(item, "trigger") or "",
        started_at=read_text(item, "syncStartedAt") or "",
        lookback_hours=read_integer(item, "lookbackHours") or 0,
        lookback_start=read_integer(item, "lookbackStart") or 0,
        lookback_end=read_integer(item, "lookbackEnd") or 0,
        max_sessions=read_integer(item, "maxSessions"),
        covers_through=read_integer(item, "coversThrough"),
        drifted=read_integer(item, "drifted") or 0,
        session_filter=read_text(item, "sessionFilter") or "",
        filtered=read_integer(item, "filtered") or 0,
        listing=_parse_listing(item),
        livemode=read_boolean(item, "livemode"),
        status=read_text(item, "status") or RunStatus.RUNNING,
        completed_at=read_text(item, "syncCompletedAt"),
        enqueued=read_integer(item, "enqueued") or 0,
        processed=read_integer(item, "processed") or 0,
        created=read_integer(item, "created") or 0,
        skipped=read_integer(item, "skipped") or 0,
        errors=read_integer(item, "errors") or 0,
        listed=read_boolean(item, "listed") or False,
        truncated=read_boolean(item, "truncated") or False,
        cursor=read_integer(item, "cursor"),
        listing_moved_at=read_integer(item, "listingMovedAt") or 0,
        warnings=read_texts(item, "warnings"),
        failure=_parse_failure(item),
        existing=read_integer(item, "existing") or 0,
        missing=read_integer(item, "missing") or 0,
        sample=_parse_sample(item),
        unreported=read_boolean(item, "unreported") or False,
    )


def listing_field(listing: Listing) -> Item:
    """Return the attribute `listing` of a run."""
    parts = [
        {"from": part.start, "to": part.end, "after": part.after, "reached": part.reached}
        for part in listing.parts
    ]
    return {"made": listing.made, "parts": list(map(_known, parts))}


def _known(item: Item) -> Item:
    return {name: value for name, value in item.items() if value is not None}


def _parse_listing(item: Item) -> Listing | None:
    """Return how far a window is listed in parts. Return None if it is not, or if a part cannot be read.

    Without `cursor`, such a run cannot be continued, and the next one lists its window.
    """
    stored = item.get("listing")
    if not isinstance(stored, dict) or not isinstance(stored.get("parts"), list):
        return None
    parts = tuple(part for part in map(_parse_part, stored["parts"]) if part)
    if not parts or len(parts) < len(stored["parts"]):
        return None
    return Listing(parts, read_integer(stored, "made") or len(parts))


def _parse_part(item: object) -> Part | None:
    if not isinstance(item, dict):
        return None
    start, end = read_integer(item, "from"), read_integer(item, "to")
    if start is None or end is None:
        return None
    return Part(start, end, read_text(item, "after"), read_integer(item, "reached"))


def _parse_failure(item: Item) -> Failure | None:
    """Return why a run failed, or None if it has not failed or its record does not tell.

    A version that does not know these attributes leaves them in place when it reopens a run, so they count
    only while the run is `failed`.
    """
    error_type = read_text(item, "failureType")
    if item.get("status") != RunStatus.FAILED or error_type is None:
        return None
    return Failure(
        error_type=error_type,
        message=read_text(item, "failureMessage") or "",
        at=read_text(item, "failedAt") or "",
        attempts=read_integer(item, "failedAttempts") or 1,
        request_id=read_text(item, "failedRequestId") or "",
    )


def sample_fields(sample: Sample) -> Item:
    """Return the attributes of a held run's record."""
    return {
        "sampleSize": sample.size,
        "wouldCreate": sample.missing,
        "wouldCreateAmounts": dict(sample.amounts),
    }


def _parse_sample(item: Item) -> Sample | None:
    """Return what a held run would have created, or None if the run is not held."""
    if item.get("status") != RunStatus.HELD:
        return None
    amounts = item.get("wouldCreateAmounts")
    amounts = amounts if isinstance(amounts, dict) else {}
    return Sample(
        size=read_integer(item, "sampleSize") or 0,
        missing=read_integer(item, "wouldCreate") or 0,
        amounts={name: amount for name in amounts if (amount := read_integer(amounts, name)) is not None},
    )


@dataclass(frozen=True)
class State:
    """The attributes of the sync state that decisions depend on.

    `covered_through` and `first_lookback_start` (epoch seconds) mirror the watermark item for versions that
    know the state only. They are absent if another program has put the state. `status` is a `RunStatus` or a
    word of another version.
    """

    run_id: str | None = None
    covered_through: int | None = None
    livemode: bool | None = None
    first_lookback_start: int | None = None
    status: str | None = None
    lease: Lease = NO_LEASE


def parse_state(item: Item | None) -> State:
    """Return the sync state of an item, or an empty one if there is no item yet."""
    item = item or {}
    return State(
        read_text(item, "lastSyncRunId"),
        read_integer(item, "lastCoveredThrough"),
        read_boolean(item, "lastLivemode"),
        read_integer(item, "firstLookbackStart"),
        read_text(item, "lastSyncStatus"),
        parse_lease(item),
    )


@dataclass(frozen=True)
class OutcomeRecord:
    """The outcome of one session in one run.

    `outcome` is an `Outcome` and `reason` a `SkipReason`, or a word of another version. `amount` is in the
    smallest unit of `currency`. `message_id` is the id of the SQS message that the outcome was written for.
    `failed_messages` are the ids of earlier messages under which the session failed too.
    `drift` lists the differences between an existing order and Stripe, `attention` the words of
    `recon.domain.attention` or of another version. `updated_at` is ISO 8601.
    """

    session_id: str
    outcome: str
    reason: str | None = None
    order_number: str | None = None
    amount: int | None = None
    currency: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    attempts: int | None = None
    message_id: str | None = None
    drift: tuple[str, ...] = ()
    updated_at: str | None = None
    dismissed_by: str | None = None
    dismissed_because: str | None = None
    attention: tuple[str, ...] = ()
    failed_messages: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Return True unless the outcome is an error, which a later attempt may still correct."""
        return self.outcome != Outcome.ERROR

    def has_failed_under(self, message_id: str) -> bool:
        """Return whether an attempt under this message ended with an error."""
        ended = self.outcome == Outcome.ERROR and self.error_type != Unfinished.__name__
        return (ended and self.message_id == message_id) or message_id in self.failed_messages


def parse_outcome(item: Item) -> OutcomeRecord:
    """Return the outcome of an item. Only its sort key must be present."""
    return OutcomeRecord(
        session_id=item["SK"].removeprefix(SESSION_PREFIX),
        outcome=read_text(item, "outcome") or UNKNOWN_OUTCOME,
        reason=read_text(item, "reason"),
        order_number=read_text(item, "orderNumber"),
        amount=read_integer(item, "amount"),
        currency=read_text(item, "currency"),
        error_type=read_text(item, "errorType"),
        error_message=read_text(item, "errorMessage"),
        attempts=read_integer(item, "attempts"),
        message_id=read_text(item, "messageId"),
        drift=read_texts(item, "drift"),
        updated_at=read_text(item, "updatedAt"),
        dismissed_by=read_text(item, "dismissedBy"),
        dismissed_because=read_text(item, "dismissedBecause"),
        attention=read_texts(item, "attention"),
        failed_messages=read_texts(item, "failedMessages"),
    )


def _epoch(text: str | None) -> int | None:
    try:
        return parse_epoch(text) if text is not None else None
    except ValueError:
        return None
