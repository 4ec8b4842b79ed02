"""`nightly-sync report`: an HTML page for the team."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.cli.command import CommandContext
from ops.cli.screen import CommandResult
from ops.cli.usage import conflict
from ops.errors import CommandError
from ops.format.json_encoding import to_camel_case
from ops.report import PAGE_BEGINNING, SyncReport, collect_report, render_page
from ops.report.model import DayTotals, DriftedOrder, FailedSession, ReportedOrder, RunLine
from ops.runs.history import PastRun, past_run
from ops.runs.status import read_facts
from ops.runs.system_state import assess

EXAMPLES = [
    "nightly-sync report",
    "nightly-sync report --days 7 --out week.html",
    "nightly-sync report --out - | gzip > report.html.gz",
]
STANDARD_OUTPUT = "-"
RULES = (
    conflict(f"--out {STANDARD_OUTPUT}", "--json", because="both write to standard output"),
    conflict(f"--out {STANDARD_OUTPUT}", "--quiet", because="the page would not be written"),
)
# More than are kept.
MAX_RUNS = 10_000
_EPOCHS = {"generatedAt", "start", "day"}
DEFAULT_OUT = "nightly-sync-report.html"


@dataclass(frozen=True)
class WrittenReport:
    """The file and the report in it."""

    path: str
    report: dict[str, object]


def report(
    context: CommandContext,
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=90, help="Cover this many days, today included")
    ] = 30,
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Write to this file; - is standard output")
    ] = DEFAULT_OUT,
) -> CommandResult:
    """Write an HTML page that needs no network: the state, what to do, and what some days recovered."""
    file = Path(out)
    if not file.parent.is_dir():
        raise CommandError(f"there is no folder {file.parent} to write {file.name} into")
    if out != STANDARD_OUTPUT:
        _require_no_other_file(file)
    stack = context.stack
    with context.busy("reading the runs and their outcomes"):
        now = context.now()
        state = assess(read_facts(stack, now))
        data = collect_report(stack.table, now=now, days=days, stack=stack.name, state=state)
    screen = replace(context.screen, selection=escape(context.screen.selection))
    html = screen.mask(render_page(data)).encode()
    runs = {run.run_id: past_run(run, now) for run in stack.runs.latest(MAX_RUNS)}
    report = report_to_json(data, runs)
    if out == STANDARD_OUTPUT:
        return CommandResult(report, lambda _: write_to_standard_output(html))
    try:
        file.write_bytes(html)
    except OSError as exc:
        raise CommandError(f"cannot write {out}: {exc.strerror}") from exc
    written = WrittenReport(out, report)
    return CommandResult(written, lambda screen: screen.text(f"Wrote {out}. Open it in a browser."))


def _require_no_other_file(file: Path) -> None:
    """Raise CommandError if the file exists and does not begin as a report does."""
    if not file.is_file():
        return
    with file.open("rb") as opened:
        beginning = opened.read(len(PAGE_BEGINNING))
    if beginning and beginning != PAGE_BEGINNING.encode():
        raise CommandError(
            f"--out {file} exists and is no report; it is not replaced: name another file or remove it"
        )


def report_to_json(report: SyncReport, runs: Mapping[str, PastRun]) -> dict[str, object]:
    """Return the report with the runs, times and amounts in the form of every other command."""
    return {name: _convert(name, value, runs) for name, value in _read_fields(report)}


def _convert(name: str, value: object, runs: Mapping[str, PastRun]) -> object:
    match value:
        case RunLine():
            return runs.get(value.run_id)
        case int() if name in _EPOCHS:
            return datetime.fromtimestamp(value, UTC)
        case list() | tuple():
            return [_convert(name, one, runs) for one in value]
        case ReportedOrder() | FailedSession() | DriftedOrder() | DayTotals():
            inner = {name: _convert(name, one, runs) for name, one in _read_fields(value)}
            # `money` has the sums of several orders, `amount` is that of one.
            return inner | {"amount": inner.pop("money")} if isinstance(value, ReportedOrder) else inner
    return value


def _read_fields(value: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - a dataclass
    return ((to_camel_case(field.name), getattr(value, field.name)) for field in fields(value))


def write_to_standard_output(html: bytes) -> None:
    """Write the bytes unchanged, whatever encoding and width the terminal has."""
    sys.stdout.buffer.write(html)
