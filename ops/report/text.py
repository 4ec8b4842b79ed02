"""Days, results and ids as the page writes them."""

from datetime import UTC, datetime

from ops.format.money import Money
from ops.format.skip_reasons import describe_stored_skip
from recon.domain.outcome import Outcome


def describe_fate(fate: str) -> str:
    """Return what became of a session, from the reason of a skip or else the outcome.

    A value that another version stored is returned unchanged.
    """
    if fate == Outcome.CREATED:
        return "Recovered: the order was missing and a run wrote it"
    if fate == Outcome.MISSING:
        return "Missing: the shop has not done its order"
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
