"""Facts that may be unavailable: a failed call becomes a finding and does not stop the other checks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError

from ops.doctor.finding import CheckFinding, fix, unknown
from ops.doctor.shell import Shell
from ops.stack.access_denied import find_denied_action
from recon.errors import SyncError

_MISSING = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchEntity",
        "NotFound",
        "NotFoundException",
        "ParameterNotFound",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)


class Cause(StrEnum):
    """Why a fact is unavailable."""

    MISSING = "missing"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True)
class Unavailable:
    """The reason why a fact could not be read; `why` names the denied action or the error."""

    cause: Cause
    why: str

    @property
    def is_missing(self) -> bool:
        """Return whether the resource does not exist."""
        return self.cause is Cause.MISSING


type Fetched[T] = T | Unavailable


def fetch[T](call: Callable[[], T]) -> Fetched[T]:
    """Return the result of a call to AWS or Stripe, or why it is unavailable."""
    try:
        return call()
    except ClientError as error:
        return _classify(error)
    except (BotoCoreError, SyncError) as error:
        return Unavailable(Cause.FAILED, " ".join(str(error).split()))


def _classify(error: ClientError) -> Unavailable:
    code = error.response["Error"]["Code"]
    if code in _MISSING:
        return Unavailable(Cause.MISSING, code)
    if action := find_denied_action(error):
        return Unavailable(Cause.DENIED, action)
    return Unavailable(Cause.FAILED, f"{error.operation_name}: {code}")


def unavailable_part(name: str, what: str, reason: Unavailable, shell: Shell) -> CheckFinding:
    """Return the finding for a part of the stack, which CloudFormation does not create again if deleted."""
    if reason.is_missing:
        return redeploy(name, f"{what} does not exist any more", shell)
    return unreadable(name, reason)


def redeploy(name: str, what: str, shell: Shell) -> CheckFinding:
    """Return a finding that only a new deployment fixes."""
    return fix(
        name,
        f"{what}: delete the stack and deploy it again (the table and the key are not part of it; queues and "
        "logs are kept, and the command says how to delete them)",
        shell.destroy(),
    )


def unreadable(name: str, reason: Unavailable) -> CheckFinding:
    """Return the finding for a check whose fact is unavailable."""
    if reason.cause is Cause.DENIED:
        return unknown(name, f"these AWS credentials may not call {reason.why}")
    return unknown(name, f"could not be read: {reason.why}")
