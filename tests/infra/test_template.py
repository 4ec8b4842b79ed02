"""The template's numbers and names: consistent with each other and with the code."""

import json
import re
from dataclasses import fields

import pytest
import yaml

from infra.build import FUNCTIONS, PYTHON, ROOT, BuildOptions
from recon import retry
from recon.config import MAX_LOOKBACK_HOURS, Settings, load_settings
from recon.dynamodb.runs import LISTING_STALE_SECONDS
from recon.errors import ConfigError
from recon.telemetry import STACK_VARIABLE
from recon.timestamps import DAY
from testkit.roles import list_actions, list_statements
from tests.infra.resolved import DEFAULT, PARAMETERS, PATH, RESOURCES, STACK, TEMPLATE, ResolvedTemplate

MAPPINGS = TEMPLATE["Mappings"]
LAMBDA_MAX_TIMEOUT = 900
SQS_MAX_VISIBILITY = 12 * 3600
# glibc reads it when a process starts; `make soak` measures a consumer without it.
ALLOCATOR_VARIABLE = "MALLOC_ARENA_MAX"
# Values of which at least one changes each setting.
PROBES = ("7", "true", "false", "http://elsewhere", "client_reference_id", "lower", "any")


def properties(name):
    return RESOURCES[name]["Properties"]


def environment(function, **parameters):
    """Return the function's variables for these parameters."""
    resolved = ResolvedTemplate(**parameters)
    common = resolved.value(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    return common | resolved.properties(function)["Environment"]["Variables"]


SHAPE = '[find]\nkey = { orderId = "{id}" }'


def settings_variables(function):
    """Return every variable of the function that the code may read."""
    variables = environment(
        function, StripeApiBase="http://localhost", LedgerTable="ledger", SessionFilter="mode"
    )
    return {name: value for name, value in variables.items() if name != ALLOCATOR_VARIABLE}


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key", "follows"),
    [
        ("ConsumerTimeout", "Visibility", lambda timeout: 6 * timeout),
        ("MaxReceiveCount", "Queue", lambda count: count + 2),
    ],
)
def test_every_allowed_value_has_the_number_that_follows_from_it(name, key, follows):
    allowed = PARAMETERS[name]["AllowedValues"]
    assert {value: int(pair[key]) for value, pair in MAPPINGS[name].items()} == {
        value: follows(int(value)) for value in allowed
    }
    assert PARAMETERS[name]["Default"] in allowed


def test_queue_and_consumer_take_both_numbers_from_one_parameter():
    def find_in_map(name, key):
        return {"Fn::FindInMap": [name, {"Ref": name}, key]}

    queue, consumer = properties("Queue"), properties("Consumer")
    assert queue["VisibilityTimeout"] == find_in_map("ConsumerTimeout", "Visibility")
    assert consumer["Timeout"] == {"Ref": "ConsumerTimeout"}
    assert queue["RedrivePolicy"]["maxReceiveCount"] == find_in_map("MaxReceiveCount", "Queue")
    assert consumer["Environment"]["Variables"]["SYNC_MAX_RECEIVE_COUNT"] == {"Ref": "MaxReceiveCount"}


def test_consumers_share_requests_by_the_mappings_concurrency():
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    scaling = properties("ConsumerMapping")["ScalingConfig"]
    assert scaling["MaximumConcurrency"] == {"Ref": "ConsumerConcurrency"}
    assert common["SYNC_CONSUMER_CONCURRENCY"] == {"Ref": "ConsumerConcurrency"}


def test_message_fails_long_before_it_expires():
    receives = max(int(pair["Queue"]) for pair in MAPPINGS["MaxReceiveCount"].values())
    visibility = max(int(pair["Visibility"]) for pair in MAPPINGS["ConsumerTimeout"].values())
    longest_wait = max(retry.BACKOFF_CAP_SECONDS, visibility)  # staggered messages wait up to visibility, too
    retention = [properties(name)["MessageRetentionPeriod"] for name in ("Queue", "DeadLetterQueue")]
    assert retention == [10 * DAY, 14 * DAY]
    assert receives * longest_wait < retention[0]


def test_batch_of_more_than_ten_has_a_window():
    mapping = properties("ConsumerMapping")
    assert mapping["BatchSize"] <= 10 or mapping["MaximumBatchingWindowInSeconds"] >= 1


def test_backoff_and_visibility_stay_within_the_limit_of_sqs():
    assert retry.BACKOFF_CAP_SECONDS < SQS_MAX_VISIBILITY
    assert retry.MAX_VISIBILITY_SECONDS <= SQS_MAX_VISIBILITY
    assert PARAMETERS["BackoffBaseSeconds"]["MaxValue"] <= retry.BACKOFF_CAP_SECONDS
    assert all(int(pair["Visibility"]) <= SQS_MAX_VISIBILITY for pair in MAPPINGS["ConsumerTimeout"].values())


def test_listing_counts_as_stale_only_after_the_longest_invocation():
    assert properties("Producer")["Timeout"] == LAMBDA_MAX_TIMEOUT < LISTING_STALE_SECONDS


def test_late_start_ends_before_the_next_night():
    policy = properties("Schedule")["Target"]["RetryPolicy"]
    # The Scheduler's most attempts, so that the age ends them and not an undocumented backoff.
    assert policy["MaximumRetryAttempts"] == 185
    schedule = policy["MaximumEventAgeInSeconds"]
    retries = properties("Producer")["EventInvokeConfig"]["MaximumEventAgeInSeconds"]
    assert schedule + retries < DAY


# --- environment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_default_environment_has_the_defaults_of_the_code(function):
    variables = environment(function)
    assert load_settings(variables) == Settings(
        table="shop", queue_url=DEFAULT.value({"Ref": "Queue"}), stripe_secret_parameter="/shop/stripe-key"
    )
    assert all(variables.values())
    assert "STRIPE_API_BASE" not in variables
    assert variables[ALLOCATOR_VARIABLE] == "1"
    assert variables[STACK_VARIABLE] == STACK


def changes(variables, name, probe):
    try:
        return load_settings(variables | {name: probe}) != load_settings(variables)
    except ConfigError:
        return False  # not a valid value for this variable


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_every_variable_is_read_by_the_code(function):
    variables = settings_variables(function)
    unread = [name for name in variables if not any(changes(variables, name, probe) for probe in PROBES)]
    assert unread == []


def test_every_setting_except_the_bare_key_can_be_deployed():
    variables = settings_variables("Producer") | settings_variables("Consumer")
    probes = [
        load_settings(variables | {name: probe})
        for name in variables
        for probe in PROBES
        if changes(variables, name, probe)
    ]
    base = load_settings(variables)
    # Beside a shape, some of the other settings have one value only.
    probes.append(load_settings(environment("Consumer", LedgerTable="ledger", Shape=SHAPE)))
    reached = {
        field.name
        for field in fields(Settings)
        for probe in probes
        if getattr(probe, field.name) != getattr(base, field.name)
    }
    assert {field.name for field in fields(Settings)} - reached == {"stripe_secret"}


def test_consumer_has_no_setting_of_the_listing():
    listing = {"SYNC_DRY_RUN", "SYNC_GRACE_MINUTES", "SYNC_MAX_SESSIONS"}
    assert not listing & settings_variables("Consumer").keys()
    assert listing < settings_variables("Producer").keys()


def test_limits_of_grace_and_lookback_are_those_of_the_code():
    grace = PARAMETERS["GraceMinutes"]
    variables = settings_variables("Producer")
    for minutes in (grace["MinValue"], grace["MaxValue"]):
        assert load_settings(variables | {"SYNC_GRACE_MINUTES": str(minutes)}).grace_minutes == minutes
    for minutes in (grace["MinValue"] - 1, grace["MaxValue"] + 1):
        with pytest.raises(ConfigError):
            load_settings(variables | {"SYNC_GRACE_MINUTES": str(minutes)})
    assert PARAMETERS["LookbackHours"]["MaxValue"] == MAX_LOOKBACK_HOURS


# --- functions and names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_runs_the_built_package_and_writes_its_own_log(name):
    function, logs = properties(name.capitalize()), f"{name.capitalize()}Logs"
    assert (PATH.parent / function["CodeUri"]).resolve() == ROOT / "build" / name
    assert function["Handler"] == f"{name}.lambda_function.lambda_handler"
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == f"python{PYTHON[0]}.{PYTHON[1]}"
    platforms = {"arm64": "aarch64", "x86_64": "x86_64"}
    assert platforms[PARAMETERS["Architecture"]["Default"]] == BuildOptions().platform
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": logs}}
    assert properties(logs)["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_only_the_producer_may_call_itself():
    allowed = {name for name, body in RESOURCES.items() if body["Properties"].get("RecursiveLoop") == "Allow"}
    assert allowed == {"Producer"}
    [own] = [one for one in list_statements("ProducerRole") if "lambda:InvokeFunction" in list_actions(one)]
    arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    assert own["Resource"] == {"Fn::Sub": arn + properties("Producer")["FunctionName"]["Fn::Sub"]}


def test_schedule_passes_its_scheduled_time():
    event = json.loads(properties("Schedule")["Target"]["Input"])
    assert event == {"trigger": "scheduled", "scheduledTime": "<aws.scheduler.scheduled-time>"}


def test_every_name_contains_the_stacks_name():
    kinds = ("Name", "FunctionName", "QueueName", "AlarmName", "LogGroupName", "DashboardName")
    names = [body[kind] for body in map(properties, RESOURCES) for kind in kinds if kind in body]
    own = [name["Fn::Sub"] for name in names if "Ref" not in name]  # the mapping refers to the consumer
    assert len(own) > 20
    assert all(re.search(r"\$\{AWS::StackName\}[-/]", name) for name in own)


# --- parameters ---------------------------------------------------------------------------------------------


def test_every_parameter_is_described_grouped_and_used():
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)
    assert all(body.get("Description") for body in PARAMETERS.values())
    text = json.dumps([TEMPLATE["Resources"], TEMPLATE["Globals"], TEMPLATE["Conditions"]])
    assert [name for name in PARAMETERS if f'"{name}"' not in text and f"${{{name}}}" not in text] == []


def test_cloudformation_can_read_the_file():
    """CloudFormation rejects YAML aliases, and accepts at most 1 MB from a bucket."""
    assert not [event for event in yaml.parse(PATH.read_text()) if isinstance(event, yaml.AliasEvent)]
    assert PATH.stat().st_size < 100_000
