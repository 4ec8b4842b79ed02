"""Each fault that the doctor finds: the facts of the stack, its finding, and the command that fixes it."""

import json
from dataclasses import replace
from shlex import quote

from ops.doctor.facts import (
    Access,
    AccessProbe,
    KeyPermissions,
    KeyPrefix,
    LedgerFacts,
    RecentSessions,
)
from ops.doctor.fetched import Cause, Unavailable
from ops.doctor.finding import advice, fix, unknown
from recon.config import load_settings
from recon.domain.session_filter import parse_filter
from recon.dynamodb.watermark import Watermark
from tests.unit.ops.healthy_stack import (
    ALARMS,
    ALLOWED,
    CONSUMER,
    HEALTHY,
    NAMES,
    REDRIVE,
    STACK,
    TOPIC,
    VARIABLES,
    an_alarm,
    entry,
    stack,
)

OTHER = "arn:aws:sqs:eu-west-1:123456789012:other"
UNTRIED = AccessProbe(Access.UNTRIED)
FORBIDDEN = AccessProbe(Access.NOT_ALLOWED, "Stripe: PermissionError (status 403)")
NOT_FOUND = AccessProbe(Access.NOT_FOUND)
REJECTED = AccessProbe(Access.REJECTED, "Stripe: AuthenticationError (status 401)")
FAILED = AccessProbe(Access.FAILED, "Stripe: APIConnectionError")
DENIED = Unavailable(Cause.DENIED, "service:Action")
MISSING = Unavailable(Cause.MISSING, "ResourceNotFoundException")
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
