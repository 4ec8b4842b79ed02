"""The state of the sync: facts from the table, the queues and the schedule, and the problems among them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from ops.errors import CommandError
from ops.format.attention import describe_stored_attention
from ops.format.text import format_time, quantity
from ops.runs.attention import AttentionGroup, group_by_word
from ops.runs.failures import StatusFinding, describe_failure
from ops.runs.history import PastRun, past_run
from ops.stack.queue_depth import read_depth
from ops.stack.schedule import next_due
from ops.stack.stack import Stack
from recon.domain.run import RunStatus, Trigger
from recon.dynamodb.attention import find_attention
from recon.dynamodb.watermark import FilterPeriod, Watermark
from recon.timestamps import HOUR, parse_epoch, to_iso

# The limits of the alarms: a night is missed when its run is two hours late, ...
NO_RUN_SECONDS = 26 * HOUR
# ... a run that takes this long is stuck, ...
LONG_RUN_SECONDS = 4 * HOUR
# ... and two nights and an hour without a new watermark mean that runs complete without covering anything.
OLD_WATERMARK_SECONDS = 49 * HOUR
# Enough to find the last completed run among manual runs.
_LATEST_RUNS = 50


@dataclass(frozen=True)
class Schedule:
    """The nightly schedule. `next_due` is None if it is off or its next time is unknown."""

    enabled: bool
    expression: str
    timezone: str
    next_due: datetime | None


@dataclass(frozen=True)
class StatusFacts:
    """The state of a stack at one moment.

    `waiting`, `retrying` and `dead` are approximate message counts. `pending_payments` counts complete
    sessions that are not paid. `night` is the latest scheduled run if newer runs exist and none of them
    covers its window. `state_overwritten` is True if another program has put the sync state since the last
    run. `attention` has the sessions that wait for a person, by the word that says why. `other_owner` is
    the stack that owns the ledger, if it is another one. `former_filter` is the time of an earlier filter,
    which no run has listed with the present one.
    """

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
    night: PastRun | None = None
    is_sandbox: bool = False
    state_overwritten: bool = False
    other_owner: str | None = None
    attention: tuple[AttentionGroup, ...] = ()
    former_filter: FilterPeriod | None = None

    @property
    def watermark_lag_seconds(self) -> int | None:
        """Return the age of the watermark, or None if there is none yet."""
        return None if self.covered_through is None else _seconds(self.covered_through, self.checked_at)


def read_facts(stack: Stack, now: int) -> StatusFacts:
    """Read the state of a stack. `now` is in epoch seconds."""
    runs, outputs = stack.runs, stack.outputs
    latest = [past_run(run, now) for run in runs.latest(_LATEST_RUNS)]
    state, watermark = runs.state(), runs.watermark()
    queue, dead = read_depth(stack.sqs, outputs.queue_url), read_depth(stack.sqs, outputs.dlq_url)
    return StatusFacts(
        stack=stack.name,
        checked_at=_from_epoch(now),
        last_run=next((run for run in latest if run.run_id == state.run_id), latest[0] if latest else None),
        last_completed_at=_last_completed(latest),
        schedule=read_schedule(stack, now),
        consuming=is_consuming(stack),
        waiting=queue.visible,
        retrying=queue.hidden,
        dead=dead.visible + dead.hidden,
        pending_payments=sum(1 for _ in runs.pending()),
        covered_through=None if watermark.covered_through is None else _from_epoch(watermark.covered_through),
        state_overwritten=runs.is_state_foreign(state),
        other_owner=None if watermark.stack_name == stack.name else watermark.stack_name,
        night=find_uncovered_night(latest),
        is_sandbox=stack.is_sandbox,
        former_filter=_find_former_filter(stack, watermark),
        attention=group_by_word(find_attention(stack.table, stack.deadline, only_open=True)),
    )


def _find_former_filter(stack: Stack, watermark: Watermark) -> FilterPeriod | None:
    try:
        text = stack.producer_settings.session_filter.text
    except CommandError:
        # `doctor` names what is wrong with the settings; the rest of the state can be shown without them.
        text = watermark.session_filter
    return watermark.with_filter(text).former_filter


def is_consuming(stack: Stack) -> bool:
    """Return True if the consumer's event source mapping is on."""
    mapping = stack.client("lambda").get_event_source_mapping(UUID=stack.outputs.mapping_id)
    return mapping["State"] in ("Enabled", "Enabling", "Creating", "Updating")


def find_uncovered_night(latest: Sequence[PastRun]) -> PastRun | None:
    """Return the latest scheduled run unless it is the newest run or a newer one covers its window.

    A manual run of one hour must not hide the problems of the night. `latest` is newest first.
    """
    position = next((position for position, run in enumerate(latest) if run.trigger == Trigger.SCHEDULED), 0)
    night, newer = (latest[position], latest[:position]) if position else (None, [])
    return None if night is None or any(_covers(run, night) for run in newer) else night


def _covers(run: PastRun, night: PastRun) -> bool:
    return _has_completed(run) and run.window_from <= night.window_from and run.window_to >= night.window_to


def _has_completed(run: PastRun) -> bool:
    return run.completed_at is not None and run.status not in (RunStatus.FAILED, RunStatus.HELD)


def read_schedule(stack: Stack, now: int) -> Schedule:
    """Read the nightly schedule. `now` is in epoch seconds."""
    schedule = stack.client("scheduler").get_schedule(Name=stack.outputs.schedule)
    expression, timezone = schedule["ScheduleExpression"], schedule.get("ScheduleExpressionTimezone") or "UTC"
    enabled = schedule.get("State", "ENABLED") == "ENABLED"
    due = next_due(expression, timezone, _from_epoch(now)) if enabled else None
    return Schedule(enabled, expression, timezone, due)


def find_problems(facts: StatusFacts) -> tuple[StatusFinding, ...]:
    """Return the problems, the most urgent first."""
    runs = [_run_findings(run) for run in (facts.last_run, facts.night) if run]
    attention = map(_describe_group, facts.attention)
    return (*_queue_findings(facts), *attention, *chain(*runs), *_schedule_findings(facts))


def _describe_group(group: AttentionGroup) -> StatusFinding:
    money = f", {', '.join(map(str, group.money))}" if group.money else ""
    until = f", to capture until {format_time(group.until)} UTC" if group.until else ""
    why = describe_stored_attention(group.word)
    sessions = quantity(group.count, "session")
    return StatusFinding(f"{group.word}: {sessions}{money}{until} ({why})", group.command)


def _queue_findings(facts: StatusFacts) -> Iterator[StatusFinding]:
    if facts.dead:
        yield StatusFinding(
            f"{facts.dead} in the dead-letter queue: paid sessions that were given up",
            "nightly-sync dlq list --check",
        )
    if not facts.consuming:
        yield StatusFinding("the consumer is paused: messages wait in the queue", "nightly-sync resume")


def _run_findings(run: PastRun) -> Iterator[StatusFinding]:
    logs = f"nightly-sync logs {run.run_id}"
    if failure := describe_failure(run):
        yield failure
    elif run.status == RunStatus.RUNNING and (run.seconds or 0) > LONG_RUN_SECONDS:
        yield StatusFinding(f"run {run.run_id} has been open for more than 4 hours", logs)
    if run.errors:
        yield StatusFinding(
            f"{quantity(run.errors, 'session')} in run {run.run_id} ended with an error",
            f"nightly-sync show {run.run_id} --outcome error",
        )
    if run.drifted:
        verb = "differs" if run.drifted == 1 else "differ"
        yield StatusFinding(
            f"{quantity(run.drifted, 'order')} in run {run.run_id} {verb} from Stripe",
            f"nightly-sync show {run.run_id} --drift",
        )
    if run.truncated:
        yield StatusFinding(f"run {run.run_id} did not list everything", logs)
    for warning in run.warnings:
        yield StatusFinding(f"run {run.run_id} warns: {warning}", logs)


def _schedule_findings(facts: StatusFacts) -> Iterator[StatusFinding]:
    if facts.last_run is None:
        yield StatusFinding("no run yet", "nightly-sync run --dry-run")
    since = facts.last_completed_at
    if facts.last_run and (since is None or _seconds(since, facts.checked_at) > NO_RUN_SECONDS):
        yield StatusFinding("no run has completed for more than 26 hours", "nightly-sync run")
    if (facts.watermark_lag_seconds or 0) > OLD_WATERMARK_SECONDS:
        yield StatusFinding(
            "the watermark is older than 49 hours: no scheduled run has covered the days since",
            "nightly-sync doctor",
        )
    if facts.other_owner:
        yield StatusFinding(
            f"the ledger belongs to stack {facts.other_owner}: every run of this stack is refused",
            "nightly-sync doctor",
        )
    if former := facts.former_filter:
        yield StatusFinding(
            f"the filter was changed: sessions up to {to_iso(former.end)} were listed with the earlier one",
            former.backfill_command,
        )
    if facts.state_overwritten:
        yield StatusFinding(
            "another program has overwritten the sync state (SYSTEM / STRIPE_ORDER_SYNC) since the last run",
            "nightly-sync doctor",
        )
    if not facts.schedule.enabled and not facts.is_sandbox:
        yield StatusFinding("the schedule is off: no run starts automatically", "nightly-sync resume")


def _last_completed(latest: list[PastRun]) -> datetime | None:
    times = [run.completed_at for run in latest if run.completed_at and _has_completed(run)]
    return _from_epoch(max(map(parse_epoch, times))) if times else None


def _from_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(earlier: datetime, later: datetime) -> int:
    return int((later - earlier).total_seconds())
