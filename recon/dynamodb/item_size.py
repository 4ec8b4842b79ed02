"""The size of an item as DynamoDB counts it: names and text in UTF-8, numbers by their digits.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from typing import Any

MAX_ITEM_BYTES = 400 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
_CONTAINER = 3  # of a list or map, plus one for each element


def item_bytes(item: dict[str, Any]) -> int:
    """Return the size of an item of plain values in bytes. A number is never counted too small."""
    return sum(_text_bytes(name) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Any) -> int:  # noqa: ANN401 - an attribute may hold any value
    match value:
        case str():
            return _text_bytes(value)
        case None | bool():
            return 1
        case int():
            return len(str(abs(value))) // 2 + 3  # rounded up, with the sign
        case dict():
            return _CONTAINER + len(value) + item_bytes(value)
        case list():
            return _CONTAINER + sum(1 + _value_bytes(inner) for inner in value)
        case _:
            return _text_bytes(str(value))


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
