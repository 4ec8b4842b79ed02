"""Starting points on an account without a network: a call past the recorded clients fails the test."""

import socket
from functools import cache

import pytest

from testkit.fake_stripe import FakeStripe
from testkit.fake_stripe.traffic import RateLimits
from testkit.world import KEY
from tests.crash.crash_shop import small_pages
from tests.crash.replay import derive_cases
from tests.crash.starting_points import before_batch, before_run


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
def batch_start(make_account):
    return before_batch(make_account())


@pytest.fixture(scope="session")
def run_start(make_account):
    return before_run(make_account(), SYNC_MAX_SESSIONS="6")


@pytest.fixture(scope="session")
def cases(batch_start, run_start):
    """Return a function that derives the cases of a starting point's fixture and an act, once for all."""
    starts = {"batch_start": batch_start, "run_start": run_start}
    return cache(lambda name, act: derive_cases(starts[name], act))


@pytest.fixture
def stray_connections(monkeypatch):
    """Addresses that something other than a recorded client connected to."""
    found = []

    def connect(self, address):
        self.close()
        found.append(address)
        raise ConnectionRefusedError(address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return found


@pytest.fixture(autouse=True)
def _isolated(stray_connections):
    with small_pages():
        yield
    assert not stray_connections
