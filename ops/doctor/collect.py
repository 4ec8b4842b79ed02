"""Everything that the checks look at, read once, one call each. Writes nothing anywhere."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from ops.doctor.facts import Facts, Function, Key, Parameter, Permissions, Reply
from ops.doctor.permissions import key_of, permissions_of
from ops.doctor.shell import Shell
from ops.doctor.unread import Fetched, Unavailable, read
from ops.runs.logs import log_group
from ops.stack.stack import Stack
from recon.config import Settings, load_settings
from recon.errors import ConfigError
from recon.retry import Deadline

ALARM_TYPES = frozenset({"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"})
# For all that Stripe is asked: an outage of it is not worth a longer wait.
STRIPE_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class KeyFacts:
    settings: Settings | None = None
    parameter: Fetched[Parameter] | None = None
    key: Fetched[Key] | None = None
    permissions: Permissions | None = None


def facts_of(place: Stack, shell: Shell, stack: Fetched[Reply], now: Callable[[], float]) -> Facts:
    """Raises CannotRun where the stack has no outputs to go by."""
    names, client = place.outputs, place.client
    skew = None if isinstance(stack, Unavailable) else skew_seconds(stack, now())
    consumer = _function(place, names.consumer)
    schedule = read(lambda: client("scheduler").get_schedule(Name=names.schedule))
    alarm_names = read(lambda: _alarm_names(place))
    of_key = _key_facts(place, consumer.configuration, now)
    return Facts(
        shell=shell,
        names=names,
        is_sandbox=place.is_sandbox,
        stack=stack,
        skew_seconds=skew,
        producer=_function(place, names.producer),
        consumer=consumer,
        settings=of_key.settings,
        parameter=of_key.parameter,
        key=of_key.key,
        permissions=of_key.permissions,
        livemode=read(lambda: place.runs.state().livemode),
        table=read(lambda: client("dynamodb").describe_table(TableName=names.table)["Table"]),
        time_to_live=read(
            lambda: client("dynamodb").describe_time_to_live(TableName=names.table)["TimeToLiveDescription"]
        ),
        backups=read(
            lambda: client("dynamodb").describe_continuous_backups(TableName=names.table)[
                "ContinuousBackupsDescription"
            ]
        ),
        queue=_queue(place, names.queue_url),
        dead_letters=_queue(place, names.dlq_url),
        mapping=read(lambda: client("lambda").get_event_source_mapping(UUID=names.mapping_id)),
        schedule=schedule,
        schedule_role=_role(place, schedule),
        alarm_names=alarm_names,
        alarms=alarm_names
        if isinstance(alarm_names, Unavailable)
        else read(lambda: _alarms(place, alarm_names)),
        subscriptions=read(
            lambda: client("sns").list_subscriptions_by_topic(TopicArn=names.alarm_topic)["Subscriptions"]
        ),
    )


def stack_of(place: Stack) -> Fetched[Reply]:
    """The stack's description, and beside it when AWS answered."""

    def ask() -> Reply:
        answer = place.client("cloudformation").describe_stacks(StackName=place.name)
        described: Reply = answer["Stacks"][0]
        return {**described, "ResponseMetadata": answer["ResponseMetadata"]}

    return read(ask)


def skew_seconds(reply: Reply, now: float) -> float | None:
    """By how much this machine is ahead of the `Date` of an answer that came just now."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return None if date is None else now - parsedate_to_datetime(date).timestamp()


def _alarm_names(place: Stack) -> list[str]:
    pages = (
        place.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=place.name)
    )
    resources = [one for page in pages for one in page["StackResourceSummaries"]]
    return [one["PhysicalResourceId"] for one in resources if one["ResourceType"] in ALARM_TYPES]


def _alarms(place: Stack, names: list[str]) -> list[Reply]:
    # Without names CloudWatch would answer every alarm of the account.
    if not names:
        return []
    kinds = ["MetricAlarm", "CompositeAlarm"]
    answer = place.client("cloudwatch").describe_alarms(AlarmNames=names, AlarmTypes=kinds)
    return [*answer["MetricAlarms"], *answer.get("CompositeAlarms", [])]


def _function(place: Stack, name: str) -> Function:
    configuration = read(lambda: place.configuration(name))
    group = f"/aws/lambda/{name}" if isinstance(configuration, Unavailable) else log_group(configuration)
    return Function(
        configuration,
        read(lambda: place.client("lambda").get_function_concurrency(FunctionName=name)),
        read(lambda: _log_group(place, group)),
    )


def _log_group(place: Stack, name: str) -> Reply | None:
    groups = place.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return next((group for group in groups if group["logGroupName"] == name), None)


def _queue(place: Stack, url: str) -> Fetched[Mapping[str, str]]:
    def ask() -> Mapping[str, str]:
        return dict(
            place.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].items()
        )

    return read(ask)


def _role(place: Stack, schedule: Fetched[Reply]) -> Fetched[Reply] | None:
    if isinstance(schedule, Unavailable) or not (arn := schedule.get("Target", {}).get("RoleArn")):
        return None
    return read(lambda: place.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"])


def _key_facts(place: Stack, configuration: Fetched[Reply], now: Callable[[], float]) -> KeyFacts:
    if isinstance(configuration, Unavailable):
        return KeyFacts()
    try:
        settings = load_settings(configuration.get("Environment", {}).get("Variables", {}))
    except ConfigError:
        return KeyFacts()
    name, value = settings.stripe_secret_parameter, read(lambda: _secret(place, settings))
    parameter = read(lambda: _parameter(place, name)) if name else None
    if isinstance(value, Unavailable):
        return KeyFacts(settings, parameter, value)
    deadline = Deadline(time.monotonic() + STRIPE_PATIENCE_SECONDS, time.monotonic, time.sleep)
    asked = permissions_of(replace(settings, stripe_secret=value), int(now()), deadline)
    return KeyFacts(settings, parameter, key_of(value), asked)


def _secret(place: Stack, settings: Settings) -> str:
    """As the functions read it: the environment's own wins."""
    if settings.stripe_secret:
        return settings.stripe_secret
    return str(_get_parameter(place, settings.stripe_secret_parameter, decrypt=True)["Value"]).strip()


def _parameter(place: Stack, name: str) -> Parameter:
    found = _get_parameter(place, name, decrypt=False)
    return Parameter(name, found["Type"], found["LastModifiedDate"])


def _get_parameter(place: Stack, name: str | None, *, decrypt: bool) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = place.client("ssm").get_parameter(Name=name, WithDecryption=decrypt)[
        "Parameter"
    ]
    return answer
