"""DynamoDB's attribute values: validation, canonical form, size and order.

Only the types that this project stores are known: S, N, BOOL, NULL, L and M.
"""

import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any

from testkit.doubles.errors import validation_error
from testkit.shapes import AttributeMap, AttributeValue

ORDERED_TYPES = frozenset({"S", "N"})
MAX_ITEM_BYTES = 400 * 1024
_MAX_NESTING = 32
_MAX_DIGITS = 38
_MAX_NAME_BYTES = 65_535  # of a nested attribute
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EXACT = Context(prec=400)


def normalize(value: Mapping[str, Any], depth: int = 0) -> AttributeValue:  # noqa: C901, PLR0911 - one case per type
    """Return a deep copy as the service would return it, with numbers in their canonical form."""
    if len(value) != 1:
        raise validation_error("Supplied AttributeValue must contain exactly one of the supported datatypes")
    if depth > _MAX_NESTING:
        raise validation_error("Nesting Levels have exceeded supported limits")
    kind, content = next(iter(value.items()))
    match kind:
        case "S" | "BOOL":
            return {kind: content}
        case "N":
            return {"N": canonical_number(content)}
        case "NULL" if not content:
            raise validation_error("Null attribute value types must have the value of true")
        case "NULL":
            return {"NULL": True}
        case "L":
            return {"L": [normalize(inner, depth + 1) for inner in content]}
        case "M":
            return {
                "M": {_checked_name(name): normalize(inner, depth + 1) for name, inner in content.items()}
            }
        case "B" | "SS" | "BS":
            return {kind: content}
        case "NS":
            return {"NS": [canonical_number(number) for number in content]}
        case _:
            raise validation_error(f"Unknown attribute type: {kind}")


def normalize_item(attributes: Mapping[str, Mapping[str, Any]]) -> AttributeMap:
    if "" in attributes:
        raise validation_error("Empty attribute name")
    return {name: normalize(value) for name, value in attributes.items()}


def _checked_name(name: str) -> str:
    if not name:
        raise validation_error("Empty attribute name")
    if byte_length(name) > _MAX_NAME_BYTES:
        raise validation_error("Attribute name is too large, must be less than 65536 bytes")
    return name


def copy_value(value: AttributeValue) -> AttributeValue:
    """Return a deep copy of a normalized value."""
    ((kind, content),) = value.items()
    if kind == "M":
        return {"M": copy_item(content)}
    if kind == "L":
        return {"L": [copy_value(inner) for inner in content]}
    return {kind: content}


def copy_item(item: AttributeMap) -> AttributeMap:
    return {name: copy_value(value) for name, value in item.items()}


def canonical_number(text: str) -> str:
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= _MAX_DIGITS:
        return text  # most numbers, without the cost of a Decimal
    if not _NUMBER.fullmatch(text):
        raise validation_error("The parameter cannot be converted to a numeric value: " + text)
    number = _EXACT.create_decimal(text).normalize(_EXACT)
    if not number:
        return "0"
    if len(number.as_tuple().digits) > _MAX_DIGITS:
        raise validation_error("Attempting to store more than 38 significant digits in a Number")
    if not -130 <= number.adjusted() <= 125:
        raise validation_error("Number overflow or underflow: magnitude outside of the supported range")
    return f"{number:f}"


def add_numbers(left: AttributeValue, right: AttributeValue) -> AttributeValue:
    return {"N": canonical_number(str(_EXACT.add(Decimal(left["N"]), Decimal(right["N"]))))}


def value_type(value: AttributeValue) -> str:
    return next(iter(value))


def order_key(value: AttributeValue) -> Any:
    """Return what `<` compares. Code points order like the UTF-8 bytes that the service compares."""
    kind, content = next(iter(value.items()))
    return Decimal(content) if kind == "N" else content


def check_item_size(
    item: AttributeMap, message: str = "Item size has exceeded the maximum allowed size"
) -> int:
    """Return the size in bytes. Raise a validation error above 400 KB."""
    size = item_size(item)
    if size > MAX_ITEM_BYTES:
        raise validation_error(message)
    return size


def item_size(item: AttributeMap) -> int:
    """Return the size in bytes as DynamoDB counts it."""
    return sum(byte_length(name) + _value_size(value) for name, value in item.items())


def _value_size(value: AttributeValue) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return byte_length(content)
        case "N":
            return _number_size(content)
        case "L":
            return 3 + sum(1 + _value_size(inner) for inner in content)
        case "M":
            return 3 + len(content) + item_size(content)
        case _:
            return 1


def byte_length(text: str) -> int:
    # Half of a surrogate pair is valid in JSON, and DynamoDB Local stores it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _number_size(text: str) -> int:
    """Count one byte per pair of digits, aligned at the decimal point, plus one, plus one if negative."""
    sign, digits, exponent = Decimal(text).normalize(_EXACT).as_tuple()
    if digits == (0,):
        return 1
    aligned = len(digits) + int(exponent) % 2
    return 1 + (aligned + 1) // 2 + sign
