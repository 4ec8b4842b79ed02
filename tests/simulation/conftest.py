"""A fake Stripe that one shop after the other uses."""

import pytest

from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY


@pytest.fixture(scope="module")
def account():
    with FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)) as account:
        yield account
