"""The shape of `--json`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest

from ops.format.json_encoding import to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    run_id: str
    at: datetime


@dataclass(frozen=True)
class Outer:
    inner_ones: tuple[Inner, ...]
    colour: Colour
    counts_by_name: dict[str, int]
    nothing: None = None


def test_to_json_converts_names_times_and_enumerations():
    value = Outer((Inner("r", datetime(2026, 11, 23, 2, tzinfo=UTC)),), Colour.RED, {"no_user": 1})
    assert to_json(value) == {
        "innerOnes": [{"runId": "r", "at": "2026-11-23T02:00:00Z"}],
        "colour": "red",
        "countsByName": {"no_user": 1},
        "nothing": None,
    }
    assert type(to_json(Colour.RED)) is str


def test_to_json_refuses_other_types():
    with pytest.raises(TypeError, match="set"):
        to_json({"a": {1, 2}})
