"""Times as people type them: whatever a command prints can be given back to it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli.times import parse_time_option
from ops.errors import CommandError
from ops.explain.next_run import format_utc
from ops.format.json_encoding import to_json
from ops.format.text import duration, format_time
from ops.format.time_input import parse_time_input
from ops.report.text import format_date
from ops.report.text import format_time as format_report_time
from recon.timestamps import DAY, HOUR, MINUTE, to_iso, to_run_id
from testkit.builders import NOW

MOMENTS = st.integers(1_000_100_000, 4_102_444_799)
# Each printer, and the seconds that it leaves out.
PRINTERS = {
    "JSON": (to_json, 1),
    "format_time": (format_time, MINUTE),
    "format_time in a sentence": (lambda at: f"{format_time(at)} UTC", MINUTE),
    "format_utc": (format_utc, MINUTE),
    "a log line": (lambda at: at.strftime("%Y-%m-%d %H:%M:%S"), 1),
    "to_iso": (lambda at: to_iso(at.timestamp()), 1),
    "a run id": (lambda at: to_run_id(at.timestamp()), 1),
    "a manual run id": (lambda at: f"{to_run_id(at.timestamp())}-4f3c9a", 1),
    "the report's date": (lambda at: format_date(int(at.timestamp())), DAY),
    "the report's time": (lambda at: format_report_time(int(at.timestamp())), MINUTE),
    "the epoch in an order's key": (lambda at: str(int(at.timestamp())), 1),
}


@pytest.mark.parametrize("printer", PRINTERS)
@given(epoch=MOMENTS)
def test_printed_time_is_read_back(printer, epoch):
    show, unit = PRINTERS[printer]
    assert parse_time_input(show(datetime.fromtimestamp(epoch, UTC)), NOW) == epoch - epoch % unit


@pytest.mark.parametrize("suffix", ["", " ago"])
@given(seconds=st.integers(0, 400 * DAY))
def test_printed_age_is_read_back(suffix, seconds):
    unit = next(unit for size, unit in ((DAY, HOUR), (HOUR, MINUTE), (0, 1)) if seconds >= size)
    assert parse_time_input(duration(seconds) + suffix, NOW) == NOW - (seconds - seconds % unit)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-11-27", "2024-11-27T00:00:00Z"),
        (" 2024-11-27  02:00 ", "2024-11-27T02:00:00Z"),
        ("2024-11-27T02:00", "2024-11-27T02:00:00Z"),
        ("2024-11-27T02:00:00+01:00", "2024-11-27T01:00:00Z"),
        ("2024-11-27T02:00:00.999Z", "2024-11-27T02:00:00Z"),
    ],
)
def test_iso_time_without_zone_is_in_utc(text, moment):
    assert to_iso(parse_time_input(text, NOW)) == moment


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("48h", timedelta(hours=48)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("90m", timedelta(minutes=90)),
        ("90min", timedelta(minutes=90)),
        ("30s", timedelta(seconds=30)),
        ("1d12h", timedelta(hours=36)),
        ("13 d 23 h ago", timedelta(days=13, hours=23)),
    ],
)
def test_duration_is_how_long_ago(text, before):
    assert parse_time_input(text, NOW) == NOW - before.total_seconds()


OTHER_TEXTS = ["", "yesterday", "48", "48x", "h", "-1h", "12:00", "2024-13-01", "2024-11-31", "1970-01-01"]
OTHER_TEXTS += ["2100-01-02", "99999d", "9" * 400 + "h", "2024-11-27T02:00:00z ago", "ago", "4h later"]
OTHER_TEXTS += ["0001-01-01T00:00:00+23:59"]


@pytest.mark.parametrize("text", OTHER_TEXTS, ids=lambda text: text[:20])
def test_other_text_is_refused_by_the_name_of_the_option(text):
    with pytest.raises(
        CommandError, match=r"^--since must be a UTC time such as .*, a date such as .* 48h or 7d"
    ):
        parse_time_option("--since", text, NOW)


def test_zone_of_this_machine_has_no_influence(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    assert parse_time_input("2024-11-27 02:00", NOW) == NOW
    east = datetime.fromtimestamp(NOW, timezone(timedelta(hours=9)))
    assert parse_time_input(east.isoformat(), 0) == NOW
