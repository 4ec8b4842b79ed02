"""The options that take a time."""

from ops.errors import CommandError
from ops.format.time_input import EXPECTED, parse_time_input

TIME_HELP = "a UTC time, a date (its midnight), or how long ago such as 48h or 7d"


def parse_time_option(option: str, text: str, now: int) -> int:
    """Return epoch seconds. Raise CommandError that names the option; `now` is in epoch seconds."""
    try:
        return parse_time_input(text, now)
    except (ValueError, OverflowError):
        raise CommandError(f"{option} must be {EXPECTED}") from None


def parse_past_time(option: str, text: str, now: int) -> int:
    """Return epoch seconds. Raise CommandError if the time is none, or in the future."""
    moment = parse_time_option(option, text, now)
    if moment > now:
        raise CommandError(f"{option} is in the future, where there is nothing yet")
    return moment
