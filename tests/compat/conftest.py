"""Fixtures: a shop at night, and what each version has left in its queue and table."""

import json
from collections.abc import Mapping

import pytest

from tests.compat.record import SAMPLES
from tests.unit.conftest import make_world, stripe, world  # noqa: F401 - fixtures

PATHS = sorted(SAMPLES.glob("*.json"))


@pytest.fixture(params=[False, True], ids=["as it was", "with later additions"])
def sample(request, version):
    """Return the sample of a version, and the same with the fields of a later one, as after a roll-back."""
    content = json.loads(version.read_text())
    return add_fields(content) if request.param else content


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def version(request):
    return request.param


def add_fields(value):
    """Add unknown fields to every record and every message. The producer's event is neither."""
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(json.loads(value) | {"laterField": {"more": [1]}})
    if isinstance(value, list):
        return [add_fields(element) for element in value]
    if isinstance(value, Mapping):
        added = {"laterFlag": True, "laterNote": "text"} if "PK" in value else {}
        return {name: add_fields(element) for name, element in value.items()} | added
    return value
