"""How the sync is doing: facts from the table, the queues and the schedule, and what of it needs a person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from ops.runs.failures import describe_trouble
from ops.runs.history import PastRun, past_run
from ops.stack.queue_depth import read_depth
from ops.stack.schedule import next_due
from ops.stack.stack import Stack
from recon.domain.run import RunStatus, Trigger
from recon.timestamps import HOUR, parse_epoch

# The same limits as the alarms': a night is missed when its run is two hours late, ...
NO_RUN_SECONDS = 26 * HOUR
# ... a run that takes this long is stuck, ...
LONG_RUN_SECONDS = 4 * HOUR
# ... and two nights and an hour without a new watermark mean that runs end without covering anything.
OLD_WATERMARK_SECONDS = 49 * HOUR
# Enough to find the last run that ended among those that were started by hand.
_LOOKED_AT = 50


@dataclass(frozen=True)
class Finding:
    """Something that needs a person, and the command to begin with."""

    what: str
    command: str


@dataclass(frozen=True)
class Schedule:
    enabled: bool
    expression: str
    timezone: str
    next_due: datetime | None


@dataclass(frozen=True)
class Facts:
    """`waiting`, `retrying` and `dead` are messages, approximate; `pending_payments` sessions that are
    complete and not paid. `last_completed_at`: when a run was last done, of either kind."""

    stack: str
    checked_at: datetime
    last_run: PastRun | None
    last_completed_at: datetime | None
    schedule: Schedule
    consuming: bool
    waiting: int
    retrying: int
    dead: int
    pending_payments: int
    covered_through: datetime | None
    # The latest scheduled run, where others came after it and none of them looked at all that it did.
    night: PastRun | None = None
    is_sandbox: bool = False

    @property
    def watermark_lag_seconds(self) -> int | None:
        """How long ago the moment is up to which every completed session has been looked at."""
        return None if self.covered_through is None else _seconds(self.covered_through, self.checked_at)


def read_facts(place: Stack, now: int) -> Facts:
    """Reads everything; writes nothing."""
    runs, names = place.runs, place.names
    latest = [past_run(run, now) for run in runs.latest(_LOOKED_AT)]
    state = runs.state()
    queue, dead = read_depth(place.sqs, names.queue_url), read_depth(place.sqs, names.dlq_url)
    return Facts(
        stack=place.stack,
        checked_at=_moment(now),
        last_run=next((run for run in latest if run.run_id == state.run_id), latest[0] if latest else None),
        last_completed_at=_last_completed(latest),
        schedule=read_schedule(place, now),
        consuming=is_consuming(place),
        waiting=queue.visible,
        retrying=queue.hidden,
        dead=dead.visible + dead.hidden,
        pending_payments=sum(1 for _ in runs.pending()),
        covered_through=None if state.covered_through is None else _moment(state.covered_through),
        night=last_night(latest),
        is_sandbox=place.is_sandbox,
    )


def is_consuming(place: Stack) -> bool:
    """The queue's messages are worked on."""
    mapping = place.client("lambda").get_event_source_mapping(UUID=place.names.mapping_id)
    return mapping["State"] in ("Enabled", "Enabling", "Creating", "Updating")


def last_night(latest: Sequence[PastRun]) -> PastRun | None:
    """The night that is not told of by the newest run: a run by hand for an hour makes no bad night good."""
    scheduled = next((position for position, run in enumerate(latest) if run.trigger == Trigger.SCHEDULED), 0)
    night, later = (latest[scheduled], latest[:scheduled]) if scheduled else (None, [])
    return None if night is None or any(_covers(run, night) for run in later) else night


def _covers(run: PastRun, night: PastRun) -> bool:
    ended = run.completed_at is not None and run.status != RunStatus.FAILED
    return ended and run.window_from <= night.window_from and run.window_to >= night.window_to


def read_schedule(place: Stack, now: int) -> Schedule:
    found = place.client("scheduler").get_schedule(Name=place.names.schedule)
    expression, timezone = found["ScheduleExpression"], found.get("ScheduleExpressionTimezone") or "UTC"
    enabled = found.get("State", "ENABLED") == "ENABLED"
    due = next_due(expression, timezone, _moment(now)) if enabled else None
    return Schedule(enabled, expression, timezone, due)


def find_problems(facts: Facts) -> tuple[Finding, ...]:
    """What needs a person, the most urgent first. None: nothing does."""
    runs = [_of_the_run(run) for run in (facts.last_run, facts.night) if run]
    return (*_of_the_queues(facts), *chain(*runs), *_of_the_clock(facts))


def _of_the_queues(facts: Facts) -> Iterator[Finding]:
    if facts.dead:
        yield Finding(
            f"{facts.dead} in the dead-letter queue: paid sessions that were given up",
            "nightly-sync dlq list --check",
        )
    if not facts.consuming:
        yield Finding("the consumer is paused: messages wait in the queue", "nightly-sync resume")


def _of_the_run(run: PastRun) -> Iterator[Finding]:
    if trouble := describe_trouble(run):
        yield Finding(*trouble)
    elif run.status == RunStatus.RUNNING and (run.seconds or 0) > LONG_RUN_SECONDS:
        yield Finding(
            f"run {run.run_id} has been open for more than 4 hours", f"nightly-sync logs {run.run_id}"
        )
    if run.errors:
        yield Finding(
            f"{run.errors} of the sessions of run {run.run_id} ended with an error",
            f"nightly-sync show {run.run_id} --outcome error",
        )
    if run.drifted:
        yield Finding(
            f"{run.drifted} of the orders of run {run.run_id} say something else than Stripe",
            f"nightly-sync show {run.run_id} --drift",
        )
    if run.truncated:
        yield Finding(f"run {run.run_id} did not list everything", f"nightly-sync logs {run.run_id}")
    for warning in run.warnings:
        yield Finding(f"run {run.run_id} warns: {warning}", f"nightly-sync logs {run.run_id}")


def _of_the_clock(facts: Facts) -> Iterator[Finding]:
    if facts.last_run is None:
        yield Finding("no run yet", "nightly-sync run --dry-run")
    since = facts.last_completed_at
    if facts.last_run and (since is None or _seconds(since, facts.checked_at) > NO_RUN_SECONDS):
        yield Finding("no run has completed for more than 26 hours", "nightly-sync run")
    if (facts.watermark_lag_seconds or 0) > OLD_WATERMARK_SECONDS:
        yield Finding(
            "the watermark is older than 49 hours: no scheduled run has covered the days since",
            "nightly-sync doctor",
        )
    if not facts.schedule.enabled and not facts.is_sandbox:
        yield Finding("the schedule is off: no run starts by itself", "nightly-sync resume")


def _last_completed(latest: list[PastRun]) -> datetime | None:
    ended = [run.completed_at for run in latest if run.completed_at and run.status != RunStatus.FAILED]
    return _moment(max(map(parse_epoch, ended))) if ended else None


def _moment(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def _seconds(earlier: datetime, later: datetime) -> int:
    return int((later - earlier).total_seconds())
