"""The section about what the report cannot show."""

from ops.format.text import quantity
from ops.report.markup import Html, element
from ops.report.model import ExpiredOutcomes, SyncReport
from recon.dynamodb.records import OUTCOME_DAYS, RUN_DAYS

_ALWAYS = (
    (
        f"The outcome of a session is kept for {OUTCOME_DAYS} days, the record of a run for {RUN_DAYS} days. "
        "Older data is not included. A dry run leaves no record."
    ),
    (
        "Missed webhooks are the orders that runs wrote, as a share of all orders that runs wrote or found: "
        "for each of them the webhook of the shop has written none. Green is under 1%, red 5% and more. "
        "Stripe repeats a delivery for three days, so a webhook that works misses next to none."
    ),
)


def render_notes(report: SyncReport) -> Html:
    """Return the notes as a list."""
    return element("ul", *(element("li", note) for note in _list_notes(report)), class_="notes")


def _describe_unlisted(gone: ExpiredOutcomes) -> str:
    counts = {"recovered order": gone.created, "error": gone.errors}
    unlisted = " and ".join(quantity(count, name) for name, count in counts.items() if count)
    if not unlisted:
        return " They recovered no other order and had no other error."
    verb = "is" if gone.created + gone.errors == 1 else "are"
    text = f" According to the counters, {unlisted} {verb} not listed."
    if gone.created:
        text += " The number of recovered orders includes them; the money, missed webhooks and lists do not."
    return text


def _list_notes(report: SyncReport) -> list[str]:
    notes = list(_ALWAYS)
    if gone := report.gone.runs:
        notes.append(
            f"The outcomes of {quantity(gone, 'run')} are not complete any more."
            + _describe_unlisted(report.gone)
        )
    if unknown := report.without_amount:
        notes.append(
            f"The amount of {quantity(unknown, 'listed order')} is unknown: an earlier version wrote "
            "the order. The money is that of the other orders. A free order counts as known."
        )
    if running := report.unfinished_runs:
        notes.append(f"{quantity(running, 'run')} had not ended when this page was generated.")
    return notes
