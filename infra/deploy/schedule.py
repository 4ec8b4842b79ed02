"""The rules of a schedule that the template's patterns cannot express: cron fields and time zones."""

from zoneinfo import available_timezones

from aws_croniter import AwsCroniter  # type: ignore[import-untyped]  # the library has none
from aws_croniter.exceptions import AwsCroniterExpressionError  # type: ignore[import-untyped]

_CRON = "cron("
# Names of the tz database that stand for no zone.
_NO_ZONES = {"Factory", "localtime"}


def find_schedule_problem(name: str, value: str) -> str | None:
    """Return what is wrong with the value of a schedule's parameter, or None."""
    match name:
        case "ScheduleExpression" if value.startswith(_CRON):
            return _find_cron_problem(value.removeprefix(_CRON).removesuffix(")"))
        case "ScheduleTimezone":
            return _find_zone_problem(value)
    return None


def _find_cron_problem(fields: str) -> str | None:
    try:
        AwsCroniter(fields)
    except AwsCroniterExpressionError as error:
        return f"ScheduleExpression is not valid: {error}"
    except ValueError:
        return None  # a field that AWS knows and the library does not, such as LW
    return None


def _find_zone_problem(zone: str) -> str | None:
    zones = available_timezones() - _NO_ZONES
    if not zones or zone in zones:  # a machine without a tz database cannot tell
        return None
    similar = [known for known in sorted(zones) if known.lower() == zone.lower()]
    hint = f"; did you mean {similar[0]}?" if similar else ", such as Europe/Berlin"
    return f"ScheduleTimezone must be a name of the IANA time zone database{hint}"
