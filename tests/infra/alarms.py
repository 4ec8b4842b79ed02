"""CloudWatch's alarms as far as the template uses them: periods, statistics, thresholds, missing data.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
Left out: where data are missing CloudWatch also looks at a few periods before those it counts, so that an
alarm on missing data may come that much later.
"""

import operator
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from tests.infra.resolved import STACK

OK, ALARM, UNKNOWN = "OK", "ALARM", "INSUFFICIENT_DATA"
STATISTICS = {"Sum": sum, "Maximum": max, "Minimum": min}
COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}


class Points:
    """What was reported: values by metric and time."""

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

    @property
    def metrics(self):
        return set(self._times)


def metric(namespace, name, dimensions):
    return (namespace, name, frozenset(dimensions.items()))


def metric_of(body):
    dimensions = {one["Name"]: one["Value"] for one in body["Dimensions"]}
    return metric(body["Namespace"], body["MetricName"], dimensions)


@dataclass(frozen=True)
class Term:
    metric: tuple
    statistic: str
    period: int

    def value(self, points, until):
        found = points.between(self.metric, until - self.period, until)
        return STATISTICS[self.statistic](found) if found else None


class Alarm:
    """One alarm of the template, given its properties with everything worked out."""

    def __init__(self, body):
        self.name = body["AlarmName"].removeprefix(f"{STACK}-")
        self.terms = terms_of(body)
        self.periods = int(body["EvaluationPeriods"])
        self.compare = COMPARISONS[body["ComparisonOperator"]]
        self.threshold = float(body["Threshold"])
        self.missing = body["TreatMissingData"]
        self.state = UNKNOWN

    @property
    def period(self):
        (period,) = {term.period for term in self.terms}
        return period

    def evaluate(self, points, now):
        ends = [now - n * self.period for n in range(self.periods)]
        if self.missing != "ignore" or any(self._value(points, end) is not None for end in ends):
            self.state = ALARM if all(self._breaches(points, end) for end in ends) else OK
        return self.state

    def _breaches(self, points, until):
        value = self._value(points, until)
        return self.missing == "breaching" if value is None else self.compare(value, self.threshold)

    def _value(self, points, until):
        values = [term.value(points, until) for term in self.terms]
        return None if None in values else sum(values)


def terms_of(body):
    """The metrics whose sum is watched: one, or those of an expression `a + b + c`."""
    if "Metrics" not in body:
        return [Term(metric_of(body), body["Statistic"], body["Period"])]
    stats = {one["Id"]: one["MetricStat"] for one in body["Metrics"] if "MetricStat" in one}
    (expression,) = [one["Expression"] for one in body["Metrics"] if "Expression" in one]
    used = [stats[name] for name in expression.split(" + ")]
    return [Term(metric_of(stat["Metric"]), stat["Stat"], stat["Period"]) for stat in used]
