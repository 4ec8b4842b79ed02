"""An account without a network: a call that goes around the recorded clients fails the test."""

import socket

import pytest

from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.crash.replay import cases_of
from tests.crash.shop import before_the_batch, before_the_run, small_slices


@pytest.fixture(scope="session")
def make_account():
    made = []

    def make():
        made.append(FakeStripe(KEY, limits=RateLimits(per_second=None, per_endpoint=None)).start())
        return made[-1]

    yield make
    for account in made:
        account.stop()


@pytest.fixture(scope="session")
def batch_night(make_account):
    return before_the_batch(make_account())


@pytest.fixture(scope="session")
def run_night(make_account):
    return before_the_run(make_account(), SYNC_MAX_SESSIONS="6")


@pytest.fixture(scope="session")
def cases():
    """Derived once for all chunks."""
    known = {}

    def of(night, act):
        key = (id(night), act)
        if key not in known:
            known[key] = cases_of(night, act)
        return known[key]

    return of


@pytest.fixture
def strays(monkeypatch):
    """Where calls went that no recorded client made."""
    gone = []

    def connect(self, address):
        self.close()
        gone.append(address)
        raise ConnectionRefusedError(address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return gone


@pytest.fixture(autouse=True)
def alone(strays):
    with small_slices():
        yield
    assert not strays
