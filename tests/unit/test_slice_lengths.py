"""How long the next slice is, and how many are asked for at a time: by what the last one held."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from producer.slices import AHEAD, AIM, FIRST, MOST_AIMS, Region, Slices

LAST = Region(1000, 1999)  # a thousand seconds
REST = Region(1, 2)


def slices(wanted=10_000, pool=None):
    return Slices(lambda *_: None, dict, pool, wanted=lambda: wanted)


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
    made._learn(LAST, found, rest)
    assert made.seconds == seconds


def test_a_slice_is_a_second_at_least():
    made = slices()
    made._learn(Region(1000, 1000), AIM * 2, None)
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
        made._learn(LAST, found, rest)
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
def test_whoever_goes_on_lists_a_long_remainder_as_two_halves(length, parts):
    with ThreadPoolExecutor(1) as pool:
        made = slices(pool=pool)
        made.seconds, made._goes_on = 100, True
        region = Region(1, length)
        made._parts.append(region)
        asked = made._cut(0, region)
    assert [(part.start, part.end) for part in [asked.region, *list(made._parts)[1:]]] == parts


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
        region = Region(1, length, "cs_1", (7,))
        made._parts.append(region)
        asked = made._cut(0, region)
    regions = [asked.region, *list(made._parts)[1:]]
    assert [(part.start, part.end) for part in regions] == parts
    # What was read of the last second stays with it.
    assert (regions[-1].after, regions[-1].read) == ("cs_1", (7,))
