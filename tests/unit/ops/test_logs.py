"""The lines of one run, out of two groups in which other runs, metrics and Lambda's own words stand too."""

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from ops.errors import CommandError
from ops.runs.logs import Filter, Level, kept_days, log_group, period_of, read_lines
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN

GROUPS = {"producer": "/aws/lambda/p", "consumer": "/aws/lambda/c"}
EVERYTHING = period_of(to_iso(NOW), to_iso(NOW + 600), NOW + 700)
METRIC = json.dumps(
    {"_aws": {"Timestamp": NOW * 1000}, "service": "stripe-nightly-sync-producer", "run_id": RUN}
)


class GroupGoneError(ClientError):
    def __init__(self):
        super().__init__({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")


class Logs:
    """CloudWatch Logs: a quoted filter finds its text anywhere, two events a page."""

    class exceptions:  # noqa: N801 - boto3's name
        ResourceNotFoundException = GroupGoneError

    def __init__(self, **groups):
        self.groups = {GROUPS[name]: events for name, events in groups.items()}

    def get_paginator(self, operation):
        assert operation == "filter_log_events"
        return self

    def paginate(self, *, logGroupName, filterPattern, startTime, endTime):  # noqa: N803 - AWS's names
        if logGroupName not in self.groups:
            raise GroupGoneError
        text = filterPattern.removeprefix('"').removesuffix('"')
        found = [
            {"timestamp": at, "message": message}
            for at, message in self.groups[logGroupName]
            if startTime <= at <= endTime and text in message
        ]
        yield {"events": []}  # as AWS does while it is still searching
        for start in range(0, len(found), 2):
            yield {"events": found[start : start + 2]}

    def describe_log_groups(self, *, logGroupNamePrefix):  # noqa: N803 - AWS's names
        return {
            "logGroups": [
                {"logGroupName": f"{logGroupNamePrefix}-other", "retentionInDays": 1},
                {"logGroupName": logGroupNamePrefix, "retentionInDays": 90},
            ]
        }


def event(second, text="Did it", *, milli=0, run=RUN, level="INFO", received=None, **facts):
    """A structured line that was written then, and received a second later unless said otherwise."""
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
    return ((NOW + (second + 1 if received is None else received)) * 1000, json.dumps(line))


def platform(second, text):
    return ((NOW + second) * 1000, text)


def lines(logs, period=EVERYTHING, run=RUN):
    return read_lines(logs, GROUPS, run, period)


def texts(found):
    return [(line.function, line.message) for line in found]


def test_lines_of_both_functions_come_in_the_order_in_which_they_were_written():
    # Lambda delivered the consumer's all at once, after the producer's second.
    logs = Logs(
        producer=[event(1, "Listed"), event(9, "Listed more")],
        consumer=[event(5, "First", received=20), event(5, "Second", milli=7, received=20)],
    )
    assert texts(lines(logs)) == [
        ("producer", "Listed"),
        ("consumer", "First"),
        ("consumer", "Second"),
        ("producer", "Listed more"),
    ]


def test_lines_of_one_moment_keep_their_order():
    logs = Logs(producer=[], consumer=[event(5, f"Line {n}") for n in range(7)])
    assert [line.message for line in lines(logs)] == [f"Line {n}" for n in range(7)]


def test_other_runs_and_metrics_are_left_out():
    logs = Logs(
        producer=[event(1, f"After {RUN}", run="20241126T020000Z"), platform(2, METRIC), event(3, "Mine")],
        consumer=[platform(4, f"START {RUN}"), platform(5, f'{{"run_id": "{RUN}", "level": "IN')],
    )
    assert texts(lines(logs)) == [("producer", "Mine")]


def test_a_line_has_its_session_and_its_facts():
    failed = event(
        3, "Session failed", level="ERROR", session_id="cs_1", error_type="KeyRejected", receive_count=2
    )
    [line] = lines(Logs(producer=[], consumer=[failed]))
    assert (line.level, line.session_id, line.of_this_run) == ("ERROR", "cs_1", True)
    assert line.facts == {"error_type": "KeyRejected", "receive_count": 2}
    assert line.at == datetime.fromtimestamp(NOW + 3, UTC)


def test_a_line_without_a_session_says_none():
    [line] = lines(Logs(producer=[event(1)], consumer=[]))
    assert line.session_id is None


def test_a_line_whose_time_cannot_be_read_has_the_one_of_its_arrival():
    [line] = lines(Logs(producer=[event(1, timestamp="yesterday")], consumer=[]))
    assert line.at == datetime.fromtimestamp(NOW + 2, UTC)


def test_time_outs_while_the_run_went_on_are_shown_and_marked():
    logs = Logs(
        producer=[],
        consumer=[
            platform(30, "2024-11-27T02:00:30Z 8f0e-11 Task timed out after 60.00 seconds\n\n"),
            platform(
                40, "RequestId: 8f0e-12 Error: Runtime exited with error: signal: killed\nRuntime.ExitError"
            ),
            event(50, "It says Task timed out", run="20241126T020000Z"),
        ],
    )
    assert [(line.message, line.level, line.of_this_run) for line in lines(logs)] == [
        ("2024-11-27T02:00:30Z 8f0e-11 Task timed out after 60.00 seconds", "ERROR", False),
        ("RequestId: 8f0e-12 Error: Runtime exited with error: signal: killed", "ERROR", False),
    ]


def test_time_outs_of_another_time_are_not():
    logs = Logs(producer=[], consumer=[platform(-900, "Task timed out"), platform(900, "Task timed out")])
    assert lines(logs) == []


def test_a_dead_letter_redriven_days_later_still_tells_of_its_run():
    late = event(9 * DAY, "Created order snapshot")
    logs = Logs(producer=[], consumer=[late])
    assert lines(logs) == []
    period = period_of(to_iso(NOW), to_iso(NOW + 600), NOW + 10 * DAY)
    assert texts(lines(logs, period)) == [("consumer", "Created order snapshot")]


def test_the_search_ends_where_outcomes_do():
    assert period_of(to_iso(NOW), to_iso(NOW + 60), NOW + 80 * DAY).last_redrive == NOW + 30 * DAY
    assert period_of(to_iso(NOW), None, NOW + 60).ended == NOW + 60


def test_a_run_that_does_not_say_when_it_began_is_sought_everywhere():
    logs = Logs(producer=[event(5)], consumer=[])
    assert len(lines(logs, period_of("", None, NOW + DAY))) == 1


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Filter(), ["a", "b", "c", "d"]),
        (Filter(Level.WARNING), ["b", "c", "d"]),
        (Filter(Level.ERROR), ["c", "d"]),
        (Filter(session_id="cs_1"), ["b", "c"]),
        (Filter(Level.ERROR, "cs_1"), ["c"]),
    ],
)
def test_lines_of_a_level_and_of_a_session(wanted, kept):
    logs = Logs(
        producer=[event(1, "a"), event(2, "b", level="WARNING", session_id="cs_1")],
        consumer=[event(3, "c", level="ERROR", session_id="cs_1"), event(4, "d", level="CRITICAL")],
    )
    assert [line.message for line in lines(logs) if wanted.takes(line)] == kept


def test_a_log_group_that_is_gone_is_named():
    with pytest.raises(CommandError, match="no log group /aws/lambda/c"):
        lines(Logs(producer=[]))


def test_the_group_is_the_one_that_the_function_names():
    assert log_group({"FunctionName": "f", "LoggingConfig": {"LogGroup": "/shop/f"}}) == "/shop/f"
    assert log_group({"FunctionName": "f"}) == "/aws/lambda/f"


def test_how_long_a_group_keeps_its_lines():
    assert kept_days(Logs(), "/aws/lambda/p") == 90
