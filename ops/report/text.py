"""Days, results and ids as the page writes them."""

from datetime import UTC, datetime

from ops.format.money import Money
from ops.format.skip_reasons import describe_stored_skip
from recon.domain.reconcile import Outcome

_SHOWN_OF_ID = 8  # the characters that an order number is made of


def describe_fate(fate: str) -> str:
    """Return what became of a session, from the reason of a skip or else the outcome.

    A value that another version stored is returned unchanged.
    """
    if fate == Outcome.CREATED:
        return "Recovered: the order was missing and a run wrote it"
    if fate == Outcome.ERROR:
        return "Error: still open"
    text = describe_stored_skip(fate)
    return fate if text == fate else f"Skipped: {text}"


def format_money(money: Money) -> str:
    """Return the amount with the symbol of its currency."""
    return money.with_symbol


def format_date(epoch: int) -> str:
    """Return `2024-11-27`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")


def format_time(epoch: int) -> str:
    """Return `2024-11-27 02:00`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M")


def shorten_id(session_id: str) -> str:
    """Return `cs_live_…a1B2c3D4`, or the id unchanged if that is not shorter."""
    kind = "_".join(session_id.split("_")[:2])
    short = f"{kind}_…{session_id[-_SHOWN_OF_ID:]}"
    return short if len(short) < len(session_id) else session_id
