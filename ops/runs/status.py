"""The facts that `status` and the report begin with, from the table, the queues and the schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.errors import CommandError
from ops.format.money import Amount, Money, totals
from ops.runs.attention import AttentionGroup, group_by_word
from ops.runs.history import PastRun, past_run
from ops.runs.sessions import OutcomeFilter, read_sessions
from ops.stack.pause_resume import SCHEDULE_OFF
from ops.stack.queue_depth import read_depth
from ops.stack.schedule import next_due
from ops.stack.stack import Stack
from recon.domain.outcome import Outcome
from recon.domain.run import RunStatus, Trigger
from recon.dynamodb.attention import find_attention
from recon.dynamodb.watermark import FilterPeriod, Watermark
from recon.timestamps import parse_epoch

# Enough to find the last completed run among manual runs.
_LATEST_RUNS = 50
# Records are kept for 90 days.
_LATEST_NIGHTS = 100
_STOPPED = (RunStatus.FAILED, RunStatus.HELD)


@dataclass(frozen=True)
class Schedule:
    """The nightly schedule. `next_due` is None if it is off or its next time is unknown.

    `deployed_off` is True if the stack is deployed with the schedule off.
    """

    enabled: bool
    expression: str
    timezone: str
    next_due: datetime | None
    deployed_off: bool = False


@dataclass(frozen=True)
class RunErrors:
    """The sessions of a run that ended with an error: their money, and the first of them at Stripe.

    `known` is how many of them have a known amount.
    """

    run_id: str
    money: tuple[Money, ...] = ()
    known: int = 0
    url: str | None = None


@dataclass(frozen=True)
class StatusFacts:
    """The state of a stack at one moment.

    `waiting`, `retrying` and `dead` are approximate message counts, `missed_starts` counts the starts that
    Lambda did not accept or that failed. `pending_payments` counts complete sessions that are not paid.
    `night` is the latest scheduled run if newer runs exist and none of them covers its window.
    `ended_night` is the latest scheduled run that is done, and `next_night_due` when the first one after it
    was or is due, if the schedule tells. `stopped` has the failed, held and stalled runs since then, newest
    first, unless a later run covers their window. In a sandbox without a scheduled run, every run counts as
    one. `state_overwritten` is True if another program has put the sync state
    since the last run. `attention` has the sessions that wait for a person, by the word that says why.
    `other_owner` is the stack that owns the ledger, if it is another one. `runbook_url` is the address of
    the runbook, if the stack was deployed with one. `last_night` is the latest scheduled run, whatever its
    status; `recovered` is the money of its orders, and `recovered_unknown` counts those without an amount.
    `former_filter` is the time of an earlier filter, which no run has listed with the present one.
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
    ended_night: PastRun | None = None
    next_night_due: datetime | None = None
    stopped: tuple[PastRun, ...] = ()
    run_errors: tuple[RunErrors, ...] = ()
    missed_starts: int = 0
    runbook_url: str | None = None
    former_filter: FilterPeriod | None = None
    last_night: PastRun | None = None
    recovered: tuple[Money, ...] = ()
    recovered_unknown: int = 0

    @property
    def watermark_lag_seconds(self) -> int | None:
        """Return the age of the watermark, or None if there is none yet."""
        covered = self.covered_through
        return None if covered is None else int((self.checked_at - covered).total_seconds())


def read_facts(stack: Stack, now: int) -> StatusFacts:
    """Read the state of a stack. `now` is in epoch seconds."""
    runs, outputs = stack.runs, stack.outputs
    latest = [past_run(run, now) for run in runs.latest(_LATEST_RUNS)]
    state, watermark = runs.state(), runs.watermark()
    last_run = next((run for run in latest if run.run_id == state.run_id), latest[0] if latest else None)
    nights = _list_nights(stack, latest, now)
    night, ended_night = find_uncovered_night(latest), next(filter(_has_completed, nights), None)
    last_night = nights[0] if nights else None
    amounts = _read_created(stack, last_night)
    schedule = read_schedule(stack, now)
    queue, dead = read_depth(stack.sqs, outputs.queue_url), read_depth(stack.sqs, outputs.dlq_url)
    return StatusFacts(
        stack=stack.name,
        checked_at=_from_epoch(now),
        last_run=last_run,
        last_completed_at=_last_completed(latest),
        schedule=schedule,
        former_filter=_find_former_filter(stack, watermark),
        consuming=is_consuming(stack),
        waiting=queue.visible,
        retrying=queue.hidden,
        dead=dead.visible + dead.hidden,
        pending_payments=sum(1 for _ in runs.pending()),
        covered_through=None if watermark.covered_through is None else _from_epoch(watermark.covered_through),
        state_overwritten=runs.is_state_foreign(state),
        other_owner=None if watermark.stack_name == stack.name else watermark.stack_name,
        night=night,
        is_sandbox=stack.is_sandbox,
        attention=group_by_word(find_attention(stack.table, stack.deadline, only_open=True)),
        ended_night=ended_night,
        next_night_due=_find_due(schedule, ended_night),
        stopped=find_stopped_runs(latest, ended_night),
        run_errors=tuple(_read_errors(stack, run) for run in (last_run, night) if run and run.errors),
        missed_starts=_count_missed_starts(stack),
        runbook_url=stack.runbook_url,
        last_night=last_night,
        recovered=tuple(totals(amount for amount in amounts if amount)),
        recovered_unknown=sum(not amount for amount in amounts),
    )


def _list_nights(stack: Stack, latest: Sequence[PastRun], now: int) -> Sequence[PastRun]:
    """Return the scheduled runs, newest first, or all runs of a sandbox that has had no scheduled one."""
    nights = [past_run(run, now) for run in stack.runs.scheduled_before("", _LATEST_NIGHTS)]
    return latest if stack.is_sandbox and not nights else nights


def _read_created(stack: Stack, run: PastRun | None) -> list[Amount]:
    """Return the amounts of the orders that a run wrote."""
    if run is None or not run.created:
        return []
    created = read_sessions(stack.table, run.run_id, OutcomeFilter(outcome=Outcome.CREATED))
    return [one.amount for one in created]


def _find_due(schedule: Schedule, ended: PastRun | None) -> datetime | None:
    started = None if ended is None else parse_time(ended.started_at)
    return None if started is None else next_due(schedule.expression, schedule.timezone, started)


def _read_errors(stack: Stack, run: PastRun) -> RunErrors:
    failed = list(read_sessions(stack.table, run.run_id, OutcomeFilter(outcome=Outcome.ERROR)))
    amounts = [one.amount for one in failed if one.amount]
    return RunErrors(run.run_id, tuple(totals(amounts)), len(amounts), failed[0].url if failed else None)


def _count_missed_starts(stack: Stack) -> int:
    url = stack.outputs.missed_starts_url
    if url is None:
        return 0
    depth = read_depth(stack.sqs, url)
    return depth.visible + depth.hidden


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


def find_stopped_runs(latest: Sequence[PastRun], ended_night: PastRun | None) -> tuple[PastRun, ...]:
    """Return the failed, held and stalled runs since the last ended night, unless a later one covers them.

    `latest` is newest first.
    """
    position = next((n for n, run in enumerate(latest) if run == ended_night), len(latest))
    since = enumerate(latest[:position])
    stopped = [(n, run) for n, run in since if run.stalled_since or run.status in _STOPPED]
    return tuple(run for n, run in stopped if not any(_covers(later, run) for later in latest[:n]))


def _covers(run: PastRun, night: PastRun) -> bool:
    return _has_completed(run) and run.window_from <= night.window_from and run.window_to >= night.window_to


def _has_completed(run: PastRun) -> bool:
    return run.completed_at is not None and run.status not in _STOPPED


def read_schedule(stack: Stack, now: int) -> Schedule:
    """Read the nightly schedule. `now` is in epoch seconds."""
    schedule = stack.client("scheduler").get_schedule(Name=stack.outputs.schedule)
    expression, timezone = schedule["ScheduleExpression"], schedule.get("ScheduleExpressionTimezone") or "UTC"
    enabled = schedule.get("State", "ENABLED") == "ENABLED"
    due = next_due(expression, timezone, _from_epoch(now)) if enabled else None
    return Schedule(enabled, expression, timezone, due, stack.parameters.get("ScheduleState") == SCHEDULE_OFF)


def _last_completed(latest: list[PastRun]) -> datetime | None:
    times = [run.completed_at for run in latest if run.completed_at and _has_completed(run)]
    return max(filter(None, map(parse_time, times)), default=None)


def parse_time(text: str | None) -> datetime | None:
    """Return the time of an ISO 8601 text, or None if there is none."""
    try:
        return _from_epoch(parse_epoch(text)) if text else None
    except ValueError:
        return None


def _from_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
