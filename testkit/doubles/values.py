"""DynamoDB's typed attribute values: which are allowed, their spelling, their size and their order."""

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any

from testkit.doubles.errors import invalid

type Value = dict[str, Any]
type Item = dict[str, Value]

TYPES = frozenset({"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"})
ORDERED_TYPES = frozenset({"S", "N", "B"})
MAX_ITEM_BYTES = 400 * 1024
_MAX_NESTING = 32
_MAX_DIGITS = 38
_MAX_NAME = 65_535  # bytes of a nested attribute's name
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EXACT = Context(prec=400)


def normalised(value: Mapping[str, Any], depth: int = 0) -> Value:
    """A deep copy as the service would hand it back: numbers in their one spelling, sets sorted."""
    kind, content = _typed(value)
    if depth > _MAX_NESTING:
        raise invalid("Nesting Levels have exceeded supported limits")
    return {kind: _NORMALISE[kind](content, depth)}


def normalised_item(attributes: Mapping[str, Mapping[str, Any]]) -> Item:
    if "" in attributes:
        raise invalid("Empty attribute name")
    return {name: normalised(value) for name, value in attributes.items()}


def copied(value: Value) -> Value:
    """A deep copy of an already normalised value."""
    ((kind, content),) = value.items()
    if kind == "M":
        return {"M": {name: copied(inner) for name, inner in content.items()}}
    if kind == "L":
        return {"L": [copied(inner) for inner in content]}
    return {kind: list(content) if kind in {"SS", "NS", "BS"} else content}


def copied_item(item: Item) -> Item:
    return {name: copied(value) for name, value in item.items()}


def canonical_number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise invalid("The parameter cannot be converted to a numeric value: " + text)
    number = _EXACT.create_decimal(text).normalize(_EXACT)
    if not number:
        return "0"
    _check_range(number)
    return f"{number:f}"


def _check_range(number: Decimal) -> None:
    if len(number.as_tuple().digits) > _MAX_DIGITS:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    if number.adjusted() > 125:
        raise invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if number.adjusted() < -130:
        raise invalid(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )


def added(left: Value, right: Value, sign: int = 1) -> Value:
    """Sum (or difference) of two numbers; rounded to no more digits than a number may have, it is refused."""
    total = _EXACT.add(Decimal(left["N"]), sign * Decimal(right["N"]))
    return {"N": canonical_number(str(total))}


def kind_of(value: Value) -> str:
    return next(iter(value))


def order_key(value: Value) -> Any:
    """What `<` means for S, N and B; code points order like the UTF-8 bytes that the service compares."""
    kind, content = next(iter(value.items()))
    return Decimal(content) if kind == "N" else content


def size_of_item(item: Item) -> int:
    return sum(_bytes_of(name) + _size_of(value) for name, value in item.items())


def check_item_size(item: Item, sentence: str = "Item size has exceeded the maximum allowed size") -> int:
    """The size, once it is one that the service takes."""
    size = size_of_item(item)
    if size > MAX_ITEM_BYTES:
        raise invalid(sentence)
    return size


def _size_of(value: Value) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return _bytes_of(content)
        case "B":
            return len(content)
        case "N":
            return _size_of_number(content)
        case "BOOL" | "NULL":
            return 1
        case _:
            return _size_of_several(kind, content)


def _size_of_several(kind: str, content: Any) -> int:
    if kind == "L":
        return 3 + sum(1 + _size_of(inner) for inner in content)
    if kind == "M":
        return 3 + sum(1 + _bytes_of(name) + _size_of(inner) for name, inner in content.items())
    return sum(_size_of({kind[0]: element}) for element in content)


def _bytes_of(text: str) -> int:
    # Half of a surrogate pair is text to JSON, and DynamoDB Local stores it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _size_of_number(text: str) -> int:
    """One byte per pair of digits, pairs aligned at the decimal point, plus one; plus one when negative."""
    sign, digits, exponent = Decimal(text).normalize(_EXACT).as_tuple()
    if digits == (0,):
        return 1
    aligned = len(digits) + int(exponent) % 2
    return 1 + (aligned + 1) // 2 + sign


def _typed(value: Mapping[str, Any]) -> tuple[str, Any]:
    if not value:
        raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if len(value) > 1:
        raise invalid(
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes"
        )
    kind, content = next(iter(value.items()))
    if kind not in TYPES:
        raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    return kind, content


def _null(content: bool, depth: int) -> bool:
    if not content:
        raise invalid(
            "One or more parameter values were invalid: "
            "Null attribute value types must have the value of true"
        )
    return True


def _set(element: Callable[[Any], Any], noun: str) -> Callable[[Any, int], list[Any]]:
    def normalise(content: Any, depth: int) -> list[Any]:
        elements = [element(one) for one in content]
        if not elements:
            raise invalid(f"One or more parameter values were invalid: An {noun} set  may not be empty")
        if len(set(elements)) != len(elements):
            raise invalid("One or more parameter values were invalid: Input collection contains duplicates")
        return sorted(elements, key=Decimal if noun == "number" else None)

    return normalise


def _map(content: Mapping[str, Any], depth: int) -> Item:
    if "" in content:
        raise invalid("Empty attribute name")
    if any(len(name) > _MAX_NAME and _bytes_of(name) > _MAX_NAME for name in content):
        raise invalid("Attribute name is too large, must be less than 65536 bytes")
    return {name: normalised(inner, depth + 1) for name, inner in content.items()}


def _list(content: Any, depth: int) -> list[Value]:
    return [normalised(inner, depth + 1) for inner in content]


def _number(content: str, depth: int) -> str:
    plain = content.isascii() and content.isdigit() and content[0] != "0" and len(content) <= _MAX_DIGITS
    return content if plain else canonical_number(content)


_NORMALISE: dict[str, Callable[[Any, int], Any]] = {
    "S": lambda content, depth: content,
    "N": _number,
    "B": lambda content, depth: bytes(content),
    "BOOL": lambda content, depth: content,
    "NULL": _null,
    "L": _list,
    "M": _map,
    "SS": _set(str, "string"),
    "NS": _set(canonical_number, "number"),
    "BS": _set(bytes, "binary"),
}
