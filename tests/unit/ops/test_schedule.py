"""The next occurrence of a schedule expression."""

from datetime import UTC, datetime

import pytest

from ops.stack.schedule import next_due

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
BEFORE_SUMMER_TIME = datetime(2026, 3, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "timezone", "now", "due"),
    [
        ("cron(0 2 * * ? *)", "UTC", NOW, "2026-11-24T02:00"),
        ("cron(0 18 * * ? *)", "UTC", NOW, "2026-11-23T18:00"),
        ("cron(30 17 * * ? *)", "UTC", NOW, "2026-11-24T17:30"),
        ("cron(0 2 * * ? *)", "Europe/Berlin", NOW, "2026-11-24T01:00"),
        ("cron(30 3 ? * MON-FRI *)", "America/New_York", NOW, "2026-11-24T08:30"),
        ("cron(0 2 ? * SUN *)", "UTC", NOW, "2026-11-29T02:00"),
        ("cron(0 6 * * ? *)", "Europe/Berlin", BEFORE_SUMMER_TIME, "2026-03-29T04:00"),
        ("rate(1 day)", "UTC", NOW, "2026-11-24T17:30"),
        ("rate(6 hours)", "UTC", NOW, "2026-11-23T23:30"),
        ("at(2026-12-01T00:00:00)", "UTC", NOW, None),
        ("cron(nonsense)", "UTC", NOW, None),
        ("cron(0 2 * * ? *)", "Mars/Base", NOW, None),
        ("", "", NOW, None),
    ],
)
def test_next_due_is_in_utc_or_unknown(expression, timezone, now, due):
    expected = due and datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert next_due(expression, timezone, now) == expected
