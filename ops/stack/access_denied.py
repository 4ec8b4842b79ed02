"""Which permission AWS misses in an operator's credentials."""

import re

from botocore.exceptions import ClientError

_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_ACTION = re.compile(r"not authorized to perform:? (\S+)")


def find_denied_action(error: ClientError) -> str | None:
    """The action that was denied, such as `scheduler:GetSchedule`, or its operation where AWS does not say;
    None: it is no denial."""
    answer = error.response["Error"]
    if answer["Code"] not in _CODES:
        return None
    named = _ACTION.search(answer.get("Message", ""))
    return named[1] if named else error.operation_name
