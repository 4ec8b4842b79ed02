"""What must hold between the numbers and names of the template, and between them and the code."""

import json
import math
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from infra.build import FUNCTIONS, PYTHON, ROOT, Options
from recon import retry
from recon.config import MAX_LOOKBACK_HOURS, Settings, load_settings
from recon.domain.reconcile import Outcome
from recon.dynamodb.outcomes import OutcomeWriter, Recheck, SessionResult
from recon.dynamodb.runs import LISTING_STALE_SECONDS
from recon.dynamodb.table import MAX_ACTIONS, Table
from recon.errors import ConfigError
from recon.retry import Deadline
from recon.telemetry import STACK_VARIABLE
from recon.timestamps import DAY
from testkit.roles import list_actions, list_statements
from tests.infra.resolved import PARAMETERS, PATH, RESOURCES, STACK, TEMPLATE, Deployed

MAPPINGS = TEMPLATE["Mappings"]

LAMBDA_MAX_TIMEOUT = 900
SQS_MAX_VISIBILITY = 12 * 3600


def properties(name):
    return RESOURCES[name]["Properties"]


def of_type(kind):
    return {name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == kind}


def defaults():
    return {name: str(body["Default"]) for name, body in PARAMETERS.items() if "Default" in body}


def environment(function, **parameters):
    """A function's variables, by the template's defaults and these parameters."""
    deployed = Deployed(**parameters)
    common = deployed.value(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    return common | deployed.properties(function)["Environment"]["Variables"]


# Each setting is changed by at least one of these.
PROBES = ("7", "true", "false", "http://elsewhere")


# --- numbers ------------------------------------------------------------------------------------------------


def test_cfn_lint_finds_nothing():
    linter = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([linter, PATH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("timeout", PARAMETERS["ConsumerTimeout"]["AllowedValues"])
def test_visibility_is_six_times_each_timeout_that_can_be_chosen(timeout):
    visibility = int(MAPPINGS["ConsumerTimeout"][timeout]["Visibility"])
    assert visibility == 6 * int(timeout)
    assert visibility <= SQS_MAX_VISIBILITY


@pytest.mark.parametrize("count", PARAMETERS["MaxReceiveCount"]["AllowedValues"])
def test_queue_allows_two_receives_more_than_the_consumer_for_each_count_that_can_be_chosen(count):
    assert int(MAPPINGS["MaxReceiveCount"][count]["Queue"]) == int(count) + 2


@pytest.mark.parametrize("name", MAPPINGS)
def test_only_values_with_a_pair_can_be_chosen(name):
    allowed = PARAMETERS[name]["AllowedValues"]
    assert set(allowed) == set(MAPPINGS[name])
    assert PARAMETERS[name]["Default"] in allowed


def test_queue_and_consumer_take_both_numbers_of_a_pair_from_the_same_choice():
    queue = properties("Queue")
    assert queue["VisibilityTimeout"] == find_in_map("ConsumerTimeout", "Visibility")
    assert properties("Consumer")["Timeout"] == {"Ref": "ConsumerTimeout"}
    assert queue["RedrivePolicy"]["maxReceiveCount"] == find_in_map("MaxReceiveCount", "Queue")
    assert properties("Consumer")["Environment"]["Variables"]["SYNC_MAX_RECEIVE_COUNT"] == {
        "Ref": "MaxReceiveCount"
    }


def find_in_map(name, key):
    return {"Fn::FindInMap": [name, {"Ref": name}, key]}


def test_concurrency_of_the_mapping_is_what_each_consumer_paces_itself_by():
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    scaling = properties("ConsumerMapping")["ScalingConfig"]
    assert (
        scaling["MaximumConcurrency"] == common["SYNC_CONSUMER_CONCURRENCY"] == {"Ref": "ConsumerConcurrency"}
    )


def test_dead_letters_outlive_the_messages_they_were():
    kept = [properties(name)["MessageRetentionPeriod"] for name in ("Queue", "DeadLetterQueue")]
    assert kept == [10 * DAY, 14 * DAY]


def test_a_message_is_given_up_long_before_it_expires():
    receives = max(int(pair["Queue"]) for pair in MAPPINGS["MaxReceiveCount"].values())
    visibility = max(int(pair["Visibility"]) for pair in MAPPINGS["ConsumerTimeout"].values())
    longest_wait = max(retry.BACKOFF_CAP_SECONDS, visibility)  # scattered messages wait up to visibility, too
    assert receives * longest_wait < properties("Queue")["MessageRetentionPeriod"]


def test_a_batch_of_missing_orders_is_one_transaction():
    batch = properties("ConsumerMapping")["BatchSize"]
    [transaction] = transactions_of(batch, events=0)
    outcome_order_and_end_of_a_wait, run_and_state = 3, 2
    assert len(transaction) == batch * outcome_order_and_end_of_a_wait + run_and_state <= MAX_ACTIONS


def test_a_batch_with_both_events_of_each_session_takes_as_few_transactions_as_hold_it():
    batch = properties("ConsumerMapping")["BatchSize"]
    transactions = transactions_of(batch, events=2)
    outcome_order_events_and_end_of_a_wait, run_and_state = 5, 2
    needed = batch * outcome_order_events_and_end_of_a_wait
    assert len(transactions) == -(-needed // (MAX_ACTIONS - run_and_state))
    assert max(map(len, transactions)) <= MAX_ACTIONS
    assert sum(map(len, transactions)) == needed + run_and_state * len(transactions)


class TransactionLog(Table):
    """Takes every transaction and keeps its actions."""

    def __init__(self):
        super().__init__(None, "shop")
        self.transactions = []

    def transact(self, actions, deadline, check=None):
        self.transactions.append(actions)


def transactions_of(sessions, events):
    """What the ledger makes of a batch of missing orders, each with so many events that are open."""
    table = TransactionLog()
    commit = OutcomeWriter(
        table,
        "run",
        0,
        Deadline(math.inf, time.monotonic, time.sleep),
        holds_state=True,
        look_again=lambda results: Recheck(results, {}),
    )
    commit([missing_order(f"cs_{n}", events) for n in range(sessions)])
    return table.transactions


def missing_order(session_id, events):
    return SessionResult(
        session_id=session_id,
        outcome=Outcome.CREATED,
        attempts=1,
        message_id="m",
        order={"PK": "USER#u", "SK": f"ORDER#1#{session_id}", "orderNumber": "BC-1"},
        markers=tuple((f"evt_{session_id}_{n}", "checkout.session.completed") for n in range(events)),
        ends_pending=True,
    )


def test_a_batch_of_more_than_ten_has_a_window():
    mapping = properties("ConsumerMapping")
    assert mapping["BatchSize"] <= 10 or mapping["MaximumBatchingWindowInSeconds"] >= 1


def test_backoff_stays_within_what_sqs_can_hide():
    assert retry.BACKOFF_CAP_SECONDS < SQS_MAX_VISIBILITY
    assert retry.MAX_VISIBILITY_SECONDS <= SQS_MAX_VISIBILITY
    assert PARAMETERS["BackoffBaseSeconds"]["MaxValue"] <= retry.BACKOFF_CAP_SECONDS


def test_producer_has_all_the_time_that_lambda_gives():
    assert properties("Producer")["Timeout"] == LAMBDA_MAX_TIMEOUT


def test_a_listing_counts_as_dead_only_when_no_invocation_can_be_at_it():
    assert properties("Producer")["Timeout"] < LISTING_STALE_SECONDS


def test_a_late_start_is_over_before_the_next_night():
    schedule = properties("Schedule")["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"]
    retries = properties("Producer")["EventInvokeConfig"]["MaximumEventAgeInSeconds"]
    assert schedule + retries < DAY


# --- environment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_defaults_of_the_template_are_the_defaults_of_the_code(function):
    queue = Deployed().value({"Ref": "Queue"})
    required = Settings(table="shop", queue_url=queue, stripe_secret_parameter="/shop/stripe-key")
    assert load_settings(environment(function)) == required


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_a_parameter_left_empty_sets_no_variable(function):
    assert all(environment(function).values())
    assert "STRIPE_API_BASE" not in environment(function)


# glibc reads it when a process starts. `make soak` says what a consumer comes to without.
ALLOCATOR_VARIABLE = "MALLOC_ARENA_MAX"


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_threads_of_a_function_share_one_heap(function):
    assert environment(function)[ALLOCATOR_VARIABLE] == "1"


def everything(function):
    """What the code may read."""
    given = environment(function, StripeApiBase="http://localhost")
    return {name: value for name, value in given.items() if name != ALLOCATOR_VARIABLE}


@pytest.mark.parametrize(
    ("function", "name"),
    [(function, name) for function in ("Producer", "Consumer") for name in everything(function)],
)
def test_each_variable_is_one_that_the_code_reads(function, name):
    variables = everything(function)
    assert name == STACK_VARIABLE or any(changes(variables, name, probe) for probe in PROBES)


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_metrics_carry_the_name_of_the_stack_that_the_alarms_watch(function):
    assert environment(function)[STACK_VARIABLE] == STACK


def changes(variables, name, probe):
    try:
        return load_settings(variables | {name: probe}) != load_settings(variables)
    except ConfigError:
        return False  # not a value for this variable


def test_each_setting_can_be_deployed_but_the_bare_key():
    variables = everything("Producer") | everything("Consumer")
    probes = [
        load_settings(variables | {name: probe})
        for name in variables
        for probe in PROBES
        if changes(variables, name, probe)
    ]
    base = load_settings(variables)
    reached = {
        field.name
        for field in fields(Settings)
        for probe in probes
        if getattr(probe, field.name) != getattr(base, field.name)
    }
    assert {field.name for field in fields(Settings)} - reached == {"stripe_secret"}


def test_a_consumer_sees_no_setting_of_the_listing():
    listing = {"SYNC_DRY_RUN", "SYNC_GRACE_MINUTES", "SYNC_WEBHOOK_FENCE", "SYNC_MAX_SESSIONS"}
    assert not listing & everything("Consumer").keys()
    assert listing < everything("Producer").keys()


def test_the_grace_ends_where_the_code_ends_it():
    grace = PARAMETERS["GraceMinutes"]
    variables = everything("Producer")
    for minutes in (grace["MinValue"], grace["MaxValue"]):
        assert load_settings(variables | {"SYNC_GRACE_MINUTES": str(minutes)}).grace_minutes == minutes
    for minutes in (grace["MinValue"] - 1, grace["MaxValue"] + 1):
        with pytest.raises(ConfigError):
            load_settings(variables | {"SYNC_GRACE_MINUTES": str(minutes)})


def test_lookback_ends_where_the_code_ends_it():
    assert PARAMETERS["LookbackHours"]["MaxValue"] == MAX_LOOKBACK_HOURS


# --- functions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_what_the_build_makes(name):
    function = properties(name.capitalize())
    assert (PATH.parent / function["CodeUri"]).resolve() == ROOT / "build" / name
    assert function["Handler"] == f"{name}.lambda_function.lambda_handler"
    assert TEMPLATE["Globals"]["Function"]["Runtime"] == f"python{PYTHON[0]}.{PYTHON[1]}"
    assert {"arm64": "aarch64", "x86_64": "x86_64"}[defaults()["Architecture"]] == Options().platform


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_writes_into_its_own_log_group_which_forgets(name):
    group = f"{name.capitalize()}Logs"
    assert properties(name.capitalize())["LoggingConfig"] == {"LogGroup": {"Ref": group}}
    assert properties(group)["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_only_the_producer_may_go_round_in_circles_and_only_to_itself():
    allowed = {name for name, body in RESOURCES.items() if body["Properties"].get("RecursiveLoop") == "Allow"}
    assert allowed == {"Producer"}
    [own] = [s for s in list_statements("ProducerRole") if "lambda:InvokeFunction" in list_actions(s)]
    arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    assert own["Resource"] == {"Fn::Sub": arn + properties("Producer")["FunctionName"]["Fn::Sub"]}


def test_schedule_hands_over_the_time_it_was_due():
    handed_over = json.loads(properties("Schedule")["Target"]["Input"])
    assert handed_over == {"trigger": "scheduled", "scheduledTime": "<aws.scheduler.scheduled-time>"}


def test_two_stacks_in_one_account_do_not_meet():
    """Every name is made from the stack's, or by CloudFormation."""
    kinds = ("Name", "FunctionName", "QueueName", "AlarmName", "LogGroupName", "DashboardName")
    names = [body[kind] for body in map(properties, RESOURCES) for kind in kinds if kind in body]
    own = [name["Fn::Sub"] for name in names if "Ref" not in name]  # the mapping names the consumer
    assert len(own) > 20
    assert all(re.search(r"\$\{AWS::StackName\}[-/]", name) for name in own)


# --- what the stack may do ----------------------------------------------------------------------------------


def test_stack_owns_neither_the_table_nor_the_key():
    kinds = {resource["Type"] for resource in RESOURCES.values()}
    assert not [
        kind for kind in kinds if kind.startswith(("AWS::DynamoDB::", "AWS::SSM::", "AWS::SecretsManager::"))
    ]


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_queue_is_encrypted_and_refuses_plain_http(queue):
    [policy] = [
        body for body in of_type("AWS::SQS::QueuePolicy").values() if body["Queues"] == [{"Ref": queue}]
    ]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- operation ----------------------------------------------------------------------------------------------


def test_every_parameter_is_explained_and_shown_in_a_group():
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)
    assert all(body.get("Description") for body in PARAMETERS.values())


def test_every_parameter_is_used():
    text = json.dumps([TEMPLATE["Resources"], TEMPLATE["Globals"], TEMPLATE["Conditions"]])
    unused = [name for name in PARAMETERS if f'"{name}"' not in text and f"${{{name}}}" not in text]
    assert unused == []


def test_cloudformation_can_read_the_file():
    """It refuses YAML aliases, and takes 1 MB by way of a bucket."""
    assert not [event for event in yaml.parse(PATH.read_text()) if isinstance(event, yaml.AliasEvent)]
    assert PATH.stat().st_size < 100_000


# --- hardening ----------------------------------------------------------------------------------------------

QUEUES = of_type("AWS::SQS::Queue")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"


@pytest.mark.parametrize("queue", QUEUES)
def test_queue_is_encrypted_by_sqs_or_by_a_key_of_ones_own(queue):
    by_sqs, by_key = Deployed().properties(queue), Deployed(QueueKeyArn=KEY).properties(queue)
    assert by_sqs["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in by_sqs
    assert by_key["KmsMasterKeyId"] == KEY
    assert "SqsManagedSseEnabled" not in by_key


@pytest.mark.parametrize(
    ("role", "needed"),
    [
        ("ProducerRole", ["kms:GenerateDataKey", "kms:Decrypt"]),
        ("ConsumerRole", "kms:Decrypt"),
        ("ScheduleRole", ["kms:GenerateDataKey", "kms:Decrypt"]),
    ],
)
def test_who_uses_a_queue_may_use_its_key_through_sqs_and_only_where_there_is_one(role, needed):
    through_sqs = {"StringEquals": {"kms:ViaService": "sqs.eu-central-1.amazonaws.com"}}

    def of_the_queues_key(deployed):
        policies = deployed.properties(role)["Policies"]
        return [one for policy in policies for one in policy["PolicyDocument"]["Statement"] if on_key(one)]

    def on_key(statement):
        return statement.get("Condition") == through_sqs

    [allowed] = of_the_queues_key(Deployed(QueueKeyArn=KEY))
    assert (allowed["Action"], allowed["Resource"]) == (needed, KEY)
    assert of_the_queues_key(Deployed()) == []


def test_only_the_queue_may_bury_messages_and_only_in_its_dead_letter_queue():
    allowed = {name: Deployed().properties(name)["RedriveAllowPolicy"] for name in QUEUES}
    own = Deployed().properties("Queue")["QueueName"]
    sources = [f"arn:aws:sqs:eu-central-1:123456789012:{own}"]
    assert allowed.pop("DeadLetterQueue") == {"redrivePermission": "byQueue", "sourceQueueArns": sources}
    assert set(map(str, allowed.values())) == {"{'redrivePermission': 'denyAll'}"}


def test_a_start_that_lambda_never_took_is_kept_as_long_as_sqs_can():
    target = properties("Schedule")["Target"]
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]}}
    assert properties("ScheduleDeadLetterQueue")["MessageRetentionPeriod"] == 14 * DAY


def test_an_event_of_the_producer_that_failed_for_good_is_kept_as_it_was():
    """The body is the event, as for a start that Lambda never took, so one procedure serves both."""
    kept = {"Type": "SQS", "TargetArn": {"Fn::GetAtt": ["ScheduleDeadLetterQueue", "Arn"]}}
    assert properties("Producer")["DeadLetterQueue"] == kept
    assert "DestinationConfig" not in properties("Producer")["EventInvokeConfig"]


@pytest.mark.parametrize("name", [*QUEUES, *of_type("AWS::Logs::LogGroup")])
def test_what_would_be_missed_outlives_the_stack(name):
    kept = (RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"])
    assert kept == ("RetainExceptOnCreate", "Retain")


def test_the_stack_policy_lets_no_update_replace_a_queue():
    [deny, allow] = json.loads((PATH.parent / "stack-policy.json").read_text())["Statement"]
    assert deny["Effect"] == "Deny"
    assert deny["Action"] == ["Update:Replace", "Update:Delete"]
    assert deny["Resource"] == [f"LogicalResourceId/{name}" for name in QUEUES]
    assert (allow["Effect"], allow["Action"], allow["Resource"]) == ("Allow", "Update:*", "*")


def test_nothing_is_reserved_but_what_the_mapping_uses():
    assert "ReservedConcurrentExecutions" not in Deployed().properties("Consumer")
    deployed = Deployed(ReserveConcurrency="true")
    most = deployed.properties("ConsumerMapping")["ScalingConfig"]["MaximumConcurrency"]
    assert deployed.properties("Consumer")["ReservedConcurrentExecutions"] == most
    assert "ReservedConcurrentExecutions" not in properties("Producer")


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_packages_have_to_be_signed_where_a_configuration_says_so(function):
    signed = "arn:aws:lambda:eu-central-1:123456789012:code-signing-config:csc-1"
    assert "CodeSigningConfigArn" not in Deployed().properties(function)
    deployed = Deployed(CodeSigningConfigArn=signed)
    assert deployed.properties(function)["CodeSigningConfigArn"] == signed


@pytest.mark.parametrize("role", ["ProducerRole", "ConsumerRole"])
def test_traces_are_lambdas_own_and_can_be_left_out(role):
    def tracing(deployed):
        return [one for one in deployed.properties(role)["Policies"] if one["PolicyName"] == "tracing"]

    assert TEMPLATE["Globals"]["Function"]["Tracing"] == {"Ref": "Tracing"}
    assert len(tracing(Deployed())) == 1
    assert tracing(Deployed(Tracing="PassThrough")) == []


def test_functions_have_no_more_disk_than_the_least():
    assert TEMPLATE["Globals"]["Function"]["EphemeralStorage"] == {"Size": 512}


def test_the_topic_takes_alarms_of_this_account_over_tls():
    [policy] = Deployed().of_type("AWS::SNS::TopicPolicy").values()
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize("name", RESOURCES)
def test_each_check_that_is_left_out_says_why(name):
    skipped = RESOURCES[name].get("Metadata", {}).get("checkov", {}).get("skip", [])
    assert all(skip["id"].startswith("CKV_") and len(skip["comment"]) > 60 for skip in skipped)
