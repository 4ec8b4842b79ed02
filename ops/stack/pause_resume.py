"""Schedule and consumer, off and on; and how long keeps what waits meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.errors import CommandError
from ops.stack.queue_depth import read_depth

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient

SCHEDULE, CONSUMER = "schedule", "consumer"
SCHEDULE_ON, SCHEDULE_OFF = "ENABLED", "DISABLED"
MAPPING_ON, MAPPING_OFF = "Enabled", "Disabled"
# What GetSchedule answers and UpdateSchedule does not take. All else has to be said again: what is left out
# is set back to its default. https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
_READ_ONLY = frozenset({"Arn", "CreationDate", "LastModificationDate", "ResponseMetadata"})
# Lambda takes up to a minute or so to stop its pollers.
POLL_SECONDS, MOST_POLLS = 1.0, 180
# CloudWatch is some minutes behind.
_METRIC_PERIOD, _METRIC_WINDOW = 60, timedelta(minutes=15)


@dataclass(frozen=True)
class Change:
    """What one of the two was and is, in AWS's word for it, and what it should be."""

    what: str
    name: str
    before: str
    after: str
    wanted: str

    @property
    def is_made(self) -> bool:
        return self.after == self.wanted


@dataclass(frozen=True)
class Waiting:
    """Messages of the main queue: to be received, and received and on their way back. SQS drops each
    `retention_seconds` after it was sent: the oldest at `keeps_until`, or earlier if its age is unknown."""

    messages: int
    retrying: int
    retention_seconds: int
    oldest_age_seconds: int | None
    keeps_until: datetime | None


def switch_schedule(client: "EventBridgeSchedulerClient", name: str, *, on: bool) -> Change:
    """Changes nothing but the state. Raises CannotRun where there is no such schedule."""
    wanted = SCHEDULE_ON if on else SCHEDULE_OFF
    try:
        found = client.get_schedule(Name=name)
    except client.exceptions.ResourceNotFoundException:
        raise CommandError(
            f"there is no schedule {name}; `nightly-sync doctor` says what else is gone"
        ) from None
    before = found.get("State", SCHEDULE_ON)
    if before != wanted:
        client.update_schedule(**to_update_request(found, State=wanted))
    return Change(SCHEDULE, name, before, wanted, wanted)


def to_update_request(schedule: Mapping[str, Any], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """The update that leaves a schedule as GetSchedule answered it, but for the changes."""
    return {name: value for name, value in schedule.items() if name not in _READ_ONLY} | changes


def switch_mapping(
    client: "LambdaClient", mapping_id: str, *, on: bool, sleep: Callable[[float], None]
) -> Change:
    """Returns when Lambda says that it is so, or after three minutes with what it says then. A change that
    somebody began is waited for first, since Lambda refuses a second one meanwhile."""
    wanted = MAPPING_ON if on else MAPPING_OFF
    before = state = _state(client, mapping_id)
    asked = False
    for _ in range(MOST_POLLS):
        if state == wanted:
            break
        if not asked and state in (MAPPING_ON, MAPPING_OFF):
            client.update_event_source_mapping(UUID=mapping_id, Enabled=on)
            asked = True
        sleep(POLL_SECONDS)
        state = _state(client, mapping_id)
    return Change(CONSUMER, mapping_id, before, state, wanted)


def _state(client: "LambdaClient", mapping_id: str) -> str:
    try:
        return client.get_event_source_mapping(UUID=mapping_id)["State"]
    except client.exceptions.ResourceNotFoundException:
        raise CommandError(f"there is no event source mapping {mapping_id}") from None


def waiting_of(
    sqs: "SQSClient",
    cloudwatch: Any,  # noqa: ANN401 - its types are not installed
    url: str,
    now: datetime,
) -> Waiting:
    depth = read_depth(sqs, url)
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])
    retention = int(answer["Attributes"]["MessageRetentionPeriod"])
    if not depth.visible + depth.hidden:
        return Waiting(0, 0, retention, None, None)
    age = oldest_age(cloudwatch, url.rpartition("/")[2], now)
    until = now + timedelta(seconds=retention - (age or 0))
    return Waiting(depth.visible, depth.hidden, retention, age, until)


def oldest_age(cloudwatch: Any, queue: str, now: datetime) -> int | None:  # noqa: ANN401 - as above
    """Seconds since the oldest message was sent; None where CloudWatch does not say, or may not be asked."""
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


def deployed_parameter(client: "CloudFormationClient", stack: str, name: str) -> str | None:
    """What the stack was last deployed with."""
    (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
    return parameters.get(name)
