"""AWS errors exactly as boto3 raises them: botocore's exception classes and the response that it parses."""

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


class _Validator(ParamValidator):
    """Validate as botocore does, with a short way for DynamoDB's texts and numbers: most of what is sent."""

    def _validate(self, params: Any, shape: Any, errors: Any, name: str) -> None:
        if not (shape.name == "AttributeValue" and _is_text_or_number(params)):
            super()._validate(params, shape, errors, name)  # type: ignore[misc]


def _is_text_or_number(value: Any) -> bool:
    if type(value) is not dict or len(value) != 1:
        return False
    [(kind, content)] = value.items()
    return kind in {"S", "N"} and type(content) is str


_VALIDATOR = _Validator()


class ServiceRefusal(Exception):  # noqa: N818 - it never leaves the doubles
    """An error answer: code, message and members of the error shape. Clients convert it to a ClientError."""

    def __init__(self, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = members


class UnsupportedRequest(NotImplementedError):  # noqa: N818 - it says what is wrong with the request
    """A valid request that the double does not implement, because this project never sends one."""


def validation_error(message: str) -> ServiceRefusal:
    return ServiceRefusal("ValidationException", message)


@cache
def service_model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


@cache
def client_exceptions(service: str) -> Any:
    """Return what a client of `service` has as `client.exceptions`, one set of classes per process."""
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
    """Return the error that boto3 raises for an error answer.

    `query_code` is for SQS, whose JSON protocol still answers the code of its older query protocol in `Code`.
    """
    error = {"Message": message, "Code": code}
    if query_code is not None:
        error["QueryErrorCode"] = query_code
    response: Any = {
        "Error": error,
        "ResponseMetadata": response_metadata(0, status=status),
        **(members or {}),
    }
    raised: ClientError = exceptions.from_code(query_code or code)(response, operation)
    return raised


def response_metadata(number: int, *, status: int = 200) -> dict[str, Any]:
    """Return the metadata of the `number`th response. Its request id repeats when a history is repeated."""
    return {
        "RequestId": f"{number:032X}",
        "HTTPStatusCode": status,
        "HTTPHeaders": {},
        "RetryAttempts": 0,
    }


def check_parameters(service: str, operation: str, params: Mapping[str, Any]) -> None:
    """Raise ParamValidationError where botocore itself rejects a request before it is sent."""
    shape: Any = service_model(service).operation_model(operation).input_shape
    report = _VALIDATOR.validate(dict(params), shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())


class ClientMeta:
    """The part of a boto3 client's `meta` that the doubles have."""

    def __init__(self, service: str) -> None:
        self.service_model = service_model(service)
        self.region_name = "us-east-1"
        self.method_to_api_mapping = {xform_name(name): name for name in self.service_model.operation_names}
