"""DynamoDB's typed values, held to boto3's own way of writing and reading them."""

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


def as_read_by_boto3(value):
    """Bytes as such, and whole numbers as int, also inside."""
    match value:
        case Binary():
            return value.value
        case Decimal():
            return int(value) if value == value.to_integral_value() else value
        case dict():
            return {name: as_read_by_boto3(inner) for name, inner in value.items()}
        case list():
            return [as_read_by_boto3(inner) for inner in value]
        case set():
            return {as_read_by_boto3(inner) for inner in value}
    return value


@given(VALUES)
def test_a_value_is_written_as_boto3_writes_it(value):
    assert to_attribute(value) == TypeSerializer().serialize(value)


@given(VALUES | SETS | st.lists(SETS))
def test_a_value_of_any_type_is_read_as_boto3_reads_it_with_whole_numbers_as_int(value):
    attribute = TypeSerializer().serialize(value)
    expected = as_read_by_boto3(TypeDeserializer().deserialize(attribute))
    assert types_in(from_attribute(attribute)) == types_in(expected)
    assert from_attribute(attribute) == expected


def types_in(value):
    """1 and Decimal(1) are equal."""
    match value:
        case dict():
            return {name: types_in(inner) for name, inner in value.items()}
        case list() | set():
            return type(value), sorted(map(str, map(types_in, value)))
    return type(value)


@pytest.mark.parametrize("number", [10**38 + 1, Decimal("1e127"), Decimal("0." + "1" * 39)])
def test_a_number_that_would_have_to_be_rounded_is_refused_as_boto3_refuses_it(number):
    for write in (to_attribute, TypeSerializer().serialize):
        with pytest.raises(decimal.DecimalException):
            write(number)


@pytest.mark.parametrize("value", [1.5, object(), {1, 2}])
def test_what_is_never_written_here_is_refused_by_its_type_alone(value):
    with pytest.raises(TypeError, match=f"no type here for {type(value).__name__}$"):
        to_attribute(value)


def test_a_type_that_dynamodb_does_not_have_yet_is_refused():
    with pytest.raises(TypeError, match="new type: Q"):
        from_attribute({"Q": "?"})
