"""Errors of AWS services exactly as boto3 raises them: the classes botocore makes, the response it parses."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

_FACTORY = ClientExceptionsFactory()
_VALIDATOR = ParamValidator()


class Refused(Exception):  # noqa: N818  never leaves the doubles: the client turns it into the service's own error
    """What a service answers instead of a result: a code, a sentence, and the error's own members."""

    def __init__(self, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = members


def invalid(message: str) -> Refused:
    return Refused("ValidationException", message)


@cache
def service_model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


@cache
def exceptions_of(service: str) -> Any:
    """What a client of `service` carries as `client.exceptions`; one set of classes per process."""
    return _FACTORY.create_client_exceptions(service_model(service))


def client_error(
    exceptions: Any,
    operation: str,
    code: str,
    message: str,
    *,
    query_code: str | None = None,
    status: int = 400,
    members: Mapping[str, Any] | None = None,
) -> ClientError:
    """`query_code` is SQS's: its JSON protocol still answers the older query protocol's code in `Code`."""
    error = {"Message": message, "Code": code}
    if query_code is not None:
        error["QueryErrorCode"] = query_code
    response: Any = {
        "Error": error,
        "ResponseMetadata": metadata(0, status=status),
        **(members or {}),
    }
    raised: ClientError = exceptions.from_code(query_code or code)(response, operation)
    return raised


def metadata(number: int, *, status: int = 200) -> dict[str, Any]:
    """Request ids count up, so that a history is the same each time it is played."""
    return {
        "RequestId": f"{number:032X}",
        "HTTPStatusCode": status,
        "HTTPHeaders": {},
        "RetryAttempts": 0,
    }


def check_parameters(service: str, operation: str, params: Mapping[str, Any]) -> None:
    """botocore's own check of names, types and lower bounds: what it refuses never reaches a service."""
    shape: Any = service_model(service).operation_model(operation).input_shape
    report = _VALIDATOR.validate(dict(params), shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())


class Meta:
    """What of a boto3 client's `meta` the doubles have."""

    def __init__(self, service: str) -> None:
        self.service_model = service_model(service)
        self.region_name = "us-east-1"
        self.method_to_api_mapping = {xform_name(name): name for name in self.service_model.operation_names}
