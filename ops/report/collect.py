"""Reads runs and their outcomes into a report. Tolerant of records that other versions left."""

import re
from collections.abc import Iterator

from ops.format.money import Money
from ops.report.model import Report, RunLine, midnight
from ops.report.sessions import Sessions, Sighting
from ops.report.summary import report_of
from recon.dynamodb.records import RUN_PREFIX, outcome_partition, parse_run
from recon.dynamodb.table import Item, Table
from recon.timestamps import DAY, parse_epoch

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
    lines = [line for item in items if (line := _run_line(item))]
    return sorted(lines, key=lambda line: (line.started_at, line.run_id))


def _run_line(item: Item) -> RunLine | None:
    run = parse_run(item)
    started, ended = _epoch(run.started_at), _epoch(run.completed_at)
    if started is None:
        return None
    return RunLine(
        run_id=run.run_id,
        trigger=str(run.trigger),
        started_at=started,
        status=str(run.status),
        seconds=None if ended is None else max(0, ended - started),
        enqueued=_count(run.enqueued),
        processed=_count(run.processed),
        created=_count(run.created),
        skipped=_count(run.skipped),
        errors=_count(run.errors),
        drifted=_count(run.drifted),
        failure=run.failure.error_type if run.failure else None,
    )


def _sightings(table: Table, run_id: str) -> Iterator[Sighting]:
    for item in table.query("PK = :run", {":run": outcome_partition(run_id)}, projection=_ATTRIBUTES):
        yield Sighting(
            session_id=item["SK"].removeprefix("SESSION#"),
            outcome=_text(item, "outcome") or "unknown",
            reason=_text(item, "reason"),
            order_number=_text(item, "orderNumber"),
            money=_money(item),
            error_type=_text(item, "errorType") or "-",
            error_message=_public(_text(item, "errorMessage") or ""),
            attempts=_integer(item.get("attempts")),
            drift=_drift(item.get("drift")),
        )


def _drift(texts: object) -> tuple[str, ...]:
    return tuple(_public(str(text)) for text in texts) if isinstance(texts, list) else ()


def _public(text: str) -> str:
    """Without the keys of users, which are for operators and not for everybody whom the report is shown."""
    if text.startswith(_DUPLICATE) and _USER_KEY.search(text):
        return f"{_DUPLICATE} there is more than one order of this session"
    return _USER_KEY.sub("USER#…", text)


def _money(item: Item) -> Money | None:
    amount, currency = _integer(item.get("amount")), _text(item, "currency")
    return None if amount is None or currency is None else Money(currency.lower(), amount)


def _text(item: Item, name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) and value else None


def _integer(value: object) -> int | None:
    # type(), not isinstance: a boolean is no amount.
    return value if type(value) is int else None


def _count(value: object) -> int:
    return _integer(value) or 0


def _epoch(text: object) -> int | None:
    try:
        return parse_epoch(text) if isinstance(text, str) else None
    except ValueError:
        return None
