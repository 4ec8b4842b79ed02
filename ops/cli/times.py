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
