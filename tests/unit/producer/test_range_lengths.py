"""The length of the next range, the number of ranges in flight, and how far each is read."""

from concurrent.futures import Executor, Future

import pytest

from producer.session_lister import (
    AHEAD,
    AIM,
    FIRST,
    MOST_AIMS,
    PATIENCE,
    ListedRange,
    SessionLister,
    TimeRange,
    _RangeRequest,
)
from recon.stripe.source import Page

LAST = TimeRange(1000, 1999)  # a thousand seconds
REST = TimeRange(1, 2)
DENSE_END = [*range(999, 900, -1), 900]  # a hundred sessions in the last hundred of a thousand seconds


class NoThreads(Executor):
    """An executor that runs nothing."""

    def submit(self, _task):
        return Future()


class Pages:
    """One page of sessions after the other, and the ids after which they were requested."""

    def __init__(self, *pages):
        self.left = [
            [{"id": f"{number}/{place}", "created": created} for place, created in enumerate(page)]
            for number, page in enumerate(pages)
        ]
        self.after = []

    def __call__(self, start, end, after):
        self.after.append(after)
        return Page(self.left.pop(0), has_more=bool(self.left))


def a_lister(demand=10_000, pages=None, parts=(), seconds=0, *, resumed=False):
    lister = SessionLister(pages, lambda session: session["id"], NoThreads(), lambda: demand)
    lister._parts.extend(parts)
    lister.seconds, lister._resumed = seconds, resumed
    return lister


@pytest.mark.parametrize(
    ("demand", "aim", "useful"),
    [
        (0, FIRST, FIRST),
        (67, FIRST, FIRST),
        (68, FIRST, 102),
        (136, 102, 204),
        (400, 300, 600),
        (534, 400, AIM),
        (1066, 799, AIM),
        (10**6, AIM, AIM),
    ],
)
def test_two_ranges_aim_at_half_more_than_the_demand(demand, aim, useful):
    lister = a_lister(demand)
    assert (lister._aim, lister._most) == (aim, useful * MOST_AIMS)


@pytest.mark.parametrize(
    ("range_", "count", "rest", "seconds"),
    [
        (LAST, AIM, None, 1000),
        (LAST, AIM // 2, None, 2000),
        (LAST, AIM * 2, None, 500),
        # Steps are bounded.
        (LAST, 1, None, 8000),
        (LAST, 0, None, 8000),
        (LAST, AIM * 100, None, 125),
        (TimeRange(1000, 1000), AIM * 2, None, 1),
        # A range that held too much is followed by a quarter of its length.
        (LAST, AIM, REST, 250),
    ],
)
def test_next_range_has_the_length_of_the_density(range_, count, rest, seconds):
    lister = a_lister()
    lister._adapt(range_, count, rest)
    assert lister.seconds == seconds


@pytest.mark.parametrize(
    ("demand", "length", "count", "seconds"),
    [
        (10_000, 1000, FIRST, 1000 * AIM // FIRST),
        (10_000, 1000, 1, 1000 * AIM),
        (10_000, 1000, 0, 1000 * AIM),
        (0, 1, FIRST, 1),
    ],
)
def test_first_page_sets_the_length_of_the_next_range(demand, length, count, seconds):
    lister = a_lister(demand)
    lister._add_first(ListedRange(5000, 5000 + length - 1, [None] * count), None)
    assert lister.seconds == seconds


def test_several_ranges_are_in_flight_while_they_are_well_filled():
    lister, ahead = a_lister(), []
    for count, rest in (
        (AIM // 2, None),
        (AIM, None),
        (AIM, None),
        (AIM // 2 - 1, None),
        (AIM, None),
        (AIM, REST),
    ):
        lister._adapt(LAST, count, rest)
        ahead.append(lister._ahead)
    assert ahead == [4, AHEAD, AHEAD, 1, 2, 1]


@pytest.mark.parametrize(
    ("resumed", "length", "expected"),
    [
        (False, 100, [(1, 100)]),
        (False, 250, [(1, 250)]),
        (False, 251, [(1, 100), (101, 251)]),
        # A resumed listing lists a long remainder as two halves.
        (True, 150, [(1, 150)]),
        (True, 151, [(1, 76), (77, 151)]),
        (True, 250, [(1, 125), (126, 250)]),
        (True, 251, [(1, 100), (101, 251)]),
    ],
)
def test_part_is_cut_at_the_end_of_the_next_range(resumed, length, expected):
    part = TimeRange(1, length, "cs_1", (7,))
    lister = a_lister(parts=[part], seconds=100, resumed=resumed)
    request = lister._request_part(0, part)
    ranges = [request.range, *list(lister._parts)[1:]]
    assert [(range_.start, range_.end) for range_ in ranges] == expected
    # The items of the last second that were read stay with it.
    assert (ranges[-1].after, ranges[-1].read) == ("cs_1", (7,))


@pytest.mark.parametrize(
    ("first", "demand", "requests"),
    [
        (TimeRange(1, 10), AIM, 1),
        (TimeRange(1, 10), AIM + 1, 2),
        # A listed range counts with its sessions.
        (ListedRange(1, 10, [None] * 10), 11, 1),
        (ListedRange(1, 10, [None] * 10), 10, 0),
    ],
)
def test_another_range_is_requested_while_the_demand_is_greater(first, demand, requests):
    lister = a_lister(parts=[first, TimeRange(11, 20)], seconds=10)
    lister._demand = lambda: demand
    lister._submit_requests()
    assert sum(isinstance(part, _RangeRequest) for part in lister._parts) == requests


# At a demand of 500 a range aims at 375 sessions and is cut beyond 2250. They are merged up to half of that.
@pytest.mark.parametrize(
    ("count", "following", "merged"),
    [(750, 1, True), (751, 1, False), (700, 425, True), (700, 426, False)],
)
def test_ranges_are_merged_up_to_half_of_the_maximum(count, following, merged):
    first, second = ListedRange(1, 10, ["a"] * count), ListedRange(11, 20, ["b"] * following)
    lister = a_lister(500, parts=[second])
    whole = ListedRange(1, 20, second.items + first.items)
    assert lister._merge_following(first) == (whole if merged else first)
    assert list(lister._parts) == ([] if merged else [second])


# How far a range is read


@pytest.mark.parametrize(
    ("pages", "most", "patient", "cut"),
    [
        # A hundred are read; at half of that density, 450 more are expected.
        ([DENSE_END, [5]], 550, False, True),
        ([DENSE_END, [5]], 551, False, False),
        # With patience, only the sessions that were read count.
        ([DENSE_END, [5]], 100, True, True),
        ([DENSE_END, [5]], 101, True, False),
        # The first page of a window may be short of an unreadable entry.
        ([DENSE_END[:-1], [5]], FIRST, False, True),
    ],
)
def test_range_is_cut_if_it_is_going_to_hold_too_much(pages, most, patient, cut):
    pages = Pages(*pages)
    _, rest = a_lister(pages=pages)._list_range(TimeRange(0, 999), most, patient=patient)
    assert (rest is not None, len(pages.after)) == ((True, 1) if cut else (False, 2))


@pytest.mark.parametrize(("listed", "patient"), [(PATIENCE - 1, True), (PATIENCE, False)])
def test_ranges_are_read_to_their_end_while_few_are_buffered(listed, patient, monkeypatch):
    tasks = []
    monkeypatch.setattr(NoThreads, "submit", lambda _self, task: tasks.append(task))
    part = TimeRange(0, 999)
    a_lister(parts=[part, ListedRange(1000, 1001, [None] * listed)], seconds=1000)._request_part(0, part)
    assert [task.keywords for task in tasks] == [{"patient": patient}]


@pytest.mark.parametrize(
    ("pages", "most", "later", "rest"),
    [
        ([[900, 800, 700], [0]], 1, ["0/0", "0/1"], TimeRange(0, 700, "0/2", ("0/2",))),
        ([[900, 500, 0], [0]], 1, ["0/0", "0/1"], TimeRange(0, 0, "0/2", ("0/2",))),
        # Without a valid time, a session is as old as the one before it.
        ([[900, None, 910], [0]], 1, [], TimeRange(0, 900, "0/2", ("0/0", "0/1", "0/2"))),
        ([[900, -1, "then"], [0]], 1, [], TimeRange(0, 900, "0/2", ("0/0", "0/1", "0/2"))),
        # A page within one second is as dense as that second.
        (
            [[999] * 100, [*[999] * 99, 998], [5]],
            200 + 100 * 998 // 2,
            [*(f"0/{n}" for n in range(100)), *(f"1/{n}" for n in range(99))],
            TimeRange(0, 998, "1/99", ("1/99",)),
        ),
    ],
)
def test_items_of_the_second_of_a_cut_are_kept_with_the_rest(pages, most, later, rest):
    listed, left = a_lister(pages=Pages(*pages))._list_range(TimeRange(0, 999), most)
    assert (listed.items, left) == (later, rest)
    assert (listed.start, listed.end) == (rest.end + 1, 999)
