"""Reads runs and their outcomes into a report."""

import re
from collections.abc import Iterator
from dataclasses import replace

from ops.format.money import to_money
from ops.report.model import RunLine, SyncReport, find_midnight
from ops.report.sessions import SessionHistory, StoredOutcome
from ops.report.summary import build_report
from ops.runs.attention import group_by_word
from ops.runs.history import display_status
from ops.runs.system_state import SystemState
from recon.dynamodb.attention import find_attention
from recon.dynamodb.keys import RUN_PREFIX, outcome_partition
from recon.dynamodb.records import Run, parse_outcome, parse_run
from recon.dynamodb.runs import is_stalled
from recon.dynamodb.table import Table
from recon.timestamps import DAY

_ATTRIBUTES = "SK, outcome, reason, orderNumber, errorType, errorMessage, attempts, drift, amount, currency"
# A duplicate names the keys of both orders, and a key contains a user id, often an e-mail address.
_DUPLICATE = "duplicate:"
_USER_KEY = re.compile("USER#.*", re.DOTALL)


def collect_report(table: Table, *, now: int, days: int, stack: str, state: SystemState) -> SyncReport:
    """Return the report of the last `days` days in UTC, today included, up to `now` (epoch seconds).

    Reads all runs, and all outcomes of those that began in the period, with consistent reads. `stack` is the
    name in the heading and `state` is that of the whole system. The days before the first run are left out.
    """
    start = find_midnight(now) - (days - 1) * DAY
    recorded = _read_runs(table, now)
    runs = [run for run in recorded if start <= run.started_at <= now]
    if runs:
        start = max(start, recorded[0].day)
    sessions = SessionHistory()
    # Runs are read before their outcomes, so that a running one has counted no more than it has outcomes.
    known = {run.run_id: sessions.add(run, _read_outcomes(table, run.run_id)) for run in runs}
    period = range(start, now + 1, DAY)
    report = build_report(period, runs, sessions, known, stack=stack, state=state, generated_at=now)
    return replace(report, attention=group_by_word(find_attention(table, only_open=True)))


def _read_runs(table: Table, now: int) -> list[RunLine]:
    """Return the runs with a valid start time, oldest first."""
    items = table.query("PK = :system AND begins_with(SK, :runs)", {":system": "SYSTEM", ":runs": RUN_PREFIX})
    lines = [line for item in items if (line := _to_run_line(parse_run(item), now))]
    return sorted(lines, key=lambda line: (line.started_at, line.run_id))


def _to_run_line(run: Run, now: int) -> RunLine | None:
    started, ended = run.started_epoch, run.completed_epoch
    if started is None:
        return None
    return RunLine(
        run_id=run.run_id,
        trigger=run.trigger,
        started_at=started,
        status=display_status(run),
        seconds=None if ended is None else max(0, ended - started),
        enqueued=run.enqueued,
        processed=run.processed,
        created=run.created,
        skipped=run.skipped,
        errors=run.errors,
        drifted=run.drifted,
        filtered=run.filtered,
        failure=run.failure.error_type if run.failure else None,
        is_stalled=is_stalled(run, now),
        warnings=len(run.warnings),
    )


def _read_outcomes(table: Table, run_id: str) -> Iterator[StoredOutcome]:
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}, projection=_ATTRIBUTES):
        outcome = parse_outcome(item)
        yield StoredOutcome(
            session_id=outcome.session_id,
            outcome=outcome.outcome,
            reason=outcome.reason,
            order_number=outcome.order_number,
            money=to_money(outcome.amount, outcome.currency),
            error_type=outcome.error_type or "-",
            error_message=_remove_user_keys(outcome.error_message or ""),
            attempts=outcome.attempts,
            drift=tuple(map(_remove_user_keys, outcome.drift)),
        )


def _remove_user_keys(text: str) -> str:
    """Remove the keys of users: operators may see them, but a report is passed on."""
    if text.startswith(_DUPLICATE) and _USER_KEY.search(text):
        return f"{_DUPLICATE} there is more than one order of this session"
    return _USER_KEY.sub("USER#…", text)
