"""DynamoDB's typed values are written and read as boto3 does."""

import decimal
from decimal import Decimal

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from recon.dynamodb.attribute_values import from_attribute, to_attribute

NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1) | st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=10
)
ONES = st.none() | st.booleans() | NUMBERS | st.text() | st.binary()
VALUES = st.recursive(
    ONES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner), max_leaves=20
)
SETS = st.sets(st.text(), min_size=1) | st.sets(NUMBERS, min_size=1) | st.sets(st.binary(), min_size=1)


def normalize(value):
    """Convert boto3's values to those of from_attribute: bytes, and whole numbers as int."""
    match value:
        case Binary():
            return value.value
        case Decimal():
            return int(value) if value == value.to_integral_value() else value
        case dict():
            return {name: normalize(inner) for name, inner in value.items()}
        case list():
            return [normalize(inner) for inner in value]
        case set():
            return {normalize(inner) for inner in value}
    return value


@given(VALUES)
def test_value_is_written_as_by_boto3(value):
    assert to_attribute(value) == TypeSerializer().serialize(value)


@given(VALUES | SETS | st.lists(SETS))
def test_value_is_read_as_by_boto3(value):
    attribute = TypeSerializer().serialize(value)
    expected = normalize(TypeDeserializer().deserialize(attribute))
    assert nested_types(from_attribute(attribute)) == nested_types(expected)
    assert from_attribute(attribute) == expected


def nested_types(value):
    """Return the nested types, since 1 == Decimal(1)."""
    match value:
        case dict():
            return {name: nested_types(inner) for name, inner in value.items()}
        case list() | set():
            return type(value), sorted(map(str, map(nested_types, value)))
    return type(value)


@pytest.mark.parametrize("number", [10**38 + 1, Decimal("1e127"), Decimal("0." + "1" * 39)])
def test_number_that_needs_rounding_is_refused_as_by_boto3(number):
    for write in (to_attribute, TypeSerializer().serialize):
        with pytest.raises(decimal.DecimalException):
            write(number)


@pytest.mark.parametrize("value", [1.5, object(), {1, 2}])
def test_unsupported_type_is_refused_without_its_value(value):
    with pytest.raises(TypeError, match=f"no type here for {type(value).__name__}$"):
        to_attribute(value)


def test_unknown_attribute_type_is_refused():
    with pytest.raises(TypeError, match="new type: Q"):
        from_attribute({"Q": "?"})
