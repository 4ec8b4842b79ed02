"""A deployment against recorded responses of AWS; tests/e2e deploys on the emulated one."""

import io
from collections import deque
from dataclasses import dataclass, field
from functools import cache

import boto3
import pytest

from infra.build import ROOT
from infra.deploy.aws import AwsServices
from infra.deploy.deletion import destroy, show_destruction
from infra.deploy.deployment import DeployContext, DeployOptions, deploy
from infra.deploy.dry_run import show_deployment
from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from infra.deploy.settings_file import read_settings, write_settings
from infra.deploy.template import Template
from infra.deploy.terminal import DeployTerminal
from testkit.template import parse_template

TEXT = (ROOT / "infra" / "template.yaml").read_text()
TEMPLATE = Template.parse(TEXT)
RAW = parse_template(TEXT)
STACK, ACCOUNT, REGION = "sync", "123456789012", "eu-west-1"
PARAMETERS = {
    "CommerceTable": "shop",
    "StripeSecretParameter": "/shop/stripe-key",
    "AlarmEmail": "",
    "ScheduleState": "DISABLED",
}
SETTINGS = DeploySettings(STACK, ACCOUNT, REGION, "packages", PARAMETERS)
PACKAGED = {"Resources": {"Producer": {"Type": "x", "Properties": {"Code": {"S3Bucket": "packages"}}}}}
STACK_ID = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1"
QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{STACK}-sessions"
POLICY = (ROOT / "infra" / "stack-policy.json").read_text()
BOTO = boto3.Session(aws_access_key_id="id", aws_secret_access_key="secret", region_name=REGION)


def refusal(code, message=""):
    return {"Error": {"Code": code, "Message": message}}


NO_STACK = refusal("ValidationError", f"Stack with id {STACK} does not exist")


def table(*keys, **properties):
    schema = [{"AttributeName": name, "KeyType": kind} for name, kind, _ in keys]
    attributes = [{"AttributeName": name, "AttributeType": form} for name, _, form in keys]
    billing = {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}
    return {"Table": {"KeySchema": schema, "AttributeDefinitions": attributes, **billing, **properties}}


def stacks(status, parameters=PARAMETERS, **outputs):
    pairs = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    described = {"StackStatus": status, "StackId": STACK_ID, "Outputs": pairs, "Parameters": given}
    return {"Stacks": [described]}


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
    ("sts", "get_caller_identity"): {"Account": ACCOUNT},
    ("dynamodb", "describe_table"): table(("PK", "HASH", "S"), ("SK", "RANGE", "S")),
    ("ssm", "describe_parameters"): {"Parameters": [{"Type": "SecureString"}]},
    ("s3", "head_bucket"): {"BucketRegion": REGION},
    ("sqs", "get_queue_attributes"): {"Attributes": {"ApproximateNumberOfMessages": "0"}},
    ("cloudformation", "describe_stacks"): [
        NO_STACK, stacks("CREATE_IN_PROGRESS"), stacks("CREATE_COMPLETE")
    ],
    ("cloudformation", "get_template"): {"TemplateBody": PACKAGED},
    ("cloudformation", "describe_change_set"): change_set(addition("Queue")),
}  # fmt: skip
DEPLOYED = {"cloudformation__describe_stacks": [stacks("UPDATE_COMPLETE")]}
# A stack that exists only while its first change set waits.
EMPTY = {"cloudformation__describe_stacks": [NO_STACK, stacks("REVIEW_IN_PROGRESS"), NO_STACK]}
ROLLED_BACK = {
    "cloudformation__describe_stacks": [stacks("UPDATE_COMPLETE"), stacks("UPDATE_ROLLBACK_COMPLETE")]
}
NO_BUCKET = {"s3__head_bucket": refusal("404", "Not Found")}
READS = ("get_", "describe_", "list_", "head_")


class RecordedAws:
    """Responses by service and operation. Of several responses, the last one repeats.

    The clients are botocore's own, so that they check each call's parameters. An answer that is an exception
    is raised in place of the request.
    """

    def __init__(self, **changes):
        named = {tuple(name.split("__")): answer for name, answer in changes.items()}
        self.answers = {
            key: deque(answer if isinstance(answer, list) else [answer])
            for key, answer in (RECORDED | named).items()
        }
        self.calls = []
        self.sessions = 0

    def connect(self):
        """Return a session whose calls are answered by this object."""
        self.sessions += 1
        return RecordedSession(self)

    def answer(self, service, operation, parameters):
        self.calls.append((service, operation, parameters))
        answers = self.answers.get((service, operation), deque([{}]))
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return (Response(400), answer) if "Error" in answer else (Response(200), dict(answer))


@dataclass(frozen=True)
class Response:
    """An HTTP response without a body."""

    status_code: int
    raw: None = None
    headers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedSession:
    """A session of boto3 with a region."""

    aws: RecordedAws
    region_name: str = REGION

    def client(self, service, config):
        client = make_client(service)
        ACTIVE[service] = self.aws
        return client


ACTIVE = {}


@cache
def make_client(service):
    """Return a client without a network, made once, since botocore reads large models for each."""
    client = BOTO.client(service, region_name=REGION)
    operations = {name: method for method, name in client.meta.method_to_api_mapping.items()}
    given = {}

    def keep(params, model, **_):
        given[model.name] = dict(params)

    def answer(model, **_):
        return ACTIVE[service].answer(service, operations[model.name], given[model.name])

    client.meta.events.register(
        f"provide-client-params.{client.meta.service_model.service_id.hyphenize()}", keep
    )
    client.meta.events.register(f"before-call.{client.meta.service_model.service_id.hyphenize()}", answer)
    return client


class RecordedDeployment:
    """A deployment and its surroundings. `answers` is what the user types; None means `--yes`."""

    def __init__(self, folder, answers=None, stored=SETTINGS, health=0, fit=0, **recorded):
        self.file = folder / "deploy.sync.json"
        if stored:
            write_settings(self.file, stored, private=bool(stored.account))
        self.aws = RecordedAws(**recorded)
        self.out = io.StringIO()
        self.asked, self.operator_calls, self.slept = [], [], []
        self.layout_calls = []
        self._typed = iter(answers or ())
        self._health, self._fit = health, fit
        archive = folder / "a.zip"
        archive.write_bytes(b"the same bytes")
        self.context = DeployContext(
            AwsServices(self.aws.connect),
            DeployTerminal(self.out, None if answers is None else self._read),
            TEMPLATE,
            lambda options: {"producer": archive, "consumer": archive},
            self._run_operator,
            self.slept.append,
        )
        self._deletion = (self.context.aws, self.context.terminal, STACK, self.slept.append)

    def _read(self, question):
        self.asked.append(question)
        answer = next(self._typed)
        if isinstance(answer, str):
            return answer
        raise answer

    def _run_operator(self, words):
        if words[0] == "layout":
            self.layout_calls.append(words)
            return self._fit
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
        return read_settings(self.file)

    @property
    def stored_text(self):
        return self.file.read_text()

    @property
    def text(self):
        return self.out.getvalue()

    def calls(self, service, operation):
        """Return the parameters of each call of the operation."""
        return [given for called, name, given in self.aws.calls if (called, name) == (service, operation)]

    @property
    def formation(self):
        """Return the operations of CloudFormation in the order in which they were called."""
        return [name for service, name, _ in self.aws.calls if service == "cloudformation"]

    @property
    def writes(self):
        """Return the operations of all services that change anything."""
        return [name for _, name, _ in self.aws.calls if not name.startswith(READS)]

    @property
    def parameters(self):
        """Return the parameters of the one change set that was created."""
        [call] = self.calls("cloudformation", "create_change_set")
        return {pair["ParameterKey"]: pair["ParameterValue"] for pair in call["Parameters"]}
