"""`make deploy` and `make destroy`, given what the AWS CLI answered; tests/e2e has the real one."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import deque
from dataclasses import replace

import pytest
from cfnlint.decode import decode_str

from infra.build import ROOT
from infra.deploy import __main__ as command
from infra.deploy import preflight, settings, stack
from infra.deploy.aws import Aws, Done, program, region_of
from infra.deploy.changes import Change, changes_of
from infra.deploy.down import destroy, show_destruction
from infra.deploy.dry_run import show_deployment
from infra.deploy.errors import CannotDeploy
from infra.deploy.packages import packaged, s3_address
from infra.deploy.screen import Screen
from infra.deploy.settings import Settings
from infra.deploy.template import Parameter, Template
from infra.deploy.up import Options, Tools, deploy

TEXT = (ROOT / "infra" / "template.yaml").read_text()
TEMPLATE = Template.of(TEXT)
RAW = decode_str(TEXT)[0]
STACK, ACCOUNT, REGION = "sync", "123456789012", "eu-west-1"
PARAMETERS = {
    "CommerceTable": "shop",
    "StripeSecretParameter": "/shop/stripe-key",
    "AlarmEmail": "",
    "ScheduleState": "DISABLED",
}
SETTINGS = Settings(STACK, ACCOUNT, REGION, "packages", PARAMETERS)
STACK_ID = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1"
QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{STACK}-sessions"


def refusal(code, operation, message=""):
    return Done(254, "", f"\nAn error occurred ({code}) when calling the {operation} operation: {message}")


NO_STACK = refusal("ValidationError", "DescribeStacks", f"Stack with id {STACK} does not exist")


class RecordedAws:
    """Answers calls as the CLI did, by their first two words; the last of several answers stays."""

    def __init__(self, **changes):
        recorded = {
            "sts get-caller-identity": {"Account": ACCOUNT},
            "dynamodb describe-table": table(("PK", "HASH", "S"), ("SK", "RANGE", "S")),
            "ssm describe-parameters": {"Parameters": [{"Type": "SecureString"}]},
            "s3api head-bucket": {"BucketRegion": REGION},
            "s3api list-objects-v2": {},
            "s3 cp": {},
            "sqs list-queues": {},
            "sqs get-queue-attributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
            "logs describe-log-groups": {"logGroups": []},
            "cloudformation describe-stacks": [
                NO_STACK,
                stacks("CREATE_IN_PROGRESS"),
                stacks("CREATE_COMPLETE"),
            ],
            "cloudformation describe-change-set": change_set(added("Queue")),
        }
        self.answers = {
            words: deque(answer if isinstance(answer, list) else [answer])
            for words, answer in (
                recorded | {name.replace("__", " ").replace("_", "-"): one for name, one in changes.items()}
            ).items()
        }
        self.calls = []

    def __call__(self, words):
        self.calls.append(list(words))
        answers = self.answers.get(" ".join(words[:2]), deque([{}]))
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Done) else Done(0, json.dumps(answer), "")

    def said(self, *words):
        """The calls that begin with these words."""
        return [call for call in self.calls if call[: len(words)] == list(words)]

    def order(self, service):
        return [call[1] for call in self.calls if call[0] == service]


def table(*keys):
    return {
        "Table": {
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind, _ in keys],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": form} for name, _, form in keys
            ],
        }
    }


def stacks(status, **outputs):
    pairs = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    return {"Stacks": [{"StackStatus": status, "StackId": STACK_ID, "Outputs": pairs}]}


def change_set(*changes, status="CREATE_COMPLETE", reason=""):
    return {"Status": status, "StatusReason": reason, "Changes": [{"ResourceChange": one} for one in changes]}


def added(name, kind="AWS::SQS::Queue"):
    return {"Action": "Add", "LogicalResourceId": name, "ResourceType": kind}


def modified(name, kind, replacement):
    return added(name, kind) | {"Action": "Modify", "Replacement": replacement}


def removed(name, kind="AWS::SQS::Queue"):
    return added(name, kind) | {"Action": "Remove"}


DEPLOYED = {"cloudformation__describe_stacks": [stacks("UPDATE_COMPLETE")]}
# A stack that exists only while its first change set waits.
EMPTY = {"cloudformation__describe_stacks": [NO_STACK, stacks("REVIEW_IN_PROGRESS"), NO_STACK]}


class Bench:
    """A deployment with all around it recorded. `answers`: what a person types; None: nobody is there."""

    def __init__(self, folder, answers=None, kept=SETTINGS, health=0, **recorded):
        self.file = folder / "deploy.sync.json"
        if kept:
            settings.write(self.file, kept)
        self.run = RecordedAws(**recorded)
        self.out = io.StringIO()
        self.asked = []
        self.operator_calls = []
        self.slept = []
        self.health = health
        typed = iter(answers or ())

        def read(question):
            self.asked.append(question)
            answer = next(typed)
            if isinstance(answer, str):
                return answer
            raise answer

        read = None if answers is None else read
        self.screen = Screen(self.out, read)
        self.aws = Aws(self.run, REGION)
        archive = folder / "a.zip"
        archive.write_bytes(b"the same bytes")
        self.tools = Tools(
            self.aws,
            self.screen,
            TEMPLATE,
            lambda options: {"producer": archive, "consumer": archive},
            self.operator,
            self.slept.append,
        )

    def operator(self, words):
        self.operator_calls.append(words[:2] if words[0] == "run" else words[:1])
        return self.health

    def deploy(self, **options):
        return deploy(self.tools, Options(**{"stack": STACK, "file": self.file} | options))

    def dry_run(self, **options):
        return show_deployment(self.tools, Options(**{"stack": STACK, "file": self.file} | options))

    def destroy(self, kept=SETTINGS):
        destroy(self.aws, self.screen, kept, self.slept.append)

    def destroy_dry_run(self):
        show_destruction(self.aws, self.screen, SETTINGS, self.slept.append)

    def refused(self, what="deploy", **options):
        with pytest.raises(CannotDeploy) as caught:
            getattr(self, what)(**options)
        return str(caught.value)

    @property
    def kept(self):
        return settings.read(self.file)


@pytest.fixture
def bench(tmp_path):
    return lambda *arguments, **named: Bench(tmp_path, *arguments, **named)


# --- the template's own rules -------------------------------------------------------------------------------


def test_parameters_and_what_is_retained_are_read_as_cloudformation_reads_them():
    assert TEMPLATE.parameters.keys() == RAW["Parameters"].keys()
    for name, raw in RAW["Parameters"].items():
        read = TEMPLATE.parameters[name]
        assert read.default == (str(raw["Default"]) if "Default" in raw else None)
        assert (read.pattern, list(read.allowed)) == (
            raw.get("AllowedPattern"),
            [str(one) for one in raw.get("AllowedValues", [])],
        )
        limits = (raw.get("MinValue"), raw.get("MaxValue"), raw.get("MaxLength"))
        assert (read.least, read.most, read.longest) == limits
    retained = {name for name, one in RAW["Resources"].items() if "Retain" in one.get("DeletionPolicy", "")}
    assert TEMPLATE.retained.keys() == retained


def test_every_default_of_the_template_is_allowed_by_it():
    problems = [one.problem(one.default) for one in TEMPLATE.parameters.values() if one.default is not None]
    assert not any(problems)


@pytest.mark.parametrize(
    ("rules", "value", "problem"),
    [
        ({"pattern": "/.+", "constraint": "must start with a slash"}, "key", "A must start with a slash"),
        ({"pattern": "[a-z]+"}, "a1", "A must match [a-z]+"),
        ({"pattern": "[a-z]+"}, "a", None),
        ({"allowed": ("x", "y")}, "z", "A must be one of x, y"),
        ({"is_number": True, "least": 1}, "0", "A must be 1 or more"),
        ({"is_number": True, "most": 5}, "6", "A must be 5 or less"),
        ({"is_number": True}, "many", "A must be a whole number"),
        ({"is_number": True}, "1.5", "A must be a whole number"),
        ({"is_number": True}, "1e2", "A must be a whole number"),
        ({"is_number": True}, "nan", "A must be a whole number"),
        ({"is_number": True}, "", "A must be a whole number"),
        ({"default": "UTC"}, "", "A must not be empty"),
        ({"default": ""}, "", None),
        ({"longest": 3}, "abcd", "A must be 3 characters or fewer"),
        ({"longest": 3}, "abc", None),
        ({"is_number": True, "least": 1, "most": 5}, "5", None),
    ],
)
def test_a_value_is_checked_before_cloudformation_sees_it(rules, value, problem):
    assert Parameter(**{"name": "A", "description": "", "default": None} | rules).problem(value) == problem


def test_the_table_is_no_resource_of_the_stack():
    assert not [name for name, one in RAW["Resources"].items() if one["Type"].startswith("AWS::DynamoDB")]


def test_the_names_that_a_deletion_leaves_behind_are_the_templates():
    retained = [RAW["Resources"][name]["Properties"] for name in TEMPLATE.retained]
    queues = {one["QueueName"]["Fn::Sub"] for one in retained if "QueueName" in one}
    assert queues == {name.format(stack="${AWS::StackName}") for name in preflight.QUEUES}
    groups = {one["LogGroupName"]["Fn::Sub"] for one in retained if "LogGroupName" in one}
    assert groups == {
        preflight.LOG_GROUPS.format(stack="${AWS::StackName}") + one for one in ("producer", "consumer")
    }


# --- parameters ---------------------------------------------------------------------------------------------


def test_the_first_time_it_asks_for_what_has_no_default_and_keeps_it(bench):
    shop = bench(["shop", "/shop/stripe-key", "", "", "y", "n"], kept=None)
    shop.deploy()
    assert [question.partition(" [")[0].rstrip(": ") for question in shop.asked[:4]] == [
        "CommerceTable",
        "StripeSecretParameter",
        "AlarmEmail",
        "Bucket in this region for the packages",
    ]
    assert shop.kept == replace(SETTINGS, bucket=f"stripe-nightly-sync-{ACCOUNT}-{REGION}")
    assert RAW["Parameters"]["CommerceTable"]["Description"] in shop.out.getvalue()


def test_the_second_time_it_asks_for_nothing_but_the_change(bench):
    shop = bench(["y", "n"])
    shop.deploy()
    assert [question.partition("(")[0] for question in shop.asked] == [
        "Deploy this? ",
        "Preview the last day with `nightly-sync run --dry-run`? Nothing is written. ",
    ]


def test_a_wrong_answer_is_asked_for_again(bench):
    shop = bench(["no", "arn:aws:table", "shop", "key", "/shop/stripe-key", "", "", "y", "n"], kept=None)
    shop.deploy()
    assert shop.kept.parameters["CommerceTable"] == "shop"
    assert "StripeSecretParameter must be a parameter name that starts with a slash" in shop.out.getvalue()


def test_all_parameters_are_asked_for_on_demand(bench):
    shop = bench([""] * (len(TEMPLATE.parameters) + 1) + ["y", "n"])
    shop.deploy(everything=True)
    assert (
        shop.kept.parameters == {name: one.default for name, one in TEMPLATE.parameters.items()} | PARAMETERS
    )


def test_a_first_stack_does_not_run_by_itself(bench):
    shop = bench(["shop", "/shop/stripe-key", "", "", "y", "n"], kept=None)
    shop.deploy()
    assert passed(shop)["ScheduleState"] == "DISABLED"
    assert "--set ScheduleState=ENABLED" in shop.out.getvalue()


def passed(shop):
    [call] = shop.run.said("cloudformation", "create-change-set")
    return {
        one["ParameterKey"]: one["ParameterValue"] for one in json.loads(call[call.index("--parameters") + 1])
    }


def test_a_change_on_the_command_line_is_deployed_and_kept(bench):
    shop = bench(**DEPLOYED)
    shop.deploy(changes=["ScheduleState=ENABLED", "MaxSessions=100"])
    assert passed(shop) == PARAMETERS | {"ScheduleState": "ENABLED", "MaxSessions": "100"}
    assert shop.kept.parameters == passed(shop)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["MaxSessions"], "it takes NAME=VALUE"),
        (["MaxSession=1"], "MaxSession is no parameter of the template"),
        (["MaxSessions=0"], "MaxSessions must be 1 or more"),
        (["ConsumerTimeout=61"], "ConsumerTimeout must be one of"),
    ],
)
def test_a_change_that_cannot_be_is_refused_before_anything_is_made_or_kept(bench, changes, problem):
    shop = bench()
    before = shop.file.read_text()
    assert problem in shop.refused(changes=changes)
    assert shop.file.read_text() == before
    assert not shop.run.order("cloudformation")


def test_everything_wrong_with_a_file_is_said_at_once(bench):
    shop = bench(kept=replace(SETTINGS, parameters={"CommerceTable": "x y", "Gone": "1"}))
    said = shop.refused()
    assert "Gone is no parameter" in said
    assert "CommerceTable must be a table name" in said
    assert "StripeSecretParameter is missing" in said


@pytest.mark.parametrize(
    "content", ["no json", "[]", "{}", '{"stack": 1, "account": "", "region": "", "bucket": ""}']
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "deploy.sync.json"
    path.write_text(content)
    with pytest.raises(CannotDeploy, match=r"deploy\.sync\.json cannot be read"):
        settings.read(path)


def test_nobody_to_ask_and_no_file_is_refused_with_the_way_out(bench):
    assert "run `make deploy` by hand once" in bench(kept=None).refused()


def test_the_file_belongs_to_one_account_and_region(bench):
    other = bench(sts__get_caller_identity={"Account": "999999999999"})
    assert "belongs into account 123456789012, eu-west-1" in other.refused()
    assert not other.run.order("cloudformation")


LONGEST = "a" * 55


@pytest.mark.parametrize("name", ["", "1st", "a_b", f"{LONGEST}a"])
def test_a_name_that_cannot_be_a_stacks_is_refused(name):
    with pytest.raises(CannotDeploy, match="is no stack name"):
        settings.checked_stack(name)


# What of the template is named after the stack -> the property that names it, and how long AWS lets it be.
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


def rooms_left(stack_name):
    """For each name in the template, how many characters it could be longer."""
    for one in RAW["Resources"].values():
        name, limit = NAMED.get(one["Type"], (None, 0))
        if pattern := one.get("Properties", {}).get(name):
            made = pattern["Fn::Sub"].replace("${AWS::StackName}", stack_name)
            yield limit - len(made.replace("${AWS::Region}", "ap-southeast-1"))


def test_the_longest_stack_name_is_the_longest_that_every_name_in_the_template_has_room_for():
    assert settings.checked_stack(LONGEST) == LONGEST
    assert min(rooms_left(LONGEST)) == 0


# --- before anything is made --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (
            {"dynamodb__describe_table": refusal("ResourceNotFoundException", "DescribeTable")},
            "there is no table shop in eu-west-1",
        ),
        (
            {"dynamodb__describe_table": table(("PK", "HASH", "S"))},
            "must have the string keys PK and SK; its keys are PK HASH S",
        ),
        ({"dynamodb__describe_table": table(("PK", "HASH", "S"), ("SK", "RANGE", "N"))}, "SK RANGE N"),
        ({"ssm__describe_parameters": {"Parameters": []}}, "--name /shop/stripe-key --type SecureString"),
        (
            {"ssm__describe_parameters": {"Parameters": [{"Type": "String"}]}},
            "must be a SecureString; it is a String",
        ),
        (
            {"s3api__head_bucket": refusal("404", "HeadBucket", "Not Found")},
            "aws s3 mb s3://packages --region eu-west-1",
        ),
        (
            {"s3api__head_bucket": refusal("403", "HeadBucket", "Forbidden")},
            f"not of account {ACCOUNT} (403)",
        ),
        ({"s3api__head_bucket": {"BucketRegion": "us-west-2"}}, "the bucket packages is in us-west-2"),
        (
            {"s3api__head_bucket": {}, "s3api__get_bucket_location": {"LocationConstraint": None}},
            "the bucket packages is in us-east-1",
        ),
        (
            {"sts__get_caller_identity": Done(255, "", "Unable to locate credentials. You can configure…")},
            "no AWS credentials",
        ),
        (
            {"sts__get_caller_identity": refusal("ExpiredToken", "GetCallerIdentity")},
            "credentials have expired",
        ),
        (
            {"sts__get_caller_identity": refusal("AccessDenied", "GetCallerIdentity", "no")},
            "AWS: GetCallerIdentity: AccessDenied: no",
        ),
        (
            {"sqs__list_queues": {"QueueUrls": [QUEUE_URL]}},
            f"aws sqs delete-queue --region eu-west-1 --queue-url {QUEUE_URL}",
        ),
        (
            {"logs__describe_log_groups": {"logGroups": [{"logGroupName": "/aws/lambda/sync-producer"}]}},
            "delete-log-group",
        ),
        (
            {"cloudformation__describe_stacks": [stacks("ROLLBACK_COMPLETE")]},
            "aws cloudformation delete-stack",
        ),
        ({"cloudformation__describe_stacks": [stacks("UPDATE_ROLLBACK_FAILED")]}, "continue-update-rollback"),
        ({"cloudformation__describe_stacks": [stacks("UPDATE_IN_PROGRESS")]}, "somebody is at work on it"),
    ],
)
def test_what_is_not_as_it_must_be_ends_it_before_anything_is_made(bench, recorded, said):
    shop = bench(**recorded)
    assert said in shop.refused()
    assert not shop.run.said("s3", "cp")
    assert not shop.run.said("cloudformation", "create-change-set")


def test_another_stacks_queue_of_a_similar_name_is_in_nobodys_way(bench):
    shop = bench(sqs__list_queues={"QueueUrls": [f"{QUEUE_URL}-other"]})
    assert shop.deploy() == 0


@pytest.mark.parametrize("name", [REGION, "EU"])
def test_a_cli_that_does_not_say_the_buckets_region_is_asked_for_it(bench, name):
    head = Done(0, "", "")
    shop = bench(s3api__head_bucket=head, s3api__get_bucket_location={"LocationConstraint": name})
    assert shop.deploy() == 0


def test_a_bucket_of_another_account_is_never_taken(bench):
    shop = bench()
    shop.deploy()
    [call] = shop.run.said("s3api", "head-bucket")
    assert call[call.index("--expected-bucket-owner") + 1] == ACCOUNT


def test_the_key_is_never_read(bench):
    shop = bench()
    shop.deploy()
    assert [call[1] for call in shop.run.said("ssm")] == ["describe-parameters"]


def test_no_aws_cli_is_said_in_one_line(tmp_path):
    with pytest.raises(CannotDeploy, match="the AWS CLI is needed"):
        program({"PATH": str(tmp_path)})


def test_the_region_is_found_where_the_cli_finds_it():
    run = RecordedAws(configure__get=Done(0, "us-west-2\n", ""))
    both = {"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}
    assert region_of(run, "said", both) == "said"
    assert region_of(run, None, both) == "a"
    assert region_of(run, None, {"AWS_DEFAULT_REGION": "b"}) == "b"
    assert region_of(run, None, {}) == "us-west-2"
    with pytest.raises(CannotDeploy, match="no AWS region"):
        region_of(RecordedAws(configure__get=Done(1, "", "")), None, {})


# --- the change set -----------------------------------------------------------------------------------------


def test_a_change_set_is_shown_with_the_worst_first(bench):
    changes = (
        added("Alarm", "AWS::CloudWatch::Alarm"),
        modified("Producer", "AWS::Lambda::Function", "False"),
        modified("Schedule", "AWS::Scheduler::Schedule", "Conditional"),
        modified("Queue", "AWS::SQS::Queue", "True"),
    )
    shop = bench(["n"], **DEPLOYED, cloudformation__describe_change_set=change_set(*changes))
    shop.refused()
    shown = [line.split() for line in shop.out.getvalue().splitlines() if "AWS::" in line]
    assert shown == [
        ["Modify", "Queue", "AWS::SQS::Queue", "yes"],
        ["Modify", "Schedule", "AWS::Scheduler::Schedule", "perhaps"],
        ["Add", "Alarm", "AWS::CloudWatch::Alarm"],
        ["Modify", "Producer", "AWS::Lambda::Function", "no"],
    ]


def test_only_a_queue_that_goes_for_sure_loses_messages():
    changes = changes_of(
        change_set(
            removed("A"),
            modified("B", "AWS::SQS::Queue", "True"),
            modified("C", "AWS::SQS::Queue", "Conditional"),
            removed("D", "AWS::CloudWatch::Alarm"),
            added("E"),
        )
    )
    assert [change.loses_messages for change in changes] == [True, True, False, False, False]
    assert changes[0] == Change("Remove", "A", "AWS::SQS::Queue", "")


def test_it_deploys_what_was_agreed_to_and_protects_the_queues(bench):
    shop = bench(["y", "n"])
    assert shop.deploy() == 0
    assert shop.run.order("cloudformation") == [
        *("describe-stacks", "create-change-set", "describe-change-set", "execute-change-set"),
        *("describe-stacks", "describe-stacks", "set-stack-policy"),
    ]
    assert shop.slept == [5.0]


def test_a_change_set_that_is_not_wanted_is_deleted(bench):
    shop = bench(["n"], **DEPLOYED)
    assert shop.refused() == "nothing was deployed"
    assert shop.run.order("cloudformation")[-1] == "delete-change-set"


def test_a_first_stack_that_is_not_wanted_leaves_no_empty_one(bench):
    shop = bench(["n"], **EMPTY)
    shop.refused()
    assert shop.run.order("cloudformation")[-2:] == ["delete-stack", "describe-stacks"]


@pytest.mark.parametrize(
    "other",
    [
        {"cloudformation__describe_stacks": [NO_STACK, stacks("CREATE_IN_PROGRESS")]},
        {**EMPTY, "cloudformation__list_change_sets": {"Summaries": [{"ChangeSetName": "somebody-elses"}]}},
    ],
)
def test_declined_first_change_set_never_deletes_a_stack_of_somebody_else(bench, other):
    shop = bench(["n"], **other)
    shop.refused()
    assert "delete-change-set" in shop.run.order("cloudformation")
    assert "delete-stack" not in shop.run.order("cloudformation")


@pytest.mark.parametrize("leaves", [EOFError(), KeyboardInterrupt()])
@pytest.mark.parametrize(("state", "undone"), [(EMPTY, "delete-stack"), (DEPLOYED, "delete-change-set")])
def test_whoever_leaves_at_the_question_leaves_nothing_behind(bench, leaves, state, undone):
    shop = bench([leaves], **state)
    with pytest.raises((CannotDeploy, KeyboardInterrupt)):
        shop.deploy()
    assert undone in shop.run.order("cloudformation")[-2:]


def test_a_change_that_was_declined_is_not_kept(bench):
    shop = bench(["n"], **DEPLOYED)
    shop.refused(changes=["MaxSessions=100"])
    assert shop.kept == SETTINGS
    first = bench(["shop", "/shop/stripe-key", "", "", "n"], kept=None)
    first.file.unlink()
    first.refused()
    assert first.kept is None


def test_a_change_that_was_rolled_back_is_not_kept(bench):
    shop = bench(
        cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), stacks("UPDATE_ROLLBACK_COMPLETE")],
        cloudformation__describe_stack_events={"StackEvents": []},
    )
    shop.refused(changes=["MaxSessions=100"])
    assert shop.kept == SETTINGS


def test_a_change_that_goes_on_without_this_program_is_kept(bench):
    expired = refusal("ExpiredToken", "DescribeStacks")
    shop = bench(cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), expired])
    assert "credentials have expired" in shop.refused(changes=["MaxSessions=100"])
    assert shop.kept.parameters["MaxSessions"] == "100"


def test_without_anybody_to_ask_a_queue_is_never_lost_by_the_way(bench):
    losing = change_set(removed("DeadLetterQueue"))
    shop = bench(**DEPLOYED, cloudformation__describe_change_set=losing)
    assert "--allow-queue-loss" in shop.refused()
    assert not shop.run.said("cloudformation", "execute-change-set")


def test_a_queue_that_would_go_is_asked_about_apart(bench):
    losing = {"cloudformation__describe_change_set": change_set(removed("DeadLetterQueue")), **DEPLOYED}
    assert "for the queue's sake" in bench(["n"], **losing).refused()
    shop = bench(["y", "y", "n"], **losing)
    shop.deploy()
    assert [question.partition(" (")[0] for question in shop.asked[:2]] == [
        "Shall it go all the same?",
        "Deploy this?",
    ]


@pytest.mark.parametrize("ends", ["UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_the_protection_is_lifted_for_one_deployment_only(bench, ends):
    shop = bench(
        cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), stacks(ends)],
        cloudformation__describe_change_set=change_set(removed("Queue")),
        cloudformation__describe_stack_events={"StackEvents": []},
    )
    if ends == "UPDATE_COMPLETE":
        shop.deploy(allow_queue_loss=True)
    else:
        shop.refused(allow_queue_loss=True)
    exposed, protected = shop.run.said("cloudformation", "set-stack-policy")
    assert '"Update:*"' in exposed[-5]
    assert f"file://{ROOT}/infra/stack-policy.json" in protected
    order = shop.run.order("cloudformation")
    assert order.index("set-stack-policy") < order.index("execute-change-set")


@pytest.mark.parametrize(
    "nothing",
    [
        change_set(
            status="FAILED", reason="The submitted information didn't contain changes. Submit different…"
        ),
        change_set(status="FAILED", reason="No updates are to be performed."),
        change_set(),
    ],
)
def test_nothing_to_change_is_said_and_the_doctor_looks_all_the_same(bench, nothing):
    shop = bench(**DEPLOYED, cloudformation__describe_change_set=nothing)
    assert shop.deploy() == 0
    assert "No changes" in shop.out.getvalue()
    assert shop.run.order("cloudformation")[-2] == "delete-change-set"
    assert shop.operator_calls == [["doctor"]]


def test_nothing_to_change_protects_what_an_interrupted_deployment_left_open(bench):
    shop = bench(**DEPLOYED, cloudformation__describe_change_set=change_set())
    shop.deploy()
    [call] = shop.run.said("cloudformation", "set-stack-policy")
    assert f"file://{ROOT}/infra/stack-policy.json" in call


def test_a_change_set_that_cloudformation_refuses_is_quoted(bench):
    failed = change_set(status="FAILED", reason="Parameter X must be…")
    shop = bench(**DEPLOYED, cloudformation__describe_change_set=failed)
    assert "CloudFormation refuses it: Parameter X must be…" in shop.refused()
    assert shop.run.order("cloudformation")[-1] == "delete-change-set"


def event(name, status, reason="", kind="AWS::Lambda::Function"):
    physical = STACK_ID if name == STACK else f"{name}-1"
    return {
        "StackId": STACK_ID, "LogicalResourceId": name, "PhysicalResourceId": physical, "ResourceType": kind,
        "ResourceStatus": status, "ResourceStatusReason": reason,
    }  # fmt: skip


def test_a_failure_is_told_by_its_causes_in_order_and_by_no_earlier_ones():
    newest_first = [
        event(STACK, "UPDATE_ROLLBACK_COMPLETE"),
        event("Consumer", "UPDATE_FAILED", "Resource update cancelled"),
        event("Schedule", "UPDATE_FAILED", "second"),
        event("Producer", "UPDATE_FAILED", "first"),
        event(STACK, "UPDATE_IN_PROGRESS"),
        event("Producer", "UPDATE_FAILED", "of last week"),
    ]
    assert stack.failures(newest_first) == [
        "Producer (AWS::Lambda::Function): first",
        "Schedule (AWS::Lambda::Function): second",
    ]


def test_a_deployment_that_rolled_back_says_why_and_that_nothing_changed(bench):
    events = [event("Producer", "UPDATE_FAILED", "no such layer"), event(STACK, "UPDATE_IN_PROGRESS")]
    shop = bench(
        cloudformation__describe_stacks=[stacks("UPDATE_COMPLETE"), stacks("UPDATE_ROLLBACK_COMPLETE")],
        cloudformation__describe_stack_events={"StackEvents": events},
    )
    assert (
        shop.refused() == "the deployment failed, sync is UPDATE_ROLLBACK_COMPLETE: everything is as it was"
    )
    assert "no such layer" in shop.out.getvalue()
    assert not shop.operator_calls


# --- packages -----------------------------------------------------------------------------------------------


def test_the_same_zip_is_uploaded_once_under_the_name_of_its_content(bench):
    shop = bench()
    shop.deploy()
    targets = [call[4] for call in shop.run.said("s3", "cp")]
    digest = hashlib.sha256(b"the same bytes").hexdigest()
    assert targets[:2] == [f"s3://packages/sync/{name}-{digest}.zip" for name in ("producer", "consumer")]
    again = bench(**DEPLOYED, s3api__list_objects_v2={"Contents": [{}]})
    again.deploy()
    assert not again.run.said("s3", "cp")


def test_a_packaged_template_names_the_zips_and_is_otherwise_the_same():
    made = packaged(TEXT, {"producer": "s3://b/p.zip", "consumer": "s3://b/c.zip"})
    expected = TEXT.replace("../build/producer", "s3://b/p.zip").replace("../build/consumer", "s3://b/c.zip")
    assert made == expected
    assert "build/" not in made


def test_cloudformation_is_sent_to_the_regions_own_bucket_address():
    assert s3_address("eu-west-1", {}) == "https://s3.eu-west-1.amazonaws.com"
    assert s3_address("cn-north-1", {}) == "https://s3.cn-north-1.amazonaws.com.cn"
    assert s3_address("us-east-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}) == "http://127.0.0.1:1"


HASHES = """
import sys; from pathlib import Path; from infra.build import Options, build, write_zip
from infra.deploy.packages import sha256
out = Path(sys.argv[1])
for name, folder in build(out, Options("host")).items():
    print(name, sha256(write_zip(folder, out / f"{name}.zip")))
"""


def test_a_zip_has_the_same_hash_in_another_folder_under_other_habits(tmp_path):
    habits = [("1", "UTC", "022", "C.UTF-8"), ("2", "Pacific/Auckland", "077", "C")]
    hashes = []
    for number, (seed, zone, mask, language) in enumerate(habits):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "TZ": zone,
            "LC_ALL": language,
            "PYTHONPATH": str(ROOT),
        }
        program = [
            "bash",
            "-c",
            f'umask {mask}; exec "$@"',
            "-",
            sys.executable,
            "-c",
            HASHES,
            tmp_path / str(number),
        ]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
        hashes.append(done.stdout)
    assert hashes[0] == hashes[1]


# --- afterwards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "said"), [(1, "what the doctor names is above"), (2, "why the doctor could not look is above")]
)
def test_what_the_doctor_finds_is_the_exit_code_and_does_not_look_like_a_failure(bench, health, said):
    shop = bench(health=health)
    assert shop.deploy() == 1
    assert shop.out.getvalue().splitlines()[-1].startswith(f"The stack is deployed; {said}")


@pytest.mark.parametrize("leaves", [EOFError(), KeyboardInterrupt()])
def test_whoever_leaves_at_the_preview_has_deployed(bench, leaves):
    shop = bench(["y", leaves])
    assert shop.deploy() == 0
    assert made_after(bench(["y", leaves], health=1)) == [["doctor"]]


def test_a_preview_is_offered_and_made_on_demand(bench):
    assert made_after(bench(["y", "y"])) == [["doctor"], ["run", "--dry-run"]]
    assert made_after(bench(["y", "n"])) == [["doctor"]]
    assert made_after(bench()) == [["doctor"]]
    assert made_after(bench(), preview=True) == [["doctor"], ["run", "--dry-run"]]


def made_after(shop, **options):
    shop.deploy(**options)
    return shop.operator_calls


# --- destroy ------------------------------------------------------------------------------------------------

FULL = {"Attributes": {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"}}
THERE = stacks("UPDATE_COMPLETE", QueueUrl=QUEUE_URL)


def test_a_stack_goes_when_its_name_is_typed_and_its_table_stays(bench):
    shop = bench(["sync"], cloudformation__describe_stacks=[THERE, stacks("DELETE_IN_PROGRESS"), NO_STACK])
    shop.destroy()
    assert shop.run.order("cloudformation") == [
        "describe-stacks",
        "delete-stack",
        "describe-stacks",
        "describe-stacks",
    ]
    assert {call[0] for call in shop.run.calls} == {"sts", "sqs", "cloudformation", "logs"}
    assert "table shop, with every order and every run" in shop.out.getvalue()


@pytest.mark.parametrize("typed", ["", "y", "Sync"])
def test_anything_else_typed_deletes_nothing(bench, typed):
    shop = bench([typed], cloudformation__describe_stacks=[THERE])
    assert shop.refused("destroy") == "nothing was deleted"
    assert "delete-stack" not in shop.run.order("cloudformation")


def test_messages_that_wait_are_said_before_the_question(bench):
    shop = bench([""], cloudformation__describe_stacks=[THERE], sqs__get_queue_attributes=FULL)
    shop.refused("destroy")
    assert "3 messages wait: sessions that nobody has looked at" in shop.out.getvalue()


def test_what_a_deletion_leaves_is_named_with_the_command_that_ends_it(bench):
    shop = bench(
        ["sync"],
        cloudformation__describe_stacks=[THERE, NO_STACK],
        sqs__list_queues={"QueueUrls": [QUEUE_URL]},
    )
    shop.destroy()
    assert f"aws sqs delete-queue --region eu-west-1 --queue-url {QUEUE_URL}" in shop.out.getvalue()


def test_a_deletion_that_fails_says_why(bench):
    events = [event("Queue", "DELETE_FAILED", "is protected"), event(STACK, "DELETE_IN_PROGRESS")]
    shop = bench(
        ["sync"],
        cloudformation__describe_stacks=[THERE, stacks("DELETE_FAILED")],
        cloudformation__describe_stack_events={"StackEvents": events},
    )
    assert "DELETE_FAILED" in shop.refused("destroy")
    assert "is protected" in shop.out.getvalue()


def test_a_stack_that_is_not_there_cannot_be_deleted(bench):
    assert "there is no stack sync in eu-west-1" in bench(["sync"]).refused("destroy")


# --- dry run ------------------------------------------------------------------------------------------------

# The calls that change nothing, and those whose effect a dry run takes back.
READS = ("get-", "describe-", "list-", "head-")
TAKEN_BACK = {"cp", "rm", "create-change-set", "delete-change-set", "delete-stack"}
NO_BUCKET = {"s3api__head_bucket": refusal("404", "HeadBucket", "Not Found")}


def writes(shop):
    return [call[1] for call in shop.run.calls if not call[1].startswith(READS)]


def test_dry_run_of_an_update_shows_the_changes_and_takes_all_back(bench):
    changes = change_set(modified("Producer", "AWS::Lambda::Function", "False"))
    shop = bench([], **DEPLOYED, cloudformation__describe_change_set=changes)
    before = shop.file.read_text()
    assert shop.dry_run(changes=["MaxSessions=100"]) == 0
    assert passed(shop)["MaxSessions"] == "100"
    assert writes(shop) == ["cp", "create-change-set", "delete-change-set", "rm"]
    assert shop.file.read_text() == before
    said = shop.out.getvalue()
    assert "Producer  AWS::Lambda::Function  no" in said
    assert f"Would be kept in {shop.file}: MaxSessions" in said
    assert said.endswith("Dry run: nothing was changed.\n")
    assert (shop.asked, shop.operator_calls) == ([], [])


def test_dry_run_uploads_the_template_only_and_removes_exactly_it(bench):
    shop = bench(**DEPLOYED)
    shop.dry_run()
    [uploaded], [removed] = shop.run.said("s3", "cp"), shop.run.said("s3", "rm")
    assert uploaded[-3] == removed[-3]
    assert uploaded[-3].startswith("s3://packages/sync/dry-run-")
    assert shop.out.getvalue().count("(would be uploaded)") == 2


def test_dry_run_reads_the_template_that_the_bucket_has_and_keeps_it(bench):
    shop = bench(**DEPLOYED, s3api__list_objects_v2={"Contents": [{}]})
    shop.dry_run()
    assert writes(shop) == ["create-change-set", "delete-change-set"]
    assert shop.out.getvalue().count("(is there)") == 2


def test_dry_run_of_a_first_deployment_leaves_no_empty_stack(bench):
    shop = bench(**EMPTY)
    assert shop.dry_run() == 0
    assert writes(shop) == ["cp", "create-change-set", "delete-change-set", "delete-stack", "rm"]
    assert "Add     Queue     AWS::SQS::Queue" in shop.out.getvalue()


def test_dry_run_without_changes_says_so(bench):
    shop = bench(**DEPLOYED, cloudformation__describe_change_set=change_set())
    assert shop.dry_run() == 0
    assert "No changes" in shop.out.getvalue()
    assert f"{shop.file} would stay as it is." in shop.out.getvalue()
    assert writes(shop) == ["cp", "create-change-set", "delete-change-set", "rm"]


@pytest.mark.parametrize("code", ["AccessDenied", "ThrottlingException"])
def test_dry_run_that_fails_takes_all_back(bench, code):
    failing = [refusal(code, "DescribeChangeSet")]
    shop = bench(**EMPTY, cloudformation__describe_change_set=failing)
    assert code in shop.refused("dry_run")
    assert writes(shop)[-3:] == ["delete-change-set", "delete-stack", "rm"]


def test_dry_run_names_the_loss_of_a_queue_and_what_a_deployment_needs(bench):
    losing = change_set(removed("DeadLetterQueue"))
    shop = bench([], **DEPLOYED, cloudformation__describe_change_set=losing)
    assert shop.dry_run() == 0
    assert "needs --allow-queue-loss with --yes" in shop.out.getvalue()
    assert "set-stack-policy" not in writes(shop)


def test_dry_run_without_a_bucket_lists_the_template_and_asks_no_cloudformation(bench):
    shop = bench(**NO_BUCKET)
    assert shop.dry_run() == 0
    said = shop.out.getvalue()
    assert "aws s3 mb s3://packages --region eu-west-1" in said
    for name, one in RAW["Resources"].items():
        assert re.search(rf"^  {name} +{one['Type']}( |$)", said, re.MULTILINE)
    assert re.search(r"AlarmSubscription +AWS::SNS::Subscription +only with HasAlarmEmail", said)
    assert writes(shop) == []


def test_dry_run_without_a_bucket_still_checks_the_parameters(bench):
    shop = bench(**NO_BUCKET)
    assert "MaxSessions must be 1 or more" in shop.refused("dry_run", changes=["MaxSessions=0"])


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ({**NO_BUCKET, **DEPLOYED}, "the bucket packages is not there"),
        (
            {"s3api__head_bucket": refusal("403", "HeadBucket", "Forbidden")},
            f"not of account {ACCOUNT} (403)",
        ),
        ({"sqs__list_queues": {"QueueUrls": [QUEUE_URL]}}, "aws sqs delete-queue"),
    ],
)
def test_dry_run_refuses_what_a_deployment_would_refuse(bench, recorded, said):
    shop = bench(**recorded)
    assert said in shop.refused("dry_run")
    assert writes(shop) == []


def test_dry_run_shows_no_mail_address(bench):
    shop = bench(**DEPLOYED)
    shop.dry_run(changes=["AlarmEmail=ops@example.com"])
    assert "AlarmEmail" in shop.out.getvalue()
    assert "ops@example.com" not in shop.out.getvalue()


DESTROYABLE = {
    "cloudformation__describe_stacks": [THERE],
    "cloudformation__list_stack_resources": {
        "StackResourceSummaries": [
            {"LogicalResourceId": name, "ResourceType": kind, "ResourceStatus": status}
            for name, kind, status in (
                ("Producer", "AWS::Lambda::Function", "UPDATE_COMPLETE"),
                ("Queue", "AWS::SQS::Queue", "CREATE_COMPLETE"),
                ("OldAlarm", "AWS::CloudWatch::Alarm", "DELETE_COMPLETE"),
            )
        ]
    },
    "sqs__get_queue_attributes": FULL,
}
DEPLOYED_BODY = {
    "Resources": {"Queue": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Retain"}, "Producer": {"Type": "x"}}
}


@pytest.mark.parametrize("body", [DEPLOYED_BODY, json.dumps(DEPLOYED_BODY)])
def test_dry_run_of_destroy_shows_what_goes_and_stays_and_asks_nothing(bench, body):
    shop = bench([], **DESTROYABLE, cloudformation__get_template={"TemplateBody": body})
    shop.destroy_dry_run()
    goes, _, stays = shop.out.getvalue().partition("Would stay")
    assert "Producer  AWS::Lambda::Function" in goes
    assert "Queue  AWS::SQS::Queue" in stays
    assert "OldAlarm" not in goes + stays
    assert "3 messages wait" in stays
    assert "table shop, with every order and every run" in stays
    assert stays.endswith("Dry run: nothing was deleted.\n")
    assert (shop.asked, writes(shop)) == ([], [])


def test_dry_run_of_destroy_of_an_empty_stack_needs_no_template(bench):
    shop = bench(
        cloudformation__describe_stacks=[stacks("REVIEW_IN_PROGRESS")],
        cloudformation__list_stack_resources={"StackResourceSummaries": []},
    )
    shop.destroy_dry_run()
    assert writes(shop) == []


def test_dry_run_of_destroy_without_a_stack_is_refused(bench):
    assert "there is no stack sync in eu-west-1" in bench().refused("destroy_dry_run")


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", REGION)
    (tmp_path / "aws").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "aws").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["destroy"], "destroy: there is no deploy.stripe-nightly-sync.json"),
        (["deploy", "--stack", "1"], "deploy: '1' is no stack name"),
    ],
)
def test_a_refusal_is_one_line_and_the_exit_code_2(elsewhere, capsys, words, said):
    assert command.main(words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_a_deletion_without_questions_needs_the_name(elsewhere, capsys):
    settings.write(
        elsewhere / "deploy.stripe-nightly-sync.json", replace(SETTINGS, stack="stripe-nightly-sync")
    )
    assert command.main(["destroy", "--yes"]) == 2
    assert "--stack has to say what goes" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["deploy", "destroy"])
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("deploy.shop-two.json", ["--stack", "shop-two", "--yes"]),
        ("deploy.stripe-nightly-sync.json", []),
        ("other.json", ["--stack", "shop-two", "--parameters-file", "other.json", "--yes"]),
    ],
)
def test_no_other_stack_than_the_named_one_is_touched(elsewhere, capsys, what, file, words):
    settings.write(elsewhere / file, SETTINGS)
    named = "shop-two" if "--stack" in words else settings.DEFAULT_STACK
    assert command.main([what, *words]) == 2
    assert capsys.readouterr().err == f"{what}: {file} is of sync, not of {named}\n"


@pytest.mark.parametrize("what", ["deploy", "destroy"])
def test_a_file_that_is_named_alone_says_the_stack(elsewhere, capsys, what):
    settings.write(elsewhere / "other.json", SETTINGS)
    command.main([what, "--parameters-file", "other.json"])
    assert capsys.readouterr().out.startswith("Stack sync in eu-west-1\n")


def test_a_missing_cli_of_ours_is_said(elsewhere, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(elsewhere / "python"))
    with pytest.raises(CannotDeploy, match="nightly-sync is not installed"):
        command.operator(["doctor"])


@pytest.fixture
def verbs(elsewhere, monkeypatch):
    """Record which of the four actions the command line starts, with its options."""
    called = []
    for name in ("deploy", "destroy", "show_deployment", "show_destruction"):
        monkeypatch.setattr(command, name, lambda *given, name=name: called.append((name, given[1])) or 0)
    settings.write(elsewhere / "deploy.sync.json", SETTINGS)
    return called


@pytest.mark.parametrize(
    ("words", "action"),
    [
        (["deploy"], "deploy"),
        (["deploy", "--yes", "--preview"], "deploy"),
        (["deploy", "--yes", "--allow-queue-loss"], "deploy"),
        (["deploy", "--dry-run"], "show_deployment"),
        (["deploy", "--dry-run", "--all", "--set", "MaxSessions=1"], "show_deployment"),
        (["deploy", "--dry-run", "--yes"], "show_deployment"),
        (["destroy"], "destroy"),
        (["destroy", "--yes"], "destroy"),
        (["destroy", "--dry-run"], "show_destruction"),
        (["destroy", "--yes", "--dry-run"], "show_destruction"),
        (
            ["destroy", "--dry-run", "--region", REGION, "--parameters-file", "deploy.sync.json"],
            "show_destruction",
        ),
    ],
)
def test_command_starts_the_action_that_its_options_name(verbs, words, action):
    assert command.main([*words, "--stack", "sync"]) == 0
    [(called, _)] = verbs
    assert called == action


def test_preview_is_handed_on_and_a_dry_run_is_none(verbs):
    command.main(["deploy", "--stack", "sync", "--preview"])
    command.main(["deploy", "--stack", "sync", "--dry-run"])
    assert [options.preview for _, options in verbs] == [True, False]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["destroy", "--set", "MaxSessions=1"],
            "--set is for deploy; destroy takes the parameters from the file",
        ),
        (["destroy", "--set=MaxSessions=1"], "--set is for deploy"),
        (["destroy", "--all"], "--all is for deploy; destroy asks for no parameter"),
        (["destroy", "--allow-queue-loss"], "--allow-queue-loss is for deploy; destroy keeps the queues"),
        (["destroy", "--preview"], "--preview is for deploy; --dry-run shows"),
        (["deploy", "--dry-run", "--preview"], "--preview needs a deployment, and --dry-run makes none"),
        (
            ["deploy", "--dry-run", "--yes", "--allow-queue-loss"],
            "--allow-queue-loss allows nothing with --dry-run",
        ),
        (["deploy", "--allow-queue-loss"], "--allow-queue-loss is for --yes"),
        (["deploy", "--all", "--yes"], "--all asks for every parameter, and --yes asks nothing"),
        (["deploy", "--set", "A=1", "--set", "B=1", "--set", "A=2"], "--set A is given more than once"),
        (["deploy", "--stack", "a", "--stack", "b"], "--stack is given twice"),
        (["deploy", "--region", ""], "--region is empty"),
        (["destroy", "--dry"], "--dry is unknown; `python -m infra.deploy destroy --help`"),
        (["destroy", "--stack", "sync", "--now"], "--now is unknown"),
        (["deploy", "sync"], "sync is unknown; `python -m infra.deploy deploy --help`"),
        ([], "required: {deploy,destroy}"),
    ],
)
def test_command_refuses_an_option_that_it_would_not_use(verbs, capsys, words, sentence):
    with pytest.raises(SystemExit) as refused:
        command.main(words)
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err
    assert verbs == []


@pytest.mark.parametrize("what", ["deploy", "destroy"])
def test_command_refuses_an_empty_stack_name(verbs, capsys, what):
    assert command.main([what, "--stack", "", "--yes"]) == 2
    assert "'' is no stack name" in capsys.readouterr().err
    assert verbs == []


def test_command_names_a_parameters_file_that_is_a_folder(elsewhere, capsys):
    assert command.main(["deploy", "--parameters-file", str(elsewhere)]) == 2
    assert f"{elsewhere} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["deploy", "--dry-run"], "Nothing was changed."),
        (["deploy"], "What CloudFormation has begun goes on"),
    ],
)
def test_interrupted_command_says_what_holds(verbs, capsys, monkeypatch, words, sentence):
    def interrupt(*_):
        raise KeyboardInterrupt

    for name in ("deploy", "show_deployment"):
        monkeypatch.setattr(command, name, interrupt)
    assert command.main([*words, "--stack", "sync"]) == 2
    assert sentence in capsys.readouterr().err
