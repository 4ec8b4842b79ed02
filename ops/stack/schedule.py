"""When the nightly schedule fires next."""

from datetime import UTC, datetime, timedelta
from typing import Protocol, cast
from zoneinfo import ZoneInfo

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # the library has none

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_CRON, _RATE = "cron(", "rate("


class _Occurrences(Protocol):
    def next(self) -> datetime | None: ...


def next_due(expression: str, timezone: str, after: datetime) -> datetime | None:
    """The first time after `after` (aware) at which EventBridge Scheduler would fire, in UTC; None for an
    expression that says no time of day (`at(…)`) or cannot be read. For a `rate(…)`, which counts from the
    schedule's creation, the latest moment that it can be.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    body = expression.partition("(")[2].removesuffix(")").strip()
    try:
        if expression.startswith(_CRON):
            return _next_of_cron(body, ZoneInfo(timezone or "UTC"), after)
        if expression.startswith(_RATE):
            count, unit = body.split()
            return after + timedelta(seconds=int(count) * _UNITS[unit.removesuffix("s")])
    # The library raises plain exceptions of its own for what it cannot read.
    except Exception:  # noqa: BLE001 - a word beside the answer is not worth a crash of it
        return None
    return None


def _next_of_cron(fields: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The library thinks in UTC; a schedule in the wall clock of its zone."""
    wall = after.astimezone(zone).replace(tzinfo=UTC)
    occurrences = cast("_Occurrences", AwsCroniter(" ".join(fields.split())).occurrence(wall))
    found = occurrences.next()
    return found.replace(tzinfo=zone).astimezone(UTC) if found else None
