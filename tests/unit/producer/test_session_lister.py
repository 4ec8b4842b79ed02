"""The listing of a window: every session once, whatever interrupts it, in few requests and flat memory."""

import bisect
import math
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from threading import Barrier, Event, Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer import session_lister
from producer.session_lister import MOST_PARTS, WIDTH, SessionLister, list_oldest
from recon.domain.run import Listing, Part
from recon.errors import OutOfTime
from recon.stripe.pages import Page
from recon.timestamps import DAY

WINDOW = Part(0, 2 * DAY)
# The last page of each part may be partly full.
MOST_EXTRA = MOST_PARTS
EVER = float("inf")


class PagedAccount:
    """Sessions created at the given seconds, listed like Stripe: newest first, a page at a time.

    New sessions become complete between two requests, so a position is an id and not an index. `page` is
    the size of a page, and `most` the most sessions that one answer has had.
    """

    def __init__(self, times, page=100):
        self.sessions = sorted((time, number) for number, time in enumerate(times))
        self.page = page
        self.calls = 0

    def add(self, time):
        bisect.insort(self.sessions, (time, len(self.sessions)))

    def inside(self, window=WINDOW):
        return [number for time, number in self.sessions if window.start <= time <= window.end]

    def list_page(self, start, end, after):
        assert start <= end
        self.calls += 1
        low = bisect.bisect_left(self.sessions, (start, -1))
        high = bisect.bisect_right(self.sessions, (end, math.inf))
        if after:
            time, _, number = after.partition("/")
            high = min(high, bisect.bisect_left(self.sessions, (int(time), int(number))))
        first = max(low, high - self.page)
        rows = [{"id": f"{time}/{number}", "created": time} for time, number in self.sessions[first:high]]
        return Page(rows[::-1], has_more=first > low)


@contextmanager
def a_lister(list_page, listing=None, demand=lambda: EVER):
    with ThreadPoolExecutor(WIDTH) as pool:
        yield SessionLister(list_page, pool, listing or Listing((WINDOW,)), demand)


def numbers(pages):
    return [int(session["id"].partition("/")[2]) for page in pages for session in page.sessions]


def list_all(account, window=WINDOW, width=WIDTH):
    with a_lister(account.list_page, Listing((window,))) as lister:
        batches = list(lister.list_pages(width))
        assert lister.listing.parts == ()
    return batches


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
    "few seconds": lambda n: [DAY + number % 3 for number in range(n)],
}


@pytest.mark.parametrize("count", [501, 5_000, 30_000])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [1, WIDTH])
def test_any_volume_is_complete_in_few_requests_and_little_memory(shape, count, width):
    account = PagedAccount(SHAPES[shape](count))
    batches = list_all(account, width=width)
    assert Counter(numbers(page for pages in batches for page in pages)) == Counter(account.inside())
    assert account.calls <= count / 100 + (1 if width == 1 else MOST_EXTRA)
    assert max(map(len, batches)) <= 2 * WIDTH


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 150, 250, 500])
def test_small_shop_takes_few_requests(count):
    account = PagedAccount(evenly(count, end=2 * DAY) if count else [])
    assert sorted(numbers(page for pages in list_all(account) for page in pages)) == account.inside()
    assert account.calls <= (1 if count <= 100 else count / 100 + WIDTH)


def remaining(end, listed):
    return end - len(listed)


@pytest.mark.parametrize("count", [5_000, 30_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_listing_in_many_invocations_wastes_no_request(shape, count):
    account = PagedAccount(SHAPES[shape](count))
    listing, listed, invocations = Listing((WINDOW,)), [], 0
    while listing.parts:
        before = len(listed)
        demand = partial(remaining, before + 500, listed)
        with a_lister(account.list_page, listing, demand) as lister:
            for pages in lister.list_pages():
                listed += numbers(pages)
            listing = lister.listing
        assert len(listed) - before < 500 + 100
        invocations += 1
    assert Counter(listed) == Counter(account.inside())
    assert account.calls <= count / 100 + MOST_EXTRA
    assert invocations <= count / 500 + MOST_EXTRA / 5 + 1


def test_parts_are_listed_side_by_side():
    account = PagedAccount(evenly(2_000, end=2 * DAY))
    seen = Event()
    all_are_requested = Barrier(WIDTH, action=seen.set)

    def list_page(start, end, after):
        if account.calls and not seen.is_set():
            all_are_requested.wait(timeout=60)
        return account.list_page(start, end, after)

    with a_lister(list_page) as lister, closing(lister.list_pages()) as batches:
        assert len(next(batches)) == 1  # the first page is not held back
        assert len(next(batches)) >= WIDTH


def test_first_page_that_was_listed_before_is_not_requested_again():
    account = PagedAccount(evenly(150, end=2 * DAY))
    with a_lister(account.list_page) as lister:
        lister.list_first()
        found = numbers(page for pages in lister.list_pages() for page in pages)
    assert (sorted(found), account.calls) == (account.inside(), 2)


@pytest.mark.parametrize("width", [1, 3, WIDTH])
def test_no_more_than_the_width_is_requested_at_a_time(width):
    account = PagedAccount(evenly(3_000, end=2 * DAY))
    with a_lister(account.list_page) as lister, closing(lister.list_pages(width)) as batches:
        assert {len(lister._requests) for _ in islice(batches, 5)} <= set(range(width + 1))


def test_failed_request_loses_no_page_that_was_yielded():
    account = PagedAccount(evenly(1_000, end=2 * DAY))
    failing = []

    def list_page(start, end, after):
        if failing:
            raise OutOfTime("no time")
        return account.list_page(start, end, after)

    with a_lister(list_page) as lister, closing(lister.list_pages()) as batches:
        listed = numbers(next(batches))
        listing = lister.listing
        failing.append(True)
        with pytest.raises(OutOfTime):
            next(batches)
    with a_lister(account.list_page, listing) as lister:
        listed += [number for pages in lister.list_pages() for number in numbers(pages)]
    assert Counter(listed) == Counter(account.inside())


def test_no_more_is_requested_than_is_demanded():
    account = PagedAccount(evenly(20_000))
    sent = []
    with a_lister(account.list_page, demand=lambda: 801 - len(sent)) as lister:
        for pages in lister.list_pages():
            sent += numbers(pages)
    assert len(sent) == 900
    assert account.calls == 9


def test_early_exit_awaits_and_cancels_requests():
    account = PagedAccount(evenly(30_000))
    may_end, began, ended = Event(), [], []

    def list_page(start, end, after):
        if not account.calls:
            return account.list_page(start, end, after)
        began.append(start)
        may_end.wait(timeout=60)
        ended.append(start)
        return Page([], has_more=False)

    with a_lister(list_page) as lister:
        with closing(lister.list_pages()) as batches:
            next(batches)
            Timer(0.05, may_end.set).start()
        assert sorted(ended) == sorted(began)
        assert began
        lister._pool.submit(lambda: None).result()
        assert sorted(ended) == sorted(began)


@pytest.mark.parametrize("created", [None, True, "then", -1, 2 * DAY + 1])
@pytest.mark.parametrize("places", [slice(None), slice(1), slice(99, 100)], ids=["all", "newest", "oldest"])
def test_invalid_times_of_sessions_lose_none(created, places):
    account = PagedAccount(evenly(1_000, end=2 * DAY))

    def list_page(start, end, after):
        page = account.list_page(start, end, after)
        page.sessions[places] = [session | {"created": created} for session in page.sessions[places]]
        return page

    with a_lister(list_page) as lister:
        listed = numbers(page for pages in lister.list_pages() for page in pages)
    assert Counter(listed) == Counter(account.inside())
    assert account.calls == 10


TIMES = st.integers(0, 400)
BURSTS = st.lists(st.tuples(TIMES, st.integers(1, 45)), max_size=4)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(TIMES, max_size=60), BURSTS, st.integers(0, 200), st.integers(200, 400))
def test_every_session_is_listed_once_whatever_interrupts(data, scattered, bursts, start, end):
    """Pages of any size, many sessions in one second, new ones while listing, hand-overs and crashes."""
    account = PagedAccount(
        scattered + [second for second, size in bursts for _ in range(size)],
        page=data.draw(st.integers(1, 12), "page"),
    )
    window = Part(start, end)
    expected, appeared = account.inside(window), set()
    listing, listed = Listing((window,)), []
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(session_lister, "PAGE", account.page)
        while listing.parts:
            batches_left = data.draw(st.integers(1, 5), "batches")
            lister = SessionLister(account.list_page, pool, listing, lambda: EVER)
            with closing(lister.list_pages(data.draw(st.sampled_from([1, WIDTH]), "width"))) as batches:
                for pages in batches:
                    if data.draw(st.booleans(), "dies before it counts"):
                        break
                    listed += numbers(pages)
                    listing = lister.listing
                    if data.draw(st.booleans(), "appears"):
                        appeared.add(len(account.sessions))
                        account.add(data.draw(TIMES, "at"))
                    batches_left -= 1
                    if not batches_left:
                        break
    # Every session that was there is sent and counted once, and a new one at most once.
    assert Counter(number for number in listed if number not in appeared) == Counter(expected)
    assert max(Counter(listed).values(), default=1) == 1


# Hard limits


def take_oldest(account, limit, window=WINDOW):
    with ThreadPoolExecutor(WIDTH) as pool:
        parts = list(list_oldest(account.list_page, pool, window, limit, lambda page: numbers([page])))
    assert all(len(items) <= limit + 1 for _, items in parts)
    return [number for _, items in parts for number in items]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("limit", [0, 1, 100, 2_499, 5_000, 6_000])
def test_oldest_are_taken_and_one_more(shape, limit):
    account = PagedAccount(SHAPES[shape](5_000))
    assert take_oldest(account, limit) == account.inside()[: limit + 1]
    assert account.calls <= 5_000 / 100 + MOST_PARTS + 1


@given(st.lists(TIMES, max_size=200), BURSTS, st.integers(0, 250), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_oldest_of_any_window_are_taken_in_order(scattered, bursts, limit, page):
    times = scattered + [second for second, size in bursts for _ in range(size)]
    account, window = PagedAccount(times, page=page), Part(100, 300)
    taken = take_oldest(account, limit, window)
    assert taken[: limit + 1] == account.inside(window)[: limit + 1]
