"""DynamoDB's typed values, compared with boto3's conversion."""

import decimal
from decimal import Decimal

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from recon.domain.outcome import Outcome
from recon.dynamodb.attribute_values import from_attribute, to_attribute

NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1) | st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=10
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)
SETS = st.sets(st.text(), min_size=1) | st.sets(NUMBERS, min_size=1) | st.sets(st.binary(), min_size=1)


def to_plain(value):
    """Return a value of boto3 with bytes as such and whole numbers as int."""
    match value:
        case Binary():
            return value.value
        case Decimal():
            return int(value) if value == value.to_integral_value() else value
        case dict():
            return {name: to_plain(inner) for name, inner in value.items()}
        case list():
            return [to_plain(inner) for inner in value]
        case set():
            return {to_plain(inner) for inner in value}
    return value


def types_in(value):
    """Return the types inside a value, since `1 == Decimal(1) == True`."""
    match value:
        case dict():
            return {name: types_in(inner) for name, inner in value.items()}
        case list() | set():
            return type(value), sorted(map(str, map(types_in, value)))
    return type(value)


@given(VALUES)
def test_value_is_written_as_boto3_writes_it(value):
    attribute, expected = to_attribute(value), TypeSerializer().serialize(value)
    assert (attribute, types_in(attribute)) == (expected, types_in(expected))


@given(VALUES | SETS | st.lists(SETS))
def test_value_is_read_as_boto3_reads_it(value):
    attribute = TypeSerializer().serialize(value)
    plain, expected = from_attribute(attribute), to_plain(TypeDeserializer().deserialize(attribute))
    assert (plain, types_in(plain)) == (expected, types_in(expected))


def test_enumeration_is_written_as_plain_text():
    assert type(to_attribute(Outcome.CREATED)["S"]) is str


@pytest.mark.parametrize(
    "number", [10**38 + 1, Decimal("1e127"), Decimal("1e-166"), Decimal("0." + "1" * 39)]
)
def test_number_that_needs_rounding_is_refused_like_in_boto3(number):
    for write in (to_attribute, TypeSerializer().serialize):
        with pytest.raises(decimal.DecimalException):
            write(number)


@pytest.mark.parametrize("value", [1.5, object(), {1, 2}])
def test_value_without_a_type_is_refused(value):
    with pytest.raises(TypeError, match=f"^DynamoDB has no type here for {type(value).__name__}$"):
        to_attribute(value)


def test_unknown_type_is_refused():
    with pytest.raises(TypeError, match=r"^DynamoDB has a new type: Q$"):
        from_attribute({"Q": "?"})
