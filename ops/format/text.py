"""Times, durations and quantities in the form that people read. All times are UTC."""

from datetime import UTC, datetime

from recon.timestamps import DAY, HOUR, MINUTE, parse_epoch, to_iso


def format_time(moment: datetime) -> str:
    """Format a time as `2026-11-23 02:00`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def format_utc(moment: datetime) -> str:
    """Format a time in a sentence, as `2026-11-23 02:00 UTC`."""
    return f"{format_time(moment)} UTC"


def format_stored_time(text: str | None) -> str | None:
    """Format a stored time as `2026-11-23 02:00`, or return None if it is absent or not a time."""
    try:
        return format_time(datetime.fromtimestamp(parse_epoch(text), UTC)) if text else None
    except (ValueError, OverflowError, OSError):
        return None


def duration(seconds: float | None) -> str:
    """Format a duration in at most two units: `8 s`, `3 min 20 s`, `2 h 5 min`; `-` if it is unknown."""
    if seconds is None:
        return "-"
    whole = round(abs(seconds))
    for size, name, inner, inner_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // inner
            return f"{whole // size} {name}" + (f" {rest} {inner_name}" if rest else "")
    return f"{whole} s"


def span(sessions: int, start: datetime, end: datetime) -> str:
    """Format a window as `200 sessions from 2026-11-22 01:00 to 2026-11-23 01:50 UTC`."""
    return f"{quantity(sessions, 'session')} from {format_time(start)} to {format_time(end)} UTC"


def quantity(count: int, singular: str, plural: str | None = None) -> str:
    """Format a count with its noun: `1 session`, `1,204 sessions`."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def standard_time(text: str | None) -> str | None:
    """Return a stored time as `2026-11-23T02:00:00Z`, or None if it is absent or not a time."""
    try:
        return to_iso(parse_epoch(text)) if text else None
    except (ValueError, OverflowError):
        return None
