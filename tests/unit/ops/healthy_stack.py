"""The facts of a healthy stack, and helpers that change some of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from ops.doctor.checks.stripe import DETAILS
from ops.doctor.facts import (
    Access,
    AccessProbe,
    FunctionFacts,
    KeyParameter,
    KeyPermissions,
    KeyPrefix,
    LedgerFacts,
    RecentSessions,
    StackFacts,
)
from ops.doctor.shell import Shell
from ops.stack.stack import DEFAULT_STACK, StackOutputs, StackSelector
from recon.config import load_settings
from recon.dynamodb.watermark import Watermark

STACK = DEFAULT_STACK
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
NAMES = StackOutputs(
    queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/sessions",
    queue_arn="arn:aws:sqs:eu-west-1:123456789012:sessions",
    dlq_url="https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
    dlq_arn="arn:aws:sqs:eu-west-1:123456789012:dead-letters",
    producer="stripe-nightly-sync-producer",
    consumer="stripe-nightly-sync-consumer",
    mapping_id="0e3f1c8a",
    schedule="nightly",
    table="shop",
    alarm_topic=TOPIC,
    ledger="shop",
)
VARIABLES = {
    "COMMERCE_TABLE": NAMES.table,
    "SYNC_QUEUE_URL": NAMES.queue_url,
    "STRIPE_SECRET_PARAMETER": "/shop/stripe-key",
}
ALLOWED = AccessProbe(Access.ALLOWED)
INPUT = '{"trigger":"scheduled","scheduledTime":"<aws.scheduler.scheduled-time>"}'
REDRIVE = {"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": 12}


def a_function(name, timeout):
    configuration = {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:eu-west-1:123456789012:function:{name}",
        "Runtime": "python3.12",
        "Timeout": timeout,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "Environment": {"Variables": VARIABLES},
    }
    log_group = {"logGroupName": f"/aws/lambda/{name}", "retentionInDays": 90}
    return FunctionFacts(configuration, {}, log_group)


def an_alarm(name, **changes):
    healthy = {"ActionsEnabled": True, "AlarmActions": [TOPIC], "StateValue": "OK"}
    return {"AlarmName": f"{STACK}-{name}"} | healthy | changes


PRODUCER, CONSUMER = a_function(NAMES.producer, 900), a_function(NAMES.consumer, 60)
ALARMS = (an_alarm("producer-failed"), an_alarm("dead-letters"))
HEALTHY = StackFacts(
    shell=Shell(STACK, StackSelector()),
    names=NAMES,
    is_sandbox=False,
    stack={"StackStatus": "UPDATE_COMPLETE"},
    skew_seconds=0.4,
    producer=PRODUCER,
    consumer=CONSUMER,
    settings=load_settings(VARIABLES),
    parameter=KeyParameter("/shop/stripe-key", "SecureString", datetime(2026, 1, 2, tzinfo=UTC)),
    key=KeyPrefix("restricted", livemode=True),
    permissions=KeyPermissions(
        *[ALLOWED] * 6,
        recent=RecentSessions(100, 100, 2),
        invoices=ALLOWED,
        details=dict.fromkeys(DETAILS, ALLOWED),
    ),
    livemode=True,
    watermark=Watermark(proven_by="cs_found"),
    table={
        "TableName": "shop",
        "TableStatus": "ACTIVE",
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (("PK", "S"), ("SK", "S"), ("GSI", "N"))
        ],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    },
    time_to_live={"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"},
    backups={"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}},
    ledger=LedgerFacts(STACK, is_state_overwritten=False),
    queue={
        "VisibilityTimeout": "360",
        "MessageRetentionPeriod": "864000",
        "SqsManagedSseEnabled": "true",
        "RedrivePolicy": json.dumps(REDRIVE),
    },
    dead_letters={"MessageRetentionPeriod": "1209600", "SqsManagedSseEnabled": "true"},
    mapping={
        "State": "Enabled",
        "EventSourceArn": NAMES.queue_arn,
        "FunctionArn": CONSUMER.configuration["FunctionArn"],
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 5},
        "BatchSize": 25,
    },
    schedule={
        "Arn": "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly",
        "Name": NAMES.schedule,
        "GroupName": "default",
        "State": "ENABLED",
        "ScheduleExpression": "cron(0 2 * * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": PRODUCER.configuration["FunctionArn"],
            "RoleArn": "arn:aws:iam::123456789012:role/schedule",
            "Input": INPUT,
            "RetryPolicy": {"MaximumRetryAttempts": 20},
        },
        "CreationDate": datetime(2026, 1, 1, tzinfo=UTC),
    },
    schedule_role={"RoleName": "schedule"},
    alarm_names=[alarm["AlarmName"] for alarm in ALARMS],
    alarms=ALARMS,
    subscriptions=[{"SubscriptionArn": f"{TOPIC}:1", "Protocol": "email", "Endpoint": "ops@shop.example"}],
)


def stack(**changes):
    """Return the healthy stack with other facts."""
    return replace(HEALTHY, **changes)


def entry(fact, **changes):
    """Return the healthy stack with changed entries of one fact."""
    return stack(**{fact: {**getattr(HEALTHY, fact), **changes}})
