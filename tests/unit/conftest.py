"""A shop at night, in memory."""

import pytest

from sandbox.fake_stripe import FakeStripe
from sandbox.fake_stripe.traffic import RateLimits
from tests.world import KEY, World


@pytest.fixture
def stripe():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as stripe:
        yield stripe


@pytest.fixture
def make_world(stripe):
    made = []

    def make(dynamodb=None, **env):
        made.append(World(stripe, dynamodb, **env))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world):
    return make_world()
