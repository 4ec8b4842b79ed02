"""TransactWriteItems: what is refused, what is cancelled and why, and which repeats are only answered."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from testkit.doubles.dumps import encoded
from testkit.doubles.errors import Refused, invalid
from testkit.doubles.tables import KeyTypeMismatch
from testkit.doubles.values import Item
from testkit.doubles.writes import Put, Requests, Write

MAX_ACTIONS = 100
MAX_BYTES = 4 * 1024 * 1024
MAX_TOKEN = 36
TOKEN_SECONDS = 600

type Actions = Sequence[Mapping[str, Any]]


def bound(requests: Requests, actions: Actions) -> list[Write]:
    """Every action, checked as far as the service checks a request before it looks at any item."""
    if len(actions) > MAX_ACTIONS:
        raise invalid("Member must have length less than or equal to 100")
    reasons: list[Refused | None] = []
    writes: list[Write] = []
    for action in actions:
        try:
            writes.append(requests.action(action))
            reasons.append(None)
        except KeyTypeMismatch as mismatch:
            reasons.append(mismatch)
    _cancel_if_any(reasons)
    keys = {(write.table.name, write.key) for write in writes}
    if len(keys) < len(writes):
        raise invalid("Transaction request cannot include multiple operations on one item")
    if sum(write.size for write in writes if isinstance(write, Put)) > MAX_BYTES:
        raise invalid("Transaction payload size cannot exceed 4MB")
    return writes


def decided(writes: Sequence[Write]) -> list[Item | None]:
    """What each action leaves behind; all of them are decided on the state before the transaction."""
    reasons: list[Refused | None] = []
    after: list[Item | None] = []
    for write in writes:
        try:
            write.check()
            after.append(write.after())
            reasons.append(None)
        except Refused as refused:
            after.append(None)
            reasons.append(refused)
    _cancel_if_any(reasons)
    return after


def _cancel_if_any(reasons: Sequence[Refused | None]) -> None:
    if not any(reasons):
        return
    listed = [{"Code": "None"} if reason is None else _reason(reason) for reason in reasons]
    sentence = (
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        f"[{', '.join(reason['Code'] for reason in listed)}]"
    )
    raise Refused("TransactionCanceledException", sentence, Message=sentence, CancellationReasons=listed)


def _reason(refused: Refused) -> dict[str, Any]:
    codes = {
        "ConditionalCheckFailedException": "ConditionalCheckFailed",
        "ValidationException": "ValidationError",
    }
    return {"Code": codes[refused.code], "Message": refused.message, **refused.members}


class Tokens:
    """Which transactions were made in the last ten minutes, by their ClientRequestToken."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._made: dict[str, tuple[float, str]] = {}

    def repeats(self, token: str, actions: Actions) -> bool:
        """Whether this very transaction was made under this token."""
        if len(token) > MAX_TOKEN:
            raise invalid("Member must have length less than or equal to 36")
        self._forget()
        if token not in self._made:
            return False
        if self._made[token][1] != _fingerprint(actions):
            raise Refused("IdempotentParameterMismatchException", "")
        return True

    def remember(self, token: str, actions: Actions) -> None:
        self._made[token] = (self._clock() + TOKEN_SECONDS, _fingerprint(actions))

    def clear(self) -> None:
        self._made.clear()

    def _forget(self) -> None:
        """The oldest come first."""
        now = self._clock()
        while self._made and next(iter(self._made.values()))[0] <= now:
            del self._made[next(iter(self._made))]


def _fingerprint(actions: Actions) -> str:
    return json.dumps(actions, sort_keys=True, default=encoded)
