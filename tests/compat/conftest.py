"""A shop at night, and what each version has left in its queue and table."""

import json
from collections.abc import Mapping

import pytest

from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY, World
from tests.compat.record import SAMPLES

PATHS = sorted(SAMPLES.glob("*.json"))


@pytest.fixture
def stripe():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        yield stripe


@pytest.fixture
def make_world(stripe):
    made = []

    def make(**env):
        made.append(World(stripe, **env))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture(params=[False, True], ids=["as it was", "with what a later version adds"])
def sample(request, version):
    """One version's sample; then the same as a later version would leave it behind, for a roll-back."""
    read = json.loads(version.read_text())
    return with_additions(read) if request.param else read


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def version(request):
    return request.param


def with_additions(value):
    """Every record and every message with fields that nobody knows yet; an event of ours is no record."""
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(json.loads(value) | {"laterField": {"more": [1]}})
    if isinstance(value, list):
        return [with_additions(one) for one in value]
    if isinstance(value, Mapping):
        added = {"laterFlag": True, "laterNote": "text"} if "PK" in value else {}
        whole = {name: with_additions(one) for name, one in value.items()}
        return whole | added
    return value
