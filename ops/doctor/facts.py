"""What the checks look at. Answers of AWS are kept as they came; of the Stripe key only its prefix's word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ops.doctor.shell import Shell
from ops.doctor.unread import Fetched, Unavailable
from ops.stack.stack import StackOutputs
from recon.config import Settings

type Reply = Mapping[str, Any]

SECRET, RESTRICTED, PUBLISHABLE = "secret", "restricted", "publishable"


@dataclass(frozen=True)
class Parameter:
    """Of SSM, without its value."""

    name: str
    type: str
    modified: datetime


@dataclass(frozen=True)
class Key:
    """`kind` is None for what does not begin as a key does; `livemode` where the prefix does not say."""

    kind: str | None
    livemode: bool | None


class Access(StrEnum):
    """`untried`: there was nothing to try it with."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    REJECTED = "rejected"
    UNTRIED = "untried"
    FAILED = "failed"


@dataclass(frozen=True)
class Tried:
    """`why` is our own word for what Stripe said."""

    access: Access
    why: str = ""


@dataclass(frozen=True)
class Permissions:
    """What the key may read: one cheap request each."""

    sessions: Tried
    line_items: Tried
    charges: Tried
    disputes: Tried
    events: Tried


@dataclass(frozen=True)
class Function:
    """`log_group` is None where the group that the function names is not there."""

    configuration: Fetched[Reply]
    concurrency: Fetched[Reply]
    log_group: Fetched[Reply | None]


@dataclass(frozen=True)
class Facts:
    """`stack` is the stack's description; `settings` what the consumer makes of its environment, None if it
    can make nothing of it; `parameter` and `key` are None where the settings name none; `permissions` where
    there was no key to ask with; `livemode` is the mode of the last run, where there was one; `skew_seconds`
    by how much this machine's clock is ahead of AWS's; `alarm_names` are the stack's."""

    shell: Shell
    names: StackOutputs
    is_sandbox: bool
    stack: Fetched[Reply]
    skew_seconds: float | None
    producer: Function
    consumer: Function
    settings: Settings | None
    parameter: Fetched[Parameter] | None
    key: Fetched[Key] | None
    permissions: Permissions | None
    livemode: Fetched[bool | None]
    table: Fetched[Reply]
    time_to_live: Fetched[Reply]
    backups: Fetched[Reply]
    queue: Fetched[Mapping[str, str]]
    dead_letters: Fetched[Mapping[str, str]]
    mapping: Fetched[Reply]
    schedule: Fetched[Reply]
    schedule_role: Fetched[Reply] | None
    alarm_names: Fetched[Sequence[str]]
    alarms: Fetched[Sequence[Reply]]
    subscriptions: Fetched[Sequence[Reply]]

    @property
    def parameters(self) -> Mapping[str, str]:
        """The stack's, as it was deployed with; none where they could not be read."""
        described = {} if isinstance(self.stack, Unavailable) else self.stack
        return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])}
