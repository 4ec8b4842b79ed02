"""Conversion of timestamps: UTC, whole seconds, `2024-11-27T02:00:00Z`."""

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86_400


def to_iso(epoch: float) -> str:
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_run_id(epoch: float) -> str:
    """Format a time as in run ids: `20241127T020000Z`."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y%m%dT%H%M%SZ")


def parse_epoch(text: str) -> int:
    """Parse an ISO 8601 time with a zone into epoch seconds. Raise ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone: {text}")
    return int(moment.timestamp())
