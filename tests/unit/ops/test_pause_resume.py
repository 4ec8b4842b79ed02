"""Pause and resume, over an AWS that takes its time and a process that may end in between."""

from datetime import UTC, datetime, timedelta

import botocore.session
import pytest
from botocore.exceptions import ClientError

from ops.errors import CommandError
from ops.stack import pause_resume as switch
from ops.stack.pause_resume import (
    Change,
    Waiting,
    oldest_age,
    switch_mapping,
    switch_schedule,
    to_update_request,
    waiting_of,
)
from testkit.doubles.sqs import MemorySQS

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
SCHEDULE = {
    "Arn": "arn:aws:scheduler:eu-west-1:1:schedule/shop/nightly",
    "GroupName": "shop",
    "Name": "nightly",
    "ScheduleExpression": "cron(0 2 * * ? *)",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "StartDate": datetime(2026, 1, 1, tzinfo=UTC),
    "State": "ENABLED",
    "Description": "Starts the sync.",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:1:key/k",
    "Target": {
        "Arn": "arn:p",
        "RoleArn": "arn:r",
        "Input": "{}",
        "RetryPolicy": {"MaximumRetryAttempts": 20},
    },
    "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
    "ActionAfterCompletion": "NONE",
    "CreationDate": datetime(2026, 1, 1, tzinfo=UTC),
    "LastModificationDate": datetime(2026, 1, 2, tzinfo=UTC),
    "ResponseMetadata": {"HTTPStatusCode": 200},
}


class NotThereError(ClientError):
    def __init__(self):
        super().__init__({"Error": {"Code": "ResourceNotFoundException"}}, "Get")


class Exceptions:
    ResourceNotFoundException = NotThereError


class Scheduler:
    """Keeps one schedule: what an update leaves out is gone, as it is on AWS."""

    exceptions = Exceptions

    def __init__(self, schedule):
        self.schedule = schedule
        self.updates = 0

    def get_schedule(self, Name):  # noqa: N803 - AWS's names
        if Name != self.schedule.get("Name"):
            raise NotThereError
        return dict(self.schedule)

    def update_schedule(self, **fields):
        self.updates += 1
        unchanged = {name: self.schedule[name] for name in ("Arn", "CreationDate", "LastModificationDate")}
        self.schedule = {**unchanged, "ResponseMetadata": {}, **fields}


class Mappings:
    """One mapping that needs some looks until it is what was asked for, and refuses a change meanwhile."""

    exceptions = Exceptions

    def __init__(self, state, looks=3, becomes=None):
        self.state = state
        self.looks = looks
        self.becomes = becomes
        self.left = looks if becomes else 0
        self.updates = 0

    def get_event_source_mapping(self, UUID):  # noqa: N803 - AWS's names
        if UUID != "m":
            raise NotThereError
        if self.left:
            self.left -= 1
        elif self.becomes:
            self.state, self.becomes = self.becomes, None
        return {"State": self.state}

    def update_event_source_mapping(self, UUID, Enabled):  # noqa: N803 - AWS's names
        if self.becomes:
            raise ClientError({"Error": {"Code": "ResourceInUseException"}}, "UpdateEventSourceMapping")
        self.updates += 1
        self.state = "Enabling" if Enabled else "Disabling"
        self.becomes = "Enabled" if Enabled else "Disabled"
        self.left = self.looks


def switched(mappings, *, on):
    slept = []
    change = switch_mapping(mappings, "m", on=on, sleep=slept.append)
    assert len(slept) <= switch.MOST_POLLS
    return change


def test_a_schedule_that_is_switched_off_stays_as_it_is_beside():
    client = Scheduler(dict(SCHEDULE))
    change = switch_schedule(client, "nightly", on=False)
    assert change == Change("schedule", "nightly", "ENABLED", "DISABLED", "DISABLED")
    assert client.schedule | {"ResponseMetadata": None} == SCHEDULE | {
        "State": "DISABLED",
        "ResponseMetadata": None,
    }


def test_off_and_on_is_as_before():
    client = Scheduler(dict(SCHEDULE))
    switch_schedule(client, "nightly", on=False)
    change = switch_schedule(client, "nightly", on=True)
    assert (change.before, change.after, change.is_made) == ("DISABLED", "ENABLED", True)
    assert to_update_request(client.schedule) == to_update_request(SCHEDULE)


def test_a_schedule_that_is_off_is_not_written():
    client = Scheduler(SCHEDULE | {"State": "DISABLED"})
    assert switch_schedule(client, "nightly", on=False).is_made
    assert client.updates == 0


def test_a_schedule_that_is_gone_is_named():
    with pytest.raises(CommandError, match="no schedule elsewhere"):
        switch_schedule(Scheduler(dict(SCHEDULE)), "elsewhere", on=False)


def test_everything_that_an_update_takes_is_said_again():
    """By the API that is installed: a field that AWS adds is repeated, and none is sent that it refuses."""
    model = botocore.session.get_session().get_service_model("scheduler")
    answered = dict.fromkeys(model.operation_model("GetSchedule").output_shape.members, "x")
    taken = set(model.operation_model("UpdateSchedule").input_shape.members)
    assert set(to_update_request(answered)) == taken - {"ClientToken"}


@pytest.mark.parametrize(
    ("state", "on", "after"), [("Enabled", False, "Disabled"), ("Disabled", True, "Enabled")]
)
def test_the_mapping_is_waited_for(state, on, after):
    mappings = Mappings(state)
    change = switched(mappings, on=on)
    assert change == Change("consumer", "m", state, after, after)
    assert mappings.updates == 1


def test_a_mapping_that_goes_on_saying_its_old_state_is_asked_once():
    class Late(Mappings):
        def update_event_source_mapping(self, UUID, Enabled):  # noqa: N803 - AWS's names
            old = self.state
            super().update_event_source_mapping(UUID, Enabled)
            self.state, self.becomes = old, "Disabled"

    mappings = Late("Enabled")
    assert switched(mappings, on=False).is_made
    assert mappings.updates == 1


def test_what_is_off_is_left_alone():
    mappings = Mappings("Disabled")
    assert switched(mappings, on=False) == Change("consumer", "m", "Disabled", "Disabled", "Disabled")
    assert mappings.updates == 0


def test_a_pause_that_was_killed_goes_on_with_what_it_began():
    mappings = Mappings("Disabling", becomes="Disabled")
    assert switched(mappings, on=False) == Change("consumer", "m", "Disabling", "Disabled", "Disabled")
    assert mappings.updates == 0


def test_a_change_the_other_way_is_waited_for_first():
    mappings = Mappings("Enabling", becomes="Enabled")
    assert switched(mappings, on=False).after == "Disabled"
    assert mappings.updates == 1


def test_a_mapping_that_never_gets_there_is_said_to_be_where_it_is():
    change = switched(Mappings("Enabled", looks=10_000), on=False)
    assert (change.after, change.is_made) == ("Disabling", False)


def test_a_mapping_that_is_gone_is_named():
    with pytest.raises(CommandError, match="no event source mapping gone"):
        switch_mapping(Mappings("Enabled"), "gone", on=False, sleep=lambda _: None)


class Metrics:
    """CloudWatch with points of (minutes ago, seconds)."""

    def __init__(self, *points, error=None):
        self.points = points
        self.error = error

    def get_metric_statistics(self, *, StartTime, EndTime, Dimensions, **_):  # noqa: N803 - AWS's names
        if self.error:
            raise ClientError({"Error": {"Code": self.error}}, "GetMetricStatistics")
        assert Dimensions == [{"Name": "QueueName", "Value": "sessions"}]
        times = [(EndTime - timedelta(minutes=ago), value) for ago, value in self.points]
        return {"Datapoints": [{"Timestamp": at, "Maximum": value} for at, value in times if at >= StartTime]}


@pytest.fixture
def queue():
    sqs = MemorySQS(NOW.timestamp)
    return sqs, sqs.create_queue(QueueName="sessions", Attributes={"MessageRetentionPeriod": "864000"})[
        "QueueUrl"
    ]


def send(sqs, url, count):
    for _ in range(count):
        sqs.send_message(QueueUrl=url, MessageBody="{}")


def test_the_oldest_message_keeps_for_what_is_left_of_the_retention(queue):
    sqs, url = queue
    send(sqs, url, 3)
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=60)
    waiting = waiting_of(sqs, Metrics((5, 3000.0), (2, 3480.0)), url, NOW)
    assert waiting == Waiting(2, 1, 864000, 3600, NOW + timedelta(days=10) - timedelta(hours=1))


@pytest.mark.parametrize("metrics", [Metrics(), Metrics((30, 9.0)), Metrics(error="AccessDenied")])
def test_without_an_age_the_retention_from_now_is_the_most(queue, metrics):
    sqs, url = queue
    send(sqs, url, 1)
    assert waiting_of(sqs, metrics, url, NOW) == Waiting(1, 0, 864000, None, NOW + timedelta(days=10))
    assert oldest_age(metrics, "sessions", NOW) is None


def test_an_empty_queue_keeps_nothing(queue):
    sqs, url = queue
    assert waiting_of(sqs, Metrics((1, 9.0)), url, NOW) == Waiting(0, 0, 864000, None, None)
