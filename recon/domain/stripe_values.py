"""Reading of values of Stripe's objects.

`read_…` raises MalformedSession that names the field, after its `parent` such as `latest_charge.`. It is for
money, for the state of a payment and for what every order needs. An absent field and null are the same.
`find_…` omits a wrong value. It is for details: one that cannot be read must not cost the order.
"""

from typing import Any

from recon.domain.stripe_objects import MAX_NUMBER, Json
from recon.errors import MalformedSession


def read_object(source: Json, name: str, *, parent: str = "") -> Json:
    """Return an object, or {} if there is none."""
    value = source.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedSession(f"{parent}{name} must be an object")
    return value


def read_expanded(source: Json, name: str) -> Json | None:
    """Return an expanded object, or None if it is absent or only its id is there."""
    value = source.get(name)
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, dict):
        raise MalformedSession(f"{name} must be an object or an id")
    return value


def read_text(source: Json, name: str, *, null: bool = False, parent: str = "") -> Any:  # noqa: ANN401 - str, or None where null is allowed
    """Return a text. With `null`, return None if it is null, empty or absent."""
    value = source.get(name)
    if null and value in (None, ""):
        return None
    if isinstance(value, str) and value:
        return value
    raise MalformedSession(f"{parent}{name} must be a string")


def read_integer(source: Json, name: str, *, null: bool = False) -> Any:  # noqa: ANN401 - int, or None where null is allowed
    """Return an integer. With `null`, return None if it is null or absent."""
    value = source.get(name)
    # type() instead of isinstance(), which accepts a boolean as an integer.
    if (value is None and null) or (type(value) is int and abs(value) < MAX_NUMBER):
        return value
    raise MalformedSession(f"{name} must be an integer")


def read_count(source: Json, name: str, *, parent: str) -> int | None:
    """Return an amount or a time, or None if it is absent."""
    value = source.get(name)
    # type() instead of isinstance(), which accepts a boolean as an integer.
    if value is None or (type(value) is int and 0 <= value < MAX_NUMBER):
        return value
    raise MalformedSession(f"{parent}{name} must be an integer of 0 or more")


def read_flag(source: Json, name: str, *, parent: str) -> bool | None:
    """Return a boolean, or None if it is absent."""
    value = source.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise MalformedSession(f"{parent}{name} must be true or false")


def read_currency(source: Json, name: str) -> str | None:
    """Return a currency in lower case, or None if there is none."""
    text = read_text(source, name, null=True)
    return text.lower() if text else None


def read_reference(session: Json, name: str) -> str | None:
    """Return the id of a reference, expanded or not."""
    value = session.get(name)
    if isinstance(value, dict):
        value = value.get("id")
        if not isinstance(value, str) or not value:
            raise MalformedSession(f"{name} must have an id")
        return value
    reference: str | None = read_text(session, name, null=True)
    return reference


def find_object(source: Json, name: str) -> Json:
    """Return an object, or {} if there is none."""
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def find_objects(source: Json, name: str) -> list[Json]:
    """Return the objects of a list, without its other entries."""
    value = source.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def find_text(source: Json, name: str) -> str | None:
    """Return a text that DynamoDB can store, or None."""
    value = source.get(name)
    return value if isinstance(value, str) and is_storable(value) else None


def find_reference(source: Json, name: str) -> str | None:
    """Return the id of a reference, expanded or not, or None."""
    return find_text(source, name) or find_text(find_object(source, name), "id")


def find_texts(source: Json, name: str) -> Json:
    """Return the texts of an object of texts such as `metadata`."""
    texts = find_object(source, name)
    return present({key: find_text(texts, key) for key in texts if is_storable(key)})


def present(fields: Json) -> Json:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def is_storable(text: str) -> bool:
    """Return whether DynamoDB can store a text, also as the name of a field."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False
