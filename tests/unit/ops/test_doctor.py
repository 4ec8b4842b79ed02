"""Each check of the doctor over facts: a healthy stack, and one thing wrong at a time."""

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.doctor.checks.stripe import put_key
from ops.doctor.diagnosis import Diagnosis, all_findings
from ops.doctor.facts import Access, Facts, Function, Key, Parameter, Permissions, Tried
from ops.doctor.finding import Verdict, advice, fix, ok, unknown
from ops.doctor.permissions import key_of
from ops.doctor.shell import Shell
from ops.doctor.unread import Cause, Unavailable
from ops.stack.stack import DEFAULT_STACK, StackOutputs, StackSelector
from recon.config import load_settings

STACK = DEFAULT_STACK
ARN = "arn:aws:{}:eu-west-1:123456789012:{}"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/stripe-nightly-sync-{}"
TOPIC = ARN.format("sns", "alarms")
NAMES = StackOutputs(
    queue_url=URL.format("sessions"),
    queue_arn=ARN.format("sqs", "stripe-nightly-sync-sessions"),
    dlq_url=URL.format("dead-letters"),
    dlq_arn=ARN.format("sqs", "stripe-nightly-sync-dead-letters"),
    producer="stripe-nightly-sync-producer",
    consumer="stripe-nightly-sync-consumer",
    mapping_id="0e3f1c8a-aaaa-bbbb-cccc-121212121212",
    schedule="stripe-nightly-sync-nightly",
    table="shop",
    alarm_topic=TOPIC,
)
VARIABLES = {
    "COMMERCE_TABLE": NAMES.table,
    "SYNC_QUEUE_URL": NAMES.queue_url,
    "STRIPE_SECRET_PARAMETER": "/shop/stripe-key",
}
ALLOWED = Tried(Access.ALLOWED)
FORBIDDEN = Tried(Access.NOT_ALLOWED, "Stripe: PermissionError (status 403)")
DENIED = Unavailable(Cause.DENIED, "service:Action")
MISSING = Unavailable(Cause.MISSING, "ResourceNotFoundException")
PUT_KEY = (
    'aws ssm put-parameter --name /shop/stripe-key --type SecureString --overwrite --value "$STRIPE_KEY"'
)
DELETE, DEPLOY = "make destroy", "make deploy"
MAPPING = f"aws lambda update-event-source-mapping --uuid {NAMES.mapping_id}"
INPUT = '{"trigger":"scheduled","scheduledTime":"<aws.scheduler.scheduled-time>"}'


def set_to(parameter):
    return f'{DEPLOY} ARGS="--set {parameter}"'


def a_function(name, timeout):
    configuration = {
        "FunctionName": name,
        "FunctionArn": ARN.format("lambda", f"function:{name}"),
        "Runtime": "python3.12",
        "Timeout": timeout,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "Environment": {"Variables": VARIABLES},
    }
    return Function(configuration, {}, {"logGroupName": f"/aws/lambda/{name}", "retentionInDays": 90})


def an_alarm(name, state="OK", **changes):
    return {"AlarmName": name, "ActionsEnabled": True, "AlarmActions": [TOPIC], "StateValue": state} | changes


ALARMS = (f"{STACK}-producer-failed", f"{STACK}-dead-letters")
HEALTHY = Facts(
    shell=Shell(STACK, StackSelector()),
    names=NAMES,
    is_sandbox=False,
    stack={"StackStatus": "UPDATE_COMPLETE"},
    skew_seconds=0.4,
    producer=a_function(NAMES.producer, 900),
    consumer=a_function(NAMES.consumer, 60),
    settings=load_settings(VARIABLES),
    parameter=Parameter("/shop/stripe-key", "SecureString", datetime(2026, 1, 2, tzinfo=UTC)),
    key=Key("restricted", livemode=True),
    permissions=Permissions(ALLOWED, ALLOWED, ALLOWED, ALLOWED, ALLOWED),
    livemode=True,
    table={
        "TableName": "shop",
        "TableStatus": "ACTIVE",
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
            {"AttributeName": "GSI", "AttributeType": "N"},
        ],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    },
    time_to_live={"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"},
    backups={"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}},
    queue={
        "VisibilityTimeout": "360",
        "MessageRetentionPeriod": "864000",
        "SqsManagedSseEnabled": "true",
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": "12"}),
    },
    dead_letters={"MessageRetentionPeriod": "1209600", "SqsManagedSseEnabled": "true"},
    mapping={
        "State": "Enabled",
        "EventSourceArn": NAMES.queue_arn,
        "FunctionArn": ARN.format("lambda", f"function:{NAMES.consumer}"),
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 5},
        "BatchSize": 25,
    },
    schedule={
        "Arn": ARN.format("scheduler", "schedule/default/stripe-nightly-sync-nightly"),
        "Name": NAMES.schedule,
        "GroupName": "default",
        "State": "ENABLED",
        "ScheduleExpression": "cron(0 2 * * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": ARN.format("lambda", f"function:{NAMES.producer}"),
            "RoleArn": "arn:aws:iam::123456789012:role/schedule",
            "Input": INPUT,
            "RetryPolicy": {"MaximumRetryAttempts": 20},
        },
        "CreationDate": datetime(2026, 1, 1, tzinfo=UTC),
    },
    schedule_role={"RoleName": "schedule"},
    alarm_names=ALARMS,
    alarms=[an_alarm(name) for name in ALARMS],
    subscriptions=[{"SubscriptionArn": f"{TOPIC}:1", "Protocol": "email", "Endpoint": "ops@shop.example"}],
)
FACTS_WITH_AN_ANSWER = (
    "stack",
    "parameter",
    "key",
    "livemode",
    "table",
    "time_to_live",
    "backups",
    "queue",
    "dead_letters",
    "mapping",
    "schedule",
    "schedule_role",
    "alarm_names",
    "alarms",
    "subscriptions",
)


def changed(fact, **changes):
    """The healthy stack with some of one answer's entries changed."""
    return replace(HEALTHY, **{fact: {**getattr(HEALTHY, fact), **changes}})


def consumer(**changes):
    configuration = {**HEALTHY.consumer.configuration, **changes}
    return replace(HEALTHY, consumer=replace(HEALTHY.consumer, configuration=configuration))


def consumer_with(**variables):
    return consumer(Environment={"Variables": VARIABLES | variables})


def allowed_but(**areas):
    return replace(HEALTHY, permissions=replace(HEALTHY.permissions, **areas))


def target(**changes):
    return changed("schedule", Target={**HEALTHY.schedule["Target"], **changes})


def settings(**variables):
    return replace(HEALTHY, settings=load_settings(VARIABLES | variables))


def redrive(**changes):
    policy = {"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": "12"} | changes
    return changed("queue", RedrivePolicy=json.dumps(policy))


def set_queue(url, **attributes):
    return (
        f"aws sqs set-queue-attributes --queue-url {url} --attributes {shlex.quote(json.dumps(attributes))}"
    )


def findings(facts):
    return {finding.name: finding for finding in all_findings(facts)}


def test_a_healthy_stack_has_nothing_to_say():
    found = all_findings(HEALTHY)
    assert [finding for finding in found if finding.verdict is not Verdict.OK] == []
    assert len(found) == len({finding.name for finding in found}) == 39
    assert not Diagnosis(STACK, found).needs_attention


@pytest.mark.parametrize("fact", FACTS_WITH_AN_ANSWER)
def test_what_may_not_be_read_is_unknown_names_the_action_and_hides_nothing_else(fact):
    facts = replace(HEALTHY, **{fact: DENIED})
    found = all_findings(facts)
    unknowns = [finding for finding in found if finding.verdict is Verdict.UNKNOWN]
    assert unknowns
    assert all("service:Action" in finding.what for finding in unknowns)
    names = {finding.name for finding in unknowns}
    others = {finding for finding in all_findings(HEALTHY) if finding.name not in names}
    assert {finding for finding in found if finding.name not in names} <= others
    assert Diagnosis(STACK, found).needs_attention


@pytest.mark.parametrize("part", ["configuration", "concurrency", "log_group"])
def test_a_function_that_may_not_be_read_is_unknown(part):
    facts = replace(HEALTHY, consumer=replace(HEALTHY.consumer, **{part: DENIED}))
    assert "service:Action" in " ".join(
        finding.what for finding in all_findings(facts) if finding.verdict is Verdict.UNKNOWN
    )


BROKEN = {
    "a deploy was taken back": (
        changed("stack", StackStatus="UPDATE_ROLLBACK_COMPLETE"),
        fix(
            "stack",
            "the last deploy failed",
            "aws cloudformation describe-stack-events --stack-name stripe-nightly-sync --output text --query "
            "\"StackEvents[?contains(ResourceStatus, 'FAILED')]."
            '[Timestamp, LogicalResourceId, ResourceStatusReason]"',
        ),
    ),
    "a rollback failed": (
        changed("stack", StackStatus="UPDATE_ROLLBACK_FAILED"),
        fix(
            "stack",
            "UPDATE_ROLLBACK_FAILED",
            "aws cloudformation continue-update-rollback --stack-name stripe-nightly-sync",
        ),
    ),
    "the first deploy failed": (
        changed("stack", StackStatus="ROLLBACK_COMPLETE"),
        fix("stack", "never whole", DELETE),
    ),
    "a deploy is going on": (
        changed("stack", StackStatus="UPDATE_IN_PROGRESS"),
        advice("stack", "may change", "nightly-sync doctor"),
    ),
    "this machine's clock is wrong": (
        replace(HEALTHY, skew_seconds=-95.2),
        advice("clock", "95 s behind AWS"),
    ),
    "AWS did not say the time": (replace(HEALTHY, skew_seconds=None), unknown("clock", "did not say")),
    "there is no parameter": (
        replace(HEALTHY, parameter=MISSING, key=MISSING, permissions=None),
        fix("parameter", "/shop/stripe-key does not exist", PUT_KEY),
    ),
    "the parameter is not encrypted": (
        replace(HEALTHY, parameter=replace(HEALTHY.parameter, type="String")),
        fix("parameter", "is a String", f"aws ssm delete-parameter --name /shop/stripe-key && {PUT_KEY}"),
    ),
    "it is a secret key": (
        replace(HEALTHY, key=Key("secret", livemode=True)),
        advice("key", "may do everything", "https://dashboard.stripe.com/apikeys"),
    ),
    "it is a publishable key": (
        replace(HEALTHY, key=Key("publishable", livemode=True)),
        fix("key", "publishable key", PUT_KEY),
    ),
    "it is no key at all": (
        replace(HEALTHY, key=Key(None, None)),
        fix("key", "not a Stripe key", PUT_KEY),
    ),
    "a test key where live sessions were seen": (
        replace(HEALTHY, key=Key("restricted", livemode=False)),
        fix("key: mode", "test mode, where the last run saw live mode", PUT_KEY),
    ),
    "a key that says no mode": (
        replace(HEALTHY, key=Key("secret", None)),
        unknown("key: mode", "does not say"),
    ),
    "Stripe rejects the key": (
        allowed_but(sessions=Tried(Access.REJECTED, "Stripe: AuthenticationError (status 401)")),
        fix("key: accepted", "status 401", PUT_KEY),
    ),
    "the key may not list sessions": (
        allowed_but(sessions=FORBIDDEN),
        fix("key: sessions", "read on Checkout Sessions", "https://dashboard.stripe.com/apikeys"),
    ),
    "the key may not read products": (
        allowed_but(line_items=FORBIDDEN),
        fix("key: line items", "KeyNotAllowed", "https://dashboard.stripe.com/apikeys"),
    ),
    "the key may not read events": (
        allowed_but(events=FORBIDDEN),
        fix("key: events", "can double an order", "https://dashboard.stripe.com/apikeys"),
    ),
    "the key may not read charges": (
        allowed_but(charges=FORBIDDEN),
        fix("key: charges", "refunded orders are written", "https://dashboard.stripe.com/apikeys"),
    ),
    "the key may not read disputes": (
        allowed_but(disputes=FORBIDDEN),
        fix("key: disputes", "dispute was lost", "https://dashboard.stripe.com/apikeys"),
    ),
    "Stripe has no session yet": (
        allowed_but(line_items=Tried(Access.UNTRIED)),
        advice("key: line items", "not tried"),
    ),
    "Stripe does not answer": (
        allowed_but(events=Tried(Access.FAILED, "Stripe: APIConnectionError")),
        unknown("key: events", "APIConnectionError"),
    ),
    "there is no table": (
        replace(HEALTHY, table=MISSING),
        fix("table", "no table shop", set_to("CommerceTable=YOUR-TABLE")),
    ),
    "the table is being deleted": (
        changed("table", TableStatus="DELETING"),
        fix("table", "DELETING"),
    ),
    "the table has other keys": (
        changed(
            "table",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        ),
        fix("table: keys", "id (N)", set_to("CommerceTable=YOUR-TABLE")),
    ),
    "nothing expires": (
        replace(HEALTHY, time_to_live={"TimeToLiveStatus": "DISABLED"}),
        advice(
            "table: expiry",
            "records of runs stay for ever",
            "aws dynamodb update-time-to-live --table-name shop "
            "--time-to-live-specification Enabled=true,AttributeName=expiresAt",
        ),
    ),
    "orders should expire and do not": (
        replace(settings(ORDER_TTL_DAYS="365"), time_to_live={"TimeToLiveStatus": "DISABLED"}),
        advice(
            "table: expiry",
            "after 365 days and never do",
            "aws dynamodb update-time-to-live --table-name shop "
            "--time-to-live-specification Enabled=true,AttributeName=expiresAt",
        ),
    ),
    "items expire by another attribute": (
        changed("time_to_live", AttributeName="ttl"),
        advice("table: expiry", "by ttl"),
    ),
    "the table has no backups": (
        replace(HEALTHY, backups={"ContinuousBackupsStatus": "ENABLED"}),
        advice(
            "table: backups",
            "no point-in-time recovery",
            "aws dynamodb update-continuous-backups --table-name shop "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
        ),
    ),
    "messages come back too early": (
        changed("queue", VisibilityTimeout="359"),
        fix("queue: visibility", "should be 360 s", set_queue(NAMES.queue_url, VisibilityTimeout="360")),
    ),
    "messages are never given up": (
        changed("queue", RedrivePolicy=""),
        fix(
            "queue: redrive",
            "none",
            set_queue(
                NAMES.queue_url,
                RedrivePolicy=json.dumps({"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": 12}),
            ),
        ),
    ),
    "messages are given up too early": (
        redrive(maxReceiveCount="10"),
        fix(
            "queue: redrive",
            "after 10 receives, and should be 12",
            set_queue(
                NAMES.queue_url,
                RedrivePolicy=json.dumps({"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": 12}),
            ),
        ),
    ),
    "messages go to another queue": (
        redrive(deadLetterTargetArn=ARN.format("sqs", "other")),
        fix(
            "queue: redrive",
            "other",
            set_queue(
                NAMES.queue_url,
                RedrivePolicy=json.dumps({"deadLetterTargetArn": NAMES.dlq_arn, "maxReceiveCount": 12}),
            ),
        ),
    ),
    "dead letters are dropped too early": (
        changed("dead_letters", MessageRetentionPeriod="864000"),
        fix(
            "dead letters: retention",
            "10 days, the queue's 10",
            set_queue(NAMES.dlq_url, MessageRetentionPeriod="1209600"),
        ),
    ),
    "messages are kept as long as SQS can": (
        changed("queue", MessageRetentionPeriod="1209600"),
        fix(
            "dead letters: retention",
            "14 days, the queue's 14",
            set_queue(NAMES.queue_url, MessageRetentionPeriod="864000"),
        ),
    ),
    "dead letters are not encrypted": (
        changed("dead_letters", SqsManagedSseEnabled="false"),
        advice("dead letters: encryption", "off", set_queue(NAMES.dlq_url, SqsManagedSseEnabled="true")),
    ),
    "the queue is gone": (replace(HEALTHY, queue=MISSING), fix("queue", "gone", DELETE)),
    "the consumer is paused": (
        changed("mapping", State="Disabled"),
        fix("mapping", "messages wait", "nightly-sync resume --queue-only"),
    ),
    "the consumer is about to start": (
        changed("mapping", State="Enabling"),
        advice("mapping", "in a minute", "nightly-sync doctor"),
    ),
    "the mapping is gone": (replace(HEALTHY, mapping=MISSING), fix("mapping", "gone", DELETE)),
    "the mapping reads another queue": (
        changed("mapping", EventSourceArn=ARN.format("sqs", "other")),
        fix("mapping: ends", "other", DELETE),
    ),
    "the mapping calls another function": (
        changed("mapping", FunctionArn=ARN.format("lambda", "function:other")),
        fix("mapping: ends", "not the consumer", f"{MAPPING} --function-name {NAMES.consumer}"),
    ),
    "failures are taken for done": (
        changed("mapping", FunctionResponseTypes=[]),
        fix(
            "mapping: failures",
            "its messages are deleted",
            f"{MAPPING} --function-response-types ReportBatchItemFailures",
        ),
    ),
    "more consumers than Stripe's pace is shared by": (
        changed("mapping", ScalingConfig={"MaximumConcurrency": 50}),
        fix("mapping: concurrency", "50", f"{MAPPING} --scaling-config MaximumConcurrency=5"),
    ),
    "any number of consumers": (
        changed("mapping", ScalingConfig={}),
        fix("mapping: concurrency", "not limited", f"{MAPPING} --scaling-config MaximumConcurrency=5"),
    ),
    "batches that are too large": (
        changed("mapping", BatchSize=100),
        advice("mapping: batches", "100 messages", f"{MAPPING} --batch-size 25"),
    ),
    "an update of a function failed": (
        consumer(LastUpdateStatus="Failed", LastUpdateStatusReason="InvalidImage"),
        fix("consumer", "InvalidImage", DEPLOY),
    ),
    "a function is gone": (
        replace(HEALTHY, producer=replace(HEALTHY.producer, configuration=MISSING)),
        fix("producer", "the function stripe-nightly-sync-producer is gone", DELETE),
    ),
    "a function writes into another table": (
        consumer_with(COMMERCE_TABLE="other"),
        fix(
            "consumer: settings",
            "COMMERCE_TABLE is other, not shop",
            f"aws lambda update-function-configuration --function-name {NAMES.consumer} "
            f"--environment {shlex.quote(json.dumps({'Variables': VARIABLES}))}",
        ),
    ),
    "a setting is wrong": (
        consumer_with(ORDER_TTL_DAYS="many"),
        fix(
            "consumer: settings",
            "ORDER_TTL_DAYS must be an integer",
            f"aws lambda update-function-configuration --function-name {NAMES.consumer} "
            f"--environment {shlex.quote(json.dumps({'Variables': VARIABLES}))}",
        ),
    ),
    "the key stands in the environment": (
        consumer_with(STRIPE_SECRET="sk_live_1"),
        advice("consumer: settings", "stands in STRIPE_SECRET"),
    ),
    "a function is throttled": (
        replace(
            HEALTHY,
            consumer=replace(HEALTHY.consumer, concurrency={"ReservedConcurrentExecutions": 0}),
        ),
        fix(
            "consumer: concurrency",
            "throttles every call",
            f"aws lambda delete-function-concurrency --function-name {NAMES.consumer}",
        ),
    ),
    "a log group is gone": (
        replace(HEALTHY, producer=replace(HEALTHY.producer, log_group=None)),
        fix(
            "producer: logs",
            "no log group",
            f"aws logs create-log-group --log-group-name /aws/lambda/{NAMES.producer}",
        ),
    ),
    "logs are kept for ever": (
        replace(HEALTHY, producer=replace(HEALTHY.producer, log_group={"logGroupName": "/aws/lambda/p"})),
        advice(
            "producer: logs",
            "for ever",
            "aws logs put-retention-policy --log-group-name /aws/lambda/p --retention-in-days 90",
        ),
    ),
    "the schedule is off": (
        changed("schedule", State="DISABLED"),
        fix("schedule", "no run starts by itself", "nightly-sync resume --schedule-only"),
    ),
    "the schedule of a sandbox is off": (
        replace(changed("schedule", State="DISABLED"), is_sandbox=True),
        advice("schedule", "as in every sandbox"),
    ),
    "the schedule is gone": (replace(HEALTHY, schedule=MISSING), fix("schedule", "gone", DELETE)),
    "the schedule has no role": (
        replace(HEALTHY, schedule_role=None),
        fix("schedule: role", "has none", DELETE),
    ),
    "the schedule's role is gone": (
        replace(HEALTHY, schedule_role=MISSING),
        fix("schedule: role", "role/schedule", DELETE),
    ),
    "an alarm is gone": (
        replace(HEALTHY, alarms=[an_alarm(ALARMS[0])]),
        fix("alarm: dead-letters", "gone", DELETE),
    ),
    "an alarm is silenced": (
        replace(HEALTHY, alarms=[an_alarm(ALARMS[0], ActionsEnabled=False), an_alarm(ALARMS[1])]),
        fix(
            "alarm: producer-failed",
            "actions are off",
            f"aws cloudwatch enable-alarm-actions --alarm-names {ALARMS[0]}",
        ),
    ),
    "an alarm goes elsewhere": (
        replace(HEALTHY, alarms=[an_alarm(ALARMS[0], AlarmActions=[]), an_alarm(ALARMS[1])]),
        fix("alarm: producer-failed", "does not go to the stack's topic", DELETE),
    ),
    "dead letters ring": (
        replace(HEALTHY, alarms=[an_alarm(ALARMS[0]), an_alarm(ALARMS[1], "ALARM")]),
        fix("alarm: dead-letters", "rings", "nightly-sync dlq list --check"),
    ),
    "nobody has confirmed": (
        replace(HEALTHY, subscriptions=[{"SubscriptionArn": "PendingConfirmation", "Protocol": "email"}]),
        fix(
            "alarms: heard by",
            "has to be confirmed",
            f"aws sns subscribe --protocol email --topic-arn {TOPIC} --notification-endpoint "
            '"$(aws cloudformation describe-stacks --stack-name stripe-nightly-sync --output text --query '
            '"Stacks[0].Parameters[?ParameterKey==\'AlarmEmail\'].ParameterValue")"',
        ),
    ),
    "nobody has subscribed": (
        replace(HEALTHY, subscriptions=[]),
        fix("alarms: heard by", "no subscription", set_to("AlarmEmail=YOUR-ADDRESS")),
    ),
    "nobody hears a sandbox": (
        replace(HEALTHY, subscriptions=[], is_sandbox=True),
        advice("alarms: heard by", "as in every sandbox"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_said_with_the_command_that_mends_it(case):
    facts, expected = BROKEN[case]
    found = findings(facts)[expected.name]
    assert (found.verdict, found.command) == (expected.verdict, expected.command)
    assert expected.what in found.what
    attention = expected.verdict in (Verdict.FIX, Verdict.UNKNOWN)
    assert Diagnosis(STACK, all_findings(facts)).needs_attention == attention


@pytest.mark.parametrize("case", [case for case in BROKEN if case != "Stripe rejects the key"])
def test_one_thing_that_is_wrong_changes_what_is_said_of_no_other(case):
    facts, expected = BROKEN[case]
    part, healthy = expected.name.split(":")[0], findings(HEALTHY)
    others = [one for name, one in findings(facts).items() if name.split(":")[0] != part]
    assert [one for one in others if one.verdict is not healthy[one.name].verdict] == []


def test_a_rejected_key_is_said_once():
    rejected = Tried(Access.REJECTED, "Stripe: AuthenticationError (status 401)")
    facts = replace(HEALTHY, permissions=Permissions(rejected, rejected, rejected, rejected, rejected))
    assert [one.name for one in all_findings(facts) if "401" in one.what] == ["key: accepted"]


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        (
            {"Arn": ARN.format("lambda", "function:other")},
            {"Arn": ARN.format("lambda", f"function:{NAMES.producer}"), "Input": INPUT},
        ),
        (
            {"Input": "{}"},
            {"Arn": ARN.format("lambda", f"function:{NAMES.producer}"), "Input": INPUT},
        ),
    ],
    ids=["another target", "no scheduled time"],
)
def test_a_schedule_is_mended_with_all_that_it_is_beside(changes, right):
    wrong = [one for one in all_findings(target(**changes)) if one.verdict is Verdict.FIX]
    [command] = [one.command for one in wrong]
    words = shlex.split(command)
    assert words[:-1] == ["aws", "scheduler", "update-schedule", "--cli-input-json"]
    said = json.loads(words[-1])
    assert said["Target"] == {**HEALTHY.schedule["Target"], **right}
    unsaid = {"Arn", "CreationDate", "Target"}
    assert {name: value for name, value in said.items() if name != "Target"} == {
        name: value for name, value in HEALTHY.schedule.items() if name not in unsaid
    }


def test_without_settings_what_depends_on_them_is_unknown():
    found = findings(replace(HEALTHY, settings=None, parameter=None, key=None, permissions=None))
    unknowns = {name for name, one in found.items() if one.verdict is Verdict.UNKNOWN}
    assert unknowns == {"key", "queue: redrive", "mapping: concurrency"}


def test_no_command_holds_a_key_of_the_environment():
    variables = {**VARIABLES, "STRIPE_SECRET": "sk_live_abcdefgh", "COMMERCE_TABLE": "other"}
    found = all_findings(consumer(Environment={"Variables": variables}))
    assert (
        findings(consumer(Environment={"Variables": variables}))["consumer: settings"].verdict is Verdict.FIX
    )
    assert not any("sk_live" in f"{one.what}{one.command}" for one in found)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("rk_live_51abc", Key("restricted", livemode=True)),
        ("rk_test_51abc", Key("restricted", livemode=False)),
        ("sk_live_51abc", Key("secret", livemode=True)),
        ("sk_test_51abc", Key("secret", livemode=False)),
        ("sk_org_51abc", Key("secret", None)),
        ("pk_live_51abc", Key("publishable", None)),
        ("whsec_51abc", Key(None, None)),
        ("", Key(None, None)),
    ],
)
def test_a_key_says_what_it_is_by_its_prefix(value, key):
    assert key_of(value) == key


def test_commands_say_where_as_the_doctor_was_told():
    wanted = StackSelector(profile="night shift", region="eu-west-1")
    shell = Shell("other", wanted)
    assert (
        shell.sync("resume") == "nightly-sync resume --stack other --profile 'night shift' --region eu-west-1"
    )
    assert shell.deploy("DryRun=true") == (
        "AWS_PROFILE='night shift' make deploy ARGS=\"--stack other --region eu-west-1 --set DryRun=true\""
    )
    assert shell.destroy().endswith('make destroy ARGS="--stack other --region eu-west-1"')
    assert put_key("/k", shell).startswith(
        "aws --profile 'night shift' --region eu-west-1 ssm put-parameter "
    )


def test_commands_for_a_sandbox_find_it():
    shell = Shell("sync-1", StackSelector(sandbox=Path(".sandbox")), "http://127.0.0.1:4566")
    assert shell.sync("resume") == "nightly-sync resume --sandbox .sandbox"
    assert shell.destroy() == "make demo ARGS=--stop"


def test_a_finding_that_is_fine_has_no_command():
    assert ok("stack", "fine").command is None


def with_parameter(facts, name, value):
    parameters = [{"ParameterKey": name, "ParameterValue": value}]
    return replace(facts, stack={**facts.stack, "Parameters": parameters})


def an_alarm(name, *, enabled):
    topic = NAMES.alarm_topic
    return {"AlarmName": name, "ActionsEnabled": enabled, "AlarmActions": [topic], "StateValue": "OK"}


def test_where_only_one_alarm_mails_the_others_are_silent_on_purpose():
    names = ["stripe-nightly-sync-dead-letters", "stripe-nightly-sync-needs-a-person"]
    alarms = [an_alarm(names[0], enabled=False), an_alarm(names[1], enabled=True)]
    facts = with_parameter(replace(HEALTHY, alarm_names=names, alarms=alarms), "AlarmMails", "one")
    told = findings(facts)
    assert {told[f"alarm: {name}"].verdict for name in ("dead-letters", "needs-a-person")} == {Verdict.OK}
    deaf = replace(facts, alarms=[alarms[0], an_alarm(names[1], enabled=False)])
    assert findings(deaf)["alarm: needs-a-person"].verdict is Verdict.FIX


def test_where_each_alarm_mails_the_one_for_all_is_silent_on_purpose():
    names = ["stripe-nightly-sync-dead-letters", "stripe-nightly-sync-needs-a-person"]
    alarms = [an_alarm(names[0], enabled=True), an_alarm(names[1], enabled=False)]
    facts = with_parameter(replace(HEALTHY, alarm_names=names, alarms=alarms), "AlarmMails", "each")
    assert findings(facts)["alarm: needs-a-person"].verdict is Verdict.OK
    deaf = replace(facts, alarms=[an_alarm(names[0], enabled=False), alarms[1]])
    assert findings(deaf)["alarm: dead-letters"].verdict is Verdict.FIX


def test_a_schedule_that_was_deployed_off_is_deployed_on():
    off = with_parameter(
        replace(HEALTHY, schedule={**HEALTHY.schedule, "State": "DISABLED"}), "ScheduleState", "DISABLED"
    )
    assert findings(off)["schedule"].command == set_to("ScheduleState=ENABLED")
