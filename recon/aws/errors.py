"""AWS errors in words that may be logged: AWS's own text names accounts and resources."""

import re

from botocore.exceptions import BotoCoreError, ClientError

_DENIALS = {"AccessDenied", "AccessDeniedException"}
_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")


def describe_error(error: ClientError | BotoCoreError) -> str:
    """The operation and the code; of a denial also the action that the role lacks."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    answer = error.response["Error"]
    lacking = _ACTION.search(answer.get("Message", "")) if is_denied(error) else None
    denied = f": no permission for {lacking[1]}" if lacking else ""
    return f"{error.operation_name}: {answer['Code']}{denied}"


def is_denied(error: ClientError | BotoCoreError) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _DENIALS
