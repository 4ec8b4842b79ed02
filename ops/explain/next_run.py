"""Pure: what happens to a session by itself. Windows are the producer's own, computed for the next run."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ops.explain.facts import Facts, Look, NextRun
from ops.runs.prediction import PredictedAction
from ops.runs.status import Schedule
from producer.request import Request
from producer.window import Plan, plan
from recon.config import Settings
from recon.domain.reconcile import SkipReason
from recon.domain.run import Trigger
from recon.dynamodb.records import Run, State
from recon.timestamps import DAY, to_iso

# A window of its own for one session: both ends are included.
BACKFILL_SECONDS = 60
REASONS = {
    SkipReason.EXISTS: "its order is there",
    SkipReason.NO_USER: "there is nobody whose order it could be",
    SkipReason.UNPAID: "it is not paid yet",
    SkipReason.NOT_A_SALE: "it sells nothing",
    SkipReason.EXPIRED: "it is older than orders are kept",
    SkipReason.REFUNDED: "its money went back",
    SkipReason.DISMISSED: "an operator dismissed it",
}


@dataclass(frozen=True)
class Sight:
    """As much of a session as decides which runs look at it; times in epoch seconds. `last_event`: when it
    was completed or paid last."""

    created: int | None
    is_complete: bool
    is_pending: bool
    last_event: int | None

    def lies_in(self, run: Run) -> bool:
        if run.trigger == Trigger.SCHEDULED:
            if self.is_recent(run.lookback_end):
                return False
            if self.is_pending:
                return True
        return self.created is not None and run.lookback_start <= self.created <= run.lookback_end

    def is_recent(self, left_after: int | None) -> bool:
        """Completed or paid within the grace: its webhook may still be at work, and the run leaves it."""
        return left_after is not None and self.last_event is not None and self.last_event > left_after


def next_run(sight: Sight, schedule: Schedule | None, producer: Settings, state: State, now: int) -> NextRun:
    """A schedule that says no time is taken as due in a day, the latest that a nightly one can be."""
    due = schedule.next_due if schedule else None
    at = int(due.timestamp()) if due else now + DAY
    planned = plan(Request(Trigger.SCHEDULED, at=at), producer, at, state)
    return NextRun(
        enabled=schedule.enabled if schedule else None,
        due=due,
        dry_run=producer.dry_run,
        window_from=datetime.fromtimestamp(planned.window.start, UTC),
        window_to=datetime.fromtimestamp(planned.window.end, UTC),
        looks=_look(sight, planned),
    )


def _look(sight: Sight, planned: Plan) -> Look:
    if not sight.is_complete:
        return Look.NOT_COMPLETE
    if sight.created is None:
        return Look.PENDING if sight.is_pending else Look.UNKNOWN
    if sight.created > planned.window.end or sight.is_recent(planned.defer_after):
        return Look.LATER
    if sight.created >= planned.window.start:
        return Look.IN_WINDOW
    return Look.PENDING if sight.is_pending else Look.TOO_OLD


def looks_again(facts: Facts) -> bool:
    """A run that is due by itself will look at the session and may write."""
    coming = facts.next_run
    seen = coming.looks in (Look.IN_WINDOW, Look.PENDING, Look.LATER)
    return seen and coming.enabled is not False and not coming.dry_run


def what_comes(facts: Facts) -> str:
    """One sentence."""
    coming = facts.next_run
    if coming.looks is Look.NOT_COMPLETE:
        return "Runs look at completed sessions only."
    if coming.enabled is False:
        return "The schedule is off: no run looks at it by itself."
    if coming.dry_run:
        return "The nightly runs are previews (SYNC_DRY_RUN): they look and write nothing."
    return _without_stripe(facts) if facts.is_at_stripe is False else _by_next_run(facts, coming)


def _without_stripe(facts: Facts) -> str:
    if facts.pending:
        return "It waits for its payment, so every scheduled run asks about it, and fails as things are."
    return "Runs look at what Stripe lists: as things are, none looks at it again."


def _by_next_run(facts: Facts, coming: NextRun) -> str:
    name = f"The next run ({utc(coming.due)})" if coming.due else "The next scheduled run"
    match coming.looks:
        case Look.IN_WINDOW:
            return f"{name} looks at it{' again' if facts.runs else ''} and {_does(facts)}."
        case Look.PENDING:
            return f"{name} asks Stripe about it again, as every scheduled run does, and {_does(facts)}."
        case Look.LATER:
            return f"It is too young for the next run; the one after that looks at it and {_does(facts)}."
        case Look.TOO_OLD:
            return f"No run looks at it again: the next window begins at {utc(coming.window_from)}."
    return "Whether the next run looks at it depends on when it was created, which only Stripe knows."


def _does(facts: Facts) -> str:
    if facts.orders:
        return "leaves the order as it is"
    if facts.prospect is None:
        return "decides by what Stripe says then"
    match facts.prospect.would:
        case PredictedAction.CREATE:
            return "writes the order"
        case PredictedAction.SKIP:
            return f"skips it: {because(facts.prospect.reason)}"
        case PredictedAction.FAIL:
            return f"would fail as things are: {failure(facts)}"


def because(reason: str | None) -> str:
    """A reason of a skip in words; one of another version as it is."""
    return next((words for known, words in REASONS.items() if known == reason), str(reason))


def failure(facts: Facts) -> str:
    found = facts.prospect
    return f"{found.error_type}: {found.error_message}" if found else "for a reason that is not known"


def backfill(facts: Facts) -> str:
    """The command that has a run look at this session, whatever the windows say."""
    if facts.session_created is None:
        return "nightly-sync run --from TIME --to TIME"
    created = int(facts.session_created.timestamp())
    return f"nightly-sync run --from {to_iso(created)} --to {to_iso(created + BACKFILL_SECONDS)}"


def utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
