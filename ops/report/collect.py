"""Reads runs and their outcomes into a report."""

import re
from collections.abc import Iterator

from ops.format.money import Money
from ops.report.model import Report, RunLine, midnight
from ops.report.sessions import Sessions, Sighting
from ops.report.summary import report_of
from recon.dynamodb.records import RUN_PREFIX, OutcomeRecord, Run, outcome_partition, parse_outcome, parse_run
from recon.dynamodb.table import Table
from recon.timestamps import DAY

_ATTRIBUTES = "SK, outcome, reason, orderNumber, errorType, errorMessage, attempts, drift, amount, currency"
# A duplicate names the keys of both orders, and a key is a user's id, often an e-mail address.
_DUPLICATE = "duplicate:"
_USER_KEY = re.compile("USER#.*", re.DOTALL)


def collect(table: Table, *, now: int, days: int, stack: str) -> Report:
    """The report of the last `days` days, today being one of them: whole days in UTC, up to `now` (epoch
    seconds). `stack` is the name it is headed with.

    Reads all runs, and all outcomes of those that began in the period, consistently.
    """
    start = midnight(now) - (days - 1) * DAY
    runs = [run for run in _runs(table) if start <= run.started_at <= now]
    sessions = Sessions()
    # Oldest first, and each run before its outcomes: one that is going on has counted no more than it has.
    known = {run.run_id: sessions.add(run, _sightings(table, run.run_id)) for run in runs}
    period = range(start, now + 1, DAY)
    return report_of(period, runs, sessions, known, stack=stack, generated_at=now)


def _runs(table: Table) -> list[RunLine]:
    """All that say when they began, oldest first."""
    items = table.query("PK = :system AND begins_with(SK, :runs)", {":system": "SYSTEM", ":runs": RUN_PREFIX})
    lines = [line for item in items if (line := _run_line(parse_run(item)))]
    return sorted(lines, key=lambda line: (line.started_at, line.run_id))


def _run_line(run: Run) -> RunLine | None:
    started, ended = run.started_epoch, run.completed_epoch
    if started is None:
        return None
    return RunLine(
        run_id=run.run_id,
        trigger=run.trigger,
        started_at=started,
        status=run.status,
        seconds=None if ended is None else max(0, ended - started),
        enqueued=run.enqueued,
        processed=run.processed,
        created=run.created,
        skipped=run.skipped,
        errors=run.errors,
        drifted=run.drifted,
        failure=run.failure.error_type if run.failure else None,
    )


def _sightings(table: Table, run_id: str) -> Iterator[Sighting]:
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}, projection=_ATTRIBUTES):
        outcome = parse_outcome(item)
        yield Sighting(
            session_id=outcome.session_id,
            outcome=outcome.outcome,
            reason=outcome.reason,
            order_number=outcome.order_number,
            money=_money(outcome),
            error_type=outcome.error_type or "-",
            error_message=_public(outcome.error_message or ""),
            attempts=outcome.attempts,
            drift=tuple(map(_public, outcome.drift)),
        )


def _public(text: str) -> str:
    """Without the keys of users, which are for operators and not for everybody whom the report is shown."""
    if text.startswith(_DUPLICATE) and _USER_KEY.search(text):
        return f"{_DUPLICATE} there is more than one order of this session"
    return _USER_KEY.sub("USER#…", text)


def _money(outcome: OutcomeRecord) -> Money | None:
    if outcome.amount is None or not outcome.currency:
        return None
    return Money(outcome.currency.lower(), outcome.amount)
