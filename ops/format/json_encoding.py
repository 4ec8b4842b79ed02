"""The JSON of `--json`: dataclass fields in camelCase, times and enumerations as strings."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum

from recon.timestamps import to_iso

type JsonValue = bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None


def to_json(value: object) -> JsonValue:
    """Convert a value to plain JSON types.

    A dataclass becomes an object with camelCase names, a datetime `2024-11-27T02:00:00Z`, an enumeration its
    value. Raise TypeError for any other type.
    """
    match value:
        case Enum():
            return to_json(value.value)
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return to_iso(value.timestamp())
        case Mapping():
            return {str(key): to_json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [to_json(inner) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {to_camel_case(field.name): to_json(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def to_camel_case(name: str) -> str:
    """Convert `run_id` to `runId`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
