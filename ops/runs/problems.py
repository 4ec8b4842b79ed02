"""The problems among the facts of a stack, each with the command to start with. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from ops.format.attention import describe_stored_attention
from ops.format.text import format_time, format_utc, quantity
from ops.runs.attention import AttentionGroup
from ops.runs.failures import DOCTOR, HOLD_WARNINGS, describe_failure
from ops.runs.finding import StatusFinding
from ops.runs.history import PastRun
from ops.runs.status import RunErrors, StatusFacts, parse_time
from recon.domain.run import RunStatus
from recon.timestamps import HOUR

# The limits of the alarms: a night is missed when its run is two hours late, ...
LATE_SECONDS = 2 * HOUR
# ... or, if the schedule does not tell when it is due, after a day and two hours, ...
NO_RUN_SECONDS = 26 * HOUR
# ... a run that takes this long is stuck, ...
LONG_RUN_SECONDS = 4 * HOUR
# ... and two nights and an hour without a new watermark mean that runs complete without covering anything.
OLD_WATERMARK_SECONDS = 49 * HOUR
# A run leaves out the last ten minutes before its start.
_NIGHT_COVERS_SECONDS = HOUR

# The sections of the runbook. The other findings are about sessions, or the runbook has no section for them.
SECTIONS = MappingProxyType(
    {
        "dead_letters": "dead-letters",
        "missed_starts": "schedule-failed",
        "consumer_paused": "queue-not-empty",
        "run_failed": "schedule-failed",
        "producer_died": "schedule-failed",
        "run_held": "run-held",
        "run_open": "run-open",
        "run_errors": "session-errors",
        "drift": "orders-drifted",
        "run_truncated": "watermark-old",
        "nothing_found": "nothing-found",
        "no_scheduled_run": "no-completed-run",
        "schedule_off": "no-completed-run",
        "watermark_old": "watermark-old",
    }
)


def find_problems(facts: StatusFacts) -> tuple[StatusFinding, ...]:
    """Return the problems, the most urgent first."""
    found = [*_find_all(facts)]
    return tuple(_link_to_runbook(finding, facts.runbook_url) for finding in dict.fromkeys(found))


def is_night_missing(facts: StatusFacts) -> bool:
    """Return True if no scheduled run has ever ended, or none since one was due two hours ago."""
    ended = facts.ended_night
    if ended is None:
        return True
    if facts.next_night_due is not None:
        return facts.checked_at > facts.next_night_due + timedelta(seconds=LATE_SECONDS)
    completed = parse_time(ended.completed_at)
    return completed is None or _seconds(completed, facts.checked_at) > NO_RUN_SECONDS


def describe_missing_night(facts: StatusFacts) -> str:
    """Return a clause such as `no scheduled run has ended since Friday`."""
    ended = parse_time(facts.ended_night.completed_at) if facts.ended_night else None
    since = "yet" if ended is None else f"since {_format_since(ended, facts.checked_at)}"
    return f"no scheduled run has ended {since}"


def _find_all(facts: StatusFacts) -> Iterator[StatusFinding]:
    if is_night_missing(facts):
        yield _describe_missing_nights(facts)
    yield from _find_in_queues(facts)
    yield from map(_describe_group, facts.attention)
    for run in _select_runs(facts):
        yield from _find_in_run(run, facts.run_errors)
    yield from _find_in_ledger(facts)
    if not facts.schedule.enabled and not facts.is_sandbox:
        # If it were only switched on, the next deployment would switch it off again without an alarm.
        deployed = " (ScheduleState=DISABLED)" if facts.schedule.deployed_off else ""
        command = DOCTOR if facts.schedule.deployed_off else "nightly-sync resume"
        what = f"the schedule is off{deployed}: no run starts automatically"
        yield StatusFinding("schedule_off", what, command)


def _describe_missing_nights(facts: StatusFacts) -> StatusFinding:
    what, ended, stopped = describe_missing_night(facts), facts.ended_night, facts.stopped
    if ended and (completed := parse_time(ended.completed_at)):
        what += f" (run {ended.run_id}, {format_time(completed)} UTC)"
    if stopped:
        what += f"; {quantity(len(stopped), 'run')} since then did not succeed"
    elif ended is None and facts.schedule.next_due:
        what += f"; the next one is due {format_time(facts.schedule.next_due)} UTC"
    command = "nightly-sync run --dry-run" if facts.last_run is None else DOCTOR
    return StatusFinding("no_scheduled_run", what, "nightly-sync runs" if stopped else command)


def _format_since(moment: datetime, now: datetime) -> str:
    days = (now.date() - moment.date()).days
    if days == 0:
        return f"{moment:%H:%M} UTC"
    # A weekday is ambiguous after a week.
    return f"{moment:%A}" if days < 7 else f"{moment:%Y-%m-%d}"  # noqa: PLR2004 - the days of a week


def _find_in_queues(facts: StatusFacts) -> Iterator[StatusFinding]:
    if facts.dead:
        what = f"{facts.dead} in the dead-letter queue: paid sessions that were given up"
        command = "nightly-sync dlq list --check"
        yield StatusFinding("dead_letters", what, command, facts.dead, unknown_amounts=facts.dead)
    if facts.missed_starts:
        starts = quantity(facts.missed_starts, "start")
        what = f"{starts} of the producer failed for good: the queue missed-starts has the events"
        yield StatusFinding("missed_starts", what, "nightly-sync runs")
    if not facts.consuming:
        what = "the consumer is paused: messages wait in the queue"
        yield StatusFinding("consumer_paused", what, "nightly-sync resume")


def _describe_group(group: AttentionGroup) -> StatusFinding:
    until = f", to capture until {format_time(group.until)} UTC" if group.until else ""
    why = describe_stored_attention(group.word)
    what = f"{group.word}: {quantity(group.count, 'session')}{until} ({why})"
    unknown = sum(one.amount is None for one in group.sessions)
    url = group.sessions[0].url
    return StatusFinding(group.word, what, group.command, group.count, group.money, unknown, url)


def _select_runs(facts: StatusFacts) -> list[PastRun]:
    """Return the last run, the night that it does not cover, and other runs whose producer died or failed.

    Of several runs that stopped one after the other only the newest is described; a run that is still open
    is always described, since nothing closes it before the next run.
    """
    runs = [run for run in (facts.last_run, facts.night) if run]
    runs += [run for run in facts.stopped if run.stalled_since]
    if not any(run in facts.stopped for run in runs):
        runs += facts.stopped[:1]
    return list({run.run_id: run for run in runs}.values())


def _find_in_run(run: PastRun, errors: tuple[RunErrors, ...]) -> Iterator[StatusFinding]:
    logs = f"nightly-sync logs {run.run_id}"
    if failure := describe_failure(run):
        yield failure
    elif run.status == RunStatus.RUNNING and (run.seconds or 0) > LONG_RUN_SECONDS:
        yield StatusFinding("run_open", f"run {run.run_id} has been open for more than 4 hours", logs)
    if run.errors:
        of_run = next((one for one in errors if one.run_id == run.run_id), RunErrors(run.run_id))
        what = f"{quantity(run.errors, 'session')} in run {run.run_id} ended with an error"
        command = f"nightly-sync show {run.run_id} --outcome error"
        unknown = max(0, run.errors - of_run.known)
        yield StatusFinding("run_errors", what, command, run.errors, of_run.money, unknown, of_run.url)
    if run.drifted:
        verb = "differs" if run.drifted == 1 else "differ"
        what = f"{quantity(run.drifted, 'order')} in run {run.run_id} {verb} from Stripe"
        yield StatusFinding("drift", what, f"nightly-sync show {run.run_id} --drift", run.drifted)
    if run.truncated:
        yield StatusFinding("run_truncated", f"run {run.run_id} did not list everything", logs)
    for warning in run.warnings:
        word = warning.partition(":")[0]
        if run.status != RunStatus.HELD or word not in HOLD_WARNINGS:
            yield StatusFinding(word, f"run {run.run_id} warns: {warning}", logs)


def _find_in_ledger(facts: StatusFacts) -> Iterator[StatusFinding]:
    if (facts.watermark_lag_seconds or 0) > OLD_WATERMARK_SECONDS and not _is_covered_by_night(facts):
        what = "the watermark is older than 49 hours: no scheduled run has covered the days since"
        yield StatusFinding("watermark_old", what, DOCTOR)
    if facts.other_owner:
        what = f"the ledger belongs to stack {facts.other_owner}: every run of this stack is refused"
        yield StatusFinding("ledger_owner", what, DOCTOR)
    if former := facts.former_filter:
        at = format_utc(datetime.fromtimestamp(former.end, UTC))
        what = f"the filter was changed: sessions up to {at} were listed with the earlier one"
        yield StatusFinding("filter_changed", what, former.backfill_command)
    if facts.state_overwritten:
        what = (
            "another program has overwritten the sync state (SYSTEM / STRIPE_ORDER_SYNC) since the last run"
        )
        yield StatusFinding("state_overwritten", what, DOCTOR)


def _is_covered_by_night(facts: StatusFacts) -> bool:
    """Return True if the last ended night has moved the watermark, however rarely the schedule fires."""
    started = parse_time(facts.ended_night.started_at) if facts.ended_night else None
    covered = facts.covered_through
    return bool(started and covered and _seconds(covered, started) <= _NIGHT_COVERS_SECONDS)


def _link_to_runbook(finding: StatusFinding, runbook: str | None) -> StatusFinding:
    section = SECTIONS.get(finding.code)
    if finding.url or not runbook or not section:
        return finding
    return replace(finding, url=f"{runbook}#{section}")


def _seconds(earlier: datetime, later: datetime) -> int:
    return int((later - earlier).total_seconds())
