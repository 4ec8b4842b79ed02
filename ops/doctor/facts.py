"""The facts that the checks read. AWS answers are kept as they came; of the Stripe key only what it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ops.doctor.fetched import Fetched, Unavailable
from ops.doctor.shell import Shell
from ops.stack.stack import StackOutputs
from recon.config import Settings
from recon.dynamodb.watermark import Watermark

type AwsReply = Mapping[str, Any]

SECRET, RESTRICTED, PUBLISHABLE = "secret", "restricted", "publishable"


@dataclass(frozen=True)
class KeyParameter:
    """The SSM parameter of the Stripe key, without its value."""

    name: str
    type: str
    modified: datetime


@dataclass(frozen=True)
class KeyPrefix:
    """The meaning of a Stripe key's prefix.

    `kind` is None if it does not begin as a key does, `livemode` if the prefix does not name the mode.
    """

    kind: str | None
    livemode: bool | None


class Access(StrEnum):
    """The result of a probe. `UNTRIED` means that there was nothing to try it with, `NOT_FOUND` a 404."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    REJECTED = "rejected"
    NOT_FOUND = "not found"
    UNTRIED = "untried"
    FAILED = "failed"


@dataclass(frozen=True)
class AccessProbe:
    """Whether the key may read one kind of object; `why` describes Stripe's error."""

    access: Access
    why: str = ""


@dataclass(frozen=True)
class RecentSessions:
    """The latest complete sessions: how many are listed, pass the filter, and of these have no user id."""

    listed: int
    passed: int
    without_user: int


@dataclass(frozen=True)
class KeyPermissions:
    """The permissions of the key, each probed with one cheap request. `recent` came with that for sessions.

    `details` are the optional parts of an order, by the names of `recon.stripe.expansions`. They are empty if
    there was no session to try them with. `proof` is the session that proves account and mode; it is untried
    if the ledger names none.
    """

    sessions: AccessProbe
    line_items: AccessProbe
    charges: AccessProbe
    disputes: AccessProbe
    events: AccessProbe
    proof: AccessProbe = AccessProbe(Access.UNTRIED)
    recent: RecentSessions | None = None
    invoices: AccessProbe = AccessProbe(Access.UNTRIED)
    details: Mapping[str, AccessProbe] = field(default_factory=dict)


@dataclass(frozen=True)
class FunctionFacts:
    """One Lambda function. `log_group` is None if the log group that the function names does not exist."""

    configuration: Fetched[AwsReply]
    concurrency: Fetched[AwsReply]
    log_group: Fetched[AwsReply | None]


@dataclass(frozen=True)
class LedgerFacts:
    """The stack that owns the ledger, and whether another program has put the sync state.

    `not_moved` says why runs are refused if the ledger is not in the table that the stack is deployed with.
    """

    owner: str | None
    is_state_overwritten: bool
    not_moved: str | None = None


@dataclass(frozen=True)
class TableFacts:
    """The descriptions of one table, of its expiry and of its backups."""

    name: str
    table: Fetched[AwsReply]
    time_to_live: Fetched[AwsReply]
    backups: Fetched[AwsReply]


@dataclass(frozen=True)
class StackFacts:
    """Everything known of a stack.

    `stack` is its description. `settings` are those of the consumer, None if its environment is invalid.
    `parameter` and `key` are None if the settings name none, `permissions` if there was no key to probe with.
    `table_key` is the KMS key of the table, None if DynamoDB has its own.
    `livemode` is the mode of the last run, None if there was none. `watermark` has the proof.
    `skew_seconds` is how far this machine's clock is ahead of AWS's. `alarm_names` are those of the stack.
    `ledger_table` is None if the ledger is in the shop's table.
    """

    shell: Shell
    names: StackOutputs
    is_sandbox: bool
    stack: Fetched[AwsReply]
    skew_seconds: float | None
    producer: FunctionFacts
    consumer: FunctionFacts
    settings: Settings | None
    parameter: Fetched[KeyParameter] | None
    key: Fetched[KeyPrefix] | None
    permissions: KeyPermissions | None
    livemode: Fetched[bool | None]
    watermark: Fetched[Watermark]
    table: Fetched[AwsReply]
    time_to_live: Fetched[AwsReply]
    backups: Fetched[AwsReply]
    ledger: Fetched[LedgerFacts]
    queue: Fetched[Mapping[str, str]]
    dead_letters: Fetched[Mapping[str, str]]
    mapping: Fetched[AwsReply]
    schedule: Fetched[AwsReply]
    schedule_role: Fetched[AwsReply] | None
    alarm_names: Fetched[Sequence[str]]
    alarms: Fetched[Sequence[AwsReply]]
    subscriptions: Fetched[Sequence[AwsReply]]
    ledger_table: TableFacts | None = None

    @property
    def parameters(self) -> Mapping[str, str]:
        """Return the parameters that the stack was deployed with; empty if they could not be read."""
        described = {} if isinstance(self.stack, Unavailable) else self.stack
        return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])}

    table_key: Fetched[AwsReply] | None = None
