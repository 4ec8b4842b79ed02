"""Telemetry writes log lines with run and session, and metrics with their units and dimensions."""

import json
import uuid

import pytest

from recon.dynamodb.watermark import Watermark
from recon.errors import KeyNotAllowed, KeyRejected, KeyUnavailable, StripeThrottled, StripeUnavailable
from recon.telemetry import Metric, Telemetry, frames
from recon.timestamps import DAY, HOUR
from testkit.batches import parse_metrics
from testkit.builders import NOW
from testkit.runs import a_run


@pytest.fixture
def name():
    """Return an unused name. A logger has to be created in the test, whose standard output it keeps."""
    return uuid.uuid4().hex


@pytest.fixture
def telemetry(name):
    return Telemetry(name, "shop-a")


@pytest.fixture
def read(capfd):
    """Return a function that returns the new lines."""
    return lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines()]


# Log lines


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_line_has_run_session_facts_and_location(level, name, read):
    log = getattr(Telemetry(name), level)
    log("text", run_id="r", session_id="s", seconds=7)
    log("text", run_id="r")
    line, without_session = read()
    facts = {"level": level.upper(), "message": "text", "run_id": "r", "session_id": "s", "seconds": 7}
    assert facts.items() <= line.items()
    assert line["service"] == f"stripe-nightly-sync-{name}"
    assert line["location"].startswith("test_line_has_run_session_facts_and_location:")
    assert without_session["session_id"] == "-"


def test_lines_ignore_the_log_level_of_the_environment(name, read, monkeypatch):
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "ERROR")
    Telemetry(name).info("text", run_id="r")
    assert read()[0]["message"] == "text"


def test_frames_have_the_place_without_the_text():
    try:
        raise ValueError("a secret")
    except ValueError as error:
        [frame] = frames(error)
    assert frame.startswith(__file__)
    assert frame.endswith(" test_frames_have_the_place_without_the_text")


# Metrics


def test_metrics_have_units_and_two_sets_of_dimensions(name, telemetry, read):
    telemetry.count(Metric.ORDERS_CREATED, 3)
    telemetry.count(Metric.SESSION_ERRORS, 0)
    telemetry.record_open_run(a_run(), NOW + 5)
    telemetry.flush()
    [line] = read()
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "StripeNightlySync"
    assert sorted(map(sorted, directive["Dimensions"])) == [["service", "stack"], ["stack"]]
    assert (line["service"], line["stack"]) == (f"stripe-nightly-sync-{name}", "shop-a")
    assert {metric["Name"]: (metric["Unit"], line[metric["Name"]]) for metric in directive["Metrics"]} == {
        "OrdersCreated": ("Count", [3]),
        "OpenRunSeconds": ("Seconds", [5]),
    }


def test_money_is_recorded_per_currency(telemetry, read):
    for amount, currency in ((1000, "eur"), (250, "jpy"), (1, "eur"), (0, "usd"), (None, "gbp"), (5, None)):
        telemetry.add_recovered_money(amount, currency)
    telemetry.flush()
    lines = read()
    assert {line["currency"]: line["MoneyRecovered"] for line in lines} == {"eur": [1001], "jpy": [250]}
    for line in lines:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Metrics"] == [{"Name": "MoneyRecovered", "Unit": "Count"}]
        assert ["stack", "currency"] in directive["Dimensions"]
        assert all("currency" in names for names in directive["Dimensions"])


def test_flush_writes_metrics_once(telemetry, read):
    telemetry.count(Metric.ORDERS_CREATED)
    telemetry.add_recovered_money(1, "eur")
    telemetry.record_open_run(a_run(), NOW)
    telemetry.flush()
    assert read()
    telemetry.flush()
    assert read() == []


@pytest.mark.parametrize(
    ("record", "metrics"),
    [
        (lambda t: t.record_open_run(a_run(started_at=""), NOW), {"OpenRunSeconds": [0]}),
        (
            lambda t: t.record_watermark(Watermark(first_lookback_start=NOW - 2 * DAY), NOW),
            {"WatermarkAgeSeconds": [DAY]},
        ),
        (
            lambda t: t.record_watermark(
                Watermark(first_lookback_start=NOW - DAY, covered_through=NOW - HOUR), NOW
            ),
            {"WatermarkAgeSeconds": [HOUR]},
        ),
        (
            lambda t: t.record_watermark(Watermark(covered_through=NOW), NOW - DAY),
            {"WatermarkAgeSeconds": [0]},
        ),
        (lambda t: t.record_watermark(Watermark(), NOW), {}),
        (lambda t: t.count_throttle(), {"StripeThrottled": [1]}),
        *(
            (lambda t, error=error: t.count_key_failure(error), {"KeyRejected": [1]})
            for error in (KeyRejected("no"), KeyNotAllowed("no"), KeyUnavailable("no"))
        ),
        *(
            (lambda t, error=error: t.count_key_failure(error), {})
            for error in (StripeThrottled("no"), StripeUnavailable("no"), None)
        ),
    ],
)
def test_recorded_metric(telemetry, capfd, record, metrics):
    record(telemetry)
    telemetry.flush()
    assert parse_metrics(capfd.readouterr().out) == metrics
