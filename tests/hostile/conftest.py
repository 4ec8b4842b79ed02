import pytest

from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.hostile.stage import Stage


@pytest.fixture(scope="session")
def account():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as account:
        yield account


@pytest.fixture
def stage(account):
    return Stage(account)
