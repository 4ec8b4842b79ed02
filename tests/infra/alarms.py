"""A model of CloudWatch's alarms, as far as the template uses them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
If data is missing, CloudWatch also reads a few periods before the evaluated ones. If it finds enough real
values there, it evaluates the newest of them and ignores TreatMissingData. An alarm on missing data may
therefore come later, and one on events may last longer.
"""

import operator
import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from tests.infra.resolved import STACK

OK, ALARM, UNKNOWN = "OK", "ALARM", "INSUFFICIENT_DATA"
STATISTICS = {"Sum": sum, "Maximum": max, "Minimum": min}
FURTHER_PERIODS = 3  # CloudWatch documents "more"; users have observed three to four
COMPARISONS = {"GreaterThanThreshold": operator.gt, "LessThanThreshold": operator.lt}


class Datapoints:
    """The reported values by metric and time."""

    def __init__(self):
        self._times = defaultdict(list)
        self._values = defaultdict(list)

    def add(self, metric, value, at):
        assert not self._times[metric] or at >= self._times[metric][-1]
        self._times[metric].append(at)
        self._values[metric].append(value)

    def between(self, metric, after, until):
        times = self._times[metric]
        return self._values[metric][bisect_right(times, after) : bisect_right(times, until)]


def make_metric(namespace, name, dimensions):
    return (namespace, name, frozenset(dimensions.items()))


def parse_metric(body):
    dimensions = {one["Name"]: one["Value"] for one in body["Dimensions"]}
    return make_metric(body["Namespace"], body["MetricName"], dimensions)


@dataclass(frozen=True)
class MetricTerm:
    """One metric with its statistic and period."""

    metric: tuple
    statistic: str
    period: int

    def value(self, points, until):
        values = points.between(self.metric, until - self.period, until)
        return STATISTICS[self.statistic](values) if values else None


class Alarm:
    """One alarm of the template, made from its resolved properties."""

    def __init__(self, body):
        self.name = body["AlarmName"].removeprefix(f"{STACK}-")
        self.terms, self.fill = parse_terms(body)
        self.periods = int(body["EvaluationPeriods"])
        self.enough = int(body.get("DatapointsToAlarm", self.periods))
        self.compare = COMPARISONS[body["ComparisonOperator"]]
        self.threshold = float(body["Threshold"])
        self.missing = body["TreatMissingData"]
        self.state = UNKNOWN

    @property
    def period(self):
        (period,) = {term.period for term in self.terms}
        return period

    def evaluate(self, points, now):
        values = self._select(
            [self._value(points, now - n * self.period) for n in range(self.periods + FURTHER_PERIODS)]
        )
        if self.missing != "ignore" or any(value is not None for value in values):
            breaching = sum(map(self._breaches, values))
            self.state = ALARM if breaching >= self.enough else OK
        return self.state

    def _select(self, values):
        """Return the values of the newest periods with real ones if there are enough, else of the newest."""
        real = [value for value in values if value is not None]
        return real[: self.periods] if len(real) >= self.periods else values[: self.periods]

    def _breaches(self, value):
        return self.missing == "breaching" if value is None else self.compare(value, self.threshold)

    def _value(self, points, until):
        values = [term.value(points, until) for term in self.terms]
        if self.fill is not None:
            values = [self.fill if value is None else value for value in values]
        return None if None in values else sum(values)


def parse_terms(body):
    """Return the metrics that are summed, and the value that replaces a missing one, or None.

    Supports one metric, the sum `a + b + c` and `FILL(a, 0)`.
    """
    if "Metrics" not in body:
        return [MetricTerm(parse_metric(body), body["Statistic"], body["Period"])], None
    stats = {one["Id"]: one["MetricStat"] for one in body["Metrics"] if "MetricStat" in one}
    (expression,) = [one["Expression"] for one in body["Metrics"] if "Expression" in one]
    filled = re.fullmatch(r"FILL\((\w+), (\d+)\)", expression)
    used = [stats[name] for name in ([filled[1]] if filled else expression.split(" + "))]
    terms = [MetricTerm(parse_metric(stat["Metric"]), stat["Stat"], stat["Period"]) for stat in used]
    return terms, float(filled[2]) if filled else None
