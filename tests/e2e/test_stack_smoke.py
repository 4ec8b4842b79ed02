"""The deployed template: its real resources, its limits, its deletion."""

import json

import psutil
import pytest
from botocore.exceptions import ClientError

from recon.config import Settings, load_settings
from sandbox.stack import InvocationError, delete_stack, deployed, invoke, wait_until

pytestmark = pytest.mark.e2e

DAY = 24 * 3600


@pytest.fixture(scope="module")
def stack(deploy_module_stack):
    return deploy_module_stack()


@pytest.fixture(scope="module")
def custom_stack(deploy_module_stack):
    """Return a stack whose parameters differ from their defaults."""
    return deploy_module_stack(
        AlarmEmail="ops@example.com",
        ScheduleState="ENABLED",
        StripeApiBase="http://127.0.0.1:12111",
        LookbackHours=48,
        MaxSessions=100,
        GraceMinutes=25,
        WebhookFence="false",
        DryRun="true",
        OrderTtlDays=90,
        OrderNumberPrefix="XY",
        MaxReceiveCount=3,
        BackoffBaseSeconds=1,
        ConsumerConcurrency=2,
        ConsumerTimeout=2,
        ProducerMemory=256,
        StripeMaxRps=20,
    )


def queue_attributes(stack, url):
    return stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def function(stack, name):
    return stack.client("lambda").get_function_configuration(FunctionName=getattr(stack, name))


def environment(stack, name):
    return function(stack, name)["Environment"]["Variables"]


def mapping(stack):
    return stack.client("lambda").get_event_source_mapping(UUID=stack.mapping_id)


def test_queues_redrive_encrypt_and_retain_messages(stack):
    main, dead = (queue_attributes(stack, url) for url in (stack.queue_url, stack.dlq_url))
    assert int(main["VisibilityTimeout"]) == 6 * function(stack, "consumer")["Timeout"] == 720
    redrive = {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": "12"}
    assert json.loads(main["RedrivePolicy"]) == redrive
    assert [int(one["MessageRetentionPeriod"]) for one in (main, dead)] == [10 * DAY, 14 * DAY]
    for attributes in (main, dead):
        [statement] = json.loads(attributes["Policy"])["Statement"]
        assert attributes["SqsManagedSseEnabled"] == "true"
        assert (statement["Effect"], statement["Resource"]) == ("Deny", attributes["QueueArn"])


def test_mapping_passes_large_batches_to_the_consumer(stack):
    described = mapping(stack)
    assert described["EventSourceArn"] == queue_attributes(stack, stack.queue_url)["QueueArn"]
    assert described["FunctionArn"] == function(stack, "consumer")["FunctionArn"]
    assert (described["BatchSize"], described["MaximumBatchingWindowInSeconds"]) == (200, 1)
    assert described["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert described["ScalingConfig"] == {"MaximumConcurrency": 5}


@pytest.mark.parametrize(("name", "memory", "timeout"), [("producer", 1769, 900), ("consumer", 512, 120)])
def test_function_has_its_size_role_log_and_the_default_settings(stack, name, memory, timeout):
    described = function(stack, name)
    assert described["Handler"] == f"{name}.lambda_function.lambda_handler"
    assert (described["Runtime"], described["Architectures"]) == ("python3.12", ["arm64"])
    assert (described["MemorySize"], described["Timeout"]) == (memory, timeout)
    assert function(stack, "producer")["Role"] != function(stack, "consumer")["Role"]
    group = described["LoggingConfig"]["LogGroup"]
    assert group == f"/aws/lambda/{described['FunctionName']}"
    [logs] = stack.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert logs["retentionInDays"] == 90
    variables = environment(stack, name)
    assert all(variables.values())
    assert not {"STRIPE_SECRET", "STRIPE_API_BASE"} & variables.keys()
    assert load_settings(variables) == Settings(
        table=stack.table,
        queue_url=stack.queue_url,
        stripe_secret_parameter=stack.secret_parameter,
        stack=stack.name,
    )


def test_parameters_reach_functions_queue_and_mapping(custom_stack):
    producer, consumer = (load_settings(environment(custom_stack, name)) for name in ("producer", "consumer"))
    attributes = queue_attributes(custom_stack, custom_stack.queue_url)
    assert (producer.lookback_hours, producer.sessions_per_invocation, producer.dry_run) == (48, 100, True)
    assert (producer.grace_minutes, producer.webhook_fence) == (25, "off")
    assert (consumer.max_receive_count, consumer.backoff_base_seconds) == (3, 1)
    for settings in (producer, consumer):
        assert settings.stripe_api_base == "http://127.0.0.1:12111"
        assert (settings.order_ttl_days, settings.order_number_prefix) == (90, "XY")
        assert (settings.consumer_concurrency, settings.stripe_max_rps) == (2, 20)
    assert function(custom_stack, "consumer")["Timeout"] == 2
    assert function(custom_stack, "producer")["MemorySize"] == 256
    assert attributes["VisibilityTimeout"] == "12"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == "5"
    assert mapping(custom_stack)["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_schedule_invokes_the_producer_at_two_with_its_scheduled_time(custom_stack):
    schedule = custom_stack.client("scheduler").get_schedule(Name=custom_stack.schedule)
    target = schedule["Target"]
    assert (schedule["State"], schedule["ScheduleExpression"]) == ("ENABLED", "cron(0 2 * * ? *)")
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert target["Arn"] == function(custom_stack, "producer")["FunctionArn"]
    assert target["RoleArn"] != function(custom_stack, "producer")["Role"]
    event = {"trigger": "scheduled", "scheduledTime": "<aws.scheduler.scheduled-time>"}
    assert json.loads(target["Input"]) == event


def test_alarms_notify_the_topic_with_the_subscribed_address(custom_stack):
    described = custom_stack.client("cloudwatch").describe_alarms(AlarmNamePrefix=custom_stack.name)[
        "MetricAlarms"
    ]
    [topic] = {action for alarm in described for action in alarm["AlarmActions"]}
    subscriptions = custom_stack.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    watched = {
        alarm["AlarmName"].removeprefix(f"{custom_stack.name}-"): alarm["Dimensions"][0]["Value"]
        for alarm in described
    }
    assert len(watched) == 5
    assert watched["dead-letters"] == f"{custom_stack.name}-dead-letters"
    assert (
        watched["watermark-old"] == environment(custom_stack, "producer")["SYNC_STACK"] == custom_stack.name
    )
    assert [subscription["Endpoint"] for subscription in subscriptions] == ["ops@example.com"]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("ConsumerTimeout", 61), ("ConsumerConcurrency", 1), ("LookbackHours", 721), ("Architecture", "riscv")],
)
def test_invalid_parameter_is_rejected(deploy_stack, parameter, value):
    with pytest.raises(ClientError, match=parameter):
        deploy_stack(**{parameter: value})


def test_handlers_respond_from_their_zips(stack):
    rejected = stack.invoke_producer({"lookbackHours": "many"})
    assert (rejected["statusCode"], rejected["body"]["error"]) == (400, "InvalidRequest")
    assert invoke(stack.client, stack.consumer, {"Records": []}) == {"batchItemFailures": []}


def test_missing_variable_is_named_to_the_caller_and_in_the_log(deploy_stack):
    stack = deploy_stack()
    stack.update_environment(stack.producer, {"COMMERCE_TABLE": None})
    with pytest.raises(InvocationError, match="COMMERCE_TABLE"):
        stack.invoke_producer({})
    wait_until(lambda: any("COMMERCE_TABLE" in line for line in stack.logs(stack.producer)), "a log line")


def has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_function_survives_its_killed_process_but_not_its_stack(emulator, workers):
    with deployed(emulator.client) as stack:
        stack.invoke_producer({"lookbackHours": "many"})
        [process] = workers(stack.producer)
        process.kill()
        # Before that, the emulator may pass the invocation to the dying process.
        wait_until(lambda: has_ended(process), "the process has ended")
        assert stack.invoke_producer({"lookbackHours": "many"})["statusCode"] == 400
        assert workers(stack.producer)
    assert not workers(stack.producer)


def test_deleted_stack_leaves_the_table_and_the_key(deploy_stack):
    stack = deploy_stack()
    delete_stack(stack.client, stack.name)
    table = stack.client("dynamodb").describe_table(TableName=stack.table)["Table"]
    key = stack.client("ssm").get_parameter(Name=stack.secret_parameter, WithDecryption=True)["Parameter"]
    assert (table["TableStatus"], key["Type"]) == ("ACTIVE", "SecureString")
