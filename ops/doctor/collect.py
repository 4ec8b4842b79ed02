"""Reads all facts that the checks need, one call each. Writes nothing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from ops.doctor.facts import (
    AwsReply,
    FunctionFacts,
    KeyParameter,
    KeyPermissions,
    KeyPrefix,
    LedgerFacts,
    StackFacts,
    TableFacts,
)
from ops.doctor.fetched import Fetched, Unavailable, fetch
from ops.doctor.permissions import classify_key, probe_permissions
from ops.doctor.shell import Shell
from ops.runs.logs import log_group
from ops.stack.stack import Stack
from producer.sync_run import STATE_WARNING
from recon.config import Settings, load_settings
from recon.dynamodb.ledger_table import check_ledger_table
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.errors import ConfigError, LedgerNotMoved
from recon.retry import Deadline

ALARM_TYPES = frozenset({"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"})
# The limit for all Stripe requests together; during an outage it is not worth waiting longer.
STRIPE_LIMIT_SECONDS = 30.0


@dataclass(frozen=True)
class KeyFacts:
    """The facts about the Stripe key and the settings that name it."""

    settings: Settings | None = None
    parameter: Fetched[KeyParameter] | None = None
    key: Fetched[KeyPrefix] | None = None
    permissions: KeyPermissions | None = None


def collect_facts(
    stack: Stack, shell: Shell, described: Fetched[AwsReply], now: Callable[[], float]
) -> StackFacts:
    """Read all facts of a stack. Raises CommandError if the stack has no outputs."""
    names, client = stack.outputs, stack.client
    skew = None if isinstance(described, Unavailable) else clock_skew(described, now())
    consumer = _read_function(stack, names.consumer)
    schedule = fetch(lambda: client("scheduler").get_schedule(Name=names.schedule))
    alarm_names = fetch(lambda: _list_alarm_names(stack))
    watermark = fetch(stack.runs.watermark)
    proof_id = None if isinstance(watermark, Unavailable) else watermark.proven_by
    key = _read_key(stack, consumer.configuration, now, proof_id)
    shop = _read_table(stack, names.table)
    return StackFacts(
        shell=shell,
        names=names,
        is_sandbox=stack.is_sandbox,
        stack=described,
        skew_seconds=skew,
        producer=_read_function(stack, names.producer),
        consumer=consumer,
        settings=key.settings,
        parameter=key.parameter,
        key=key.key,
        permissions=key.permissions,
        livemode=fetch(lambda: stack.runs.state().livemode),
        watermark=watermark,
        table=shop.table,
        table_key=_read_table_key(stack, shop.table),
        time_to_live=shop.time_to_live,
        backups=shop.backups,
        ledger=fetch(lambda: read_ledger(stack.runs, stack.table, stack.name, stack.deadline)),
        queue=_read_queue(stack, names.queue_url),
        dead_letters=_read_queue(stack, names.dlq_url),
        mapping=fetch(lambda: client("lambda").get_event_source_mapping(UUID=names.mapping_id)),
        schedule=schedule,
        schedule_role=_read_role(stack, schedule),
        alarm_names=alarm_names,
        alarms=alarm_names
        if isinstance(alarm_names, Unavailable)
        else fetch(lambda: _describe_alarms(stack, alarm_names)),
        subscriptions=fetch(
            lambda: client("sns").list_subscriptions_by_topic(TopicArn=names.alarm_topic)["Subscriptions"]
        ),
        ledger_table=_read_table(stack, names.ledger) if names.ledger != names.table else None,
    )


def _read_table_key(stack: Stack, table: Fetched[AwsReply]) -> Fetched[AwsReply] | None:
    """Describe the KMS key of the table, if it has one."""
    if isinstance(table, Unavailable):
        return None
    arn = table.get("SSEDescription", {}).get("KMSMasterKeyArn")
    return fetch(lambda: stack.client("kms").describe_key(KeyId=arn)["KeyMetadata"]) if arn else None


def describe_stack(stack: Stack) -> Fetched[AwsReply]:
    """Read the stack's description together with the response metadata, which has the time."""

    def describe() -> AwsReply:
        answer = stack.client("cloudformation").describe_stacks(StackName=stack.name)
        described: AwsReply = answer["Stacks"][0]
        return {**described, "ResponseMetadata": answer["ResponseMetadata"]}

    return fetch(describe)


def clock_skew(reply: AwsReply, now: float) -> float | None:
    """Return how many seconds this machine is ahead of the `Date` of a response received now."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return None if date is None else now - parsedate_to_datetime(date).timestamp()


def _list_alarm_names(stack: Stack) -> list[str]:
    pages = (
        stack.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name)
    )
    resources = [one for page in pages for one in page["StackResourceSummaries"]]
    return [one["PhysicalResourceId"] for one in resources if one["ResourceType"] in ALARM_TYPES]


def _describe_alarms(stack: Stack, names: list[str]) -> list[AwsReply]:
    # Without names CloudWatch would return every alarm of the account.
    if not names:
        return []
    kinds = ["MetricAlarm", "CompositeAlarm"]
    answer = stack.client("cloudwatch").describe_alarms(AlarmNames=names, AlarmTypes=kinds)
    return [*answer["MetricAlarms"], *answer.get("CompositeAlarms", [])]


def _read_function(stack: Stack, name: str) -> FunctionFacts:
    configuration = fetch(lambda: stack.configuration(name))
    group = f"/aws/lambda/{name}" if isinstance(configuration, Unavailable) else log_group(configuration)
    return FunctionFacts(
        configuration,
        fetch(lambda: stack.client("lambda").get_function_concurrency(FunctionName=name)),
        fetch(lambda: _find_log_group(stack, group)),
    )


def _find_log_group(stack: Stack, name: str) -> AwsReply | None:
    groups = stack.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return next((group for group in groups if group["logGroupName"] == name), None)


def _read_table(stack: Stack, name: str) -> TableFacts:
    client = stack.client("dynamodb")
    return TableFacts(
        name,
        fetch(lambda: client.describe_table(TableName=name)["Table"]),
        fetch(lambda: client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]),
        fetch(lambda: client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]),
    )


def read_ledger(runs: Runs, table: Table, stack: str, deadline: Deadline) -> LedgerFacts:
    """Read whose the ledger is. Another program may have put the state since the last run, or before it."""
    warned = any(warning.startswith(STATE_WARNING) for run in runs.latest(1) for warning in run.warnings)
    watermark, not_moved = runs.watermark(), None
    try:
        watermark.check_open()
        check_ledger_table(table, stack, deadline)
    except LedgerNotMoved as error:
        not_moved = str(error)
    is_foreign = warned or runs.is_state_foreign(runs.state())
    return LedgerFacts(watermark.stack_name, is_foreign, not_moved)


def _read_queue(stack: Stack, url: str) -> Fetched[Mapping[str, str]]:
    def get_attributes() -> Mapping[str, str]:
        return dict(
            stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].items()
        )

    return fetch(get_attributes)


def _read_role(stack: Stack, schedule: Fetched[AwsReply]) -> Fetched[AwsReply] | None:
    if isinstance(schedule, Unavailable) or not (arn := schedule.get("Target", {}).get("RoleArn")):
        return None
    return fetch(lambda: stack.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"])


def _read_key(
    stack: Stack, configuration: Fetched[AwsReply], now: Callable[[], float], proof_id: str | None
) -> KeyFacts:
    if isinstance(configuration, Unavailable):
        return KeyFacts()
    try:
        settings = load_settings(configuration.get("Environment", {}).get("Variables", {}))
    except ConfigError:
        return KeyFacts()
    name, value = settings.stripe_secret_parameter, fetch(lambda: _read_secret(stack, settings))
    parameter = fetch(lambda: _read_parameter(stack, name)) if name else None
    if isinstance(value, Unavailable):
        return KeyFacts(settings, parameter, value)
    deadline = Deadline(time.monotonic() + STRIPE_LIMIT_SECONDS, time.monotonic, time.sleep)
    permissions = probe_permissions(replace(settings, stripe_secret=value), int(now()), deadline, proof_id)
    return KeyFacts(settings, parameter, classify_key(value), permissions)


def _read_secret(stack: Stack, settings: Settings) -> str:
    """Return the key as the functions read it: the environment takes precedence."""
    if settings.stripe_secret:
        return settings.stripe_secret
    return str(_get_parameter(stack, settings.stripe_secret_parameter, decrypt=True)["Value"]).strip()


def _read_parameter(stack: Stack, name: str) -> KeyParameter:
    found = _get_parameter(stack, name, decrypt=False)
    return KeyParameter(name, found["Type"], found["LastModifiedDate"])


def _get_parameter(stack: Stack, name: str | None, *, decrypt: bool) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = stack.client("ssm").get_parameter(Name=name, WithDecryption=decrypt)[
        "Parameter"
    ]
    return answer
