import pytest

from sandbox.fake_stripe import FakeStripe
from sandbox.fake_stripe.traffic import RateLimits
from tests.hostile.stage import Stage
from tests.world import KEY


@pytest.fixture(scope="session")
def account():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as account:
        yield account


@pytest.fixture
def stage(account):
    return Stage(account)
