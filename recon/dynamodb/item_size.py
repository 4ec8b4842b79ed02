"""How large DynamoDB counts an item: names and text in UTF-8, numbers by their digits.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from typing import Any

MAX_ITEM_BYTES = 400 * 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
_CONTAINER = 3  # of a list or map, and one more for each element


def item_bytes(item: dict[str, Any]) -> int:
    return sum(_text(name) + _value(value) for name, value in item.items())


def _value(value: Any) -> int:  # noqa: ANN401 - whatever an attribute may hold
    match value:
        case None | bool():
            return 1
        case int():
            return len(str(abs(value))) // 2 + 3  # rounded up and with its sign
        case dict():
            return _CONTAINER + len(value) + item_bytes(value)
        case list():
            return _CONTAINER + sum(1 + _value(inner) for inner in value)
        case _:
            return _text(str(value))


def _text(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
