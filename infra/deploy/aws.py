"""Calls of AWS through boto3: one region, and errors in one line."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from infra.deploy.errors import DeployError

# Keep-alive, since a connection that is quiet for minutes is dropped by a NAT gateway or a firewall.
CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"total_max_attempts": 5, "mode": "standard"},
    tcp_keepalive=True,
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")

type Connect = Callable[[], boto3.Session]


class AwsError(DeployError):
    """AWS rejected a call; `code` is the service's error code."""

    def __init__(self, code: str, operation: str, message: str) -> None:
        super().__init__(f"AWS: {operation}: {code}: {' '.join(message.split())[:300]}")
        self.code = code


class AwsServices:
    """The services of one region: `aws.call("sqs", "get_queue_url", QueueName="a")`.

    `connect` makes a session. Botocore refreshes most credentials itself. The others are loaded again when
    they have expired, since the user may have logged in again during a long deployment.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._session = open_session(connect)
        self._clients: dict[str, Any] = {}
        self.region = str(self._session.region_name)

    def client(self, service: str) -> Any:  # noqa: ANN401 - any service's client
        """Return the client of a service, made once."""
        if service not in self._clients:
            make: Any = self._session.client
            self._clients[service] = make(service, config=CONFIG)
        return self._clients[service]

    def call(self, service: str, operation: str, **parameters: object) -> Any:  # noqa: ANN401 - any response
        """Return the response. Raise AwsError if the service rejects it, DeployError if it is not reached."""
        return self._answer(lambda: getattr(self.client(service), operation)(**parameters))

    def list_all(self, service: str, operation: str, key: str, **parameters: object) -> list[Any]:
        """Return the elements under `key` of all pages of the response."""

        def collect() -> list[Any]:
            pages = self.client(service).get_paginator(operation).paginate(**parameters)
            return [element for page in pages for element in page.get(key, ())]

        elements: list[Any] = self._answer(collect)
        return elements

    def find(self, service: str, operation: str, *, missing: str, **parameters: object) -> Any:  # noqa: ANN401
        """Return the response, or None if AWS rejects the call with an error that contains `missing`."""
        try:
            return self.call(service, operation, **parameters)
        except AwsError as error:
            if missing in str(error):
                return None
            raise

    def _answer[T](self, request: Callable[[], T]) -> T:
        try:
            return request()
        except ClientError as error:
            if error.response["Error"]["Code"] not in _EXPIRED:
                raise to_error(error) from error
        except (BotoCoreError, ValueError) as error:
            raise to_error(error) from error
        self._session = open_session(self._connect)
        self._clients.clear()
        try:
            return request()
        except (BotoCoreError, ClientError, ValueError) as error:
            raise to_error(error) from error


def to_error(error: Exception) -> DeployError:
    """Return the error of a failed call in one line."""
    match error:
        case ClientError(response={"Error": {"Code": code, **rest}}, operation_name=operation):
            if code in _EXPIRED:
                return DeployError("the AWS credentials have expired: log in again, then repeat the command")
            return AwsError(code, operation, str(rest.get("Message", "")))
        case NoCredentialsError():
            return DeployError(
                "no AWS credentials: set AWS_PROFILE, or log in with aws login or aws sso login"
            )
    return DeployError(f"AWS: {' '.join(str(error).split())[:300]}")


def open_session(connect: Connect) -> boto3.Session:
    """Return a new session. Raise DeployError if it has no region, or its profile does not exist."""
    try:
        session = connect()
    except BotoCoreError as error:
        raise to_error(error) from error
    if not session.region_name:
        raise DeployError("no AWS region: give --region, or set AWS_REGION or the profile's region")
    return session


def connect_to(region: str | None, environ: Mapping[str, str] = os.environ) -> Connect:
    """Return a function that opens a session in `region`, else in that of the environment or the profile.

    botocore itself reads AWS_DEFAULT_REGION and the profile, but not AWS_REGION.
    """
    return lambda: boto3.Session(region_name=region or environ.get("AWS_REGION") or None)
