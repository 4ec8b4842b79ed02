"""The checks of the doctor: a healthy stack, and one fault at a time."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote, split

import pytest

from ops.cli.commands.doctor import show
from ops.cli.screen import CommandResult
from ops.doctor.checks import table
from ops.doctor.checks.stripe import DETAILS, put_key_command
from ops.doctor.diagnosis import Diagnosis, run_checks
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
from ops.doctor.fetched import Cause, Unavailable
from ops.doctor.finding import advice, fix, unknown
from ops.doctor.permissions import classify_key
from ops.doctor.shell import Shell
from ops.runs.finding import Verdict
from ops.stack.stack import DEFAULT_STACK, StackOutputs, StackSelector
from recon.config import load_settings
from recon.domain.session_filter import parse_filter
from recon.dynamodb.watermark import Watermark

REFERENCE = Path(__file__).parents[3] / "docs" / "reference.md"
STACK = DEFAULT_STACK
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
OTHER = "arn:aws:sqs:eu-west-1:123456789012:other"
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
ALLOWED, UNTRIED = AccessProbe(Access.ALLOWED), AccessProbe(Access.UNTRIED)
FORBIDDEN = AccessProbe(Access.NOT_ALLOWED, "Stripe: PermissionError (status 403)")
NOT_FOUND = AccessProbe(Access.NOT_FOUND)
REJECTED = AccessProbe(Access.REJECTED, "Stripe: AuthenticationError (status 401)")
FAILED = AccessProbe(Access.FAILED, "Stripe: APIConnectionError")
DENIED = Unavailable(Cause.DENIED, "service:Action")
MISSING = Unavailable(Cause.MISSING, "ResourceNotFoundException")
INPUT = '{"trigger":"scheduled","scheduledTime":"<aws.scheduler.scheduled-time>"}'
REDRIVE = {"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": 12}
NO_EXPIRY = {"TimeToLiveStatus": "DISABLED"}
# Commands
PUT_KEY = (
    'aws ssm put-parameter --name /shop/stripe-key --type SecureString --overwrite --value "$STRIPE_KEY"'
)
DASHBOARD = "https://dashboard.stripe.com/apikeys"
DELETE, DEPLOY = "make destroy", "make deploy"
MAPPING = f"aws lambda update-event-source-mapping --uuid {NAMES.mapping_id}"
CHECK_AGAIN = "nightly-sync doctor"
EXPIRE = (
    "aws dynamodb update-time-to-live --table-name shop "
    "--time-to-live-specification Enabled=true,AttributeName=expiresAt"
)
BACK_UP = (
    "aws dynamodb update-continuous-backups --table-name shop "
    "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
)
SHOW_EVENTS = (
    f"aws cloudformation describe-stack-events --stack-name {STACK} --output text --query "
    "\"StackEvents[?contains(ResourceStatus, 'FAILED')]."
    '[Timestamp, LogicalResourceId, ResourceStatusReason]"'
)
ROLL_BACK = f"aws cloudformation continue-update-rollback --stack-name {STACK}"
SET_VARIABLES = (
    f"aws lambda update-function-configuration --function-name {NAMES.consumer} "
    f"--environment {quote(json.dumps({'Variables': VARIABLES}))}"
)
SUBSCRIBE = (
    f"aws sns subscribe --protocol email --topic-arn {TOPIC} --notification-endpoint "
    f'"$(aws cloudformation describe-stacks --stack-name {STACK} --output text --query '
    '"Stacks[0].Parameters[?ParameterKey==\'AlarmEmail\'].ParameterValue")"'
)


def set_parameter(parameter):
    return f'{DEPLOY} ARGS="--set {parameter}"'


def set_queue(url, **attributes):
    return f"aws sqs set-queue-attributes --queue-url {url} --attributes {quote(json.dumps(attributes))}"


SET_REDRIVE = set_queue(NAMES.queue_url, RedrivePolicy=json.dumps(REDRIVE))
KEEP_DEAD_LONGER = set_queue(NAMES.dlq_url, MessageRetentionPeriod="1209600")
KEEP_SHORTER = set_queue(NAMES.queue_url, MessageRetentionPeriod="864000")
HIDE_LONGER = set_queue(NAMES.queue_url, VisibilityTimeout="360")
ENCRYPT = set_queue(NAMES.dlq_url, SqsManagedSseEnabled="true")
SET_SOURCES = set_parameter(
    "UserIdSources=metadata.userId,client_reference_id,customer_details.email,customer"
)
SET_TABLE = set_parameter("CommerceTable=YOUR-TABLE")
SET_FUNCTION = f"{MAPPING} --function-name {NAMES.consumer}"
SET_RESPONSES = f"{MAPPING} --function-response-types ReportBatchItemFailures"
SET_SCALING = f"{MAPPING} --scaling-config MaximumConcurrency=5"
UNTHROTTLE = f"aws lambda delete-function-concurrency --function-name {NAMES.consumer}"
CREATE_LOGS = f"aws logs create-log-group --log-group-name /aws/lambda/{NAMES.producer}"
EXPIRE_LOGS = "aws logs put-retention-policy --log-group-name /aws/lambda/p --retention-in-days 90"
ENABLE_ALARM = f"aws cloudwatch enable-alarm-actions --alarm-names {STACK}-producer-failed"
DELETE_PARAMETER = "aws ssm delete-parameter --name /shop/stripe-key"


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


TABLE_KEY, OTHER_KEY = (f"arn:aws:kms:eu-west-1:123456789012:key/{name}" for name in ("1", "2"))
CUSTOMER, OF_AWS = ({"Arn": TABLE_KEY, "KeyManager": manager} for manager in ("CUSTOMER", "AWS"))
SET_TABLE_KEY = set_parameter(f"TableKeyArn={TABLE_KEY}")


def encrypted(key, given=""):
    """Return the healthy stack with a table that is encrypted with `key`."""
    parameters = [{"ParameterKey": "TableKeyArn", "ParameterValue": given}]
    return stack(
        table={**HEALTHY.table, "SSEDescription": {"SSEType": "KMS", "KMSMasterKeyArn": TABLE_KEY}},
        table_key=key,
        stack={**HEALTHY.stack, "Parameters": parameters},
    )


def probed(**areas):
    return stack(permissions=replace(HEALTHY.permissions, **areas))


def consumer(**changes):
    return stack(consumer=replace(CONSUMER, configuration={**CONSUMER.configuration, **changes}))


def environment(**variables):
    return consumer(Environment={"Variables": VARIABLES | variables})


def redrive(**changes):
    return entry("queue", RedrivePolicy=json.dumps(REDRIVE | changes))


def find(facts):
    return {finding.name: finding for finding in run_checks(facts)}


def test_healthy_stack_has_only_ok_findings():
    findings = run_checks(HEALTHY)
    assert [finding for finding in findings if finding.verdict is not Verdict.OK] == []
    assert [finding for finding in findings if finding.command] == []
    assert len(findings) == len({finding.name for finding in findings}) == 50
    assert not Diagnosis(STACK, findings).needs_attention


UNAVAILABLE = [
    stack(**{name: DENIED})
    for name, value in vars(HEALTHY).items()
    if name not in {"shell", "names", "is_sandbox", "skew_seconds", "settings", "permissions", "ledger_table"}
    and not isinstance(value, FunctionFacts)
] + [
    stack(consumer=replace(CONSUMER, **{name: DENIED}))
    for name in ("configuration", "concurrency", "log_group")
]


@pytest.mark.parametrize("facts", UNAVAILABLE, ids=range(len(UNAVAILABLE)))
def test_unavailable_fact_is_unknown_and_hides_no_other_finding(facts):
    findings = run_checks(facts)
    unknowns = {one.name: one for one in findings if one.verdict is Verdict.UNKNOWN}
    assert unknowns
    assert all("service:Action" in one.what for one in unknowns.values())
    others = {one for one in run_checks(HEALTHY) if one.name not in unknowns}
    assert {one for one in findings if one.name not in unknowns} <= others
    assert Diagnosis(STACK, findings).needs_attention


OTHER_KEYS = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
}
OFF = entry("schedule", State="DISABLED")
DEPLOYED_OFF = {"Parameters": [{"ParameterKey": "ScheduleState", "ParameterValue": "DISABLED"}]}
EXPIRE_ORDERS = load_settings(VARIABLES | {"ORDER_TTL_DAYS": "365"})
UNCONFIRMED = {"SubscriptionArn": "PendingConfirmation", "Protocol": "email"}
NO_LIMIT = {"logGroupName": "/aws/lambda/p"}
SILENT = an_alarm("producer-failed", ActionsEnabled=False)
UNLINKED = an_alarm("producer-failed", AlarmActions=[])
RINGING = an_alarm("dead-letters", StateValue="ALARM")
UNENCRYPTED = replace(HEALTHY.parameter, type="String")
OTHER_FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:other"


def key(kind, livemode=None):
    return stack(key=KeyPrefix(kind, livemode))


def part(name, **changes):
    """Return the healthy stack with other facts of a function."""
    return stack(**{name: replace(getattr(HEALTHY, name), **changes)})


def sessions(listed, passed, without_user, text="mode"):
    """Return the healthy stack with other latest sessions and a filter."""
    permissions = replace(HEALTHY.permissions, recent=RecentSessions(listed, passed, without_user))
    settings = replace(HEALTHY.settings, session_filter=parse_filter(text))
    return stack(permissions=permissions, settings=settings)


FAULTS = [
    (sessions(9, 0, 0), fix("sessions: filter", "0 of the latest 9 sessions pass mode; compare")),
    (sessions(9, 9, 5), fix("sessions: users", "5 of the latest 9 sessions have no user id", SET_SOURCES)),
    (sessions(1, 1, 1), fix("sessions: users", "1 of the latest 1", SET_SOURCES)),
    (entry("stack", StackStatus="UPDATE_ROLLBACK_COMPLETE"), fix("stack", "deployment failed", SHOW_EVENTS)),
    (entry("stack", StackStatus="UPDATE_ROLLBACK_FAILED"), fix("stack", "after the rollback", ROLL_BACK)),
    (entry("stack", StackStatus="ROLLBACK_COMPLETE"), fix("stack", "never created completely", DELETE)),
    (entry("stack", StackStatus="UPDATE_IN_PROGRESS"), advice("stack", "may change", CHECK_AGAIN)),
    (stack(skew_seconds=-95.2), advice("clock", "95 s behind AWS")),
    (stack(skew_seconds=None), unknown("clock", "did not send")),
    (stack(parameter=MISSING, key=MISSING, permissions=None), fix("parameter", "does not exist", PUT_KEY)),
    (stack(parameter=UNENCRYPTED), fix("parameter", "is a String", f"{DELETE_PARAMETER} && {PUT_KEY}")),
    (key("secret", livemode=True), advice("key", "may do everything", DASHBOARD)),
    (key("publishable", livemode=True), fix("key", "publishable key", PUT_KEY)),
    (key(None), fix("key", "not a Stripe key", PUT_KEY)),
    (
        stack(
            key=KeyPrefix("restricted", livemode=False),
            permissions=KeyPermissions(*[ALLOWED] * 5),
            watermark=Watermark(confirmed_by="20241127T020000Z-8f3c1d"),
        ),
        fix("key: mode", "test mode, but the last run had live mode", PUT_KEY),
    ),
    (
        stack(permissions=KeyPermissions(*[ALLOWED] * 5, proof=NOT_FOUND)),
        fix("key: account", "cannot read cs_found", PUT_KEY),
    ),
    (
        stack(permissions=KeyPermissions(*[ALLOWED] * 5, proof=FAILED)),
        unknown("key: account", "APIConnectionError"),
    ),
    (
        stack(permissions=KeyPermissions(*[ALLOWED] * 5), watermark=Watermark()),
        advice("key: account", "nothing proves yet"),
    ),
    (stack(watermark=DENIED), unknown("key: account", "service:Action")),
    (key("secret"), unknown("key: mode", "does not show")),
    (probed(sessions=REJECTED), fix("key: accepted", "status 401", PUT_KEY)),
    (probed(sessions=FORBIDDEN), fix("key: sessions", "permission for Checkout Sessions", DASHBOARD)),
    (probed(line_items=FORBIDDEN), fix("key: line items", "KeyNotAllowed", DASHBOARD)),
    (probed(events=FORBIDDEN), fix("key: events", "can double an order", DASHBOARD)),
    (probed(charges=FORBIDDEN), fix("key: charges", "refunded orders are written", DASHBOARD)),
    (probed(disputes=FORBIDDEN), fix("key: disputes", "a lost dispute", DASHBOARD)),
    (probed(invoices=FORBIDDEN), fix("key: invoices", "orders of subscriptions", DASHBOARD)),
    (probed(details={"reviews": FORBIDDEN}), advice("key: reviews", "under review", DASHBOARD)),
    (
        probed(details={"balance_transactions": FORBIDDEN}),
        advice("key: balance transactions", "paidAt", DASHBOARD),
    ),
    (probed(details={"shipping_rates": FORBIDDEN}), advice("key: shipping rates", "no `name`", DASHBOARD)),
    (probed(details={"promotion_codes": FORBIDDEN}), advice("key: promotion codes", "`code`", DASHBOARD)),
    (probed(details={"coupons": FORBIDDEN}), advice("key: coupons", "before 2025", DASHBOARD)),
    (probed(line_items=UNTRIED), advice("key: line items", "not tried")),
    (probed(events=FAILED), unknown("key: events", "APIConnectionError")),
    (stack(table=MISSING), fix("table", "no table shop", SET_TABLE)),
    (entry("table", TableStatus="DELETING"), fix("table", "DELETING")),
    (entry("table", **OTHER_KEYS), fix("table: keys", "id (N)", SET_TABLE)),
    (encrypted(CUSTOMER), fix("table: encryption", "each of their calls is denied", SET_TABLE_KEY)),
    (encrypted(CUSTOMER, OTHER_KEY), fix("table: encryption", "may not use", SET_TABLE_KEY)),
    (encrypted(DENIED), unknown("table: encryption", "service:Action")),
    (stack(time_to_live=NO_EXPIRY), advice("table: expiry", "records of runs should expire", EXPIRE)),
    (
        stack(time_to_live=NO_EXPIRY, settings=EXPIRE_ORDERS),
        advice("table: expiry", "after 365 days", EXPIRE),
    ),
    (entry("time_to_live", AttributeName="ttl"), advice("table: expiry", "by ttl")),
    (stack(backups={}), advice("table: backups", "no point-in-time recovery", BACK_UP)),
    (
        stack(ledger=LedgerFacts("other", is_state_overwritten=False)),
        fix("ledger: owner", "stack other, so every run", f'{DEPLOY} ARGS="--adopt"'),
    ),
    (
        stack(ledger=LedgerFacts(STACK, is_state_overwritten=True)),
        fix("ledger: sync state", "SYSTEM / STRIPE_ORDER_SYNC"),
    ),
    (
        stack(ledger=LedgerFacts(STACK, is_state_overwritten=False, not_moved="it is elsewhere")),
        fix("ledger: move", "every run is refused: it is elsewhere"),
    ),
    (
        environment(SYNC_LEDGER_TABLE="books"),
        fix("consumer: settings", "SYNC_LEDGER_TABLE is books, not empty", SET_VARIABLES),
    ),
    (entry("queue", VisibilityTimeout="359"), fix("queue: visibility", "should be 360 s", HIDE_LONGER)),
    (entry("queue", RedrivePolicy=""), fix("queue: redrive", "none", SET_REDRIVE)),
    (
        redrive(maxReceiveCount="10"),
        fix("queue: redrive", "after 10 receives, but should be 12", SET_REDRIVE),
    ),
    (redrive(deadLetterTargetArn=OTHER), fix("queue: redrive", "other", SET_REDRIVE)),
    (
        entry("dead_letters", MessageRetentionPeriod="864000"),
        fix("dead letters: retention", "10 days, the queue's 10", KEEP_DEAD_LONGER),
    ),
    (
        entry("queue", MessageRetentionPeriod="1209600"),
        fix("dead letters: retention", "14 days, the queue's 14", KEEP_SHORTER),
    ),
    (entry("dead_letters", SqsManagedSseEnabled="false"), advice("dead letters: encryption", "off", ENCRYPT)),
    (stack(queue=MISSING), fix("queue", "does not exist", DELETE)),
    (entry("mapping", State="Disabled"), fix("mapping", "wait", "nightly-sync resume --queue-only")),
    (entry("mapping", State="Enabling"), advice("mapping", "in a minute", CHECK_AGAIN)),
    (stack(mapping=MISSING), fix("mapping", "does not exist", DELETE)),
    (entry("mapping", EventSourceArn=OTHER), fix("mapping: ends", "other", DELETE)),
    (entry("mapping", FunctionArn=OTHER_FUNCTION), fix("mapping: ends", "not the consumer", SET_FUNCTION)),
    (entry("mapping", FunctionResponseTypes=[]), fix("mapping: failures", "deleted", SET_RESPONSES)),
    (
        entry("mapping", ScalingConfig={"MaximumConcurrency": 50}),
        fix("mapping: concurrency", "50", SET_SCALING),
    ),
    (entry("mapping", ScalingConfig={}), fix("mapping: concurrency", "not limited", SET_SCALING)),
    (
        entry("mapping", BatchSize=500),
        advice("mapping: batches", "500 messages", f"{MAPPING} --batch-size 200"),
    ),
    (
        consumer(LastUpdateStatus="Failed", LastUpdateStatusReason="Invalid"),
        fix("consumer", "Invalid", DEPLOY),
    ),
    (part("producer", configuration=MISSING), fix("producer", f"function {NAMES.producer} does not", DELETE)),
    (
        environment(COMMERCE_TABLE="other"),
        fix("consumer: settings", "COMMERCE_TABLE is other, not shop", SET_VARIABLES),
    ),
    (
        environment(ORDER_TTL_DAYS="many"),
        fix("consumer: settings", "ORDER_TTL_DAYS must be an integer", SET_VARIABLES),
    ),
    (environment(STRIPE_SECRET="sk_live_1"), advice("consumer: settings", "is in STRIPE_SECRET")),
    (
        part("consumer", concurrency={"ReservedConcurrentExecutions": 0}),
        fix("consumer: concurrency", "throttles every call", UNTHROTTLE),
    ),
    (part("producer", log_group=None), fix("producer: logs", "no log group", CREATE_LOGS)),
    (part("producer", log_group=NO_LIMIT), advice("producer: logs", "without limit", EXPIRE_LOGS)),
    (OFF, fix("schedule", "no run starts automatically", "nightly-sync resume --schedule-only")),
    (replace(OFF, is_sandbox=True), advice("schedule", "as in every sandbox")),
    (
        replace(OFF, stack=HEALTHY.stack | DEPLOYED_OFF),
        fix("schedule", "no run starts", set_parameter("ScheduleState=ENABLED")),
    ),
    (stack(schedule=MISSING), fix("schedule", "does not exist", DELETE)),
    (stack(schedule_role=None), fix("schedule: role", "no role", DELETE)),
    (stack(schedule_role=MISSING), fix("schedule: role", "role/schedule", DELETE)),
    (stack(alarms=ALARMS[:1]), fix("alarm: dead-letters", "does not exist", DELETE)),
    (stack(alarms=[SILENT, ALARMS[1]]), fix("alarm: producer-failed", "actions are off", ENABLE_ALARM)),
    (stack(alarms=[UNLINKED, ALARMS[1]]), fix("alarm: producer-failed", "does not notify", DELETE)),
    (
        stack(alarms=[ALARMS[0], RINGING]),
        fix("alarm: dead-letters", "in alarm", "nightly-sync dlq list --check"),
    ),
    (stack(subscriptions=[UNCONFIRMED]), fix("alarms: subscribers", "must be confirmed", SUBSCRIBE)),
    (
        stack(subscriptions=[]),
        fix("alarms: subscribers", "no subscription", set_parameter("AlarmEmail=YOUR-ADDRESS")),
    ),
    (stack(subscriptions=[], is_sandbox=True), advice("alarms: subscribers", "as in every sandbox")),
]


@pytest.mark.parametrize(("facts", "expected"), FAULTS, ids=[f"{one.name}-{one.what}" for _, one in FAULTS])
def test_fault_is_found_with_its_command_and_changes_no_other_part(facts, expected):
    findings, healthy = find(facts), find(HEALTHY)
    found = findings[expected.name]
    assert (found.verdict, found.command) == (expected.verdict, expected.command)
    assert expected.what in found.what
    is_serious = expected.verdict in (Verdict.FIX, Verdict.UNKNOWN)
    assert Diagnosis(STACK, run_checks(facts)).needs_attention == is_serious
    checked = expected.name.split(":")[0]
    others = {name: one.verdict for name, one in findings.items() if name.split(":")[0] != checked}
    if expected.name != "key: accepted":
        assert others == {name: healthy[name].verdict for name in others}


@pytest.mark.parametrize(
    "facts", [sessions(0, 0, 0), sessions(9, 1, 0), sessions(9, 9, 4), sessions(9, 9, 0, "")]
)
def test_filter_and_sources_that_fit_have_no_finding(facts):
    findings = find(facts)
    assert {findings[f"sessions: {name}"].verdict for name in ("filter", "users")} == {Verdict.OK}


def test_rejected_key_has_one_finding():
    findings = run_checks(stack(permissions=KeyPermissions(*[REJECTED] * 5)))
    assert [one.name for one in findings if "401" in one.what] == ["key: accepted"]


@pytest.mark.parametrize(
    "changes",
    [{"Arn": OTHER_FUNCTION}, {"Input": "{}"}],
    ids=["target", "input"],
)
def test_schedule_is_fixed_by_sending_it_whole(changes):
    facts = entry("schedule", Target={**HEALTHY.schedule["Target"], **changes})
    [command] = [one.command for one in run_checks(facts) if one.verdict is Verdict.FIX]
    *words, sent = split(command)
    assert words == ["aws", "scheduler", "update-schedule", "--cli-input-json"]
    read_only = {"Arn", "CreationDate"}
    assert json.loads(sent) == {
        name: value for name, value in HEALTHY.schedule.items() if name not in read_only
    }


def test_checks_that_need_settings_are_unknown_without_them():
    findings = run_checks(stack(settings=None, parameter=None, key=None, permissions=None))
    unknowns = {one.name for one in findings if one.verdict is Verdict.UNKNOWN}
    assert unknowns == {"key", "queue: redrive", "mapping: concurrency"}


def test_command_contains_no_key_of_the_environment():
    facts = environment(STRIPE_SECRET="sk_live_abcdefgh", COMMERCE_TABLE="other")
    assert find(facts)["consumer: settings"].verdict is Verdict.FIX
    assert not any("sk_live" in f"{one.what}{one.command}" for one in run_checks(facts))


@pytest.mark.parametrize(
    ("value", "kind", "livemode"),
    [
        ("rk_live_51abc", "restricted", True),
        ("rk_test_51abc", "restricted", False),
        ("sk_live_51abc", "secret", True),
        ("sk_test_51abc", "secret", False),
        ("sk_org_51abc", "secret", None),
        ("pk_live_51abc", "publishable", None),
        ("whsec_51abc", None, None),
        ("", None, None),
    ],
)
def test_key_is_classified_by_its_prefix(value, kind, livemode):
    assert classify_key(value) == KeyPrefix(kind, livemode)


def test_commands_select_the_checked_stack():
    shell = Shell("other", StackSelector(profile="night shift", region="eu-west-1"))
    options = "--profile 'night shift' --region eu-west-1"
    assert shell.sync("resume") == "nightly-sync resume"
    assert shell.deploy("DryRun=true") == (
        "AWS_PROFILE='night shift' make deploy ARGS=\"--stack other --region eu-west-1 --set DryRun=true\""
    )
    assert shell.destroy().endswith('make destroy ARGS="--stack other --region eu-west-1"')
    assert put_key_command("/k", shell).startswith(f"aws {options} ssm put-parameter ")


def test_commands_select_the_sandbox():
    shell = Shell("sync-1", StackSelector(sandbox=Path(".sandbox")), "http://127.0.0.1:4566")
    assert shell.sync("resume") == "nightly-sync resume"
    assert shell.destroy() == "make demo ARGS=--stop"


@pytest.mark.parametrize(
    ("setting", "mailing", "silent"),
    [("one", "needs-a-person", "dead-letters"), ("each", "dead-letters", "needs-a-person")],
)
def test_alarm_that_sends_no_mail_by_parameter_may_be_silent(setting, mailing, silent):
    parameters = [{"ParameterKey": "AlarmMails", "ParameterValue": setting}]
    facts = stack(
        stack=HEALTHY.stack | {"Parameters": parameters},
        alarm_names=[f"{STACK}-{name}" for name in (mailing, silent)],
        alarms=[an_alarm(mailing), an_alarm(silent, ActionsEnabled=False)],
    )
    findings = find(facts)
    assert {findings[f"alarm: {name}"].verdict for name in (mailing, silent)} == {Verdict.OK}
    both_silent = [an_alarm(name, ActionsEnabled=False) for name in (mailing, silent)]
    assert find(replace(facts, alarms=both_silent))[f"alarm: {mailing}"].verdict is Verdict.FIX


NO_RUN = an_alarm("no-completed-run", ActionsEnabled=False)
LEFT_OUT = an_alarm(
    "needs-a-person", AlarmRule=f'ALARM("a") OR (ALARM("{STACK}-no-completed-run") AND FALSE)'
)


@pytest.mark.parametrize(("alarm", "mails"), [(NO_RUN, "each"), (LEFT_OUT, "one")])
@pytest.mark.parametrize(("state", "verdict"), [("DISABLED", Verdict.OK), ("ENABLED", Verdict.FIX)])
def test_alarm_of_a_missed_run_is_silent_during_a_pause_only(alarm, mails, state, verdict):
    facts = stack(
        stack=HEALTHY.stack | {"Parameters": [{"ParameterKey": "AlarmMails", "ParameterValue": mails}]},
        alarm_names=[alarm["AlarmName"]],
        alarms=[alarm],
        schedule=HEALTHY.schedule | {"State": state},
    )
    finding = find(facts)[f"alarm: {alarm['AlarmName'].removeprefix(f'{STACK}-')}"]
    assert finding.verdict is verdict


def test_right_key_after_a_wrong_one_is_right():
    findings = run_checks(stack(livemode=False))
    (mode,) = [each for each in findings if each.name == "key: mode"]
    assert (mode.verdict, mode.what) == (Verdict.OK, "live mode, like the shop's orders")


def test_confirmed_key_is_accepted():
    findings = run_checks(
        stack(permissions=KeyPermissions(*[ALLOWED] * 5), watermark=Watermark(confirmed_by="run-1"))
    )
    (account,) = [each for each in findings if each.name == "key: account"]
    assert account.verdict is Verdict.OK


def test_doctor_shows_findings_and_a_count_and_all_checks_on_request(context):
    broken = replace(HEALTHY, skew_seconds=None, time_to_live={"TimeToLiveStatus": "DISABLED"})
    diagnosis = Diagnosis(STACK, run_checks(broken))
    short = context.show(CommandResult(None, lambda screen: show(screen, diagnosis))).splitlines()
    assert short[0] == "unknown: clock: AWS did not send its time"
    assert short[1].startswith("advice: table: expiry: off: records of runs should expire.")
    assert short[2].strip().startswith("aws dynamodb update-time-to-live")
    assert short[3:] == ["", f"{STACK}: 48 ok, 1 advice, 0 fix, 1 unknown"]
    everything = context.show(CommandResult(None, lambda screen: show(screen, diagnosis, verbose=True)))
    assert everything.count("\nok: ") == 48


@pytest.mark.parametrize(
    "code", sorted({one.code for one in (*run_checks(HEALTHY), *(fault for _, fault in FAULTS))})
)
def test_code_of_a_finding_is_in_the_reference(code):
    if not code.startswith("alarm_"):
        assert f"`{code}`" in REFERENCE.read_text()


def test_doctor_of_a_healthy_stack_is_one_line(context):
    diagnosis = Diagnosis(STACK, run_checks(HEALTHY))
    shown = context.show(CommandResult(None, lambda screen: show(screen, diagnosis)))
    assert shown == f"{STACK}: 50 ok, 0 advice, 0 fix, 0 unknown\n"


@pytest.mark.parametrize("facts", [encrypted(OF_AWS), encrypted(CUSTOMER, TABLE_KEY)])
def test_encryption_that_the_functions_may_use_is_fine(facts):
    [found] = [one for one in table.check(facts) if one.name == "table: encryption"]
    assert found.verdict is Verdict.OK
