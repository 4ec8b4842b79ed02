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
    RECORDED,
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
        ("OrderSortKey", "ulid", "must be one of epoch, any"),
    ],
)
def test_filter_and_sources_are_checked_as_the_functions_do(name, value, problem):
    parameter = TEMPLATE.parameters[name]
    found = parameter.find_problem(value)
    assert (found is None) if problem is None else found.startswith(name) and problem in found
    if problem is None and parameter.pattern:
        assert re.fullmatch(parameter.pattern, value)


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        *(("AlarmEmail", value, True) for value in ("", "ops@example.com", "a.b+c@sub.example.co")),
        *(
            ("AlarmEmail", value, False)
            for value in ("ops", "ops@example", "a@b.c,d@e.f", "A <a@b.c>", " a@b.c", "a@b.c.", "a@@b.c")
        ),
        *(
            ("ScheduleExpression", value, True)
            for value in (
                "cron(0 2 * * ? *)",
                "cron(30 1 ? * MON-FRI *)",
                "cron(0 2 L * ? *)",
                "cron(0 0/6 * * ? *)",
                "rate(1 day)",
                "rate(12 hours)",
                "at(2026-01-31T02:00:00)",
            )
        ),
        *(
            ("ScheduleExpression", value, False)
            for value in (
                "",
                "0 2 * * *",
                "cron(0 2 * * *)",
                "cron(0 25 * * ? *)",
                "cron(60 2 * * ? *)",
                "cron(0 2 32 * ? *)",
                "cron(0 2 * * * *)",
                "cron(0 2 ? ? ? *)",
                "cron(0 2 * 13 ? *)",
                "cron(0 2 ? * 8 *)",
                "cron(0 2 * * ? 1950)",
                "cron(0 2 * * ? *",
                "rate(0 days)",
                "rate(day)",
                "rate(1 week)",
                "at(2026-01-31)",
                "every day",
            )
        ),
        *(
            ("ScheduleTimezone", value, True)
            for value in ("UTC", "Europe/Berlin", "America/Argentina/Ushuaia")
        ),
        *(
            ("ScheduleTimezone", value, False)
            for value in (
                "",
                "Berlin",
                "europe/berlin",
                "UTC+1",
                "Factory",
                "Europe/Atlantis",
                "Europe/Berlin ",
            )
        ),
    ],
)
def test_address_schedule_and_time_zone_are_checked(name, value, is_valid):
    problem = settings.find_problem(TEMPLATE.parameters[name], value)
    assert (problem is None) is is_valid
    assert is_valid or problem.startswith(name)


def test_misspelt_time_zone_has_a_suggestion():
    problem = settings.find_problem(TEMPLATE.parameters["ScheduleTimezone"], "europe/berlin")
    assert problem.endswith("did you mean Europe/Berlin?")


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
    assert first.stored_settings == replace(
        SETTINGS, account="", bucket="stripe-nightly-sync-{account}-eu-west-1"
    )
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
    deployment = make_deployment(stored=None)
    assert deployment.error() == (
        "CommerceTable is missing, and --yes never prompts: --set CommerceTable=…; "
        "StripeSecretParameter is missing, and --yes never prompts: --set StripeSecretParameter=…"
    )
    assert deployment.writes == []


def test_first_deployment_without_questions_takes_its_options(make_deployment):
    deployment = make_deployment(stored=None)
    named = ["CommerceTable=shop", "StripeSecretParameter=/shop/stripe-key"]
    assert deployment.deploy(changes=named) == 0
    assert deployment.parameters["ScheduleState"] == "DISABLED"


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
        (["LookbackHours=0"], "LookbackHours must be 1 or more"),
        (["ConsumerTimeout=61"], "ConsumerTimeout must be one of"),
        (["ProducerMemory=128"], "ProducerMemory must be 256 or more"),
        (["ScheduleExpression=cron(0 25 * * ? *)"], "Invalid hour value '25'"),
        (["ScheduleTimezone=Berlin"], "ScheduleTimezone must be a name of the IANA time zone database"),
        (["AlarmEmail=ops"], "AlarmEmail must be one e-mail address"),
    ],
)
def test_invalid_change_is_rejected_before_anything_is_written(
    make_deployment, verb, bucket, changes, problem
):
    deployment = make_deployment(**bucket)
    assert problem in deployment.error(verb, changes=changes)
    assert (deployment.stored_settings, deployment.writes) == (SETTINGS, [])


def test_every_problem_of_a_file_is_named_at_once(make_deployment):
    wrong = replace(SETTINGS, parameters={"CommerceTable": "x y", "Gone": "1"})
    message = make_deployment(stored=wrong).error()
    assert "Gone is no parameter" in message
    assert "CommerceTable must be a table's name of 3 to 255 letters" in message
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


def test_declined_change_is_not_stored(make_deployment):
    deployment = make_deployment(["n"], **DEPLOYED)
    deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings == SETTINGS


# --- what is kept -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["n", KeyboardInterrupt()])
def test_answers_of_a_first_deployment_are_kept_if_it_ends_early(make_deployment, end):
    first = make_deployment([*FIRST_ANSWERS, end], stored=None)
    with pytest.raises((DeployError, KeyboardInterrupt)):
        first.deploy()
    again = make_deployment(["y", "n"], stored=first.stored_settings)
    assert again.deploy() == 0
    assert len(again.asked) == 2


def test_interrupted_questions_go_on_where_they_ended(make_deployment):
    first = make_deployment(["shop", KeyboardInterrupt()], stored=None)
    with pytest.raises(KeyboardInterrupt):
        first.deploy()
    again = make_deployment([*FIRST_ANSWERS[1:], "y", "n"], stored=first.stored_settings)
    assert again.deploy() == 0
    assert again.asked[0].startswith("StripeSecretParameter")


def test_answer_that_the_account_lacks_is_asked_again(make_deployment):
    tables = [refusal("ResourceNotFoundException"), RECORDED["dynamodb", "describe_table"]]
    answers = ["shp", "shop", *FIRST_ANSWERS[1:], "y", "n"]
    deployment = make_deployment(answers, stored=None, dynamodb__describe_table=tables)
    assert deployment.deploy() == 0
    assert "there is no table shp in eu-west-1" in deployment.text
    assert deployment.parameters["CommerceTable"] == "shop"


def answer_everything(*ends, **answers):
    return [answers.get(name, "") for name in TEMPLATE.parameters] + ["", *ends]


@pytest.mark.parametrize("end", ["declined", "interrupted", "rolled back"])
def test_answers_of_a_later_deployment_are_repeated_as_options(make_deployment, end):
    zone = {"ScheduleTimezone": "Europe/Berlin"}
    typed = {
        "declined": answer_everything("n", **zone),
        "interrupted": [*answer_everything(**zone)[:-1], KeyboardInterrupt()],
        "rolled back": answer_everything("y", **zone),
    }[end]
    deployment = make_deployment(typed, **(ROLLED_BACK if end == "rolled back" else DEPLOYED))
    with pytest.raises((DeployError, KeyboardInterrupt)):
        deployment.deploy(everything=True)
    assert deployment.text.rstrip().endswith("repeat them: --set ScheduleTimezone=Europe/Berlin")
    assert deployment.stored_settings == SETTINGS


def test_refused_answer_is_not_offered_again(make_deployment):
    """Enter then accepts the value from before, of a parameter as of the bucket."""
    *answers, bucket, end = answer_everything("n", MaxSessions="7")
    table = list(TEMPLATE.parameters).index("CommerceTable")
    answers[table : table + 1] = ["x y", "nope", ""]
    found = [refusal("ResourceNotFoundException"), RECORDED["dynamodb", "describe_table"]]
    owned = [refusal("404"), RECORDED["s3", "head_bucket"]]
    deployment = make_deployment(
        [*answers, "X", "other", bucket, end],
        dynamodb__describe_table=found,
        s3__head_bucket=owned,
        **DEPLOYED,
    )
    with pytest.raises(DeployError):
        deployment.deploy(everything=True)
    asked = [one for one in deployment.asked if one.startswith(("CommerceTable", "Bucket"))]
    of_bucket = "Bucket in this region for the packages [packages]: "
    assert asked == ["CommerceTable [shop]: "] * 3 + [of_bucket] * 3
    assert deployment.text.rstrip().endswith("repeat them: --set MaxSessions=7")


def test_answers_that_are_deployed_are_not_repeated(make_deployment):
    deployment = make_deployment(answer_everything("y", "n", MaxSessions="7"), **DEPLOYED)
    assert deployment.deploy(everything=True) == 0
    assert "repeat them" not in deployment.text


ADDRESS, KEY = "ops@example.com", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"


def test_file_holds_no_account_and_no_address(make_deployment):
    answers = ["shop", "/shop/stripe-key", ADDRESS, "", "y", "n"]
    first = make_deployment(answers, stored=None)
    first.deploy(changes=[f"StripeSecretKmsKeyArn={KEY}"])
    assert ACCOUNT not in first.stored_text
    assert ADDRESS not in first.stored_text
    assert (first.parameters["AlarmEmail"], first.parameters["StripeSecretKmsKeyArn"]) == (ADDRESS, KEY)
    deployed = [stacks("UPDATE_COMPLETE", first.parameters)]
    later = make_deployment(stored=first.stored_settings, cloudformation__describe_stacks=deployed)
    later.deploy(changes=["MaxSessions=100"])
    assert later.parameters == first.parameters | {"MaxSessions": "100"}
    assert ADDRESS not in later.stored_text


@pytest.mark.parametrize("option", [True, False])
def test_file_holds_account_and_address_on_request(make_deployment, option):
    """A file that names the account, as earlier versions wrote it, keeps both."""
    stored = SETTINGS if not option else replace(SETTINGS, account="")
    deployment = make_deployment(stored=stored, **DEPLOYED)
    deployment.deploy(changes=[f"AlarmEmail={ADDRESS}"], store_private=option)
    assert (deployment.stored_settings.account, ADDRESS in deployment.stored_text) == (ACCOUNT, True)


def test_stack_without_a_file_is_deployed_with_its_own_parameters(make_deployment):
    given = PARAMETERS | {
        "AlarmEmail": ADDRESS,
        "LookbackHours": "48",
        "BackoffBaseSeconds": "30",
        "Gone": "1",
    }
    deployed = [stacks("UPDATE_COMPLETE", given)]
    deployment = make_deployment(["y", "n"], stored=None, cloudformation__describe_stacks=deployed)
    assert deployment.deploy() == 0
    expected = {
        name: one for name, one in given.items() if name not in {"BackoffBaseSeconds", "Gone"} and one
    }
    assert deployment.parameters == expected
    assert deployment.stored_settings.bucket == "packages"
    assert "the settings are those of the deployed stack" in deployment.text


def test_rolled_back_change_is_not_stored(make_deployment):
    deployment = make_deployment(**ROLLED_BACK)
    deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings == SETTINGS


def test_change_that_continues_without_the_program_is_stored(make_deployment):
    expired = refusal("ExpiredToken")
    deployment = make_deployment(cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), expired])
    assert "credentials have expired" in deployment.error(changes=["MaxSessions=100"])
    assert deployment.stored_settings.parameters["MaxSessions"] == "100"


@pytest.mark.parametrize(
    ("parameters", "numbers", "rule"),
    [
        ({"StripeMaxRps": "2"}, "2 and 5", "at least 3, or the second at most 3"),
        ({"ConsumerConcurrency": "40"}, "12 and 40", "at least 24, or the second at most 20"),
    ],
)
def test_pace_that_leaves_a_consumer_too_little_is_refused(parameters, numbers, rule):
    wrong = replace(SETTINGS, parameters={**SETTINGS.parameters, **parameters})
    assert settings.find_slow_share(wrong, TEMPLATE) == (
        f"StripeMaxRps and ConsumerConcurrency are {numbers}, and the first must be at least 0.6 times the "
        f"second: {rule}"
    )
