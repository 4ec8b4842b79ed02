"""Conversion between plain values and DynamoDB's typed values, equal to `boto3.dynamodb.types`.

An import of any module of boto3 imports all of it, which is a fifth of a cold start, and no other module
here needs it. A test compares this module with boto3.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from collections.abc import Mapping
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any

# The numbers that DynamoDB can store; any other number raises instead of being rounded.
_NUMBERS = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])


def to_attribute(value: Any) -> dict[str, Any]:  # noqa: ANN401, PLR0911 - any value, one return for each type
    """Return the typed form of a plain value: `{"S": "a"}` for `"a"`.

    Raises TypeError for a value without a type (floats are inexact, and sets are never written here), and
    decimal.Inexact or Overflow for a number that DynamoDB cannot store.
    """
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
    """Return the plain value of a typed one: `"a"` for `{"S": "a"}`. A whole number is an int.

    Raises TypeError for a type that DynamoDB does not have today.
    """
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
            return {_number(digits) for digits in value}
    raise TypeError(f"DynamoDB has a new type: {kind}")


def _number(digits: str) -> int | Decimal:
    number = _NUMBERS.create_decimal(digits)
    return int(number) if number == number.to_integral_value() else number
