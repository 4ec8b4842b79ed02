"""Listing by slices: every session once, oldest first, in as few calls as are needed, in flat memory."""

import bisect
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from threading import Barrier, Event, Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.session_lister import AIM, SessionLister, TimeRange
from recon.errors import OutOfTime
from recon.stripe.source import Page
from recon.timestamps import DAY


class Account:
    """Sessions at given seconds, listed as Stripe does: newest first, a page at a time."""

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


def listed(account, window, *, seconds=None, wanted=lambda: 10**9):
    with ThreadPoolExecutor(4) as pool:
        slices = SessionLister(account.list_page, lambda session: int(session["id"]), pool, wanted)
        return list(slices.list_ranges(window, seconds))


def check(account, window, parts):
    """The parts are the window, in order, and hold every session of it once."""
    assert parts[0].start == window.start
    assert parts[-1].end == window.end
    assert all(before.end + 1 == after.start for before, after in pairwise(parts))
    inside = [n for n, t in enumerate(account.times) if window.start <= t <= window.end]
    assert [n for part in parts for n in sorted(part.items)] == inside


def evenly(count, start=0, end=DAY):
    return [start + n * (end - start) // count for n in range(count)]


def in_shop_hours(count, rng):
    """A day's rhythm over two days: nothing at night, most of it in the evening."""
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
def test_any_volume_is_listed_whole_in_few_calls_and_little_memory(shape, count):
    account = Account(SHAPES[shape](count))
    window = TimeRange(0, 2 * DAY)
    parts = listed(account, window)
    check(account, window, parts)
    assert account.calls <= 1.3 * count / 100 + 3
    if shape != "one second":
        assert max(len(part.items) for part in parts) <= 3 * AIM + 100


@pytest.mark.parametrize("count", [0, 1, 99, 100])
def test_a_small_shop_is_one_call(count):
    account = Account(evenly(count, end=DAY) if count else [])
    parts = listed(account, TimeRange(0, DAY))
    check(account, TimeRange(0, DAY), parts)
    assert account.calls == 1


@pytest.mark.parametrize("count", [101, 150, 250, 500])
def test_a_shop_of_a_few_pages_takes_few_calls(count):
    sparse_then_dense = evenly(count - 100, end=47 * 3600) + evenly(100, 47 * 3600, 48 * 3600)
    for times in (evenly(count, end=48 * 3600), sparse_then_dense):
        account = Account(times)
        check(account, TimeRange(0, 48 * 3600), listed(account, TimeRange(0, 48 * 3600)))
        assert account.calls <= 1.3 * count / 100 + 3


def test_going_on_with_known_slices_needs_no_look_at_the_end():
    account = Account(evenly(AIM * 5, end=DAY))
    parts = listed(account, TimeRange(0, DAY), seconds=DAY // 5)
    check(account, TimeRange(0, DAY), parts)
    assert account.calls <= 8 * 5 + 1


@pytest.mark.parametrize("count", [5_000, 10_000, 30_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_in_hops_of_five_hundred_few_calls_are_made_in_vain(shape, count):
    """As the producer does it: each invocation goes on where the last one stopped, with its slices."""
    account = Account(SHAPES[shape](count))
    window, seconds, parts, hops = TimeRange(0, 2 * DAY), None, [], 0
    while window.start <= window.end:
        sent = [0]
        with ThreadPoolExecutor(4) as pool:
            wanted = partial(lambda sent: 500 - sent[0], sent)
            slices = SessionLister(account.list_page, lambda s: int(s["id"]), pool, wanted)
            with closing(slices.list_ranges(window, seconds)) as listing:
                for part in listing:
                    parts.append(part)
                    sent[0] += len(part.items)
                    if sent[0] >= 500 and (slices.buffered < 100 or sent[0] >= 16 * 500):
                        break
            window, seconds, hops = TimeRange(parts[-1].end + 1, window.end), slices.seconds, hops + 1
    check(account, TimeRange(0, 2 * DAY), parts)
    assert account.calls <= 1.3 * count / 100 + 3
    assert hops <= count / 500 + 2


def test_whoever_goes_on_has_two_slices_listed_at_the_same_time_and_takes_them_together():
    account = Account(evenly(5_000, end=DAY))
    both_are_asked_for = Barrier(2)

    def list_page(start, end, after):
        if after is None:
            both_are_asked_for.wait(timeout=60)
        return account.list_page(start, end, after)

    with ThreadPoolExecutor(4) as pool:
        slices = SessionLister(list_page, lambda session: int(session["id"]), pool, lambda: 500)
        with closing(slices.list_ranges(TimeRange(0, DAY), DAY * 375 // 5_000)) as parts:
            first = next(parts)
    assert sorted(first.items) == list(range(750))
    assert account.calls == 8


def test_a_listing_that_begins_gives_each_slice_by_itself():
    """Two are listed at the same time there, too; the first is to be sent without waiting for the second."""
    account = Account(evenly(5_000, end=DAY))
    parts = listed(account, TimeRange(0, DAY), wanted=lambda: 500)
    check(account, TimeRange(0, DAY), parts)
    assert all(len(part.items) < 400 for part in parts[:5])


def test_a_slice_that_cannot_be_listed_keeps_back_none_that_was_listed_before_it():
    account = Account(evenly(400))

    def list_page(start, end, after):
        if start > 0:
            raise OutOfTime("no time")
        return account.list_page(start, end, after)

    with ThreadPoolExecutor(4) as pool:
        slices = SessionLister(list_page, lambda session: session["id"], pool, lambda: 500)
        parts = slices.list_ranges(TimeRange(0, DAY), DAY // 4)
        assert next(parts).end == DAY // 4 - 1
        with pytest.raises(OutOfTime):
            next(parts)


def test_no_more_is_asked_for_than_is_wanted():
    account = Account(evenly(20_000, end=DAY))
    left = [AIM]
    with ThreadPoolExecutor(4) as pool:
        slices = SessionLister(account.list_page, lambda session: session["id"], pool, lambda: left[0])
        parts = slices.list_ranges(TimeRange(0, DAY), DAY // 25)
        first = next(parts)
        left[0] -= len(first.items)
        parts.close()
    # Eight pages each; a second slice may be under way before it is known what the first one holds.
    assert account.calls <= 2 * 8


def test_whoever_stops_early_leaves_nobody_listing():
    account = Account(evenly(30_000, end=DAY))
    with ThreadPoolExecutor(4) as pool:
        slices = SessionLister(account.list_page, lambda session: session["id"], pool, lambda: 10**9)
        parts = slices.list_ranges(TimeRange(0, DAY), DAY // 40)
        for _ in range(6):
            next(parts)
        parts.close()
        calls = account.calls
        pool.submit(lambda: None).result()
        assert account.calls == calls


def test_whoever_stops_early_waits_for_the_page_that_is_being_listed():
    account = Account(evenly(30_000, end=DAY))
    length = DAY // 40
    first_is_taken, began, ended = Event(), [], []

    def list_page(start, end, after):
        if start < length:
            return account.list_page(start, end, after)
        began.append(start)
        first_is_taken.wait(timeout=60)
        ended.append(start)
        return Page([], has_more=False)

    with ThreadPoolExecutor(4) as pool:
        slices = SessionLister(list_page, lambda session: session["id"], pool, lambda: 10**9)
        parts = slices.list_ranges(TimeRange(0, DAY), length)
        next(parts)
        Timer(0.05, first_is_taken.set).start()
        parts.close()
        assert sorted(ended) == sorted(began)


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 400), max_size=60),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 450)), max_size=4),
    st.integers(0, 200),
    st.integers(200, 400),
)
def test_equal_seconds_at_any_edge_are_neither_lost_nor_doubled(scattered, bursts, start, end):
    times = scattered + [second for second, size in bursts for _ in range(size)]
    account = Account(times)
    check(account, TimeRange(start, end), listed(account, TimeRange(start, end)))
    check(account, TimeRange(start, end), listed(account, TimeRange(start, end), seconds=1))
