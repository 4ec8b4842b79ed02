"""`nightly-sync report`: a page for the team."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ops.cli.command import Operator
from ops.cli.screen import CommandResult
from ops.errors import CommandError
from ops.report import collect, page

EXAMPLES = ["nightly-sync report", "nightly-sync report --days 7 --out week.html"]
DEFAULT_OUT = Path("nightly-sync-report.html")


@dataclass(frozen=True)
class Written:
    path: str
    report: object


def report(
    operator: Operator,
    days: Annotated[int, typer.Option(min=1, max=90, help="So many days, today included")] = 30,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes")] = DEFAULT_OUT,
) -> CommandResult:
    """One HTML page that needs no network: orders and money recovered, errors, drift, durations."""
    if not out.parent.is_dir():
        raise CommandError(f"there is no folder {out.parent} to write {out.name} into")
    place = operator.place
    with operator.busy("reading the runs and their outcomes"):
        told = collect(place.table, now=operator.now(), days=days, stack=place.stack)
    try:
        out.write_text(operator.screen.masked(page(told)), encoding="utf-8")
    except OSError as exc:
        raise CommandError(f"cannot write {out}: {exc.strerror}") from exc
    written = Written(str(out), told)
    return CommandResult(written, lambda screen: screen.text(f"Wrote {out}. Open it in a browser."))
