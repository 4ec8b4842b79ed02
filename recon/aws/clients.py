"""Clients for AWS, and what AWS answers when it fails, in words that may be logged: never its own text, which
names accounts.

Clients are made by botocore, as boto3 makes them: what boto3 adds (resources, transfers to S3) is a fifth of
a cold start, and nothing here uses it.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal, overload

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session

from recon.retry import aws_config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

# Else botocore puts one together for each request, twice: a tenth of what a request computes.
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
    """A new client of one of SERVICES. Made by one thread at a time; used by any number."""
    # What is sent is written by few functions, and AWS looks at it all the same.
    config = Config(user_agent=USER_AGENT, parameter_validation=False, **aws_config())
    return session().create_client(service, config=config)


@cache
def session() -> Session:
    """One a process: clients share the credentials, and the data that they are made from."""
    made = Session()
    made.register_component("data_loader", _FourServices())
    return made


class _FourServices(Loader):
    """botocore's own data, without its list of services: to make that list, of which it only asks whether a
    name is on it, botocore looks into the folders of all 400, once for each kind of data."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return list(SERVICES)
