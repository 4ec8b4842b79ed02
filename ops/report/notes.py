"""What the page does not know, said plainly."""

from ops.format.text import quantity
from ops.report.markup import Html, element
from ops.report.model import Report
from recon.dynamodb.records import OUTCOME_DAYS, RUN_DAYS

_ALWAYS = (
    (
        f"What became of a session is kept for {OUTCOME_DAYS} days, the record of a run for {RUN_DAYS}: what "
        "is older cannot be here. A dry run leaves no record."
    ),
    "Missed webhooks are the orders that a run had to write, of all orders that runs wrote or found.",
)


def notes(report: Report) -> Html:
    return element("ul", *(element("li", note) for note in _notes(report)), class_="notes")


def _notes(report: Report) -> list[str]:
    notes = list(_ALWAYS)
    if gone := report.gone.runs:
        notes.append(
            f"Of {quantity(gone, 'run')} not all details are kept any more. Their counters say "
            f"{quantity(report.gone.created, 'recovered order')} and "
            f"{quantity(report.gone.errors, 'error')} more than are listed. These orders are counted as "
            "recovered; the money, the missed webhooks and the lists are without them."
        )
    if unknown := report.without_amount:
        notes.append(
            f"For {quantity(unknown, 'listed order')} no amount is recorded: an earlier version wrote "
            "the order, or it was free. The money is that of the others."
        )
    if running := report.unfinished_runs:
        notes.append(f"{quantity(running, 'run')} had not ended when this page was made.")
    return notes
