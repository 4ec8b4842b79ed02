"""The parameters of a deployment: the template's rules, the questions, the file."""

import re
from dataclasses import replace

import pytest

from infra.deploy import preflight, settings
from infra.deploy.errors import DeployError
from infra.deploy.template import TemplateParameter
from tests.infra.deploy.recorded import (
    ACCOUNT,
    DEPLOYED,
    NO_BUCKET,
    PARAMETERS,
    RAW,
    REGION,
    ROLLED_BACK,
    SETTINGS,
    TEMPLATE,
    refusal,
    stacks,
)

FIRST_ANSWERS = ["shop", "/shop/stripe-key", "", ""]
LONGEST = "a" * 55

# --- the template's rules -----------------------------------------------------------------------------------


def test_template_is_read_as_cloudformation_reads_it():
    assert TEMPLATE.parameters.keys() == RAW["Parameters"].keys()
    for name, raw in RAW["Parameters"].items():
        read = TEMPLATE.parameters[name]
        assert read.default == (str(raw["Default"]) if "Default" in raw else None)
        assert (read.pattern, list(read.allowed)) == (
            raw.get("AllowedPattern"),
            [str(one) for one in raw.get("AllowedValues", [])],
        )
        limits = (raw.get("MinValue"), raw.get("MaxValue"), raw.get("MaxLength"))
        assert (read.minimum, read.maximum, read.max_length) == limits
        assert read.default is None or read.find_problem(read.default) is None
    retained = {name for name, one in RAW["Resources"].items() if "Retain" in one.get("DeletionPolicy", "")}
    assert TEMPLATE.retained == retained


@pytest.mark.parametrize(
    ("rules", "value", "problem"),
    [
        ({"pattern": "/.+", "constraint": "must start with a slash"}, "key", "A must start with a slash"),
        ({"pattern": "[a-z]+"}, "a1", "A must match [a-z]+"),
        ({"pattern": "[a-z]+"}, "a", None),
        ({"allowed": ("x", "y")}, "z", "A must be one of x, y"),
        ({"is_number": True, "minimum": 1}, "0", "A must be 1 or more"),
        ({"is_number": True, "maximum": 5}, "6", "A must be 5 or less"),
        *(
            ({"is_number": True}, value, "A must be a whole number")
            for value in ("many", "1.5", "1e2", "nan", "")
        ),
        ({"default": "UTC"}, "", "A must not be empty"),
        ({"default": ""}, "", None),
        ({"max_length": 3}, "abcd", "A must be 3 characters or fewer"),
        ({"max_length": 3}, "abc", None),
        ({"is_number": True, "minimum": 1, "maximum": 5}, "5", None),
    ],
)
def test_parameter_value_is_checked_by_the_template_rules(rules, value, problem):
    parameter = TemplateParameter(**{"name": "A", "description": "", "default": None} | rules)
    assert parameter.find_problem(value) == problem


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SessionFilter", "", None),
        ("SessionFilter", ' !payment_link metadata.shop="My shop"', None),
        ("SessionFilter", '"metadata.shop=My shop"', None),
        ("SessionFilter", "success_url^=https://shop.example/", None),
        ("SessionFilter", "mode shop=a", "the condition 'shop=a' is wrong"),
        ("SessionFilter", "modes", "the condition 'modes' is wrong"),
        ("UserIdSources", "client_reference_id, metadata.my id", None),
        ("UserIdSources", "email", "'email' is no source"),
        ("EmailCase", "LOWER", "must be one of keep, lower"),
    ],
)
def test_filter_and_sources_are_checked_as_the_functions_do(name, value, problem):
    parameter = TEMPLATE.parameters[name]
    found = parameter.find_problem(value)
    assert (found is None) if problem is None else found.startswith(name) and problem in found
    if problem is None and parameter.pattern:
        assert re.fullmatch(parameter.pattern, value)


def test_names_of_leftovers_are_those_in_the_template():
    retained = [RAW["Resources"][name]["Properties"] for name in TEMPLATE.retained]
    queues = {one["QueueName"]["Fn::Sub"] for one in retained if "QueueName" in one}
    assert queues == {name.format(stack="${AWS::StackName}") for name in preflight.QUEUES}
    groups = {one["LogGroupName"]["Fn::Sub"] for one in retained if "LogGroupName" in one}
    prefix = preflight.LOG_GROUPS.format(stack="${AWS::StackName}")
    assert groups == {f"{prefix}{name}" for name in ("producer", "consumer")}


# Types of resources that are named after the stack -> the property that names them, and AWS's length limit.
NAMED = {
    "AWS::Serverless::Function": ("FunctionName", 64),
    "AWS::Scheduler::Schedule": ("Name", 64),
    "AWS::SQS::Queue": ("QueueName", 80),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::CompositeAlarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::Logs::QueryDefinition": ("Name", 255),
}


def spare_lengths(stack_name):
    """Return, for each name in the template, how many characters longer it could be."""
    for one in RAW["Resources"].values():
        name, limit = NAMED.get(one["Type"], (None, 0))
        if pattern := one.get("Properties", {}).get(name):
            made = pattern["Fn::Sub"].replace("${AWS::StackName}", stack_name)
            yield limit - len(made.replace("${AWS::Region}", "ap-southeast-1"))


def test_longest_stack_name_fits_every_name_in_the_template():
    assert settings.check_stack_name(LONGEST) == LONGEST
    assert min(spare_lengths(LONGEST)) == 0


@pytest.mark.parametrize("name", ["", "1st", "a_b", f"{LONGEST}a"])
def test_invalid_stack_name_is_rejected(name):
    with pytest.raises(DeployError, match="is no stack name"):
        settings.check_stack_name(name)


# --- questions ----------------------------------------------------------------------------------------------


def test_first_deployment_asks_and_stores_the_answers(make_deployment):
    first = make_deployment([*FIRST_ANSWERS, "y", "n"], stored=None)
    first.deploy()
    assert [question.partition(" [")[0].rstrip(": ") for question in first.asked[:4]] == [
        "CommerceTable",
        "StripeSecretParameter",
        "AlarmEmail",
        "Bucket in this region for the packages",
    ]
    assert first.stored_settings == replace(SETTINGS, bucket=f"stripe-nightly-sync-{ACCOUNT}-{REGION}")
    assert RAW["Parameters"]["CommerceTable"]["Description"] in first.text
    assert first.parameters["ScheduleState"] == "DISABLED"
    assert "--set ScheduleState=ENABLED" in first.text


def test_later_deployment_asks_only_for_consent(make_deployment):
    later = make_deployment(["y", "n"])
    later.deploy()
    assert [question.partition("(")[0] for question in later.asked] == [
        "Deploy this? ",
        "Preview the last day with `nightly-sync run --dry-run`? Nothing is written. ",
    ]


def test_invalid_answer_is_asked_again(make_deployment):
    answers = ["no", "arn:aws:table", "shop", "key", "/shop/stripe-key", "", "", "y", "n"]
    deployment = make_deployment(answers, stored=None)
    deployment.deploy()
    assert deployment.stored_settings.parameters["CommerceTable"] == "shop"
    assert "StripeSecretParameter must be a parameter name that starts with a slash" in deployment.text


def test_all_parameters_are_asked_on_request(make_deployment):
    deployment = make_deployment([""] * (len(TEMPLATE.parameters) + 1) + ["y", "n"])
    deployment.deploy(everything=True)
    defaults = {name: one.default for name, one in TEMPLATE.parameters.items()}
    assert deployment.stored_settings.parameters == defaults | PARAMETERS


def test_first_deployment_without_questions_is_rejected(make_deployment):
    assert "run `make deploy` without it once" in make_deployment(stored=None).error()


# --- the file -----------------------------------------------------------------------------------------------


def test_change_on_the_command_line_is_deployed_and_stored(make_deployment):
    deployment = make_deployment(**DEPLOYED)
    deployment.deploy(changes=["ScheduleState=ENABLED", "MaxSessions=100"])
    assert deployment.parameters == PARAMETERS | {"ScheduleState": "ENABLED", "MaxSessions": "100"}
    assert deployment.stored_settings.parameters == deployment.parameters


@pytest.mark.parametrize("verb", ["deploy", "dry_run"])
@pytest.mark.parametrize("bucket", [{}, NO_BUCKET])
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["MaxSessions"], "it takes NAME=VALUE"),
        (["MaxSession=1"], "MaxSession is no parameter of the template"),
        (["MaxSessions=0"], "MaxSessions must be 1 or more"),
        (["ConsumerTimeout=61"], "ConsumerTimeout must be one of"),
    ],
)
def test_invalid_change_is_rejected_before_anything_is_written(
    make_deployment, verb, bucket, changes, problem
):
    deployment = make_deployment(**bucket)
    assert problem in deployment.error(verb, changes=changes)
    assert (deployment.stored_settings, deployment.formation) == (SETTINGS, [])


def test_every_problem_of_a_file_is_named_at_once(make_deployment):
    wrong = replace(SETTINGS, parameters={"CommerceTable": "x y", "Gone": "1"})
    message = make_deployment(stored=wrong).error()
    assert "Gone is no parameter" in message
    assert "CommerceTable must be a table name" in message
    assert "StripeSecretParameter is missing" in message


@pytest.mark.parametrize(
    "content", ["no json", "[]", "{}", '{"stack": 1, "account": "", "region": "", "bucket": ""}']
)
def test_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "deploy.sync.json"
    path.write_text(content)
    with pytest.raises(DeployError, match=r"deploy\.sync\.json cannot be read"):
        settings.read(path)


def test_file_belongs_to_one_account_and_region(make_deployment):
    other = make_deployment(sts__get_caller_identity={"Account": "999999999999"})
    assert "belongs to account 123456789012, eu-west-1" in other.error()
    assert other.formation == []


@pytest.mark.parametrize(
    ("answers", "stored", "state"), [(["n"], SETTINGS, DEPLOYED), ([*FIRST_ANSWERS, "n"], None, {})]
)
def test_declined_change_is_not_stored(make_deployment, answers, stored, state):
    deployment = make_deployment(answers, stored=stored, **state)
    deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings == stored


def test_rolled_back_change_is_not_stored(make_deployment):
    deployment = make_deployment(**ROLLED_BACK)
    deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings == SETTINGS


def test_change_that_continues_without_the_program_is_stored(make_deployment):
    expired = refusal("ExpiredToken", "DescribeStacks")
    deployment = make_deployment(cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), expired])
    assert "credentials have expired" in deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings.parameters["MaxSessions"] == "100"
