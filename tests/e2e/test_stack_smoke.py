"""The real template, deployed: what really is there, and what it refuses."""

import json

import psutil
import pytest
from botocore.exceptions import ClientError

from recon.config import Settings, load_settings
from sandbox.stack import InvocationError, delete_stack, deployed, invoke, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(deploy_module_stack):
    return deploy_module_stack()


def queue_attributes(stack, url):
    return stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def function(stack, name):
    return stack.client("lambda").get_function_configuration(FunctionName=name)


def environment(stack, name):
    return function(stack, name)["Environment"]["Variables"]


def mapping(stack):
    return stack.client("lambda").get_event_source_mapping(UUID=stack.mapping_id)


def test_queue_hides_a_message_for_six_consumer_timeouts_and_gives_it_up_after_twelve_receives(stack):
    attributes = queue_attributes(stack, stack.queue_url)
    redrive = json.loads(attributes["RedrivePolicy"])
    dead_letters = queue_attributes(stack, stack.dlq_url)
    assert int(attributes["VisibilityTimeout"]) == 6 * function(stack, stack.consumer)["Timeout"] == 360
    assert redrive == {"deadLetterTargetArn": dead_letters["QueueArn"], "maxReceiveCount": "12"}


def test_dead_letters_are_kept_longer_than_messages(stack):
    kept = [
        int(queue_attributes(stack, url)["MessageRetentionPeriod"])
        for url in (stack.queue_url, stack.dlq_url)
    ]
    assert kept == [10 * 24 * 3600, 14 * 24 * 3600]


def test_both_queues_are_encrypted_and_refuse_plain_http(stack):
    for url in (stack.queue_url, stack.dlq_url):
        attributes = queue_attributes(stack, url)
        [statement] = json.loads(attributes["Policy"])["Statement"]
        assert attributes["SqsManagedSseEnabled"] == "true"
        assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        assert statement["Resource"] == attributes["QueueArn"]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_mapping_hands_the_queue_to_the_consumer_in_batches_of_25_that_fail_in_parts(stack):
    described = mapping(stack)
    assert described["EventSourceArn"] == queue_attributes(stack, stack.queue_url)["QueueArn"]
    assert described["FunctionArn"] == function(stack, stack.consumer)["FunctionArn"]
    assert described["BatchSize"] == 25
    assert described["MaximumBatchingWindowInSeconds"] == 1
    assert described["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert described["ScalingConfig"] == {"MaximumConcurrency": 5}


@pytest.mark.parametrize(("name", "timeout"), [("producer", 900), ("consumer", 60)])
def test_function_runs_python_on_arm_with_256_mb(stack, name, timeout):
    described = function(stack, getattr(stack, name))
    assert described["Handler"] == f"{name}.lambda_function.lambda_handler"
    assert described["Runtime"] == "python3.12"
    assert described["Architectures"] == ["arm64"]
    assert described["MemorySize"] == 256
    assert described["Timeout"] == timeout


@pytest.mark.parametrize("name", ["producer", "consumer"])
def test_settings_of_a_default_deployment_are_the_defaults_of_the_code(stack, name):
    assert load_settings(environment(stack, getattr(stack, name))) == Settings(
        table=stack.table, queue_url=stack.queue_url, stripe_secret_parameter=stack.secret_parameter
    )


@pytest.mark.parametrize("name", ["producer", "consumer"])
def test_no_variable_is_empty_and_none_holds_the_key(stack, name):
    variables = environment(stack, getattr(stack, name))
    assert all(variables.values())
    assert "STRIPE_SECRET" not in variables
    assert "STRIPE_API_BASE" not in variables


def test_parameters_reach_the_functions(deploy_stack):
    stack = deploy_stack(
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
        StripeMaxRps=20,
    )
    producer, consumer = (
        load_settings(environment(stack, name)) for name in (stack.producer, stack.consumer)
    )
    attributes = queue_attributes(stack, stack.queue_url)
    assert (producer.lookback_hours, producer.max_sessions, producer.dry_run) == (48, 100, True)
    assert (producer.grace_minutes, producer.webhook_fence) == (25, False)
    assert (consumer.max_receive_count, consumer.backoff_base_seconds) == (3, 1)
    for settings in (producer, consumer):
        assert settings.stripe_api_base == "http://127.0.0.1:12111"
        assert (settings.order_ttl_days, settings.order_number_prefix) == (90, "XY")
        assert (settings.consumer_concurrency, settings.stripe_max_rps) == (2, 20)
    assert function(stack, stack.consumer)["Timeout"] == 2
    assert attributes["VisibilityTimeout"] == "12"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == "5"
    assert mapping(stack)["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_schedule_starts_the_producer_at_two_with_the_scheduled_time(deploy_stack):
    stack = deploy_stack(ScheduleState="ENABLED")
    schedule = stack.client("scheduler").get_schedule(Name=stack.schedule)
    target = schedule["Target"]
    assert schedule["State"] == "ENABLED"
    assert schedule["ScheduleExpression"] == "cron(0 2 * * ? *)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert target["Arn"] == function(stack, stack.producer)["FunctionArn"]
    assert target["RoleArn"] != function(stack, stack.producer)["Role"]
    assert json.loads(target["Input"]) == {
        "trigger": "scheduled",
        "scheduledTime": "<aws.scheduler.scheduled-time>",
    }


def test_each_function_has_a_role_and_a_log_group_of_its_own(stack):
    described = [function(stack, name) for name in (stack.producer, stack.consumer)]
    groups = {
        group["logGroupName"]: group["retentionInDays"]
        for group in stack.client("logs").describe_log_groups()["logGroups"]
    }
    assert len({configuration["Role"] for configuration in described}) == 2
    for configuration in described:
        group = configuration["LoggingConfig"]["LogGroup"]
        assert group == f"/aws/lambda/{configuration['FunctionName']}"
        assert groups[group] == 90


def test_all_alarms_go_to_the_topic_that_the_address_is_subscribed_to(deploy_stack):
    stack = deploy_stack(AlarmEmail="ops@example.com")
    alarms = {
        alarm["AlarmName"].removeprefix(f"{stack.name}-"): alarm
        for alarm in stack.client("cloudwatch").describe_alarms(AlarmNamePrefix=stack.name)["MetricAlarms"]
    }
    [topic] = {action for alarm in alarms.values() for action in alarm["AlarmActions"]}
    subscriptions = stack.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    watched = {name: alarm["Dimensions"][0]["Value"] for name, alarm in alarms.items()}
    assert len(watched) == 5
    assert watched["dead-letters"] == f"{stack.name}-dead-letters"
    assert watched["watermark-old"] == environment(stack, stack.producer)["SYNC_STACK"] == stack.name
    assert [subscription["Endpoint"] for subscription in subscriptions] == ["ops@example.com"]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("ConsumerTimeout", 61),  # no visibility goes with it
        ("MaxReceiveCount", 11),  # no maxReceiveCount goes with it
        ("ConsumerConcurrency", 1),
        ("LookbackHours", 721),
        ("GraceMinutes", 1441),
        ("WebhookFence", "perhaps"),
        ("Architecture", "riscv"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_before_anything_is_made(deploy_stack, parameter, value):
    with pytest.raises(ClientError, match=parameter):
        deploy_stack(**{parameter: value})


def test_deleting_the_stack_leaves_the_shop_its_table_and_its_key(deploy_stack):
    stack = deploy_stack()
    delete_stack(stack.client, stack.name)
    table = stack.client("dynamodb").describe_table(TableName=stack.table)["Table"]
    key = stack.client("ssm").get_parameter(Name=stack.secret_parameter, WithDecryption=True)["Parameter"]
    assert (table["TableStatus"], key["Type"]) == ("ACTIVE", "SecureString")


def test_handlers_answer_from_their_zips(stack):
    refused = stack.invoke_producer({"lookbackHours": "many"})
    assert refused["statusCode"] == 400
    assert refused["body"]["error"] == "InvalidRequest"
    assert invoke(stack.client, stack.consumer, {"Records": []}) == {"batchItemFailures": []}


def test_a_function_that_fails_says_why_to_its_caller_and_in_its_log(deploy_stack):
    stack = deploy_stack()
    stack.update_environment(stack.producer, {"COMMERCE_TABLE": None})
    with pytest.raises(InvocationError, match="COMMERCE_TABLE"):
        stack.invoke_producer({})
    assert any("COMMERCE_TABLE" in line for line in stack.logs(stack.producer))


def ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_function_outlives_its_killed_process_and_not_its_stack(emulator, workers):
    with deployed(emulator.client) as stack:
        stack.invoke_producer({"lookbackHours": "many"})
        [process] = workers(stack.producer)
        process.kill()
        # Until then the emulator may hand the invocation to the process that is dying.
        wait_until(lambda: ended(process), "the process to be gone")
        assert stack.invoke_producer({"lookbackHours": "many"})["statusCode"] == 400
        assert workers(stack.producer)
    assert not workers(stack.producer)
