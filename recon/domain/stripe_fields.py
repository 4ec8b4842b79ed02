"""Pure: read one field of a Stripe object, or raise MalformedSession that names it.

`parent` is put before the name, such as `latest_charge.`. An absent field and null are the same.
"""

from recon.domain.stripe_objects import MAX_NUMBER, Json
from recon.errors import MalformedSession


def read_expanded(holder: Json, name: str) -> Json | None:
    """Return an expanded object, or None if it is absent or only its id is there."""
    value = holder.get(name)
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, dict):
        raise MalformedSession(f"{name} must be an object or an id")
    return value


def read_object(holder: Json, name: str, *, parent: str = "") -> Json:
    """Return an object, or an empty one if it is absent."""
    value = holder.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedSession(f"{parent}{name} must be an object")
    return value


def read_word(holder: Json, name: str, *, parent: str = "") -> str:
    """Return a text, which must be there."""
    value = holder.get(name)
    if isinstance(value, str) and value:
        return value
    raise MalformedSession(f"{parent}{name} must be a string")


def read_currency(holder: Json) -> str | None:
    """Return the currency in lower case, or None if it is absent."""
    value = holder.get("currency")
    if value is not None and not isinstance(value, str):
        raise MalformedSession("currency must be a string")
    return value.lower() if value else None


def read_count(holder: Json, name: str, *, parent: str = "") -> int | None:
    """Return an amount or a time, or None if it is absent."""
    value = holder.get(name)
    # type() instead of isinstance(), which accepts a boolean as an integer.
    if value is None or (type(value) is int and 0 <= value < MAX_NUMBER):
        return value
    raise MalformedSession(f"{parent}{name} must be an integer of 0 or more")


def read_flag(holder: Json, name: str, *, parent: str = "") -> bool | None:
    """Return a boolean, or None if it is absent."""
    value = holder.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise MalformedSession(f"{parent}{name} must be true or false")
