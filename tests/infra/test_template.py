"""What must hold between the numbers and names of the template, and between them and the code."""

import json
import math
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from cfnlint.decode import decode_str

from infra.build import FUNCTIONS, PYTHON, ROOT, Options
from recon import retry
from recon.config import MAX_LOOKBACK_HOURS, Settings, settings_from
from recon.errors import ConfigError
from recon.ledger.outcomes import Commit, Looked, Result
from recon.ledger.runs import LISTING_STALE_SECONDS
from recon.ledger.table import MAX_ACTIONS, Table
from recon.reconcile import Outcome
from recon.retry import Deadline

PATH = ROOT / "infra" / "template.yaml"
TEMPLATE = decode_str(PATH.read_text())[0]
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = TEMPLATE["Parameters"]
MAPPINGS = TEMPLATE["Mappings"]

DAY = 24 * 3600
LAMBDA_MAX_TIMEOUT = 900
SQS_MAX_VISIBILITY = 12 * 3600

# A deployment that gives what has no default, and the addresses that only exist once it is deployed.
GIVEN = {"CommerceTable": "shop", "StripeSecretParameter": "/shop/stripe-key"}
DEPLOYED = {"Queue": "https://queue", "AWS::NoValue": None}


def properties(name):
    return RESOURCES[name]["Properties"]


def of_type(kind):
    return {name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == kind}


def defaults():
    return {name: str(body["Default"]) for name, body in PARAMETERS.items() if "Default" in body}


def resolve(value, parameters):
    """A value of the template as CloudFormation would work it out, as far as the environments need it."""
    known = DEPLOYED | parameters
    match value:
        case {"Ref": name}:
            return known[name]
        case {"Fn::Equals": [left, right]}:
            return resolve(left, parameters) == resolve(right, parameters)
        case {"Fn::Not": [condition]}:
            return not resolve(condition, parameters)
        case {"Fn::If": [name, yes, no]}:
            return resolve(yes if resolve(TEMPLATE["Conditions"][name], parameters) else no, parameters)
        case _:
            return value


def environment(function, **parameters):
    """A function's variables, by the template's defaults and these parameters."""
    common = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    own = properties(function)["Environment"]["Variables"]
    resolved = {
        name: resolve(value, defaults() | GIVEN | parameters) for name, value in (common | own).items()
    }
    return {name: value for name, value in resolved.items() if value is not None}


def statements(role):
    return [
        statement
        for policy in properties(role)["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(statement):
    action = statement["Action"]
    return [action] if isinstance(action, str) else action


ROLES = tuple(of_type("AWS::IAM::Role"))
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
    commit = Commit(
        table,
        "run",
        0,
        Deadline(math.inf, time.monotonic, time.sleep),
        holds_state=True,
        look_again=lambda results: Looked(results, {}),
    )
    commit([missing_order(f"cs_{n}", events) for n in range(sessions)])
    return table.transactions


def missing_order(session_id, events):
    return Result(
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
    required = Settings(table="shop", queue_url="https://queue", stripe_secret_parameter="/shop/stripe-key")
    assert settings_from(environment(function)) == required


@pytest.mark.parametrize("function", ["Producer", "Consumer"])
def test_a_parameter_left_empty_sets_no_variable(function):
    assert all(environment(function).values())
    assert "STRIPE_API_BASE" not in environment(function)


def everything(function):
    return environment(function, StripeApiBase="http://localhost")


@pytest.mark.parametrize(
    ("function", "name"),
    [(function, name) for function in ("Producer", "Consumer") for name in everything(function)],
)
def test_each_variable_is_one_that_the_code_reads(function, name):
    variables = everything(function)
    assert any(changes(variables, name, probe) for probe in PROBES)


def changes(variables, name, probe):
    try:
        return settings_from(variables | {name: probe}) != settings_from(variables)
    except ConfigError:
        return False  # not a value for this variable


def test_each_setting_can_be_deployed_but_the_bare_key():
    variables = everything("Producer") | everything("Consumer")
    probes = [
        settings_from(variables | {name: probe})
        for name in variables
        for probe in PROBES
        if changes(variables, name, probe)
    ]
    base = settings_from(variables)
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
        assert settings_from(variables | {"SYNC_GRACE_MINUTES": str(minutes)}).grace_minutes == minutes
    for minutes in (grace["MinValue"] - 1, grace["MaxValue"] + 1):
        with pytest.raises(ConfigError):
            settings_from(variables | {"SYNC_GRACE_MINUTES": str(minutes)})


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
    [own] = [s for s in statements("ProducerRole") if "lambda:InvokeFunction" in actions(s)]
    arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    assert own["Resource"] == {"Fn::Sub": arn + properties("Producer")["FunctionName"]["Fn::Sub"]}


def test_schedule_hands_over_the_time_it_was_due():
    handed_over = json.loads(properties("Schedule")["Target"]["Input"])
    assert handed_over == {"trigger": "scheduled", "scheduledTime": "<aws.scheduler.scheduled-time>"}


def test_two_stacks_in_one_account_do_not_meet():
    """Every name is made from the stack's, or by CloudFormation."""
    kinds = ("Name", "FunctionName", "QueueName", "AlarmName", "LogGroupName", "TopicName", "RoleName")
    names = [body[kind] for body in map(properties, RESOURCES) for kind in kinds if kind in body]
    assert len(names) == 9 + 1  # what is named here, and the mapping that names the consumer
    assert all("${AWS::StackName}-" in name.get("Fn::Sub", "") for name in names if "Ref" not in name)


# --- what the stack may do ----------------------------------------------------------------------------------


def test_stack_owns_neither_the_table_nor_the_key():
    kinds = {resource["Type"] for resource in RESOURCES.values()}
    assert not [
        kind for kind in kinds if kind.startswith(("AWS::DynamoDB::", "AWS::SSM::", "AWS::SecretsManager::"))
    ]


@pytest.mark.parametrize("role", ROLES)
def test_role_names_each_action_and_resource(role):
    for statement in statements(role):
        assert statement["Effect"] == "Allow"
        assert "*" not in json.dumps(statement)


def test_roles_hold_the_actions_that_their_holders_use():
    granted = {
        role: sorted(action for statement in statements(role) for action in actions(statement))
        for role in ROLES
    }
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert granted == {
        "ScheduleRole": ["lambda:InvokeFunction"],
        "ProducerRole": [
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "lambda:InvokeFunction",
            *logs,
            "sqs:SendMessage",
            "ssm:GetParameter",
        ],
        "ConsumerRole": [
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            *logs,
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
            "ssm:GetParameter",
        ],
    }


@pytest.mark.parametrize(("function", "role"), [("Producer", "ProducerRole"), ("Consumer", "ConsumerRole")])
def test_function_has_a_role_of_its_own(function, role):
    assert properties(function)["Role"] == {"Fn::GetAtt": [role, "Arn"]}


@pytest.mark.parametrize("queue", of_type("AWS::SQS::Queue"))
def test_queue_is_encrypted_and_refuses_plain_http(queue):
    [policy] = [
        body for body in of_type("AWS::SQS::QueuePolicy").values() if body["Queues"] == [{"Ref": queue}]
    ]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert properties(queue)["SqsManagedSseEnabled"] is True
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- operation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alarm", of_type("AWS::CloudWatch::Alarm"))
def test_alarm_reaches_somebody_and_says_what_to_do(alarm):
    body = properties(alarm)
    assert body["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert body["TreatMissingData"] == "notBreaching"
    assert 200 < len(body["AlarmDescription"]["Fn::Sub"]) < 1024 - len("${AWS::StackName}") * 5


def test_alarms_watch_the_producer_and_the_dead_letters():
    watched = {
        (body["MetricName"], json.dumps(body["Dimensions"][0]["Value"]))
        for body in of_type("AWS::CloudWatch::Alarm").values()
    }
    assert watched == {
        ("Errors", '{"Ref": "Producer"}'),
        ("ApproximateNumberOfMessagesVisible", '{"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}'),
    }


def test_every_parameter_is_explained_and_shown_in_a_group():
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)
    assert all(body.get("Description") for body in PARAMETERS.values())


def test_cloudformation_can_read_the_file():
    """It refuses YAML aliases, and takes 51,200 bytes without a bucket."""
    assert not [event for event in yaml.parse(PATH.read_text()) if isinstance(event, yaml.AliasEvent)]
    assert PATH.stat().st_size < 51_200
