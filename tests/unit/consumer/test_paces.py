"""A batch at every pace: whatever Stripe was asked for in time is written before the invocation ends."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

from consumer.session_tasks import SessionTask
from consumer.webhook_fence import count_pages
from recon.config import LEAST_CONSUMER_RPS, FenceMode
from recon.errors import OutOfTime
from recon.stripe.bulk import Products
from recon.stripe.pace import SHARE_BESIDE_LISTING
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.source import SESSIONS, StripeSource
from testkit.batches import TIMEOUT, ConsumerHarness
from testkit.builders import FakeTime, a_line, a_message, a_session

# Requests per second of a consumer while a run lists.
SLOWEST = LEAST_CONSUMER_RPS * SHARE_BESIDE_LISTING


class PacedStripe:
    """A connection whose requests each take `seconds`; `paths` are those that were made."""

    timeout = 10.0
    key = SimpleNamespace(read=lambda: "k", renew=lambda: None)

    def __init__(self, consumer, pace, seconds):
        self.rate_limiter = RateLimiter(pace, consumer.clock)
        self.products = Products(consumer.clock)
        self.paths = []
        self._clock, self._seconds = consumer.clock, seconds

    def get(self, path, _params, _key):
        self.paths.append(path)
        self._clock.now += self._seconds
        if not path.startswith(SESSIONS):
            return {"data": [], "has_more": False}
        session = a_session(id=path.rpartition("/")[2])
        return session | {"line_items": {"data": [a_line()], "has_more": False}}


def reconcile(pace, number, *, seconds=0.3, event_ids=(), fence=FenceMode.WRITTEN, pool=None):
    """Return the connection and the result of a batch of missing orders, none of them near another one."""
    consumer = ConsumerHarness(webhook_fence=fence)
    consumer.pool = pool or consumer.pool
    connection = PacedStripe(consumer, pace, seconds)
    source = StripeSource(
        connection,  # type: ignore[arg-type]
        consumer.clock.deadline(TIMEOUT),
        lambda: None,
        reserved_requests=count_pages(fence),
    )
    source.list_together = lambda _wanted, _pool: iter(())
    consumer.connect = lambda: source
    messages = [a_message(session_id=f"cs_{n}", user_id=f"u{n}", event_ids=event_ids) for n in range(number)]
    tasks = [SessionTask(each.run_id, each.session_id, each, None, each.session_id, 1) for each in messages]
    return connection, consumer.reconcile(*tasks)


@pytest.mark.parametrize(("event_ids", "pages"), [(("evt_1",), 1), ((), 2)])
@pytest.mark.parametrize("number", [1, 7, 100])
@pytest.mark.parametrize("pace", [SLOWEST, 0.3, 0.47, 0.6, 1, 2.35])
def test_every_fetched_session_is_written_at_every_pace(pace, number, event_ids, pages):
    connection, result = reconcile(pace, number, event_ids=event_ids)
    fetched = {path.rpartition("/")[2] for path in connection.paths if path.startswith(SESSIONS)}
    assert result.committed.applied.keys() == fetched
    assert len(fetched) < len(connection.paths) <= len(fetched) + pages
    assert fetched
    assert len(fetched) + len(result.delayed) == number


@pytest.mark.parametrize("seconds", [0.1, 4.9])
def test_fetches_leave_time_for_the_events_if_stripe_is_slow(seconds):
    connection, result = reconcile(1, 60, seconds=seconds)
    assert len(connection.paths) == len(result.committed.applied) + 2


def test_sessions_under_way_end_before_further_ones_begin(monkeypatch):
    """Each subscription takes two requests. A turn takes longer than a request, as it does at this pace."""

    def get(self, path, params, key):
        time.sleep(0.001)
        response = answer(self, path, params, key)
        return response | {"mode": "subscription", "invoice": "in_1", "payment_intent": None}

    def sleep(self, seconds):
        time.sleep(0.01)
        pause(self, seconds)

    answer, pause = PacedStripe.get, FakeTime.sleep
    monkeypatch.setattr(PacedStripe, "get", get)
    monkeypatch.setattr(FakeTime, "sleep", sleep)
    with ThreadPoolExecutor(25) as pool:
        connection, result = reconcile(0.47, 40, seconds=0.01, pool=pool)
    begun = [path for path in connection.paths if path.startswith(SESSIONS)]
    assert len(begun) / 2 <= len(result.committed.applied) <= len(begun)
    assert begun


@pytest.mark.parametrize(("pace", "seconds"), [(2.4, 17), (1, 38), (0.6, 51)])
def test_lowered_pace_rises_again_where_the_pages_do_not_fit(pace, seconds):
    consumer = ConsumerHarness()
    connection = PacedStripe(consumer, pace, 0.1)
    for _ in range(4):
        connection.rate_limiter.slow_down()
    for _ in range(60):
        deadline = consumer.clock.deadline(seconds)
        source = StripeSource(connection, deadline, lambda: None, reserved_requests=2)  # type: ignore[arg-type]
        with suppress(OutOfTime):
            while True:
                source.has_session("cs_1")
    assert connection.rate_limiter.rate == pace


def test_fetches_use_all_the_time_if_no_events_are_read():
    slow, fast = (reconcile(0.47, 30, fence=mode)[1] for mode in (FenceMode.WRITTEN, FenceMode.OFF))
    assert len(fast.committed.applied) > len(slow.committed.applied) + 3
