"""DynamoDB's types by example; tests/unit/recon/test_attribute_values.py holds all of them to boto3."""

from decimal import Decimal

import pytest

from recon.dynamodb.attribute_values import from_attribute, to_attribute

BOTH_WAYS = [
    ("a", {"S": "a"}),
    ("", {"S": ""}),
    (None, {"NULL": True}),
    (True, {"BOOL": True}),
    (False, {"BOOL": False}),
    (0, {"N": "0"}),
    (-17, {"N": "-17"}),
    (Decimal("0.5"), {"N": "0.5"}),
    (b"\x00", {"B": b"\x00"}),
    ({"a": {"b": 1}}, {"M": {"a": {"M": {"b": {"N": "1"}}}}}),
    ([["a"], None], {"L": [{"L": [{"S": "a"}]}, {"NULL": True}]}),
]
READ_ONLY = [
    ({"a", "b"}, {"SS": ["a", "b"]}),
    ({1, Decimal("0.5")}, {"NS": ["1", "0.5"]}),
    ({b"a", b"b"}, {"BS": [b"a", b"b"]}),
    (7, {"N": "7.0"}),
]


@pytest.mark.parametrize(("value", "attribute"), BOTH_WAYS)
def test_a_value_is_written_with_its_type(value, attribute):
    assert to_attribute(value) == attribute
    assert str(to_attribute(value)) == str(attribute)  # 1 is True to Python, and not to DynamoDB


@pytest.mark.parametrize(("value", "attribute"), BOTH_WAYS + READ_ONLY)
def test_a_value_is_read_as_its_type_says(value, attribute):
    assert from_attribute(attribute) == value
    assert type(from_attribute(attribute)) is type(value)


def test_a_tuple_is_a_list_there():
    assert to_attribute(("a", 1)) == {"L": [{"S": "a"}, {"N": "1"}]}


def test_what_has_no_type_is_refused_by_its_own():
    with pytest.raises(TypeError, match=r"^DynamoDB has no type here for float$"):
        to_attribute(1.5)
    with pytest.raises(TypeError, match=r"^DynamoDB has a new type: Q$"):
        from_attribute({"Q": "?"})
