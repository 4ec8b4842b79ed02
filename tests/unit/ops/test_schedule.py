"""When the schedule fires next."""

from datetime import UTC, datetime

import pytest

from ops.stack.schedule import next_due

NOW = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "timezone", "due"),
    [
        ("cron(0 2 * * ? *)", "UTC", "2026-11-24T02:00"),
        ("cron(0 18 * * ? *)", "UTC", "2026-11-23T18:00"),
        ("cron(30 17 * * ? *)", "UTC", "2026-11-24T17:30"),
        ("cron(0 2 * * ? *)", "Europe/Berlin", "2026-11-24T01:00"),
        ("cron(30 3 ? * MON-FRI *)", "America/New_York", "2026-11-24T08:30"),
        ("cron(0 2 ? * SUN *)", "UTC", "2026-11-29T02:00"),
        ("rate(1 day)", "UTC", "2026-11-24T17:30"),
        ("rate(6 hours)", "UTC", "2026-11-23T23:30"),
    ],
)
def test_it_is_told_in_utc(expression, timezone, due):
    assert next_due(expression, timezone, NOW) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [
        ("at(2026-12-01T00:00:00)", "UTC"),
        ("cron(nonsense)", "UTC"),
        ("cron(0 2 * * ? *)", "Mars/Base"),
        ("", ""),
    ],
)
def test_what_says_no_time_of_day_has_no_next_one(expression, timezone):
    assert next_due(expression, timezone, NOW) is None


def test_summer_time_begins_in_between():
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert next_due("cron(0 6 * * ? *)", "Europe/Berlin", before) == datetime(2026, 3, 29, 4, tzinfo=UTC)
