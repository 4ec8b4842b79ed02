"""AWS clients, made by botocore alone.

What boto3 adds (resources, S3 transfers) takes a fifth of a cold start, and nothing here uses it.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal, overload

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session

from recon.retry import AWS_ATTEMPTS, aws_config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

# Without it botocore builds one for each request, twice, which is a tenth of a request's CPU time.
USER_AGENT = "stripe-nightly-sync"
SERVICES = ("dynamodb", "lambda", "sqs", "ssm")


@overload
def client(service: Literal["dynamodb"]) -> "DynamoDBClient": ...
@overload
def client(service: Literal["lambda"]) -> "LambdaClient": ...
@overload
def client(service: Literal["sqs"]) -> "SQSClient": ...
@overload
def client(service: Literal["ssm"]) -> "SSMClient": ...
def client(service: str) -> object:
    """Create a client of one of SERVICES. Creation is not thread-safe; the client is."""
    return session().create_client(service, config=_config(AWS_ATTEMPTS))


def transaction_client() -> "DynamoDBClient":
    """Create a DynamoDB client that never retries by itself.

    `Table.transact` has to check for new orders before each try, also of one whose response was lost.
    """
    made: DynamoDBClient = session().create_client("dynamodb", config=_config(attempts=1))  # type: ignore[assignment]  # botocore's stub names no service
    return made


def _config(attempts: int) -> Config:
    # Few functions build requests, and AWS validates them anyway.
    return Config(user_agent=USER_AGENT, parameter_validation=False, **aws_config(attempts))


@cache
def session() -> Session:
    """Return the process's only session, so that clients share credentials and service data."""
    shared = Session()
    shared.register_component("data_loader", _FewServices())
    return shared


class _FewServices(Loader):
    """botocore's service data without its list of services.

    botocore only checks whether a name is on that list, but reads the folders of all 400 services to build
    it, once for each kind of data.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return list(SERVICES)
