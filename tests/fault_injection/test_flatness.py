"""The soak's judgement of a series: it sees a slow leak under noise, and no leak in a peak."""

import random

import pytest

from tests.fault_injection.flat import course

HOUR = range(0, 3600, 2)


def noisy(mb_an_hour, rng):
    return [(at, 100 + mb_an_hour * at / 3600 + rng.uniform(-3, 3)) for at in HOUR]


@pytest.mark.parametrize("leak", [0, 6, 60])
def test_the_slope_is_seen_through_noise(leak):
    assert course(noisy(leak, random.Random(1))).hourly == pytest.approx(leak, abs=1)


def test_a_slow_leak_is_not_flat():
    assert not course(noisy(6, random.Random(1))).is_flat(allowed=4)


def test_a_peak_is_flat():
    points = [(at, 500.0 if 1000 < at < 1600 else 100.0) for at in HOUR]
    assert course(points).is_flat(allowed=4)
    assert course(points).highest == 500


def test_a_share_of_what_is_typical_may_be_allowed():
    rising = course([(at, 100 + 5 * at / 3600) for at in HOUR])
    assert rising.is_flat(allowed=0, share=0.05)
    assert not rising.is_flat(allowed=0, share=0.04)


def test_what_shrinks_is_flat():
    assert course([(at, -float(at)) for at in HOUR]).is_flat(allowed=0)
