"""Deploys infra/template.yaml on the emulated AWS, as `aws cloudformation package` and `deploy` do on AWS.

What belongs to the shop is made here, as the stack never does: the table and the parameter with the key.
"""

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
from sandbox.template import emulated
from testkit.emulator import Clients

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

# The emulator leaves <aws.scheduler.scheduled-time> as it is, which no producer understands; the sandbox
# plays the schedule itself.
SANDBOX_PARAMETERS: Parameters = MappingProxyType({"ScheduleState": "DISABLED"})

DEPLOY_SECONDS = 60.0
POLL_SECONDS = 0.05


class StackError(Exception):
    """The template was refused or a resource of it failed; the message gives each reason."""


class InvocationError(Exception):
    """A function raised or ended; the message is what it answered."""


@dataclass(frozen=True)
class Stack:
    """One deployed stack with its shop: names, addresses and what one does with them."""

    name: str
    endpoint: str
    table: str
    secret_parameter: str
    queue_url: str
    dlq_url: str
    producer: str
    consumer: str
    mapping_id: str
    schedule: str
    client: Clients

    def invoke_producer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The producer's answer. Raises InvocationError if it raised."""
        return invoke(self.client, self.producer, event)

    def start_producer(self, event: Mapping[str, Any]) -> None:
        """Invokes the producer as a schedule does: Lambda takes the event and answers nothing."""
        client = self.client("lambda")
        client.invoke(FunctionName=self.producer, InvocationType="Event", Payload=json.dumps(event))

    def logs(self, function: str) -> list[str]:
        """All lines that the function has logged, oldest first. None after the stack is deleted."""
        client = self.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{function}")
        with suppress(client.exceptions.ResourceNotFoundException):
            return [entry["message"] for page in pages for entry in page["events"]]
        return []

    def update_environment(self, function: str, changes: Mapping[str, str | None]) -> None:
        """Sets variables of a deployed function; None removes one. Its next invocation is a cold start."""
        client = self.client("lambda")
        now = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        wanted = {name: value for name, value in (now | dict(changes)).items() if value is not None}
        client.update_function_configuration(FunctionName=function, Environment={"Variables": wanted})

    def set_stripe_key(self, key: str) -> None:
        put_stripe_key(self.client, self.secret_parameter, key)

    def pause_consumer(self) -> None:
        """Messages stay in the queue until `resume_consumer`."""
        self.client("lambda").update_event_source_mapping(UUID=self.mapping_id, Enabled=False)

    def resume_consumer(self) -> None:
        self.client("lambda").update_event_source_mapping(UUID=self.mapping_id, Enabled=True)

    def delete(self) -> None:
        """Deletes the stack and ends its functions' processes, then deletes the shop's table and key."""
        # First and by name: the emulator lets the processes of a function live that CloudFormation deletes.
        client = self.client("lambda")
        for function in (self.producer, self.consumer):
            with suppress(client.exceptions.ResourceNotFoundException):
                client.delete_function(FunctionName=function)
        delete_stack(self.client, self.name)
        self.client("dynamodb").delete_table(TableName=self.table)
        self.client("ssm").delete_parameter(Name=self.secret_parameter)


def deploy(
    client: Clients,
    parameters: Parameters = SANDBOX_PARAMETERS,
    name: str | None = None,
    template: Path = TEMPLATE,
) -> Stack:
    """Makes a shop (table and key) and deploys the template for it, under a fresh name unless one is given.

    `parameters` are the template's own; CommerceTable and StripeSecretParameter follow from the name.
    """
    name = name or f"sync-{uuid.uuid4().hex[:8]}"
    table, secret_parameter = f"{name}-shop", f"/{name}/stripe-key"
    create_table(client, table)
    put_stripe_key(client, secret_parameter, STRIPE_KEY)
    shop = {"CommerceTable": table, "StripeSecretParameter": secret_parameter}
    given = {**SANDBOX_PARAMETERS, **parameters, **shop}
    outputs = deploy_template(client, name, packaged(client, template), given)
    make_concurrency_a_number(client, outputs["MappingId"])
    allow_recursion(client, outputs["ProducerName"])
    return Stack(
        name=name,
        endpoint=client.endpoint,
        table=table,
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
    client: Clients, parameters: Parameters = SANDBOX_PARAMETERS, template: Path = TEMPLATE
) -> Iterator[Stack]:
    """A stack that is there inside the block and deleted after it."""
    stack = deploy(client, parameters, template=template)
    try:
        yield stack
    finally:
        stack.delete()


def make_concurrency_a_number(client: Clients, mapping_id: str) -> None:
    """The emulator keeps a parameter of type Number as text here, where CloudFormation makes it a number; its
    poller then compares the two and never polls."""
    mappings = client("lambda")
    scaling = mappings.get_event_source_mapping(UUID=mapping_id).get("ScalingConfig", {})
    concurrency = int(scaling.get("MaximumConcurrency", 2))
    mappings.update_event_source_mapping(UUID=mapping_id, ScalingConfig={"MaximumConcurrency": concurrency})


def allow_recursion(client: Clients, producer: str) -> None:
    """The emulator stops a function that goes on calling itself, as Lambda does, and overlooks that the
    template allows the producer to."""
    if "RecursiveLoop: Allow" in TEMPLATE.read_text():
        client("lambda").put_function_recursion_config(FunctionName=producer, RecursiveLoop="Allow")


# --- the shop -----------------------------------------------------------------------------------------------


def create_table(client: Clients, table: str) -> None:
    client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def put_stripe_key(client: Clients, parameter: str, key: str) -> None:
    # Out of band, as on AWS: CloudFormation cannot make a SecureString.
    client("ssm").put_parameter(Name=parameter, Value=key, Type="SecureString", Overwrite=True)


# --- code ---------------------------------------------------------------------------------------------------


def packaged(client: Clients, path: Path = TEMPLATE) -> str:
    """The template as the emulator can deploy it, with each function's code in the emulator's S3."""
    template = emulated(path.read_text())
    for function in FUNCTIONS:
        local, remote = f"../build/{function}", upload(client, bundle(function))
        if template.count(local) != 1:
            raise StackError(f"the template should name {local} once")
        template = template.replace(local, remote)
    return template


def upload(client: Clients, archive: Path) -> str:
    known = client("s3").list_objects_v2(Bucket=bucket(client), Prefix=archive.name).get("KeyCount", 0)
    if not known:
        client("s3").put_object(Bucket=BUCKET, Key=archive.name, Body=archive.read_bytes())
    return f"s3://{BUCKET}/{archive.name}"


def bucket(client: Clients) -> str:
    """The packages' bucket, made when it is first asked for."""
    s3 = client("s3")
    if BUCKET not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=BUCKET)
    return BUCKET


def bundle(function: str) -> Path:
    """The zip of a function for this machine, built anew when its sources or the lock file have changed."""
    dependencies = install_dependencies(BuildOptions(platform="host"))
    archive = BUNDLES / f"{function}-{sources_hash(function, dependencies.name)}.zip"
    if not archive.exists():
        BUNDLES.mkdir(parents=True, exist_ok=True)
        drop_old_bundles()
        # Several processes may do this at once: each makes its own and renames it, which is atomic.
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


# --- CloudFormation -----------------------------------------------------------------------------------------


def deploy_template(client: Clients, name: str, template: str, parameters: Parameters) -> dict[str, str]:
    """The stack's outputs. Raises StackError with every reason CloudFormation gives."""
    formation = client("cloudformation")
    # By way of the bucket, as with `--s3-bucket`: it is larger than the 51,200 bytes of a request.
    key = f"{hashlib.sha256(template.encode()).hexdigest()[:16]}.yaml"
    client("s3").put_object(Bucket=bucket(client), Key=key, Body=template.encode())
    change = formation.create_change_set(
        StackName=name,
        ChangeSetName="deploy",
        ChangeSetType="CREATE",
        TemplateURL=f"{client.endpoint}/{BUCKET}/{key}",
        Parameters=as_list(parameters),
        Capabilities=["CAPABILITY_IAM"],
    )["Id"]
    await_change_set(client, change)
    formation.execute_change_set(ChangeSetName=change)
    return await_stack(client, name)


def as_list(parameters: Parameters) -> "list[ParameterTypeDef]":
    return [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()]


def await_change_set(client: Clients, change: str) -> None:
    def settled() -> "DescribeChangeSetOutputTypeDef | None":
        described = client("cloudformation").describe_change_set(ChangeSetName=change)
        return described if described["Status"] in {"CREATE_COMPLETE", "FAILED"} else None

    described = wait_until(settled, "the change set is made")
    if described["Status"] == "FAILED":
        raise StackError(described.get("StatusReason", "the change set failed"))


def await_stack(client: Clients, name: str) -> dict[str, str]:
    def settled() -> "StackTypeDef | None":
        stack = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        busy = stack["StackStatus"].endswith("_IN_PROGRESS")
        return None if busy else stack

    stack = wait_until(settled, f"{name} is deployed")
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise StackError(f"{name} is {stack['StackStatus']}:\n{failures(client, name)}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def delete_stack(client: Clients, name: str) -> None:
    """Deletes what the template made."""
    client("cloudformation").delete_stack(StackName=name)
    wait_until(lambda: not stack_exists(client, name), f"{name} is deleted")


def failures(client: Clients, name: str) -> str:
    events = client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in reversed(events) if event.get("ResourceStatus", "").endswith("FAILED")]
    return "\n".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed)


def stack_exists(client: Clients, name: str) -> bool:
    pages = client("cloudformation").get_paginator("list_stacks").paginate()
    stacks = [stack for page in pages for stack in page["StackSummaries"] if stack["StackName"] == name]
    return any(stack["StackStatus"] != "DELETE_COMPLETE" for stack in stacks)


# --- functions ----------------------------------------------------------------------------------------------


def invoke(client: Clients, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The function's answer, an object. Raises InvocationError with its error's type, text and trace."""
    response = client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    answer: dict[str, Any] = json.loads(response["Payload"].read())
    if response.get("FunctionError"):
        raise InvocationError(f"{function}: {json.dumps(answer, indent=2)}")
    return answer


def wait_until[T](probe: Callable[[], T | None], what: str, timeout: float = DEPLOY_SECONDS) -> T:
    """The first truthy value that `probe` gives. Raises TimeoutError that says what did not happen."""
    deadline = time.monotonic() + timeout
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:.0f} s: {what}; last seen: {value!r}")
        time.sleep(POLL_SECONDS)
    return value
