"""The JSON protocol of AWS, as boto3's clients send and parse it, over the in-memory doubles."""

from http import HTTPStatus

from botocore import xform_name
from botocore.exceptions import ClientError

from testkit.shapes import JsonObject

# boto3 adds these to a parsed response.
_ADDED_BY_BOTO3 = ("ResponseMetadata", "Error")


def call_double(client: object, operation: str, request: JsonObject) -> tuple[HTTPStatus, JsonObject]:
    """Call the double's method for `operation`, such as `PutItem`; return the HTTP status and body."""
    try:
        response = getattr(client, xform_name(operation))(**request)
    except ClientError as error:
        detail = error.response["Error"]
        fault = {"__type": detail["Code"], "message": detail["Message"]}
        return HTTPStatus.BAD_REQUEST, fault | _strip(error.response)  # type: ignore[arg-type]  # a TypedDict
    return HTTPStatus.OK, _strip(response)


def _strip(response: JsonObject) -> JsonObject:
    return {name: value for name, value in response.items() if name not in _ADDED_BY_BOTO3}
