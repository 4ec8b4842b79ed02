"""Reads all facts that the checks need, one call each. Writes nothing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from ops.doctor.facts import AwsReply, FunctionFacts, KeyParameter, KeyPermissions, KeyPrefix, StackFacts
from ops.doctor.fetched import Fetched, Unavailable, fetch
from ops.doctor.permissions import classify_key, probe_permissions
from ops.doctor.shell import Shell
from ops.runs.logs import log_group
from ops.stack.stack import Stack
from recon.config import Settings, load_settings
from recon.errors import ConfigError
from recon.retry import Deadline

ALARM_TYPES = frozenset({"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"})
# The limit for all Stripe requests together; during an outage it is not worth waiting longer.
STRIPE_LIMIT_SECONDS = 30.0


@dataclass(frozen=True)
class KeyFacts:
    """What is known of the Stripe key and the settings that name it."""

    settings: Settings | None = None
    parameter: Fetched[KeyParameter] | None = None
    key: Fetched[KeyPrefix] | None = None
    permissions: KeyPermissions | None = None


def collect_facts(
    place: Stack, shell: Shell, stack: Fetched[AwsReply], now: Callable[[], float]
) -> StackFacts:
    """Read all facts of a stack. Raises CommandError if the stack has no outputs."""
    names, client = place.names, place.client
    skew = None if isinstance(stack, Unavailable) else clock_skew(stack, now())
    consumer = _read_function(place, names.consumer)
    schedule = fetch(lambda: client("scheduler").get_schedule(Name=names.schedule))
    alarm_names = fetch(lambda: _list_alarm_names(place))
    key = _read_key(place, consumer.configuration, now)
    return StackFacts(
        shell=shell,
        names=names,
        is_sandbox=place.is_sandbox,
        stack=stack,
        skew_seconds=skew,
        producer=_read_function(place, names.producer),
        consumer=consumer,
        settings=key.settings,
        parameter=key.parameter,
        key=key.key,
        permissions=key.permissions,
        livemode=fetch(lambda: place.runs.state().livemode),
        table=fetch(lambda: client("dynamodb").describe_table(TableName=names.table)["Table"]),
        time_to_live=fetch(
            lambda: client("dynamodb").describe_time_to_live(TableName=names.table)["TimeToLiveDescription"]
        ),
        backups=fetch(
            lambda: client("dynamodb").describe_continuous_backups(TableName=names.table)[
                "ContinuousBackupsDescription"
            ]
        ),
        queue=_read_queue(place, names.queue_url),
        dead_letters=_read_queue(place, names.dlq_url),
        mapping=fetch(lambda: client("lambda").get_event_source_mapping(UUID=names.mapping_id)),
        schedule=schedule,
        schedule_role=_read_role(place, schedule),
        alarm_names=alarm_names,
        alarms=alarm_names
        if isinstance(alarm_names, Unavailable)
        else fetch(lambda: _describe_alarms(place, alarm_names)),
        subscriptions=fetch(
            lambda: client("sns").list_subscriptions_by_topic(TopicArn=names.alarm_topic)["Subscriptions"]
        ),
    )


def describe_stack(place: Stack) -> Fetched[AwsReply]:
    """Read the stack's description together with the response metadata, which has the time."""

    def describe() -> AwsReply:
        answer = place.client("cloudformation").describe_stacks(StackName=place.stack)
        described: AwsReply = answer["Stacks"][0]
        return {**described, "ResponseMetadata": answer["ResponseMetadata"]}

    return fetch(describe)


def clock_skew(reply: AwsReply, now: float) -> float | None:
    """Return how many seconds this machine is ahead of the `Date` of a response received now."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return None if date is None else now - parsedate_to_datetime(date).timestamp()


def _list_alarm_names(place: Stack) -> list[str]:
    pages = (
        place.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=place.stack)
    )
    resources = [one for page in pages for one in page["StackResourceSummaries"]]
    return [one["PhysicalResourceId"] for one in resources if one["ResourceType"] in ALARM_TYPES]


def _describe_alarms(place: Stack, names: list[str]) -> list[AwsReply]:
    # Without names CloudWatch would return every alarm of the account.
    if not names:
        return []
    kinds = ["MetricAlarm", "CompositeAlarm"]
    answer = place.client("cloudwatch").describe_alarms(AlarmNames=names, AlarmTypes=kinds)
    return [*answer["MetricAlarms"], *answer.get("CompositeAlarms", [])]


def _read_function(place: Stack, name: str) -> FunctionFacts:
    configuration = fetch(lambda: place.configuration(name))
    group = f"/aws/lambda/{name}" if isinstance(configuration, Unavailable) else log_group(configuration)
    return FunctionFacts(
        configuration,
        fetch(lambda: place.client("lambda").get_function_concurrency(FunctionName=name)),
        fetch(lambda: _find_log_group(place, group)),
    )


def _find_log_group(place: Stack, name: str) -> AwsReply | None:
    groups = place.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return next((group for group in groups if group["logGroupName"] == name), None)


def _read_queue(place: Stack, url: str) -> Fetched[Mapping[str, str]]:
    def get_attributes() -> Mapping[str, str]:
        return dict(
            place.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].items()
        )

    return fetch(get_attributes)


def _read_role(place: Stack, schedule: Fetched[AwsReply]) -> Fetched[AwsReply] | None:
    if isinstance(schedule, Unavailable) or not (arn := schedule.get("Target", {}).get("RoleArn")):
        return None
    return fetch(lambda: place.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"])


def _read_key(place: Stack, configuration: Fetched[AwsReply], now: Callable[[], float]) -> KeyFacts:
    if isinstance(configuration, Unavailable):
        return KeyFacts()
    try:
        settings = load_settings(configuration.get("Environment", {}).get("Variables", {}))
    except ConfigError:
        return KeyFacts()
    name, value = settings.stripe_secret_parameter, fetch(lambda: _read_secret(place, settings))
    parameter = fetch(lambda: _read_parameter(place, name)) if name else None
    if isinstance(value, Unavailable):
        return KeyFacts(settings, parameter, value)
    deadline = Deadline(time.monotonic() + STRIPE_LIMIT_SECONDS, time.monotonic, time.sleep)
    permissions = probe_permissions(replace(settings, stripe_secret=value), int(now()), deadline)
    return KeyFacts(settings, parameter, classify_key(value), permissions)


def _read_secret(place: Stack, settings: Settings) -> str:
    """Return the key as the functions read it: the environment takes precedence."""
    if settings.stripe_secret:
        return settings.stripe_secret
    return str(_get_parameter(place, settings.stripe_secret_parameter, decrypt=True)["Value"]).strip()


def _read_parameter(place: Stack, name: str) -> KeyParameter:
    found = _get_parameter(place, name, decrypt=False)
    return KeyParameter(name, found["Type"], found["LastModifiedDate"])


def _get_parameter(place: Stack, name: str | None, *, decrypt: bool) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = place.client("ssm").get_parameter(Name=name, WithDecryption=decrypt)[
        "Parameter"
    ]
    return answer
