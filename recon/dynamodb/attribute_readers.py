"""Reading attributes of items that another version or another program may have written."""

from decimal import Decimal

from recon.dynamodb.table import Item
from recon.timestamps import parse_epoch, to_iso

# No time in seconds before the year 5138 is as large.
_FIRST_MILLISECONDS = 100_000_000_000


def read_text(item: Item, name: str) -> str | None:
    """Return a text attribute, or None if it is absent or has another type."""
    value = item.get(name)
    return value if isinstance(value, str) else None


def read_texts(item: Item, name: str) -> tuple[str, ...]:
    """Return a list attribute as texts, or an empty tuple if it is absent or has another type."""
    values = item.get(name)
    return tuple(map(str, values)) if isinstance(values, list) else ()


def read_integer(item: Item, name: str) -> int | None:
    """Return a whole number, or None if it is absent or has another type."""
    # type() and not isinstance: a boolean is not a number here.
    value = item.get(name)
    return value if type(value) is int else None


def read_number(item: Item, name: str) -> int | Decimal | None:
    """Return a number, whole or not, or None if it is absent or has another type."""
    value = item.get(name)
    return value if type(value) in (int, Decimal) else None


def read_time(item: Item, name: str) -> str | None:
    """Return a time as ISO 8601, which other programs store as text or as epoch seconds or milliseconds.

    Return None if it is absent or no time.
    """
    value = item.get(name)
    try:
        if isinstance(value, str):
            return to_iso(parse_epoch(value))
        number = read_number(item, name)
        if number is None:
            return None
        return to_iso(float(number) / (1000 if number >= _FIRST_MILLISECONDS else 1))
    except (ValueError, OverflowError, OSError):
        return None


def read_boolean(item: Item, name: str) -> bool | None:
    """Return a boolean attribute, or None if it is absent or has another type."""
    value = item.get(name)
    return value if isinstance(value, bool) else None
