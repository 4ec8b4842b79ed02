"""The next run that processes a session. Pure; windows come from the producer's own code."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ops.explain.facts import Coverage, NextRun, SessionFacts
from ops.format.skip_reasons import describe_skip
from ops.format.text import format_utc
from ops.runs.prediction import PredictedAction, PredictedOutcome
from ops.runs.status import Schedule
from producer.request import Request
from producer.window import Plan, plan
from recon.config import Settings
from recon.domain.run import Trigger
from recon.domain.waiting import NIGHTLY
from recon.dynamodb.records import Run
from recon.dynamodb.watermark import Watermark
from recon.timestamps import DAY, to_iso

# The window of a run for one session; both ends are included.
BACKFILL_SECONDS = 60


@dataclass(frozen=True)
class SessionTiming:
    """The times that decide which runs process a session. Times are in epoch seconds.

    `last_event` is when it was last completed or paid.
    """

    created: int | None
    is_complete: bool
    is_pending: bool
    last_event: int | None

    def is_in(self, run: Run) -> bool:
        """Return whether a run processes the session."""
        if run.trigger == Trigger.SCHEDULED:
            if self.is_recent(run.lookback_end):
                return False
            if self.is_pending:
                return True
        return self.created is not None and run.lookback_start <= self.created <= run.lookback_end

    def is_recent(self, grace_begins: int | None) -> bool:
        """Return whether it was completed or paid within the grace: its webhook may be working still."""
        return grace_begins is not None and self.last_event is not None and self.last_event > grace_begins


def plan_next_run(
    timing: SessionTiming, schedule: Schedule | None, producer: Settings, watermark: Watermark, now: int
) -> NextRun:
    """Return the next scheduled run; a schedule without a next time is taken as due in one day."""
    due = schedule.next_due if schedule else None
    at = int(due.timestamp()) if due else now + DAY
    planned = plan(Request(Trigger.SCHEDULED, at=at), producer, at, watermark)
    return NextRun(
        enabled=schedule.enabled if schedule else None,
        due=due,
        dry_run=producer.dry_run,
        window_from=datetime.fromtimestamp(planned.window.start, UTC),
        window_to=datetime.fromtimestamp(planned.window.end, UTC),
        looks=_find_coverage(timing, planned),
    )


def _find_coverage(timing: SessionTiming, planned: Plan) -> Coverage:
    if not timing.is_complete:
        return Coverage.NOT_COMPLETE
    if timing.created is None:
        return Coverage.PENDING if timing.is_pending else Coverage.UNKNOWN
    if timing.created > planned.window.end or timing.is_recent(planned.defer_after):
        return Coverage.LATER
    if timing.created >= planned.window.start:
        return Coverage.IN_WINDOW
    return Coverage.PENDING if timing.is_pending else Coverage.TOO_OLD


def will_be_processed(facts: SessionFacts) -> bool:
    """Return whether a scheduled run will process the session and may write its order."""
    coming = facts.next_run
    if is_left_out(facts):
        return False
    is_covered = coming.looks in (Coverage.IN_WINDOW, Coverage.PENDING, Coverage.LATER)
    return is_covered and coming.enabled is not False and not coming.dry_run


def is_left_out(facts: SessionFacts) -> bool:
    """Return whether the filter keeps the next run from processing the session."""
    return facts.stripe is not None and facts.stripe.left_out_by is not None


def describe_next(facts: SessionFacts) -> str:
    """Return one sentence about what happens next."""
    coming = facts.next_run
    if coming.looks is Coverage.NOT_COMPLETE:
        return "Runs process completed sessions only."
    if coming.enabled is False:
        return "The schedule is off: no run starts automatically."
    if coming.dry_run:
        return "The nightly runs are dry runs (DryRun): they write nothing."
    return _describe_without_stripe(facts) if facts.is_at_stripe is False else _describe_run(facts, coming)


def _describe_without_stripe(facts: SessionFacts) -> str:
    if facts.pending:
        return "It is stored as pending, so every scheduled run checks it and currently fails to."
    return "Runs process the sessions that Stripe lists, so currently no run processes it."


def _describe_run(facts: SessionFacts, coming: NextRun) -> str:
    if is_left_out(facts):
        waits = " It goes on waiting, so that they notice a change of the filter." if facts.pending else ""
        return f"Runs leave it out.{waits}"
    name = f"The next run ({format_utc(coming.due)})" if coming.due else "The next scheduled run"
    match coming.looks:
        case Coverage.IN_WINDOW:
            return f"{name} processes it{' again' if facts.runs else ''} and {_describe_action(facts)}."
        case Coverage.PENDING:
            return f"{_describe_check(facts, name)} and {_describe_action(facts)}."
        case Coverage.LATER:
            action = _describe_action(facts)
            return f"It is too recent for the next run; the one after that processes it and {action}."
        case Coverage.TOO_OLD:
            return f"No run processes it again: the next window begins at {format_utc(coming.window_from)}."
    return "Whether the next run processes it depends on its creation time, which only Stripe knows."


def _describe_check(facts: SessionFacts, name: str) -> str:
    created = facts.session_created
    is_missing = facts.pending is not None and facts.pending.missing_since is not None
    if not is_missing and created is not None and (facts.asked_at - created).total_seconds() >= NIGHTLY:
        return f"It waits for longer than {NIGHTLY // DAY} days, so a scheduled run checks it once a week"
    return f"{name} checks it again, as every scheduled run does,"


def _describe_action(facts: SessionFacts) -> str:
    if facts.orders:
        return "leaves the order unchanged"
    if facts.prospect is None:
        return "decides by Stripe's data at that time"
    match facts.prospect.would:
        case PredictedAction.CREATE:
            return "writes the order"
        case PredictedAction.SKIP:
            return f"skips it: {describe_predicted_skip(facts.prospect)}"
        case PredictedAction.FAIL:
            return f"would currently fail: {describe_failure(facts)}"
        case PredictedAction.MISSING:
            return "looks for its order, and writes none"


def describe_predicted_skip(prospect: PredictedOutcome) -> str:
    """Return why the consumer would skip the session."""
    return describe_skip(prospect.reason) if prospect.reason else "the reason is unknown"


def describe_failure(facts: SessionFacts) -> str:
    """Return the predicted error in one line."""
    prospect = facts.prospect
    return f"{prospect.error_type}: {prospect.error_message}" if prospect else "for an unknown reason"


def backfill_command(facts: SessionFacts) -> str:
    """Return the command that starts a run for this session alone."""
    if facts.session_created is None:
        return "nightly-sync run --from TIME --to TIME"
    created = int(facts.session_created.timestamp())
    return f"nightly-sync run --from {to_iso(created)} --to {to_iso(created + BACKFILL_SECONDS)}"
