"""Deploys infra/template.yaml on the emulated AWS, as `aws cloudformation package` and `deploy` do on AWS.

It also creates the table and the parameter with the key, which belong to the shop and not to the stack.
"""

import fcntl
import hashlib
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from infra.build import (
    FUNCTIONS,
    ROOT,
    SHARED,
    BuildOptions,
    assemble,
    install_dependencies,
    list_files,
    write_zip,
)
from sandbox.template import remove_unsupported
from testkit.emulator import AwsClients

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import (
        DescribeChangeSetOutputTypeDef,
        ParameterTypeDef,
        StackTypeDef,
    )

TEMPLATE = ROOT / "infra" / "template.yaml"
BUNDLES = ROOT / ".cache" / "bundles"
BUNDLE_LIFE_SECONDS = 24 * 3600
BUCKET = "sandbox-code"
STRIPE_KEY = "sk_test_sandbox"

type Parameters = Mapping[str, str | int | float]

# The emulator does not replace <aws.scheduler.scheduled-time>, so the sandbox invokes the producer itself.
SANDBOX_PARAMETERS: Parameters = MappingProxyType({"ScheduleState": "DISABLED"})

DEPLOY_SECONDS = 60.0
POLL_SECONDS = 0.05


class StackError(Exception):
    """CloudFormation refused the template, or a resource failed. The message has each reason."""


class InvocationError(Exception):
    """A function raised an error or ended. The message is its response."""


@dataclass(frozen=True)
class ShopNames:
    """A shop that exists before its stack: the stack's name, its table, and the parameter with the key."""

    name: str
    table: str
    secret_parameter: str


@dataclass(frozen=True)
class SandboxStack:
    """A deployed stack with its shop."""

    name: str
    endpoint: str
    table: str
    ledger: str
    secret_parameter: str
    queue_url: str
    dlq_url: str
    producer: str
    consumer: str
    mapping_id: str
    schedule: str
    client: AwsClients

    def invoke_producer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the producer's response. Raise InvocationError if it raised."""
        return invoke(self.client, self.producer, event)

    def start_producer(self, event: Mapping[str, Any]) -> None:
        """Invoke the producer asynchronously, as a schedule does."""
        client = self.client("lambda")
        client.invoke(FunctionName=self.producer, InvocationType="Event", Payload=json.dumps(event))

    def logs(self, function: str) -> list[str]:
        """Return all log lines of a function, oldest first. There are none after the stack is deleted."""
        client = self.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
        with suppress(client.exceptions.ResourceNotFoundException):
            return [entry["message"] for page in pages for entry in page["events"]]
        return []

    def update_environment(self, function: str, changes: Mapping[str, str | None]) -> None:
        """Set variables of a deployed function; None removes one. The next invocation is a cold start."""
        client = self.client("lambda")
        now = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        wanted = {name: value for name, value in (now | dict(changes)).items() if value is not None}
        client.update_function_configuration(FunctionName=function, Environment={"Variables": wanted})

    def set_stripe_key(self, key: str) -> None:
        put_stripe_key(self.client, self.secret_parameter, key)

    def pause_consumer(self) -> None:
        """Leave messages in the queue until `resume_consumer`."""
        self.client("lambda").update_event_source_mapping(UUID=self.mapping_id, Enabled=False)

    def resume_consumer(self) -> None:
        self.client("lambda").update_event_source_mapping(UUID=self.mapping_id, Enabled=True)

    def delete(self) -> None:
        """Delete the stack, its functions' processes, the ledger, and the shop's table and key."""
        # First and by name: the emulator does not end the processes of functions that CloudFormation deletes.
        client = self.client("lambda")
        for function in (self.producer, self.consumer):
            with suppress(client.exceptions.ResourceNotFoundException):
                client.delete_function(FunctionName=function)
        delete_stack(self.client, self.name)
        dynamodb = self.client("dynamodb")
        for table in {self.table, self.ledger}:
            with suppress(dynamodb.exceptions.ResourceNotFoundException):
                dynamodb.delete_table(TableName=table)
        self.client("ssm").delete_parameter(Name=self.secret_parameter)


def deploy(
    client: AwsClients,
    parameters: Parameters = SANDBOX_PARAMETERS,
    name: str | None = None,
    template: Path = TEMPLATE,
    shop: ShopNames | None = None,
) -> SandboxStack:
    """Create a shop (table and key) unless one is given, and deploy the template for it.

    `parameters` are those of the template. CommerceTable and StripeSecretParameter are those of the shop. By
    default the stack has a new name.
    """
    if shop is None:
        shop = open_shop(client, name or f"sync-{uuid.uuid4().hex[:8]}")
    name, table, secret_parameter = shop.name, shop.table, shop.secret_parameter
    names = {"CommerceTable": table, "StripeSecretParameter": secret_parameter}
    given = {**SANDBOX_PARAMETERS, **parameters, **names}
    outputs = deploy_template(client, name, package_template(client, template), given)
    make_concurrency_a_number(client, outputs["MappingId"])
    allow_recursion(client, outputs["ProducerName"])
    return SandboxStack(
        name=name,
        endpoint=client.endpoint,
        table=table,
        ledger=outputs["LedgerTable"],
        secret_parameter=secret_parameter,
        queue_url=outputs["QueueUrl"],
        dlq_url=outputs["DeadLetterQueueUrl"],
        producer=outputs["ProducerName"],
        consumer=outputs["ConsumerName"],
        mapping_id=outputs["MappingId"],
        schedule=outputs["ScheduleName"],
        client=client,
    )


@contextmanager
def deployed(
    client: AwsClients, parameters: Parameters = SANDBOX_PARAMETERS, template: Path = TEMPLATE
) -> Iterator[SandboxStack]:
    """Deploy a stack for the block and delete it afterwards."""
    stack = deploy(client, parameters, template=template)
    try:
        yield stack
    finally:
        stack.delete()


def make_concurrency_a_number(client: AwsClients, mapping_id: str) -> None:
    """Convert the maximum concurrency of the mapping to a number, as CloudFormation does.

    The emulator leaves it a text, which its poller compares with a number and then never polls.
    """
    mappings = client("lambda")
    scaling = mappings.get_event_source_mapping(UUID=mapping_id).get("ScalingConfig", {})
    concurrency = int(scaling.get("MaximumConcurrency", 2))
    mappings.update_event_source_mapping(UUID=mapping_id, ScalingConfig={"MaximumConcurrency": concurrency})


def allow_recursion(client: AwsClients, producer: str) -> None:
    """Allow the producer to invoke itself, which the emulator does not read from the template."""
    if "RecursiveLoop: Allow" in TEMPLATE.read_text():
        client("lambda").put_function_recursion_config(FunctionName=producer, RecursiveLoop="Allow")


# The shop


def open_shop(client: AwsClients, name: str) -> ShopNames:
    """Create the table and the key of a shop with the sync's own layout."""
    shop = ShopNames(name, f"{name}-shop", f"/{name}/stripe-key")
    create_table(client, shop.table)
    put_stripe_key(client, shop.secret_parameter, STRIPE_KEY)
    return shop


def create_table(client: AwsClients, table: str) -> None:
    client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def put_stripe_key(client: AwsClients, parameter: str, key: str) -> None:
    # Outside of the stack, since CloudFormation cannot create a SecureString.
    client("ssm").put_parameter(Name=parameter, Value=key, Type="SecureString", Overwrite=True)


# Code


def package_template(client: AwsClients, path: Path = TEMPLATE) -> str:
    """Return a template that the emulator can deploy, with each function's code in the emulator's S3."""
    template = remove_unsupported(path.read_text())
    for function in FUNCTIONS:
        local, remote = f"../build/{function}", upload(client, bundle(function))
        if template.count(local) != 1:
            raise StackError(f"the template should name {local} once")
        template = template.replace(local, remote)
    return template


def upload(client: AwsClients, archive: Path) -> str:
    known = client("s3").list_objects_v2(Bucket=bucket(client), Prefix=archive.name).get("KeyCount", 0)
    if not known:
        client("s3").put_object(Bucket=BUCKET, Key=archive.name, Body=archive.read_bytes())
    return f"s3://{BUCKET}/{archive.name}"


def bucket(client: AwsClients) -> str:
    """Return the bucket of the packages, created if needed."""
    s3 = client("s3")
    if BUCKET not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=BUCKET)
    return BUCKET


def bundle(function: str) -> Path:
    """Return the zip of a function for this machine, rebuilt if its sources or the lock file changed."""
    BUNDLES.mkdir(parents=True, exist_ok=True)
    # Several processes may need it at the same time: one builds it, and the others wait.
    with (BUNDLES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dependencies = install_dependencies(BuildOptions(platform="host"))
        archive = BUNDLES / f"{function}-{sources_hash(function, dependencies.name)}.zip"
        if not archive.exists():
            drop_old_bundles()
            with tempfile.TemporaryDirectory(dir=BUNDLES) as draft:
                folder = assemble(function, Path(draft) / function, dependencies)
                write_zip(folder, Path(draft) / archive.name).rename(archive)
    return archive


def sources_hash(function: str, dependencies: str) -> str:
    digest = hashlib.sha256(dependencies.encode())
    for package in (function, SHARED):
        for path in list_files(ROOT / package):
            if "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def drop_old_bundles() -> None:
    for path in BUNDLES.iterdir():
        if time.time() - path.stat().st_mtime > BUNDLE_LIFE_SECONDS:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# CloudFormation


def deploy_template(client: AwsClients, name: str, template: str, parameters: Parameters) -> dict[str, str]:
    """Create a stack and return its outputs. Raise StackError with every reason of CloudFormation."""
    formation = client("cloudformation")
    # From a bucket, as with `--s3-bucket`, since it is larger than the 51,200 bytes of a request.
    key = f"{hashlib.sha256(template.encode()).hexdigest()[:16]}.yaml"
    client("s3").put_object(Bucket=bucket(client), Key=key, Body=template.encode())
    change = formation.create_change_set(
        StackName=name,
        ChangeSetName="deploy",
        ChangeSetType="CREATE",
        TemplateURL=f"{client.endpoint}/{BUCKET}/{key}",
        Parameters=to_parameter_list(parameters),
        Capabilities=["CAPABILITY_IAM"],
    )["Id"]
    await_change_set(client, change)
    formation.execute_change_set(ChangeSetName=change)
    return await_stack(client, name)


def to_parameter_list(parameters: Parameters) -> "list[ParameterTypeDef]":
    return [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()]


def await_change_set(client: AwsClients, change: str) -> None:
    def settled() -> "DescribeChangeSetOutputTypeDef | None":
        described = client("cloudformation").describe_change_set(ChangeSetName=change)
        return described if described["Status"] in {"CREATE_COMPLETE", "FAILED"} else None

    described = wait_until(settled, "the change set is made")
    if described["Status"] == "FAILED":
        raise StackError(described.get("StatusReason", "the change set failed"))


def await_stack(client: AwsClients, name: str) -> dict[str, str]:
    def settled() -> "StackTypeDef | None":
        stack = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        busy = stack["StackStatus"].endswith("_IN_PROGRESS")
        return None if busy else stack

    stack = wait_until(settled, f"{name} is deployed")
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise StackError(f"{name} is {stack['StackStatus']}:\n{failures(client, name)}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def delete_stack(client: AwsClients, name: str) -> None:
    """Delete the stack and wait until it is deleted."""
    client("cloudformation").delete_stack(StackName=name)
    wait_until(lambda: not stack_exists(client, name), f"{name} is deleted")


def failures(client: AwsClients, name: str) -> str:
    events = client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in reversed(events) if event.get("ResourceStatus", "").endswith("FAILED")]
    return "\n".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed)


def stack_exists(client: AwsClients, name: str) -> bool:
    pages = client("cloudformation").get_paginator("list_stacks").paginate()
    stacks = [stack for page in pages for stack in page["StackSummaries"] if stack["StackName"] == name]
    return any(stack["StackStatus"] != "DELETE_COMPLETE" for stack in stacks)


# Functions


def invoke(client: AwsClients, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the function's response. Raise InvocationError with the type, text and trace of its error."""
    response = client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    answer: dict[str, Any] = json.loads(response["Payload"].read())
    if response.get("FunctionError"):
        raise InvocationError(f"{function}: {json.dumps(answer, indent=2)}")
    return answer


def wait_until[T](probe: Callable[[], T | None], what: str, timeout: float = DEPLOY_SECONDS) -> T:
    """Return the first truthy value of `probe`. Raise TimeoutError with `what` did not happen."""
    deadline = time.monotonic() + timeout
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:.0f} s: {what}; last seen: {value!r}")
        time.sleep(POLL_SECONDS)
    return value
