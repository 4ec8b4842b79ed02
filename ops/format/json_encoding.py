"""The JSON of `--json`: one shape for each command, in the names of the contracts."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum

from recon.timestamps import to_iso

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


def to_json(value: object) -> Json:  # noqa: PLR0911 - one return a form
    """A dataclass as an object with names in camelCase, a time as `2024-11-27T02:00:00Z`, an enumeration as
    its value. Raises TypeError for what has no form here, so that none is made up."""
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return to_json(value.value)
        case str():
            return value
        case datetime():
            return to_iso(value.timestamp())
        case Mapping():
            return {str(key): to_json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [to_json(inner) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {camel(field.name): to_json(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
