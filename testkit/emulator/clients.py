"""boto3 clients of an emulated AWS, created once each and closed together."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

REGION = "us-east-1"
ACCOUNT = "000000000000"
# The emulator uses an access key of twelve digits as the account number.
CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_DEFAULT_REGION": REGION}
)

# A synchronous invocation takes as long as the function: at most 15 minutes. The SDK must not retry it, since
# an unnoticed second invocation would falsify what is measured.
INVOKE = Config(read_timeout=920, retries={"total_max_attempts": 1})
OTHERS = Config(retries={"total_max_attempts": 3, "mode": "standard"})


class AwsClients:
    """The clients of the AWS at `endpoint`, for example `clients("sqs")`. The context manager closes them."""

    def __init__(self, endpoint: str, trusted: Path | None = None) -> None:
        """Use the PEM file `trusted` as the certificate authority of a TLS endpoint."""
        self.endpoint = endpoint
        self.trusted = trusted
        # A separate session, so that the user's profile and credentials have no effect.
        self._session = boto3.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        self._made: dict[str, Any] = {}

    @overload
    def __call__(self, service: Literal["cloudformation"]) -> "CloudFormationClient": ...
    @overload
    def __call__(self, service: Literal["dynamodb"]) -> "DynamoDBClient": ...
    @overload
    def __call__(self, service: Literal["lambda"]) -> "LambdaClient": ...
    @overload
    def __call__(self, service: Literal["logs"]) -> "CloudWatchLogsClient": ...
    @overload
    def __call__(self, service: Literal["s3"]) -> "S3Client": ...
    @overload
    def __call__(self, service: Literal["scheduler"]) -> "EventBridgeSchedulerClient": ...
    @overload
    def __call__(self, service: Literal["sqs"]) -> "SQSClient": ...
    @overload
    def __call__(self, service: Literal["ssm"]) -> "SSMClient": ...
    @overload
    def __call__(self, service: str) -> Any: ...

    def __call__(self, service: str) -> Any:
        if service not in self._made:
            config = INVOKE if service == "lambda" else OTHERS
            make: Any = self._session.client
            verify = str(self.trusted) if self.trusted else None
            self._made[service] = make(service, endpoint_url=self.endpoint, config=config, verify=verify)
        return self._made[service]

    def close(self) -> None:
        while self._made:
            self._made.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
