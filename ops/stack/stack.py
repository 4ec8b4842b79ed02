"""Where the command works: a stack on AWS, or the sandbox that `make demo ARGS=--keep` leaves up."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ops.errors import CommandError
from recon.config import Settings, load_settings
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.errors import ConfigError
from recon.retry import Deadline

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

DEFAULT_STACK = "stripe-nightly-sync"
SANDBOX_HOME = Path(".sandbox")
SANDBOX_STATE = "state.json"
# A person waits: long enough for a slow line, and no call hangs for minutes.
CALLS = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 4, "mode": "standard"})
# The answer comes when the producer has listed, 15 minutes later at most. Sent once: a repeat is another run.
ONCE = Config(connect_timeout=5, read_timeout=920, retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class StackSelector:
    """What the command line says of the place; None means: as the environment and the profile say."""

    stack: str | None = None
    profile: str | None = None
    region: str | None = None
    sandbox: Path | None = None


@dataclass(frozen=True)
class StackOutputs:
    """The stack's outputs."""

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


class Stack:
    """One stack. Everything is asked for when first needed, and once."""

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
        # Its schedule is off on purpose: it is started by hand.
        self.is_sandbox = is_sandbox
        self.deadline = deadline
        self._session = session
        self._endpoint = endpoint
        self._cache: dict[tuple[str, bool], Any] = {}

    @property
    def region(self) -> str:
        return str(self._session.region_name)

    def client(self, service: str, *, once: bool = False) -> Any:  # noqa: ANN401 - any service's client
        """`once`: for a call that must not be sent a second time."""
        key = (service, once)
        if key not in self._cache:
            self._cache[key] = self._client(service, ONCE if once else CALLS)
        return self._cache[key]

    def _client(self, service: str, config: Config) -> Any:  # noqa: ANN401 - any service's client
        make: Any = self._session.client
        try:
            return make(service, endpoint_url=self._endpoint, config=config)
        except ValueError as exc:  # how botocore refuses an address
            raise CommandError(f"AWS_ENDPOINT_URL: {exc}") from exc

    @property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self.client("sqs")
        return client

    @cached_property
    def outputs(self) -> StackOutputs:
        """Raises CannotRun where there is no such stack, or it lacks an output."""
        values = self._read_outputs()
        if missing := [output for output in _OUTPUTS.values() if output not in values]:
            raise CommandError(
                f"the stack {self.name} has no output {', '.join(missing)}: it is not one of this system's, "
                "or of an older version; --stack NAME names another one"
            )
        return StackOutputs(**{name: values[output] for name, output in _OUTPUTS.items()})

    def _read_outputs(self) -> dict[str, str]:
        try:
            (stack,) = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as exc:
            if "does not exist" not in exc.response["Error"].get("Message", ""):
                raise
            raise CommandError(
                f"there is no stack {self.name} in {self.region}; "
                "--stack NAME, --region REGION and --profile PROFILE say where to look"
            ) from None
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    @cached_property
    def table(self) -> Table:
        return Table(self.client("dynamodb"), self.outputs.table)

    @property
    def runs(self) -> Runs:
        return Runs(self.table, self.deadline)

    def configuration(self, function: str) -> dict[str, Any]:
        """A function's configuration as Lambda tells it; its environment holds no key."""
        answer: dict[str, Any] = self.client("lambda").get_function_configuration(FunctionName=function)
        return answer

    @cached_property
    def settings(self) -> Settings:
        """What the deployed consumer works with. Raises CannotRun where it could not work with it."""
        return self._settings_of(self.outputs.consumer)

    @cached_property
    def producer_settings(self) -> Settings:
        """The producer's, who alone has the numbers of the windows. Raises CannotRun as `settings` does."""
        return self._settings_of(self.outputs.producer)

    def _settings_of(self, function: str) -> Settings:
        variables = self.configuration(function).get("Environment", {}).get("Variables", {})
        try:
            return load_settings(variables)
        except ConfigError as exc:
            raise CommandError(f"{function}: {exc}") from exc


def select_stack(wanted: StackSelector, environ: Mapping[str, str], deadline: Deadline) -> Stack:
    """Raises CannotRun for a profile or a sandbox that is not there. Asks AWS nothing yet."""
    if wanted.sandbox is not None:
        return _sandbox(wanted, deadline)
    try:
        session = boto3.Session(profile_name=wanted.profile, region_name=wanted.region)
    except BotoCoreError as exc:
        raise CommandError(str(exc)) from exc
    if not session.region_name:
        raise CommandError("no AWS region: give --region, or set AWS_REGION or the profile's region")
    return Stack(wanted.stack or DEFAULT_STACK, session, environ.get("AWS_ENDPOINT_URL"), deadline)


def _sandbox(wanted: StackSelector, deadline: Deadline) -> Stack:
    """What the demo has left in its folder says where it is; its credentials are made up."""
    if wanted.profile or wanted.region:
        raise CommandError(
            "a sandbox has credentials and a region of its own: leave --profile and --region out, "
            "or --sandbox (NIGHTLY_SYNC_SANDBOX may be set)"
        )
    home = wanted.sandbox or SANDBOX_HOME
    try:
        state = json.loads((home / SANDBOX_STATE).read_text())
        endpoint, credentials = state["endpoint_url"], state["credentials"]
        stack: str = state["stack"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandError(f"no sandbox is up in {home}; `make demo ARGS=--keep` starts one") from None
    if wanted.stack not in (None, stack):
        raise CommandError(
            f"the sandbox in {home} holds the stack {stack}, not {wanted.stack}: leave --stack out, "
            "or --sandbox (NIGHTLY_SYNC_STACK or NIGHTLY_SYNC_SANDBOX may be set)"
        )
    session = boto3.Session(
        # Neither the profile of this shell nor its session is asked.
        botocore_session=botocore.session.get_session({"profile": (None, None, None, None)}),
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        region_name=credentials["AWS_DEFAULT_REGION"],
    )
    return Stack(stack, session, endpoint, deadline, is_sandbox=True)
