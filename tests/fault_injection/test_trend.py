"""The soak's judgement of a series finds a slow leak under noise, and no leak in a peak."""

import random

import pytest

from tests.fault_injection.trend import fit_trend

HOUR = range(0, 3600, 2)


def add_noise(mb_an_hour):
    rng = random.Random(1)
    return [(at, 100 + mb_an_hour * at / 3600 + rng.uniform(-3, 3)) for at in HOUR]


@pytest.mark.parametrize(("leak", "is_flat"), [(0, True), (6, False), (60, False)])
def test_slope_is_found_under_noise(leak, is_flat):
    trend = fit_trend(add_noise(leak))
    assert trend.hourly == pytest.approx(leak, abs=1)
    assert trend.is_flat(allowed=4) is is_flat


def test_peak_is_flat():
    points = [(at, 500.0 if 1000 < at < 1600 else 100.0) for at in HOUR]
    assert fit_trend(points).is_flat(allowed=4)
    assert fit_trend(points).highest == 500


def test_share_of_the_typical_value_may_be_allowed():
    rising = fit_trend([(at, 100 + 5 * at / 3600) for at in HOUR])
    assert rising.is_flat(allowed=0, share=0.05)
    assert not rising.is_flat(allowed=0, share=0.04)


def test_shrinking_series_is_flat():
    assert fit_trend([(at, -float(at)) for at in HOUR]).is_flat(allowed=0)
