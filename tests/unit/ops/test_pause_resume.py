"""Pause and resume: switches that take time or were interrupted, and the backlog of the queue."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import botocore.session
import pytest
from botocore.exceptions import ClientError

from ops.cli.commands import pause
from ops.errors import CommandError
from ops.stack.pause_resume import (
    MAX_POLLS,
    QueueBacklog,
    StateChange,
    read_backlog,
    switch_mapping,
    switch_schedule,
    to_update_request,
)
from testkit.doubles.sqs import MemorySQS

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
RETENTION = timedelta(days=10)
SCHEDULE = {
    "Arn": "arn:aws:scheduler:eu-west-1:1:schedule/shop/nightly",
    "Name": "nightly",
    "ScheduleExpression": "cron(0 2 * * ? *)",
    "State": "ENABLED",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:1:key/k",
    "Target": {"Arn": "arn:p", "RoleArn": "arn:r", "RetryPolicy": {"MaximumRetryAttempts": 20}},
    "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
    "CreationDate": datetime(2026, 1, 1, tzinfo=UTC),
    "LastModificationDate": datetime(2026, 1, 2, tzinfo=UTC),
    "ResponseMetadata": {"HTTPStatusCode": 200},
}


class NotFoundError(ClientError):
    def __init__(self):
        super().__init__({"Error": {"Code": "ResourceNotFoundException"}}, "Get")


class Exceptions:
    ResourceNotFoundException = NotFoundError


class Scheduler:
    """A scheduler with one schedule. As on AWS, an update drops the fields that it omits."""

    exceptions = Exceptions

    def __init__(self, **changes):
        self.schedule = SCHEDULE | changes
        self.updates = 0

    def get_schedule(self, Name):  # noqa: N803 - AWS's names
        if Name != self.schedule.get("Name"):
            raise NotFoundError
        return dict(self.schedule)

    def update_schedule(self, **fields):
        self.updates += 1
        read_only = ("Arn", "CreationDate", "LastModificationDate", "ResponseMetadata")
        self.schedule = {name: SCHEDULE[name] for name in read_only} | fields


class Mappings:
    """One mapping that reaches a requested state after some polls and refuses a change until then.

    `keeps_old_state`: report the old state instead of `Enabling` or `Disabling` in between.
    """

    exceptions = Exceptions

    def __init__(self, state, polls=3, target=None, *, keeps_old_state=False):
        self.state, self.polls, self.target = state, polls, target
        self.left = polls if target else 0
        self.keeps_old_state = keeps_old_state
        self.updates = 0

    def get_event_source_mapping(self, UUID):  # noqa: N803 - AWS's names
        if UUID != "m":
            raise NotFoundError
        if self.left:
            self.left -= 1
        elif self.target:
            self.state, self.target = self.target, None
        return {"State": self.state}

    def update_event_source_mapping(self, UUID, Enabled):  # noqa: N803 - AWS's names
        if self.target:
            raise ClientError({"Error": {"Code": "ResourceInUseException"}}, "UpdateEventSourceMapping")
        self.updates += 1
        if not self.keeps_old_state:
            self.state = "Enabling" if Enabled else "Disabling"
        self.target = "Enabled" if Enabled else "Disabled"
        self.left = self.polls


def test_switch_schedule_changes_only_the_state():
    client = Scheduler()
    change = switch_schedule(client, "nightly", on=False)
    assert change == StateChange("schedule", "nightly", "ENABLED", "DISABLED", "DISABLED")
    assert client.schedule == SCHEDULE | {"State": "DISABLED"}
    assert switch_schedule(client, "nightly", on=False).is_complete
    assert client.updates == 1
    assert switch_schedule(client, "nightly", on=True).before == "DISABLED"
    assert client.schedule == SCHEDULE


def test_to_update_request_covers_the_installed_api():
    """Every field of GetSchedule is repeated, and none is sent that UpdateSchedule refuses."""
    model = botocore.session.get_session().get_service_model("scheduler")
    response = dict.fromkeys(model.operation_model("GetSchedule").output_shape.members, "x")
    accepted = set(model.operation_model("UpdateSchedule").input_shape.members)
    assert set(to_update_request(response)) == accepted - {"ClientToken"}


def test_missing_schedule_or_mapping_is_named():
    with pytest.raises(CommandError, match="no schedule elsewhere"):
        switch_schedule(Scheduler(), "elsewhere", on=False)
    with pytest.raises(CommandError, match="no event source mapping gone"):
        switch_mapping(Mappings("Enabled"), "gone", on=False, sleep=lambda _: None)


@pytest.mark.parametrize(
    ("mappings", "on", "before", "after", "updates"),
    [
        (Mappings("Enabled"), False, "Enabled", "Disabled", 1),
        (Mappings("Disabled"), True, "Disabled", "Enabled", 1),
        (Mappings("Enabled", keeps_old_state=True), False, "Enabled", "Disabled", 1),
        (Mappings("Disabled"), False, "Disabled", "Disabled", 0),
        # An interrupted pause, and a resume that is still in progress
        (Mappings("Disabling", target="Disabled"), False, "Disabling", "Disabled", 0),
        (Mappings("Enabling", target="Enabled"), False, "Enabling", "Disabled", 1),
        (Mappings("Enabled", polls=10_000), False, "Enabled", "Disabling", 1),
    ],
)
def test_switch_mapping_waits_for_the_state(mappings, on, before, after, updates):
    sleeps = []
    change = switch_mapping(mappings, "m", on=on, sleep=sleeps.append)
    wanted = "Enabled" if on else "Disabled"
    assert change == StateChange("consumer", "m", before, after, wanted)
    assert change.is_complete == (after == wanted)
    assert mappings.updates == updates
    assert len(sleeps) <= MAX_POLLS


class Metrics:
    """CloudWatch with data points of (minutes ago, seconds)."""

    def __init__(self, *points, error=None):
        self.points, self.error = points, error

    def get_metric_statistics(self, *, StartTime, EndTime, Dimensions, **_):  # noqa: N803 - AWS's names
        if self.error:
            raise ClientError({"Error": {"Code": self.error}}, "GetMetricStatistics")
        assert Dimensions == [{"Name": "QueueName", "Value": "sessions"}]
        times = [(EndTime - timedelta(minutes=ago), value) for ago, value in self.points]
        return {"Datapoints": [{"Timestamp": at, "Maximum": value} for at, value in times if at >= StartTime]}


@pytest.mark.parametrize(
    ("messages", "metrics", "age", "keeps"),
    [
        (3, Metrics((5, 3000.0), (2, 3480.0)), 3600, RETENTION - timedelta(hours=1)),
        # Without an age, the retention from now is the upper limit.
        (2, Metrics(), None, RETENTION),
        (2, Metrics((30, 9.0)), None, RETENTION),
        (2, Metrics(error="AccessDenied"), None, RETENTION),
        (0, Metrics((1, 9.0)), None, None),
    ],
)
def test_read_backlog_says_how_long_messages_are_kept(messages, metrics, age, keeps):
    sqs = MemorySQS(NOW.timestamp)
    attributes = {"MessageRetentionPeriod": str(int(RETENTION.total_seconds()))}
    url = sqs.create_queue(QueueName="sessions", Attributes=attributes)["QueueUrl"]
    for _ in range(messages):
        sqs.send_message(QueueUrl=url, MessageBody="{}")
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=60)
    received = min(messages, 1)
    until = None if keeps is None else NOW + keeps
    backlog = QueueBacklog(messages - received, received, 864000, age, until)
    assert read_backlog(sqs, metrics, url, NOW) == backlog


class Switches(Scheduler, Mappings):
    """The schedule, the mapping and the alarms of a stack that `pause` has switched off."""

    def __init__(self):
        Scheduler.__init__(self, Name="unused", State="DISABLED")
        self.state, self.polls, self.target, self.left, self.keeps_old_state = "Disabled", 0, None, 0, False

    def get_event_source_mapping(self, UUID):  # noqa: N803 - AWS's names
        assert UUID == "unused"
        return Mappings.get_event_source_mapping(self, "m")

    def describe_alarms(self, **_names):
        return {"MetricAlarms": [{"ActionsEnabled": False}]}

    def enable_alarm_actions(self, AlarmNames):  # noqa: N803 - AWS's names
        self.alarms = AlarmNames


@pytest.mark.parametrize(
    ("deployed", "options", "changed", "schedule", "text"),
    [
        ("ENABLED", {}, ["schedule", "consumer"], "ENABLED", "The next run is due"),
        # The first night waits for a preview: a pause before it must not begin the nights.
        ("DISABLED", {}, ["consumer"], "DISABLED", "Deploy with ScheduleState=ENABLED to begin the nights."),
        ("DISABLED", {"schedule_only": True}, ["schedule"], "ENABLED", "switches it off again"),
        ("DISABLED", {"queue_only": True}, ["consumer"], "DISABLED", "The queue is empty."),
    ],
)
def test_resume_leaves_a_schedule_off_that_is_deployed_off(
    context, monkeypatch, deployed, options, changed, schedule, text
):
    monkeypatch.setattr(pause, "time", SimpleNamespace(sleep=lambda _seconds: None))
    switches, stack = Switches(), context.stack
    stack._clients |= dict.fromkeys(("scheduler", "lambda", "cloudwatch"), switches)
    stack.__dict__["_description"] = {
        "Parameters": [{"ParameterKey": "ScheduleState", "ParameterValue": deployed}]
    }
    result = pause.resume(context, **options)
    assert [change.what for change in result.data.changes] == changed
    assert (switches.schedule["State"], text in context.show(result)) == (schedule, True)
    # The alarm of a missed run is on again whenever the schedule was to be switched.
    assert (result.data.alarm is None) == ("queue_only" in options)
