"""The stack that a command works on: on AWS, or in the sandbox that `make demo ARGS=--keep` left running."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from ops.errors import CommandError
from recon.config import Settings, load_settings
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.errors import ConfigError
from recon.retry import Deadline

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

DEFAULT_STACK = "stripe-nightly-sync"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html, or an ARN
_STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}|arn:[A-Za-z0-9:/._+-]{1,1000}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+)+")
_SHOWN = 40
SANDBOX_HOME = Path(".sandbox")
SANDBOX_STATE = "state.json"
# Long enough for a slow network, short enough that no call hangs for minutes.
CALLS = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 4, "mode": "standard"})
# The producer answers after it has listed, in 15 minutes at most. A retry would start another run.
# Keep-alive, since a NAT gateway or a firewall drops a connection that is quiet for minutes.
ONCE = Config(connect_timeout=5, read_timeout=920, retries={"total_max_attempts": 1}, tcp_keepalive=True)


@dataclass(frozen=True)
class StackSelector:
    """The selection of a stack by the command line. None means the default of the environment and profile."""

    stack: str | None = None
    profile: str | None = None
    region: str | None = None
    sandbox: Path | None = None


@dataclass(frozen=True)
class StackOutputs:
    """The outputs of the CloudFormation stack. `ledger` is the shop's table unless it has another one."""

    queue_url: str
    queue_arn: str
    dlq_url: str
    dlq_arn: str
    producer: str
    consumer: str
    mapping_id: str
    schedule: str
    table: str
    alarm_topic: str
    ledger: str
    missed_starts_url: str | None = None


_OUTPUTS = {
    "queue_url": "QueueUrl",
    "queue_arn": "QueueArn",
    "dlq_url": "DeadLetterQueueUrl",
    "dlq_arn": "DeadLetterQueueArn",
    "producer": "ProducerName",
    "consumer": "ConsumerName",
    "mapping_id": "MappingId",
    "schedule": "ScheduleName",
    "table": "CommerceTable",
    "alarm_topic": "AlarmTopicArn",
}


# An older version of the stack lacks it.
_MISSED_STARTS = "ScheduleDeadLetterQueueUrl"
_RUNBOOK = "RunbookUrl"


class Stack:
    """A deployed stack. Clients, outputs and settings are loaded on first use and cached."""

    def __init__(
        self,
        name: str,
        session: boto3.Session,
        endpoint: str | None,
        deadline: Deadline,
        *,
        is_sandbox: bool = False,
    ) -> None:
        self.name = name
        # The schedule of a sandbox is off on purpose; its runs are started manually.
        self.is_sandbox = is_sandbox
        self.deadline = deadline
        self._session = session
        self._endpoint = endpoint
        self._cache: dict[tuple[str, bool], Any] = {}

    @property
    def region(self) -> str:
        """Return the AWS region."""
        return str(self._session.region_name)

    def client(self, service: str, *, once: bool = False) -> Any:  # noqa: ANN401 - any service's client
        """Return a client of a service. A client with `once` never retries a call."""
        key = (service, once)
        if key not in self._cache:
            self._cache[key] = self._client(service, ONCE if once else CALLS)
        return self._cache[key]

    def _client(self, service: str, config: Config) -> Any:  # noqa: ANN401 - any service's client
        make: Any = self._session.client
        try:
            return make(service, endpoint_url=self._endpoint, config=config)
        except ValueError as exc:  # raised by botocore for an invalid endpoint
            raise CommandError(f"AWS_ENDPOINT_URL: {exc}") from exc

    @property
    def sqs(self) -> "SQSClient":
        """Return the SQS client."""
        client: SQSClient = self.client("sqs")
        return client

    @cached_property
    def outputs(self) -> StackOutputs:
        """Return the outputs. Raise CommandError if the stack does not exist or lacks an output."""
        values = {one["OutputKey"]: one["OutputValue"] for one in self._description.get("Outputs", [])}
        if missing := [output for output in _OUTPUTS.values() if output not in values]:
            raise CommandError(
                f"the stack {self.name} has no output {', '.join(missing)}: it belongs to another system "
                "or was deployed by an older version; --stack NAME selects another one"
            )
        required = {name: values[output] for name, output in _OUTPUTS.items()}
        # Earlier versions have no output for the ledger, which is in the shop's table then.
        ledger = values.get("LedgerTable", required["table"])
        return StackOutputs(**required, ledger=ledger, missed_starts_url=values.get(_MISSED_STARTS))

    @property
    def parameters(self) -> dict[str, str]:
        """Return the parameters of the latest deployment by name."""
        parameters = self._description.get("Parameters", [])
        return {one["ParameterKey"]: one.get("ParameterValue", "") for one in parameters}

    @property
    def runbook_url(self) -> str | None:
        """Return the address of the runbook, or None if the stack was deployed without one."""
        url = self.parameters.get(_RUNBOOK, "")
        return url if url.startswith(("https://", "http://")) else None

    @cached_property
    def _description(self) -> dict[str, Any]:
        stack: dict[str, Any]
        try:
            (stack,) = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as exc:
            if "does not exist" not in exc.response["Error"].get("Message", ""):
                raise
            raise CommandError(
                f"there is no stack {self.name} in {self.region}; "
                "--stack NAME, --region REGION and --profile PROFILE select another one"
            ) from None
        return stack

    @cached_property
    def table(self) -> Table:
        """Return the commerce table with the ledger."""
        return Table(self.client("dynamodb"), self.outputs.table, ledger=self.outputs.ledger)

    @property
    def runs(self) -> Runs:
        """Return the run records of the ledger."""
        return Runs(self.table, self.deadline)

    def configuration(self, function: str) -> dict[str, Any]:
        """Return a function's configuration. Its environment contains no Stripe key."""
        configuration: dict[str, Any] = self.client("lambda").get_function_configuration(
            FunctionName=function
        )
        return configuration

    @cached_property
    def settings(self) -> Settings:
        """Return the settings of the deployed consumer. Raise CommandError if they are invalid."""
        return self._load_settings(self.outputs.consumer)

    @cached_property
    def producer_settings(self) -> Settings:
        """Return the settings of the deployed producer, which include those of the window.

        Raise CommandError if they are invalid.
        """
        return self._load_settings(self.outputs.producer)

    def _load_settings(self, function: str) -> Settings:
        variables = self.configuration(function).get("Environment", {}).get("Variables", {})
        try:
            return load_settings(variables)
        except ConfigError as exc:
            raise CommandError(f"{function}: {exc}") from exc


def select_stack(selector: StackSelector, environ: Mapping[str, str], deadline: Deadline) -> Stack:
    """Return the selected stack without calling AWS.

    Raise CommandError for an unknown profile, a missing region or a sandbox that is not running.
    """
    if selector.stack is not None and not _STACK_NAME.fullmatch(selector.stack):
        raise CommandError(
            f"--stack {selector.stack[:_SHOWN]!r} is not the name of a stack: letters, digits and dashes, "
            "beginning with a letter"
        )
    if selector.region is not None and not _REGION.fullmatch(selector.region):
        raise CommandError(
            f"--region {selector.region[:_SHOWN]!r} is not the name of a region such as eu-central-1"
        )
    if selector.sandbox is not None:
        return _select_sandbox(selector, deadline)
    try:
        # botocore itself reads AWS_DEFAULT_REGION and the profile, but not AWS_REGION.
        region = selector.region or environ.get("AWS_REGION") or None
        session = boto3.Session(profile_name=selector.profile, region_name=region)
    except ProfileNotFound as exc:
        name = selector.profile or environ.get("AWS_PROFILE")
        raise CommandError(
            f"--profile or AWS_PROFILE: there is no such AWS profile ({name}); "
            "`aws configure list-profiles` lists them"
        ) from exc
    except BotoCoreError as exc:
        raise CommandError(f"the AWS configuration cannot be used: {exc}") from exc
    if not session.region_name:
        raise CommandError("no AWS region: give --region, or set AWS_REGION or the profile's region")
    return Stack(selector.stack or DEFAULT_STACK, session, environ.get("AWS_ENDPOINT_URL"), deadline)


def _select_sandbox(selector: StackSelector, deadline: Deadline) -> Stack:
    """Return the stack of a sandbox from the state file in its folder."""
    if selector.profile or selector.region:
        raise CommandError(
            "a sandbox has its own credentials and region: leave --profile and --region out, "
            "or --sandbox (NIGHTLY_SYNC_SANDBOX may be set)"
        )
    home = selector.sandbox or SANDBOX_HOME
    try:
        state = json.loads((home / SANDBOX_STATE).read_text())
        endpoint, credentials = state["endpoint_url"], state["credentials"]
        stack: str = state["stack"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandError(f"no sandbox is running in {home}; `make demo ARGS=--keep` starts one") from None
    if selector.stack not in (None, stack):
        raise CommandError(
            f"the sandbox in {home} contains the stack {stack}, not {selector.stack}: leave --stack out, "
            "or --sandbox (NIGHTLY_SYNC_STACK or NIGHTLY_SYNC_SANDBOX may be set)"
        )
    session = boto3.Session(
        # Ignore the profile of this shell.
        botocore_session=botocore.session.get_session({"profile": (None, None, None, None)}),
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        region_name=credentials["AWS_DEFAULT_REGION"],
    )
    return Stack(stack, session, endpoint, deadline, is_sandbox=True)
