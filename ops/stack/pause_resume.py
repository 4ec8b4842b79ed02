"""Switching the schedule and the consumer off and on, and the backlog that builds up while they are off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.errors import CommandError
from ops.stack.queue_depth import read_depth

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient

SCHEDULE, CONSUMER = "schedule", "consumer"
SCHEDULE_ON, SCHEDULE_OFF = "ENABLED", "DISABLED"
MAPPING_ON, MAPPING_OFF = "Enabled", "Disabled"
# Fields of GetSchedule that UpdateSchedule does not accept. All others must be sent again, because omitted
# fields are reset: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
_READ_ONLY = frozenset({"Arn", "CreationDate", "LastModificationDate", "ResponseMetadata"})
# Lambda takes up to about a minute to stop its pollers.
POLL_SECONDS, MAX_POLLS = 1.0, 180
# CloudWatch publishes the metric with a delay of some minutes.
_METRIC_PERIOD, _METRIC_WINDOW = 60, timedelta(minutes=15)


@dataclass(frozen=True)
class StateChange:
    """The state of the schedule or the consumer before and after a switch, in AWS's words."""

    what: str
    name: str
    before: str
    after: str
    wanted: str

    @property
    def is_complete(self) -> bool:
        """Return True if the wanted state is reached."""
        return self.after == self.wanted


@dataclass(frozen=True)
class QueueBacklog:
    """The messages of the main queue: `messages` can be received, `retrying` are in flight.

    SQS drops each message `retention_seconds` after it was sent: the oldest at `keeps_until`, or earlier if
    its age is unknown.
    """

    messages: int
    retrying: int
    retention_seconds: int
    oldest_age_seconds: int | None
    keeps_until: datetime | None


def switch_schedule(client: "EventBridgeSchedulerClient", name: str, *, on: bool) -> StateChange:
    """Change the schedule's state and nothing else. Raise CommandError if there is no such schedule."""
    wanted = SCHEDULE_ON if on else SCHEDULE_OFF
    try:
        schedule = client.get_schedule(Name=name)
    except client.exceptions.ResourceNotFoundException:
        raise CommandError(
            f"there is no schedule {name}; `nightly-sync doctor` lists what else is missing"
        ) from None
    before = schedule.get("State", SCHEDULE_ON)
    if before != wanted:
        client.update_schedule(**to_update_request(schedule, State=wanted))
    return StateChange(SCHEDULE, name, before, wanted, wanted)


def to_update_request(schedule: Mapping[str, Any], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """Convert GetSchedule's response to an UpdateSchedule request that applies only the changes."""
    return {name: value for name, value in schedule.items() if name not in _READ_ONLY} | changes


def switch_mapping(
    client: "LambdaClient", mapping_id: str, *, on: bool, sleep: Callable[[float], None]
) -> StateChange:
    """Switch the event source mapping and wait up to three minutes for Lambda to finish.

    A change in progress is awaited first, because Lambda refuses a second one. Raise CommandError if there is
    no such mapping.
    """
    wanted = MAPPING_ON if on else MAPPING_OFF
    before = state = _read_mapping_state(client, mapping_id)
    requested = False
    for _ in range(MAX_POLLS):
        if state == wanted:
            break
        if not requested and state in (MAPPING_ON, MAPPING_OFF):
            client.update_event_source_mapping(UUID=mapping_id, Enabled=on)
            requested = True
        sleep(POLL_SECONDS)
        state = _read_mapping_state(client, mapping_id)
    return StateChange(CONSUMER, mapping_id, before, state, wanted)


def _read_mapping_state(client: "LambdaClient", mapping_id: str) -> str:
    try:
        return client.get_event_source_mapping(UUID=mapping_id)["State"]
    except client.exceptions.ResourceNotFoundException:
        raise CommandError(f"there is no event source mapping {mapping_id}") from None


def read_backlog(
    sqs: "SQSClient",
    cloudwatch: Any,  # noqa: ANN401 - its types are not installed
    url: str,
    now: datetime,
) -> QueueBacklog:
    """Read how many messages wait in a queue and until when SQS keeps them."""
    depth = read_depth(sqs, url)
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])
    retention = int(answer["Attributes"]["MessageRetentionPeriod"])
    if not depth.visible + depth.hidden:
        return QueueBacklog(0, 0, retention, None, None)
    age = read_oldest_age(cloudwatch, url.rpartition("/")[2], now)
    until = now + timedelta(seconds=retention - (age or 0))
    return QueueBacklog(depth.visible, depth.hidden, retention, age, until)


def read_oldest_age(cloudwatch: Any, queue: str, now: datetime) -> int | None:  # noqa: ANN401 - as above
    """Return the age of the oldest message in seconds, or None if CloudWatch has no data or denies access."""
    try:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=now - _METRIC_WINDOW,
            EndTime=now,
            Period=_METRIC_PERIOD,
            Statistics=["Maximum"],
        )["Datapoints"]
    except ClientError:
        return None
    if not points:
        return None
    latest = max(points, key=lambda point: point["Timestamp"])
    since = now - latest["Timestamp"].astimezone(UTC)
    return int(latest["Maximum"] + since.total_seconds())
