"""TransactWriteItems: which requests are refused, which are cancelled and why, and which are repeats."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from testkit.doubles.errors import ServiceRefusal, validation_error
from testkit.doubles.writes import Write, WriteBinder
from testkit.shapes import AttributeMap, JsonObject

MAX_ACTIONS = 100
MAX_BYTES = 4 * 1024 * 1024
MAX_TOKEN = 36
TOKEN_SECONDS = 600
_REASON_CODES = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "ValidationException": "ValidationError",
}

type TransactItems = Sequence[Mapping[str, Any]]


def bind_actions(binder: WriteBinder, actions: TransactItems) -> list[Write]:
    """Bind every action, with the checks that the service makes before it looks at any item."""
    if len(actions) > MAX_ACTIONS:
        raise validation_error("Member must have length less than or equal to 100")
    writes = [binder.bind_action(action) for action in actions]
    if len({(write.table.name, write.key) for write in writes}) < len(writes):
        raise validation_error("Transaction request cannot include multiple operations on one item")
    if sum(write.put_bytes for write in writes) > MAX_BYTES:
        raise validation_error("Transaction payload size cannot exceed 4MB")
    return writes


def decide_writes(writes: Sequence[Write]) -> list[AttributeMap | None]:
    """Return what each write stores, decided on the state before the transaction.

    Raise TransactionCanceledException with a reason for each write if one is refused.
    """
    reasons: list[JsonObject] = []
    after: list[AttributeMap | None] = []
    for write in writes:
        try:
            after.append(write.after())
            reasons.append({"Code": "None"})
        except ServiceRefusal as error:
            reasons.append({"Code": _REASON_CODES[error.code], "Message": error.message, **error.members})
    if len(after) < len(writes):
        raise transaction_cancelled(reasons)
    return after


def transaction_cancelled(reasons: Sequence[JsonObject]) -> ServiceRefusal:
    message = (
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        f"[{', '.join(reason['Code'] for reason in reasons)}]"
    )
    return ServiceRefusal(
        "TransactionCanceledException", message, Message=message, CancellationReasons=list(reasons)
    )


class RequestTokens:
    """The transactions of the last ten minutes by their ClientRequestToken."""

    def __init__(self) -> None:
        self._expiry_and_request: dict[str, tuple[float, str]] = {}

    def is_repeat(self, token: str, actions: TransactItems, now: float) -> bool:
        """Return whether this transaction was made with this token. Raise if another one was."""
        if len(token) > MAX_TOKEN:
            raise validation_error("Member must have length less than or equal to 36")
        known = self._expiry_and_request
        while known and next(iter(known.values()))[0] <= now:  # the oldest come first
            del known[next(iter(known))]
        if token not in known:
            return False
        if known[token][1] != json.dumps(actions, sort_keys=True):
            raise ServiceRefusal("IdempotentParameterMismatchException", "")
        return True

    def remember(self, token: str, actions: TransactItems, now: float) -> None:
        self._expiry_and_request[token] = (now + TOKEN_SECONDS, json.dumps(actions, sort_keys=True))
