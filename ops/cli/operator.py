"""The operator's name and reason, which are stored with a dismissal or a permission."""

from ops.dlq.purge import LONGEST_REASON
from ops.errors import CommandError
from ops.stack.stack import Stack


def require_reason(because: str) -> None:
    """Raise CommandError if the reason is empty or would be cut."""
    if not because.strip():
        raise CommandError('give a reason: --because "TEXT" is kept')
    if len(because) > LONGEST_REASON:
        raise CommandError(f"--because has {len(because)} characters; at most {LONGEST_REASON} are kept")


def caller_name(stack: Stack) -> str:
    """Return the caller's name in IAM: the last part of an ARN such as `…:assumed-role/Operator/jane`."""
    arn: str = stack.client("sts").get_caller_identity()["Arn"]
    return arn.rpartition("/")[2] if "/" in arn else arn.rpartition(":")[2]
