"""Reads runs and their outcomes into a report, including records that other versions wrote."""

import re
from collections.abc import Iterator

from ops.format.money import Money
from ops.report.model import RunLine, SyncReport, find_midnight
from ops.report.sessions import SessionHistory, StoredOutcome
from ops.report.summary import build_report
from recon.dynamodb.records import RUN_PREFIX, outcome_partition, parse_run
from recon.dynamodb.table import Item, Table
from recon.timestamps import DAY, parse_epoch

_ATTRIBUTES = "SK, outcome, reason, orderNumber, errorType, errorMessage, attempts, drift, amount, currency"
# A duplicate names the keys of both orders, and a key contains a user id, often an e-mail address.
_DUPLICATE = "duplicate:"
_USER_KEY = re.compile("USER#.*", re.DOTALL)


def collect_report(table: Table, *, now: int, days: int, stack: str) -> SyncReport:
    """Return the report of the last `days` days in UTC, today included, up to `now` (epoch seconds).

    Reads all runs, and all outcomes of those that began in the period, with consistent reads. `stack` is the
    name in the heading.
    """
    start = find_midnight(now) - (days - 1) * DAY
    runs = [run for run in _read_runs(table) if start <= run.started_at <= now]
    sessions = SessionHistory()
    # Runs are read before their outcomes, so that a running one has counted no more than it has outcomes.
    known = {run.run_id: sessions.add(run, _read_outcomes(table, run.run_id)) for run in runs}
    period = range(start, now + 1, DAY)
    return build_report(period, runs, sessions, known, stack=stack, generated_at=now)


def _read_runs(table: Table) -> list[RunLine]:
    """Return the runs with a valid start time, oldest first."""
    items = table.query("PK = :system AND begins_with(SK, :runs)", {":system": "SYSTEM", ":runs": RUN_PREFIX})
    lines = [line for item in items if (line := _parse_run_line(item))]
    return sorted(lines, key=lambda line: (line.started_at, line.run_id))


def _parse_run_line(item: Item) -> RunLine | None:
    run = parse_run(item)
    started, ended = _parse_epoch(run.started_at), _parse_epoch(run.completed_at)
    if started is None:
        return None
    return RunLine(
        run_id=run.run_id,
        trigger=str(run.trigger),
        started_at=started,
        status=str(run.status),
        seconds=None if ended is None else max(0, ended - started),
        enqueued=_read_count(run.enqueued),
        processed=_read_count(run.processed),
        created=_read_count(run.created),
        skipped=_read_count(run.skipped),
        errors=_read_count(run.errors),
        drifted=_read_count(run.drifted),
        failure=run.failure.error_type if run.failure else None,
    )


def _read_outcomes(table: Table, run_id: str) -> Iterator[StoredOutcome]:
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}, projection=_ATTRIBUTES):
        yield StoredOutcome(
            session_id=item["SK"].removeprefix("SESSION#"),
            outcome=_read_text(item, "outcome") or "unknown",
            reason=_read_text(item, "reason"),
            order_number=_read_text(item, "orderNumber"),
            money=_read_money(item),
            error_type=_read_text(item, "errorType") or "-",
            error_message=_remove_user_keys(_read_text(item, "errorMessage") or ""),
            attempts=_read_integer(item.get("attempts")),
            drift=_read_drift(item.get("drift")),
        )


def _read_drift(texts: object) -> tuple[str, ...]:
    return tuple(_remove_user_keys(str(text)) for text in texts) if isinstance(texts, list) else ()


def _remove_user_keys(text: str) -> str:
    """Remove the keys of users: operators may see them, but a report is passed on."""
    if text.startswith(_DUPLICATE) and _USER_KEY.search(text):
        return f"{_DUPLICATE} there is more than one order of this session"
    return _USER_KEY.sub("USER#…", text)


def _read_money(item: Item) -> Money | None:
    amount, currency = _read_integer(item.get("amount")), _read_text(item, "currency")
    return None if amount is None or currency is None else Money(currency.lower(), amount)


def _read_text(item: Item, name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) and value else None


def _read_integer(value: object) -> int | None:
    # type() and not isinstance(), which accepts booleans.
    return value if type(value) is int else None


def _read_count(value: object) -> int:
    return _read_integer(value) or 0


def _parse_epoch(text: object) -> int | None:
    try:
        return parse_epoch(text) if isinstance(text, str) else None
    except ValueError:
        return None
