"""What could not be read, and why: an answer of its own and never a crash of the other checks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError

from ops.denied import denied_action
from ops.doctor.finding import Finding, fix, unknown
from ops.doctor.shell import Shell
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
class Unread:
    """`why` names the denied action, or what went wrong."""

    cause: Cause
    why: str

    @property
    def is_missing(self) -> bool:
        return self.cause is Cause.MISSING


type Read[T] = T | Unread


def read[T](ask: Callable[[], T]) -> Read[T]:
    try:
        return ask()
    except ClientError as error:
        return _refused(error)
    except (BotoCoreError, SyncError) as error:
        return Unread(Cause.FAILED, " ".join(str(error).split()))


def _refused(error: ClientError) -> Unread:
    code = error.response["Error"]["Code"]
    if code in _MISSING:
        return Unread(Cause.MISSING, code)
    if action := denied_action(error):
        return Unread(Cause.DENIED, action)
    return Unread(Cause.FAILED, f"{error.operation_name}: {code}")


def lost(name: str, what: str, unread: Unread, shell: Shell) -> Finding:
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


def unseen(name: str, unread: Unread) -> Finding:
    """For a check whose fact is not there."""
    if unread.cause is Cause.DENIED:
        return unknown(name, f"these AWS credentials may not call {unread.why}")
    return unknown(name, f"could not be read: {unread.why}")
