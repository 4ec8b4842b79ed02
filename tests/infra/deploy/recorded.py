"""A deployment against recorded responses of the AWS CLI; tests/e2e runs the real one."""

import io
import json
from collections import deque

import pytest
from cfnlint.decode import decode_str

from infra.build import ROOT
from infra.deploy import settings
from infra.deploy.aws_cli import AwsCli, ProgramResult
from infra.deploy.deletion import destroy, show_destruction
from infra.deploy.deployment import DeployContext, DeployOptions, deploy
from infra.deploy.dry_run import show_deployment
from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from infra.deploy.template import Template
from infra.deploy.terminal import DeployTerminal

TEXT = (ROOT / "infra" / "template.yaml").read_text()
TEMPLATE = Template.parse(TEXT)
RAW = decode_str(TEXT)[0]
STACK, ACCOUNT, REGION = "sync", "123456789012", "eu-west-1"
PARAMETERS = {
    "CommerceTable": "shop",
    "StripeSecretParameter": "/shop/stripe-key",
    "AlarmEmail": "",
    "ScheduleState": "DISABLED",
}
SETTINGS = DeploySettings(STACK, ACCOUNT, REGION, "packages", PARAMETERS)
STACK_ID = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1"
QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{STACK}-sessions"
POLICY = f"file://{ROOT}/infra/stack-policy.json"


def refusal(code, operation, message=""):
    text = f"\nAn error occurred ({code}) when calling the {operation} operation: {message}"
    return ProgramResult(254, "", text)


NO_STACK = refusal("ValidationError", "DescribeStacks", f"Stack with id {STACK} does not exist")


def table(*keys):
    schema = [{"AttributeName": name, "KeyType": kind} for name, kind, _ in keys]
    attributes = [{"AttributeName": name, "AttributeType": form} for name, _, form in keys]
    return {"Table": {"KeySchema": schema, "AttributeDefinitions": attributes}}


def stacks(status, **outputs):
    pairs = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    return {"Stacks": [{"StackStatus": status, "StackId": STACK_ID, "Outputs": pairs}]}


def change_set(*changes, status="CREATE_COMPLETE", reason=""):
    return {"Status": status, "StatusReason": reason, "Changes": [{"ResourceChange": one} for one in changes]}


def addition(name, kind="AWS::SQS::Queue"):
    return {"Action": "Add", "LogicalResourceId": name, "ResourceType": kind}


def modification(name, kind, replacement):
    return addition(name, kind) | {"Action": "Modify", "Replacement": replacement}


def removal(name, kind="AWS::SQS::Queue"):
    return addition(name, kind) | {"Action": "Remove"}


def event(name, status, reason="", kind="AWS::Lambda::Function"):
    physical = STACK_ID if name == STACK else f"{name}-1"
    return {
        "StackId": STACK_ID, "LogicalResourceId": name, "PhysicalResourceId": physical, "ResourceType": kind,
        "ResourceStatus": status, "ResourceStatusReason": reason,
    }  # fmt: skip


RECORDED = {
    "sts get-caller-identity": {"Account": ACCOUNT},
    "dynamodb describe-table": table(("PK", "HASH", "S"), ("SK", "RANGE", "S")),
    "ssm describe-parameters": {"Parameters": [{"Type": "SecureString"}]},
    "s3api head-bucket": {"BucketRegion": REGION},
    "s3api list-objects-v2": {},
    "sqs list-queues": {},
    "sqs get-queue-attributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
    "logs describe-log-groups": {"logGroups": []},
    "cloudformation describe-stacks": [NO_STACK, stacks("CREATE_IN_PROGRESS"), stacks("CREATE_COMPLETE")],
    "cloudformation describe-change-set": change_set(addition("Queue")),
    "cloudformation describe-stack-events": {"StackEvents": []},
}
DEPLOYED = {"cloudformation__describe_stacks": [stacks("UPDATE_COMPLETE")]}
# A stack that exists only while its first change set waits.
EMPTY = {"cloudformation__describe_stacks": [NO_STACK, stacks("REVIEW_IN_PROGRESS"), NO_STACK]}
ROLLED_BACK = {
    "cloudformation__describe_stacks": [stacks("UPDATE_COMPLETE"), stacks("UPDATE_ROLLBACK_COMPLETE")]
}
NO_BUCKET = {"s3api__head_bucket": refusal("404", "HeadBucket", "Not Found")}
READS = ("get-", "describe-", "list-", "head-")


class RecordedCli:
    """Responses by the first two words of a call. Of several responses, the last one repeats."""

    def __init__(self, **changes):
        named = {name.replace("__", " ").replace("_", "-"): answer for name, answer in changes.items()}
        self.answers = {
            words: deque(answer if isinstance(answer, list) else [answer])
            for words, answer in (RECORDED | named).items()
        }
        self.calls = []

    def run(self, words):
        self.calls.append(list(words))
        answers = self.answers.get(" ".join(words[:2]), deque([{}]))
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, ProgramResult) else ProgramResult(0, json.dumps(answer), "")


class RecordedDeployment:
    """A deployment and its surroundings. `answers` is what the user types; None means `--yes`."""

    def __init__(self, folder, answers=None, stored=SETTINGS, health=0, **recorded):
        self.file = folder / "deploy.sync.json"
        if stored:
            settings.write(self.file, stored)
        self.cli = RecordedCli(**recorded)
        self.out = io.StringIO()
        self.asked, self.operator_calls, self.slept = [], [], []
        self._typed = iter(answers or ())
        self._health = health
        archive = folder / "a.zip"
        archive.write_bytes(b"the same bytes")
        self.context = DeployContext(
            AwsCli(self.cli.run, REGION),
            DeployTerminal(self.out, None if answers is None else self._read),
            TEMPLATE,
            lambda options: {"producer": archive, "consumer": archive},
            self._run_operator,
            self.slept.append,
        )
        self._deletion = (self.context.aws, self.context.terminal, SETTINGS, self.slept.append)

    def _read(self, question):
        self.asked.append(question)
        answer = next(self._typed)
        if isinstance(answer, str):
            return answer
        raise answer

    def _run_operator(self, words):
        self.operator_calls.append(words[:2] if words[0] == "run" else words[:1])
        return self._health

    def deploy(self, **options):
        return deploy(self.context, DeployOptions(STACK, self.file, **options))

    def dry_run(self, **options):
        return show_deployment(self.context, DeployOptions(STACK, self.file, **options))

    def destroy(self):
        destroy(*self._deletion)

    def destroy_dry_run(self):
        show_destruction(*self._deletion)

    def error(self, verb="deploy", **options):
        """Return the message of the DeployError that the verb raises."""
        with pytest.raises(DeployError) as caught:
            getattr(self, verb)(**options)
        return str(caught.value)

    @property
    def stored_settings(self):
        return settings.read(self.file)

    @property
    def text(self):
        return self.out.getvalue()

    def calls(self, *words):
        """Return the calls that begin with these words."""
        return [call for call in self.cli.calls if call[: len(words)] == list(words)]

    @property
    def formation(self):
        """The operations of CloudFormation in the order in which they were called."""
        return [call[1] for call in self.calls("cloudformation")]

    @property
    def writes(self):
        """The operations of all services that change anything."""
        return [call[1] for call in self.cli.calls if not call[1].startswith(READS)]

    @property
    def parameters(self):
        """The parameters of the one change set that was created."""
        [call] = self.calls("cloudformation", "create-change-set")
        pairs = json.loads(call[call.index("--parameters") + 1])
        return {pair["ParameterKey"]: pair["ParameterValue"] for pair in pairs}
