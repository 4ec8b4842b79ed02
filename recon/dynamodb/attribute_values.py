"""DynamoDB's typed values, from plain ones and back, as `boto3.dynamodb.types` has them.

Not boto3's own: importing any of boto3 imports all of it, which is a fifth of a cold start and needed by
nothing else here. A test holds the two to each other.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from collections.abc import Mapping
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any

# What a number of DynamoDB can hold; anything else raises instead of being rounded.
_NUMBERS = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])


def to_attribute(value: Any) -> dict[str, Any]:  # noqa: ANN401, PLR0911 - whatever has a type, one return each
    """`"a"` as `{"S": "a"}`. Raises TypeError for what has no type there (a float is inexact, a set is never
    written here), and decimal.Inexact or Overflow for a number that DynamoDB cannot hold."""
    match value:
        case str():
            return {"S": str(value)}  # the plain text of a StrEnum
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(_NUMBERS.create_decimal(value))}
        case Mapping():
            return {"M": {name: to_attribute(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [to_attribute(inner) for inner in value]}
        case bytes():
            return {"B": value}
    raise TypeError(f"DynamoDB has no type here for {type(value).__name__}")


def from_attribute(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401, PLR0911 - as above
    """`{"S": "a"}` as `"a"`, any type of DynamoDB's; a whole number is an int, since all numbers here are."""
    [(kind, value)] = attribute.items()
    match kind:
        case "S" | "B" | "BOOL":
            return value
        case "N":
            return _number(value)
        case "NULL":
            return None
        case "M":
            return {name: from_attribute(inner) for name, inner in value.items()}
        case "L":
            return [from_attribute(inner) for inner in value]
        case "SS" | "BS":
            return set(value)
        case "NS":
            return {_number(one) for one in value}
    raise TypeError(f"DynamoDB has a new type: {kind}")


def _number(digits: str) -> int | Decimal:
    number = _NUMBERS.create_decimal(digits)
    return int(number) if number == number.to_integral_value() else number
