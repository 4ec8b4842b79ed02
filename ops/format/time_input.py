"""Times as people type them: every form that the commands print, plain dates, and how long ago."""

import re
from datetime import UTC, datetime

from recon.timestamps import DAY, HOUR, MINUTE

EXPECTED = (
    "a UTC time such as 2024-11-27T02:00:00Z or 2024-11-27 02:00, a date such as 2024-11-27, "
    "or how long ago, such as 48h or 7d"
)
# Stripe has no sessions outside 2001-09-09 to 2100.
_EARLIEST, _LATEST = 1_000_000_000, 4_102_444_800
_LONGEST = 60
_UNITS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "min": MINUTE, "m": MINUTE, "s": 1}
_PART = re.compile(r"(\d{1,9}) ?(w|d|h|min|m|s)(?![a-z])")
_AGO = re.compile(rf"{_PART.pattern}(?: ?{_PART.pattern})*(?: ago)?")
_EPOCH = re.compile(r"\d{10}")
_RUN_ID = re.compile(r"(\d{8}T\d{6}Z)(?:-[0-9A-Za-z]+)?")


def parse_time_input(text: str, now: int) -> int:
    """Return epoch seconds. A time without a zone is in UTC, a date is its midnight.

    `now` is in epoch seconds. Raise ValueError for any other text and for a time without sessions.
    """
    typed = " ".join(text.split())
    if len(typed) > _LONGEST:
        raise ValueError("too long")
    moment = now - _parse_duration(typed) if _AGO.fullmatch(typed) else _parse_moment(typed)
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError("out of range")
    return moment


def _parse_duration(typed: str) -> int:
    return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(typed))


def _parse_moment(typed: str) -> int:
    if _EPOCH.fullmatch(typed):
        return int(typed)
    run = _RUN_ID.fullmatch(typed)
    moment = datetime.fromisoformat(run[1] if run else typed.removesuffix(" UTC"))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
