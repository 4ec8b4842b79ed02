"""The size of an item: as DynamoDB counts it, and a number never smaller.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import pytest

from recon.dynamodb.item_size import item_bytes


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"größe": "8 €"}, 7 + 5),
        ({"a": "\ud800"}, 1 + 3),  # no valid Unicode, which DynamoDB refuses later
        ({"a": None}, 1 + 1),
        ({"a": True, "b": False}, 1 + 1 + 1 + 1),
        ({"a": []}, 1 + 3),
        ({"a": ["xy", None]}, 1 + 3 + (1 + 2) + (1 + 1)),
        ({"a": {}}, 1 + 3),
        ({"a": {"bc": "d", "e": "f"}}, 1 + 3 + (1 + 2 + 1) + (1 + 1 + 1)),
        ({"a": [{"b": ["c"]}]}, 1 + 3 + 1 + 3 + (1 + 1 + 3 + (1 + 1))),
    ],
)
def test_names_texts_and_containers_are_counted_exactly(item, size):
    assert item_bytes(item) == size


@pytest.mark.parametrize("digits", range(1, 39))
def test_number_is_at_most_one_byte_too_large(digits):
    theirs = (digits + 1) // 2 + 1
    for number, sign in ((10 ** (digits - 1), 0), (-(10 ** (digits - 1)), 1)):
        assert item_bytes({"": number}) in range(theirs + sign, theirs + 3)
