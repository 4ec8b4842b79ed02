"""The JSON of `--json`: dataclass fields in camelCase, times and enumerations as strings.

An amount is an object with `currency` and `amount`; an unknown one is null.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum

from ops.format.money import Money, NoAmount
from recon.timestamps import to_iso

type JsonValue = bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None


def to_json(value: object) -> JsonValue:  # noqa: PLR0911 - one return per kind of value
    """Convert a value to plain JSON types.

    A dataclass becomes an object with camelCase names, a datetime `2024-11-27T02:00:00Z`, an enumeration its
    value. Raise TypeError for any other type.
    """
    match value:
        case Enum():
            return to_json(value.value)
        case None | bool() | int() | float() | str():
            return value
        case Money() | NoAmount():
            return _amount_to_json(value)
        case datetime():
            return to_iso(value.timestamp())
        case Mapping():
            return {str(key): to_json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [to_json(inner) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {to_camel_case(field.name): to_json(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _amount_to_json(amount: Money | NoAmount) -> JsonValue:
    if isinstance(amount, NoAmount):
        return {"currency": None, "amount": None}
    return {"currency": amount.currency or None, "amount": amount.amount}


def to_camel_case(name: str) -> str:
    """Convert `run_id` to `runId`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
