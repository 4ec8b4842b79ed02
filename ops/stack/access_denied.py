"""Access-denied errors of AWS."""

import re

from botocore.exceptions import ClientError

_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_ACTION = re.compile(r"not authorized to perform:? (\S+)")


def find_denied_action(error: ClientError) -> str | None:
    """Return the denied action, such as `scheduler:GetSchedule`, or None for any other error.

    If AWS does not name the action, return the name of the operation.
    """
    details = error.response["Error"]
    if details["Code"] not in _CODES:
        return None
    match = _ACTION.search(details.get("Message", ""))
    return match[1] if match else error.operation_name
