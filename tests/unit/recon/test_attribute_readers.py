"""Attributes of items that other programs wrote: what is taken as a time."""

from decimal import Decimal

import pytest

from recon.dynamodb.attribute_readers import read_time
from recon.timestamps import to_iso
from testkit.builders import NOW


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("2024-11-27T03:00:00+01:00", "2024-11-27T02:00:00Z"),
        (NOW, to_iso(NOW)),
        (Decimal(NOW) + Decimal("0.5"), to_iso(NOW)),
        (NOW * 1000 + 999, to_iso(NOW)),
        (99_999_999_999, "5138-11-16T09:46:39Z"),
        (100_000_000_000, "1973-03-03T09:46:40Z"),
        ("yesterday", None),
        ("2024-11-27T03:00:00", None),
        (10**30, None),
        (True, None),
        (None, None),
    ],
)
def test_time_is_read_from_text_seconds_or_milliseconds(stored, read):
    assert read_time({"at": stored}, "at") == read
