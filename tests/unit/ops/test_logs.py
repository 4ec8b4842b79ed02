"""The log lines of one run among those of other runs, metrics and Lambda's own."""

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from ops.errors import CommandError
from ops.runs.logs import (
    Level,
    LogFilter,
    log_group,
    read_lines,
    read_retention_days,
    search_period,
)
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN

GROUPS = {"producer": "/aws/lambda/p", "consumer": "/aws/lambda/c"}
WHOLE_RUN = search_period(to_iso(NOW), to_iso(NOW + 600), NOW + 700)
OTHER_RUN = "20241126T020000Z"
METRIC = json.dumps({"_aws": {"Timestamp": NOW * 1000}, "service": "stripe-nightly-sync", "run_id": RUN})


class GroupNotFoundError(ClientError):
    def __init__(self):
        super().__init__({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")


class Logs:
    """CloudWatch Logs with two events a page and an empty first page, as AWS sends while it searches."""

    class exceptions:  # noqa: N801 - boto3's name
        ResourceNotFoundException = GroupNotFoundError

    def __init__(self, producer=(), consumer=()):
        self.groups = {GROUPS["producer"]: producer, GROUPS["consumer"]: consumer}

    def get_paginator(self, operation):
        assert operation == "filter_log_events"
        return self

    def paginate(self, *, logGroupName, filterPattern, startTime, endTime):  # noqa: N803 - AWS's names
        if self.groups[logGroupName] is None:
            raise GroupNotFoundError
        text = filterPattern.removeprefix('"').removesuffix('"')
        events = [
            {"timestamp": at, "message": message}
            for at, message in self.groups[logGroupName]
            if startTime <= at <= endTime and text in message
        ]
        yield {"events": []}
        for start in range(0, len(events), 2):
            yield {"events": events[start : start + 2]}

    def describe_log_groups(self, *, logGroupNamePrefix):  # noqa: N803 - AWS's names
        days = {f"{logGroupNamePrefix}-other": 1, logGroupNamePrefix: 90}
        return {"logGroups": [{"logGroupName": name, "retentionInDays": n} for name, n in days.items()]}


def event(second, text="Did it", *, milli=0, run=RUN, level="INFO", received=None, **facts):
    """Return a structured line; it arrives one second after it was written unless `received` is given."""
    moment = datetime.fromtimestamp(NOW + second, UTC)
    line = {
        "level": level,
        "location": "_report:159",
        "message": text,
        "timestamp": f"{moment:%Y-%m-%d %H:%M:%S},{milli:03}+0000",
        "service": "stripe-nightly-sync-consumer",
        "run_id": run,
        "session_id": "-",
    } | facts
    return raw(second + 1 if received is None else received, json.dumps(line))


def raw(second, text):
    return ((NOW + second) * 1000, text)


def read(period=WHOLE_RUN, **groups):
    return read_lines(Logs(**groups), GROUPS, RUN, period)


def messages(lines):
    return [line.message for line in lines]


def test_lines_of_both_functions_are_in_the_order_of_writing():
    lines = read(
        producer=[event(1, "Listed"), event(9, "Listed more")],
        # Lambda delivered the consumer's lines at once and late.
        consumer=[
            *(event(5, f"Line {n}", received=20) for n in range(3)),
            event(5, "Last", milli=7, received=20),
        ],
    )
    assert messages(lines) == ["Listed", "Line 0", "Line 1", "Line 2", "Last", "Listed more"]
    assert {line.function for line in lines[1:-1]} == {"consumer"}


def test_other_runs_metrics_and_broken_lines_are_left_out():
    lines = read(
        producer=[event(1, f"After {RUN}", run=OTHER_RUN), raw(2, METRIC), event(3, "Mine")],
        consumer=[raw(4, f"START {RUN}"), raw(5, f'{{"run_id": "{RUN}", "level": "IN')],
    )
    assert messages(lines) == ["Mine"]


def test_line_has_its_session_facts_and_time():
    facts = {"error_type": "KeyRejected", "receive_count": 2}
    failed = event(3, "Session failed", level="ERROR", session_id="cs_1", **facts)
    [line, other] = read(consumer=[failed, event(4, timestamp="yesterday")])
    assert (line.level, line.session_id, line.of_this_run, line.facts) == ("ERROR", "cs_1", True, facts)
    assert line.at == datetime.fromtimestamp(NOW + 3, UTC)
    assert (other.session_id, other.at) == (None, datetime.fromtimestamp(NOW + 5, UTC))


def test_platform_lines_during_the_run_are_marked():
    timed_out = "2024-11-27T02:00:30Z 8f0e-11 Task timed out after 60.00 seconds"
    killed = "RequestId: 8f0e-12 Error: Runtime exited with error: signal: killed"
    lines = read(
        consumer=[
            raw(-900, "Task timed out"),
            raw(30, f"{timed_out}\n\n"),
            raw(40, f"{killed}\nRuntime.ExitError"),
            event(50, "It says Task timed out", run=OTHER_RUN),
            raw(900, "Task timed out"),
        ]
    )
    assert messages(lines) == [timed_out, killed]
    assert {(line.level, line.of_this_run) for line in lines} == {("ERROR", False)}


def test_period_includes_redrives_until_outcomes_expire():
    late = [event(9 * DAY, "Created order snapshot")]
    assert read(consumer=late) == []
    period = search_period(to_iso(NOW), to_iso(NOW + 600), NOW + 10 * DAY)
    assert messages(read(period, consumer=late)) == ["Created order snapshot"]
    assert search_period(to_iso(NOW), to_iso(NOW + 60), NOW + 80 * DAY).last_redrive == NOW + 30 * DAY
    assert search_period(to_iso(NOW), None, NOW + 60).ended == NOW + 60
    # A record without a start time
    assert len(read(search_period("", None, NOW + DAY), producer=[event(5)])) == 1


@pytest.mark.parametrize(
    ("condition", "matching"),
    [
        (LogFilter(), "abcd"),
        (LogFilter(Level.WARNING), "bcd"),
        (LogFilter(Level.ERROR), "cd"),
        (LogFilter(session_id="cs_1"), "bc"),
        (LogFilter(Level.ERROR, "cs_1"), "c"),
    ],
)
def test_filter_matches_level_and_session(condition, matching):
    lines = read(
        producer=[event(1, "a"), event(2, "b", level="WARNING", session_id="cs_1")],
        consumer=[event(3, "c", level="ERROR", session_id="cs_1"), event(4, "d", level="CRITICAL")],
    )
    assert messages(line for line in lines if condition.matches(line)) == list(matching)


def test_log_groups_are_configured_described_or_missing():
    assert log_group({"FunctionName": "f", "LoggingConfig": {"LogGroup": "/shop/f"}}) == "/shop/f"
    assert log_group({"FunctionName": "f"}) == "/aws/lambda/f"
    assert read_retention_days(Logs(), "/aws/lambda/p") == 90
    with pytest.raises(CommandError, match="no log group /aws/lambda/c"):
        read(consumer=None)
