"""Times are in UTC whatever the machine's zone, and invalid ones are named."""

import time

import pytest

from recon.timestamps import parse_epoch, to_iso, to_run_id
from testkit.builders import NOW, RUN


@pytest.fixture(params=["UTC0", "NZST-12"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_times_are_written_in_utc():
    assert to_iso(NOW) == "2024-11-27T02:00:00Z"
    assert to_run_id(NOW) == RUN == "20241127T020000Z"
    assert (to_iso(NOW + 0.9), to_run_id(NOW + 0.9)) == (to_iso(NOW), to_run_id(NOW))


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("text", ["2024-11-27T02:00:00Z", "2024-11-27T03:00:00.9+01:00"])
def test_time_with_a_zone_is_parsed(text):
    assert parse_epoch(text) == NOW


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2024-11-27T02:00:00", "no time zone: 2024-11-27T02:00:00"),
        ("tomorrow", "Invalid isoformat string: 'tomorrow'"),
    ],
)
def test_invalid_time_is_named(text, problem):
    with pytest.raises(ValueError, match=f"^{problem}$"):
        parse_epoch(text)
