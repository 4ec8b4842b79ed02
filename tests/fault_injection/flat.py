"""Is a series of measurements flat? By the median of all slopes, which a few peaks do not move."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

# Every pair of points has a slope; more points than this tell nothing new.
_POINTS = 200


@dataclass(frozen=True)
class Course:
    """How a number went over time. `growth` is what the slope comes to over the time watched."""

    typical: float
    highest: float
    growth: float
    hourly: float

    def is_flat(self, *, allowed: float, share: float = 0.0) -> bool:
        """Grows by no more than allowed, or by no more than this share of what is typical."""
        return self.growth <= max(allowed, share * self.typical)


def course(points: Sequence[tuple[float, float]]) -> Course:
    """Of (seconds, number), two at least. The slope is Theil and Sen's: right while less than 29 % are off.
    https://doi.org/10.1080/01621459.1968.10480934"""
    few = points[:: max(1, len(points) // _POINTS)]
    slope = median((b - a) / (later - sooner) for (sooner, a), (later, b) in combinations(few, 2))
    numbers = [number for _, number in points]
    watched = points[-1][0] - points[0][0]
    return Course(median(numbers), max(numbers), slope * watched, slope * 3600)
