"""How large an item is counted: as DynamoDB counts it, and a number never smaller than it does.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import pytest

from recon.dynamodb.item_size import item_bytes


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"name": "text"}, 4 + 4),
        ({"größe": "8 €"}, 7 + 5),
        ({"a": None}, 1 + 1),
        ({"a": True, "b": False}, 1 + 1 + 1 + 1),
        ({"a": []}, 1 + 3),
        ({"a": ["xy", None]}, 1 + 3 + (1 + 2) + (1 + 1)),
        ({"a": {}}, 1 + 3),
        ({"a": {"bc": "d", "e": "f"}}, 1 + 3 + (1 + 2 + 1) + (1 + 1 + 1)),
        ({"a": [{"b": ["c"]}]}, 1 + 3 + 1 + 3 + (1 + 1 + 3 + (1 + 1))),
    ],
)
def test_names_texts_and_what_holds_others_are_counted_to_the_byte(item, size):
    assert item_bytes(item) == size


@pytest.mark.parametrize("digits", range(1, 39))
def test_a_number_counts_half_a_byte_a_digit_one_and_its_sign_or_one_byte_more(digits):
    theirs = (digits + 1) // 2 + 1
    for number, sign in ((10 ** (digits - 1), 0), (-(10 ** (digits - 1)), 1)):
        assert item_bytes({"": number}) in range(theirs + sign, theirs + 3)


def test_a_text_that_is_no_unicode_is_counted_and_not_refused_here():
    assert item_bytes({"a": "\ud800"}) == 1 + 3
