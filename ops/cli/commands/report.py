"""`nightly-sync report`: an HTML page for the team."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ops.cli.command import CommandContext
from ops.cli.screen import CommandResult
from ops.cli.usage import conflict
from ops.errors import CommandError
from ops.report import collect_report, render_page
from ops.runs.status import read_facts
from ops.runs.system_state import assess

EXAMPLES = [
    "nightly-sync report",
    "nightly-sync report --days 7 --out week.html",
    "nightly-sync report --out - | gzip > report.html.gz",
]
STANDARD_OUTPUT = "-"
RULES = (conflict(f"--out {STANDARD_OUTPUT}", "--json", because="both write to standard output"),)
DEFAULT_OUT = "nightly-sync-report.html"


@dataclass(frozen=True)
class WrittenReport:
    """The file and the report in it."""

    path: str
    report: object


def report(
    context: CommandContext,
    days: Annotated[int, typer.Option(min=1, max=90, help="Number of days, today included")] = 30,
    out: Annotated[str, typer.Option(metavar="FILE", help="Output file; - is standard output")] = DEFAULT_OUT,
) -> CommandResult:
    """Write an HTML page that needs no network: the state, what to do, and what some days recovered."""
    file = Path(out)
    if not file.parent.is_dir():
        raise CommandError(f"there is no folder {file.parent} to write {file.name} into")
    stack = context.stack
    with context.busy("reading the runs and their outcomes"):
        now = context.now()
        state = assess(read_facts(stack, now))
        data = collect_report(stack.table, now=now, days=days, stack=stack.name, state=state)
    html = context.screen.mask(render_page(data)).encode()
    if out == STANDARD_OUTPUT:
        return CommandResult(data, lambda _: write_to_standard_output(html))
    try:
        file.write_bytes(html)
    except OSError as exc:
        raise CommandError(f"cannot write {out}: {exc.strerror}") from exc
    written = WrittenReport(out, data)
    return CommandResult(written, lambda screen: screen.text(f"Wrote {out}. Open it in a browser."))


def write_to_standard_output(html: bytes) -> None:
    """Write the bytes unchanged, whatever encoding and width the terminal has."""
    sys.stdout.buffer.write(html)
