import pytest

from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.hostile.hostile_shop import fetch_session, list_session, rich_session


@pytest.fixture(scope="session")
def account():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as account:
        yield account


@pytest.fixture(scope="session")
def fetched(account):
    """Return a session as Stripe answers the product's fetch."""
    return fetch_session(account, rich_session("base"))


@pytest.fixture(scope="session")
def listed(account):
    """Return the same session as an entry of Stripe's list."""
    return list_session(account, rich_session("base"))
