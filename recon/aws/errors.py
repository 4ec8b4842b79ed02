"""Descriptions of AWS errors that may be logged: AWS's own text names accounts and resources."""

import re

from botocore.exceptions import BotoCoreError, ClientError

_DENIALS = {"AccessDenied", "AccessDeniedException"}
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")


def describe_error(error: ClientError | BotoCoreError) -> str:
    """Return `Operation: ErrorCode`, plus the missing IAM action if access was denied."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    details = error.response["Error"]
    action = _ACTION.search(details.get("Message", "")) if is_denied(error) else None
    denied = f": no permission for {action[1]}" if action else ""
    return f"{error.operation_name}: {details['Code']}{denied}"


def is_denied(error: ClientError | BotoCoreError) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _DENIALS
