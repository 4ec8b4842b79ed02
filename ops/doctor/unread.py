"""What could not be read, and why: an answer of its own and never a crash of the other checks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError

from ops.doctor.finding import Finding, fix, unknown
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
    MISSING = "missing"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True)
class Unavailable:
    """`why` names the denied action, or what went wrong."""

    cause: Cause
    why: str

    @property
    def is_missing(self) -> bool:
        return self.cause is Cause.MISSING


type Fetched[T] = T | Unavailable


def read[T](ask: Callable[[], T]) -> Fetched[T]:
    try:
        return ask()
    except ClientError as error:
        return _refused(error)
    except (BotoCoreError, SyncError) as error:
        return Unavailable(Cause.FAILED, " ".join(str(error).split()))


def _refused(error: ClientError) -> Unavailable:
    code = error.response["Error"]["Code"]
    if code in _MISSING:
        return Unavailable(Cause.MISSING, code)
    if action := find_denied_action(error):
        return Unavailable(Cause.DENIED, action)
    return Unavailable(Cause.FAILED, f"{error.operation_name}: {code}")


def lost(name: str, what: str, unread: Unavailable, shell: Shell) -> Finding:
    """For a part of the stack. CloudFormation does not make again what was deleted behind its back."""
    if unread.is_missing:
        return rebuild(name, f"{what} is gone", shell)
    return unseen(name, unread)


def rebuild(name: str, what: str, shell: Shell) -> Finding:
    return fix(
        name,
        f"{what}: the stack has to be deleted and deployed again (table and key stay; queues and logs stay "
        "too, and the command says how to delete them)",
        shell.destroy(),
    )


def unseen(name: str, unread: Unavailable) -> Finding:
    """For a check whose fact is not there."""
    if unread.cause is Cause.DENIED:
        return unknown(name, f"these AWS credentials may not call {unread.why}")
    return unknown(name, f"could not be read: {unread.why}")
