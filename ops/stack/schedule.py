"""The next occurrence of an EventBridge Scheduler expression."""

from datetime import UTC, datetime, timedelta
from typing import Protocol, cast
from zoneinfo import ZoneInfo

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # the library has none

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_CRON, _RATE = "cron(", "rate("


class _Occurrences(Protocol):
    def next(self) -> datetime | None: ...


def next_due(expression: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first time in UTC after the aware time `after` at which the expression fires.

    A `rate(…)` counts from the schedule's creation, so its latest possible time is returned. Return None for
    `at(…)` and for an expression that cannot be parsed.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    body = expression.partition("(")[2].removesuffix(")").strip()
    try:
        if expression.startswith(_CRON):
            return _next_cron_occurrence(body, ZoneInfo(timezone or "UTC"), after)
        if expression.startswith(_RATE):
            count, unit = body.split()
            return after + timedelta(seconds=int(count) * _UNITS[unit.removesuffix("s")])
    # The library raises bare exceptions of many types for fields that it cannot parse.
    except Exception:  # noqa: BLE001 - the next time is supplementary and must not fail the command
        return None
    return None


def _next_cron_occurrence(fields: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Evaluate the fields in the wall-clock time of `zone`; the library only supports UTC."""
    wall = after.astimezone(zone).replace(tzinfo=UTC)
    occurrences = cast("_Occurrences", AwsCroniter(" ".join(fields.split())).occurrence(wall))
    occurrence = occurrences.next()
    return occurrence.replace(tzinfo=zone).astimezone(UTC) if occurrence else None
