"""How long the next slice is, how many are asked for at a time, and how far each one is read."""

from concurrent.futures import ThreadPoolExecutor

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
)
from recon.stripe.source import Page

LAST = TimeRange(1000, 1999)  # a thousand seconds
REST = TimeRange(1, 2)


def slices(wanted=10_000, pool=None):
    return SessionLister(lambda *_: None, dict, pool, demand=lambda: wanted)


@pytest.mark.parametrize(
    ("wanted", "aim", "useful"),
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
def test_two_slices_aim_at_half_more_than_is_wanted_within_bounds(wanted, aim, useful):
    assert (slices(wanted)._aim, slices(wanted)._most) == (aim, useful * MOST_AIMS)


@pytest.mark.parametrize(
    ("found", "rest", "seconds"),
    [
        (AIM, None, 1000),
        (AIM // 2, None, 2000),
        (AIM * 2, None, 500),
        # Steps are bounded.
        (1, None, 8000),
        (0, None, 8000),
        (AIM * 100, None, 125),
        # One that held too much is followed by one of a quarter.
        (AIM, REST, 250),
    ],
)
def test_the_next_slice_is_as_long_as_the_density_says(found, rest, seconds):
    made = slices()
    made._adapt(LAST, found, rest)
    assert made.seconds == seconds


def test_a_slice_is_a_second_at_least():
    made = slices()
    made._adapt(TimeRange(1000, 1000), AIM * 2, None)
    assert made.seconds == 1


def test_several_are_asked_for_only_while_they_hold_enough():
    made, ahead = slices(), []
    for found, rest in [
        (AIM // 2, None),
        (AIM, None),
        (AIM, None),
        (AIM // 2 - 1, None),
        (AIM, None),
        (AIM, REST),
    ]:
        made._adapt(LAST, found, rest)
        ahead.append(made._ahead)
    assert ahead == [4, AHEAD, AHEAD, 1, 2, 1]


@pytest.mark.parametrize(
    ("length", "parts"),
    [
        (150, [(1, 150)]),
        (151, [(1, 76), (77, 151)]),
        (250, [(1, 125), (126, 250)]),
        (251, [(1, 100), (101, 251)]),
    ],
)
def test_whoever_resumed_lists_a_long_remainder_as_two_halves(length, parts):
    with ThreadPoolExecutor(1) as pool:
        made = slices(pool=pool)
        made.seconds, made._resumed = 100, True
        region = TimeRange(1, length)
        made._parts.append(region)
        asked = made._request_part(0, region)
    assert [(part.start, part.end) for part in [asked.range, *list(made._parts)[1:]]] == parts


@pytest.mark.parametrize(
    ("length", "seconds", "parts"),
    [
        (250, 100, [(1, 250)]),  # a remainder that is not much longer is taken along
        (251, 100, [(1, 100), (101, 251)]),
        (100, 100, [(1, 100)]),
    ],
)
def test_a_region_is_cut_where_the_next_slice_ends(length, seconds, parts):
    with ThreadPoolExecutor(1) as pool:
        made = slices(pool=pool)
        made.seconds = seconds
        region = TimeRange(1, length, "cs_1", (7,))
        made._parts.append(region)
        asked = made._request_part(0, region)
    regions = [asked.range, *list(made._parts)[1:]]
    assert [(part.start, part.end) for part in regions] == parts
    # What was read of the last second stays with it.
    assert (regions[-1].after, regions[-1].read) == ("cs_1", (7,))


@pytest.mark.parametrize(
    ("wanted", "length", "found", "seconds"),
    [
        (10_000, 1000, FIRST, 1000 * AIM // FIRST),
        (10_000, 1000, 1, 1000 * AIM),
        (10_000, 1000, 0, 1000 * AIM),
        (0, 1, FIRST, 1),
    ],
)
def test_the_first_page_of_a_window_says_how_long_the_next_slice_is(wanted, length, found, seconds):
    made = slices(wanted)
    made._add_first(ListedRange(5000, 5000 + length - 1, [None] * found), None)
    assert made.seconds == seconds


# How many at a time


@pytest.mark.parametrize(
    ("first", "wanted", "asked"),
    [
        (TimeRange(1, 10), AIM, 1),
        (TimeRange(1, 10), AIM + 1, 2),
        # What is listed already counts as what it holds.
        (ListedRange(1, 10, [None] * 10), 11, 1),
        (ListedRange(1, 10, [None] * 10), 10, 0),
    ],
)
def test_another_slice_is_asked_for_only_while_more_is_wanted_than_is_expected(first, wanted, asked):
    left = [10_000]
    with ThreadPoolExecutor(1) as pool:
        made = SessionLister(lambda *_: Page([], has_more=False), dict, pool, demand=lambda: left[0])
        made.seconds = 10
        made._parts.extend([first, TimeRange(11, 20)])
        left[0] = wanted
        made._submit_requests()
    assert sum(type(part).__name__ == "_RangeRequest" for part in made._parts) == asked


# At 500 wanted a slice aims at 375 and is cut beyond 2250; two go together up to half of that.
@pytest.mark.parametrize(
    ("found", "following", "together"),
    [(750, 1, True), (751, 1, False), (700, 425, True), (700, 426, False)],
)
def test_two_slices_go_together_while_they_hold_no_more_than_half_of_the_most(found, following, together):
    made = slices(500)
    second = ListedRange(11, 20, ["b"] * following)
    made._parts.append(second)
    listed = made._merge_following(ListedRange(1, 10, ["a"] * found))
    if together:
        assert listed == ListedRange(1, 20, second.items + ["a"] * found)
        assert not made._parts
    else:
        assert listed == ListedRange(1, 10, ["a"] * found)
        assert list(made._parts) == [second]


# How far a slice is read


class Pages:
    """Pages one after the other, and what was asked after."""

    def __init__(self, *pages):
        self.left = [
            [{"id": f"{number}/{place}", "created": created} for place, created in enumerate(page)]
            for number, page in enumerate(pages)
        ]
        self.after = []

    def __call__(self, start, end, after):
        self.after.append(after)
        return Page(self.left.pop(0), has_more=bool(self.left))


def read(pages, region, most, **how):
    made = SessionLister(pages, lambda session: session["id"], None, demand=lambda: 10_000)
    return made._list_range(region, most, **how)


DENSE_END = [*range(999, 900, -1), 900]  # a hundred sessions in a hundred seconds of a thousand


@pytest.mark.parametrize(("most", "left"), [(550, True), (551, False)])
def test_a_slice_is_left_where_half_as_dense_as_its_end_would_be_too_much(most, left):
    """A hundred are read, and at that density nine hundred would come."""
    pages = Pages(DENSE_END, [5])
    _, rest = read(pages, TimeRange(0, 999), most)
    assert (rest is not None) is left
    assert len(pages.after) == (1 if left else 2)


def test_a_page_within_a_second_is_as_dense_as_its_second():
    pages = Pages([999] * 100, [*[999] * 99, 998], [5])
    _, rest = read(pages, TimeRange(0, 999), 200 + 100 * 998 // 2)
    assert rest == TimeRange(0, 998, "1/99", ("1/99",))


def test_with_patience_only_what_is_held_counts():
    pages = Pages(DENSE_END, [5])
    _, rest = read(pages, TimeRange(0, 999), 101, patient=True)
    assert rest is None
    _, rest = read(Pages(DENSE_END, [5]), TimeRange(0, 999), 100, patient=True)
    assert rest == TimeRange(0, 900, "0/99", ("0/99",))


@pytest.mark.parametrize(("held", "calls"), [(PATIENCE - 1, 2), (PATIENCE, 1)])
def test_there_is_patience_while_little_is_held(held, calls):
    pages = Pages(DENSE_END, [5])
    with ThreadPoolExecutor(1) as pool:
        made = SessionLister(pages, dict, pool, demand=lambda: 10_000)
        made._most = 500
        made.seconds = 1000
        made._parts.extend([TimeRange(0, 999), ListedRange(1000, 1001, [None] * held)])
        made._request_part(0, made._parts[0])
    assert len(pages.after) == calls


def test_a_window_is_begun_with_one_page_also_where_an_entry_of_it_cannot_be_read():
    pages = Pages(DENSE_END[:-1], [5])
    _, rest = read(pages, TimeRange(0, 999), FIRST)
    assert rest is not None
    assert len(pages.after) == 1


@pytest.mark.parametrize(
    ("created", "later", "rest"),
    [
        ([900, 800, 700], ["0/0", "0/1"], TimeRange(0, 700, "0/2", ("0/2",))),
        # One that does not say when, or says what cannot be, is taken for as old as the one before it.
        ([900, None, 910], [], TimeRange(0, 900, "0/2", ("0/0", "0/1", "0/2"))),
        ([900, -1, "then"], [], TimeRange(0, 900, "0/2", ("0/0", "0/1", "0/2"))),
        ([900, 500, 0], ["0/0", "0/1"], TimeRange(0, 0, "0/2", ("0/2",))),
    ],
)
def test_what_was_read_of_the_second_where_a_slice_is_left_is_kept_for_its_turn(created, later, rest):
    listed, left = read(Pages(created, [0]), TimeRange(0, 999), 1)
    assert (listed.items, left) == (later, rest)
    assert (listed.start, listed.end) == (rest.end + 1, 999)
