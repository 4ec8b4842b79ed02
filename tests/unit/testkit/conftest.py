"""A fake Stripe without rate limits, and its client."""

import pytest

from testkit.fake_stripe import FakeStripe, RateLimits
from tests.unit.testkit.fake_stripe_client import KEY, FakeStripeClient


@pytest.fixture
def fake():
    with FakeStripe(KEY, limits=RateLimits(None, None)) as fake:
        yield fake


@pytest.fixture
def client(fake):
    client = FakeStripeClient(fake.url)
    yield client
    client.close()
