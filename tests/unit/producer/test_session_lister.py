"""The listing of a window: every session once, oldest first, in few requests and flat memory."""

import bisect
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from threading import Barrier, Event, Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.session_lister import AIM, SessionLister, TimeRange
from recon.errors import OutOfTime
from recon.stripe.source import Page
from recon.timestamps import DAY

WINDOW = TimeRange(0, 2 * DAY)


class PagedAccount:
    """Sessions created at the given seconds, listed like Stripe: newest first, a page at a time."""

    def __init__(self, times):
        self.times = sorted(times)
        self.calls = 0

    def list_page(self, start, end, after):
        self.calls += 1
        low = bisect.bisect_left(self.times, start)
        high = int(after) if after else bisect.bisect_right(self.times, end)
        first = max(low, high - 100)
        rows = [{"id": str(n), "created": self.times[n]} for n in range(high - 1, first - 1, -1)]
        return Page(rows, has_more=first > low)


@contextmanager
def a_lister(list_page, demand=lambda: 10**9):
    with ThreadPoolExecutor(4) as pool:
        yield SessionLister(list_page, lambda session: int(session["id"]), pool, demand)


def list_all(account, window=WINDOW, seconds=None, demand=lambda: 10**9):
    with a_lister(account.list_page, demand) as lister:
        return list(lister.list_ranges(window, seconds))


def assert_complete(account, parts, window=WINDOW):
    """Assert that the parts are the window in order and hold each session of it once."""
    assert parts[0].start == window.start
    assert parts[-1].end == window.end
    assert all(before.end + 1 == after.start for before, after in pairwise(parts))
    inside = [n for n, t in enumerate(account.times) if window.start <= t <= window.end]
    assert [n for part in parts for n in sorted(part.items)] == inside


def evenly(count, start=0, end=DAY):
    return [start + n * (end - start) // count for n in range(count)]


def in_shop_hours(count, rng):
    """Spread sessions over two days: none at night, most in the evening."""
    weights = [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 4, 5, 6, 5, 4, 4, 5, 7, 9, 12, 12, 8, 3, 1] * 2
    hours = rng.choices(range(48), weights, k=count)
    return [hour * 3600 + rng.randrange(3600) for hour in hours]


SHAPES = {
    "even": lambda n: evenly(n, end=2 * DAY),
    "shop hours": lambda n: in_shop_hours(n, random.Random(n)),
    "one dense hour": lambda n: evenly(n - 500, 30 * 3600, 31 * 3600) + evenly(500, end=2 * DAY),
    "dense at the end": lambda n: evenly(n, 2 * DAY - 7200, 2 * DAY),
    "dense at the beginning": lambda n: evenly(n, 0, 7200),
    "one second": lambda n: [DAY] * n,
}


@pytest.mark.parametrize("count", [501, 5_000, 10_000, 30_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_volume_is_complete_in_few_requests_and_little_memory(shape, count):
    account = PagedAccount(SHAPES[shape](count))
    parts = list_all(account)
    assert_complete(account, parts)
    assert account.calls <= 1.3 * count / 100 + 3
    if shape != "one second":
        assert max(len(part.items) for part in parts) <= 3 * AIM + 100


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 150, 250, 500])
def test_small_shop_takes_few_requests(count):
    sparse_then_dense = evenly(max(0, count - 100), end=47 * 3600) + evenly(
        min(count, 100), 47 * 3600, 2 * DAY
    )
    for times in (evenly(count, end=2 * DAY) if count else [], sparse_then_dense):
        account = PagedAccount(times)
        assert_complete(account, list_all(account))
        assert account.calls <= (1 if count <= 100 else 1.3 * count / 100 + 3)


def test_resumed_listing_needs_no_request_for_the_density():
    account = PagedAccount(evenly(AIM * 5, end=2 * DAY))
    assert_complete(account, list_all(account, seconds=2 * DAY // 5))
    assert account.calls <= 8 * 5 + 1


@pytest.mark.parametrize("count", [5_000, 10_000, 30_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_listing_in_many_invocations_wastes_few_requests(shape, count):
    """Each invocation resumes where the last one stopped, with its length of ranges, as in the producer."""
    account = PagedAccount(SHAPES[shape](count))
    window, seconds, parts, invocations = WINDOW, None, [], 0
    while window.start <= window.end:
        sent = 0
        with a_lister(account.list_page, lambda: 500 - sent) as lister:  # noqa: B023 - used in this iteration
            with closing(lister.list_ranges(window, seconds)) as ranges:
                for part in ranges:
                    parts.append(part)
                    sent += len(part.items)
                    if sent >= 500 and (lister.buffered < 100 or sent >= 16 * 500):
                        break
            window, seconds = TimeRange(parts[-1].end + 1, window.end), lister.seconds
        invocations += 1
    assert_complete(account, parts)
    assert account.calls <= 1.3 * count / 100 + 3
    assert invocations <= count / 500 + 2


def test_resumed_listing_merges_two_ranges_listed_concurrently():
    account = PagedAccount(evenly(5_000))
    both_are_requested = Barrier(2)

    def list_page(start, end, after):
        if after is None:
            both_are_requested.wait(timeout=60)
        return account.list_page(start, end, after)

    with (
        a_lister(list_page, lambda: 500) as lister,
        closing(lister.list_ranges(TimeRange(0, DAY), DAY * 375 // 5_000)) as ranges,
    ):
        first = next(ranges)
    assert sorted(first.items) == list(range(750))
    assert account.calls == 8


def test_new_listing_yields_each_range_alone():
    """The first range is sent without waiting for the second, which is listed at the same time."""
    account = PagedAccount(evenly(5_000, end=2 * DAY))
    parts = list_all(account, demand=lambda: 500)
    assert_complete(account, parts)
    assert all(len(part.items) < 400 for part in parts[:5])


def test_failed_range_does_not_hold_back_the_ranges_before_it():
    account = PagedAccount(evenly(400))

    def list_page(start, end, after):
        if start > 0:
            raise OutOfTime("no time")
        return account.list_page(start, end, after)

    with a_lister(list_page, lambda: 500) as lister:
        ranges = lister.list_ranges(TimeRange(0, DAY), DAY // 4)
        assert next(ranges).end == DAY // 4 - 1
        with pytest.raises(OutOfTime):
            next(ranges)


def test_no_more_is_requested_than_is_demanded():
    account = PagedAccount(evenly(20_000))
    demand = [AIM]
    with (
        a_lister(account.list_page, lambda: demand[0]) as lister,
        closing(lister.list_ranges(TimeRange(0, DAY), DAY // 25)) as ranges,
    ):
        demand[0] -= len(next(ranges).items)
    # Eight pages each. A second range may be in flight before it is known what the first one holds.
    assert account.calls <= 2 * 8


def test_early_exit_awaits_and_cancels_requests():
    account, length = PagedAccount(evenly(30_000)), DAY // 40
    first_is_taken, began, ended = Event(), [], []

    def list_page(start, end, after):
        if start < length:
            return account.list_page(start, end, after)
        began.append(start)
        first_is_taken.wait(timeout=60)
        ended.append(start)
        return Page([], has_more=False)

    with a_lister(list_page) as lister:
        with closing(lister.list_ranges(TimeRange(0, DAY), length)) as ranges:
            next(ranges)
            Timer(0.05, first_is_taken.set).start()
        assert sorted(ended) == sorted(began)
        assert began
        lister._pool.submit(lambda: None).result()
        assert sorted(ended) == sorted(began)


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 400), max_size=60),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 450)), max_size=4),
    st.integers(0, 200),
    st.integers(200, 400),
)
def test_equal_seconds_at_any_edge_are_listed_once(scattered, bursts, start, end):
    account = PagedAccount(scattered + [second for second, size in bursts for _ in range(size)])
    window = TimeRange(start, end)
    for seconds in (None, 1):
        assert_complete(account, list_all(account, window, seconds), window)
