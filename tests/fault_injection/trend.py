"""Is a series of measurements flat? Judged by the median of all slopes, which a few peaks do not move."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

# Every pair of points has a slope; more points than this add nothing.
_POINTS = 200


@dataclass(frozen=True)
class Trend:
    """How a number changed over time. `growth` is the slope times the time watched, `hourly` the slope."""

    typical: float
    highest: float
    growth: float
    hourly: float

    def is_flat(self, *, allowed: float, share: float = 0.0) -> bool:
        """Return whether it grew by at most `allowed`, or by at most this share of its typical value."""
        return self.growth <= max(allowed, share * self.typical)


def fit_trend(points: Sequence[tuple[float, float]]) -> Trend:
    """Return the trend of at least two (seconds, number) by Theil and Sen's slope, robust to 29 % of
    outliers.

    https://doi.org/10.1080/01621459.1968.10480934
    """
    few = points[:: max(1, len(points) // _POINTS)]
    slope = median((b - a) / (later - sooner) for (sooner, a), (later, b) in combinations(few, 2))
    numbers = [number for _, number in points]
    watched = points[-1][0] - points[0][0]
    return Trend(median(numbers), max(numbers), slope * watched, slope * 3600)
