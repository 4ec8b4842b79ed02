"""Reading attributes of items that another version or another program may have written."""

from recon.dynamodb.table import Item


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


def read_boolean(item: Item, name: str) -> bool | None:
    """Return a boolean attribute, or None if it is absent or has another type."""
    value = item.get(name)
    return value if isinstance(value, bool) else None
