"""DynamoDB for this project: plain values in and out, errors of ours, transactions that repeat safely."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from recon.aws.errors import describe_error, is_denied
from recon.dynamodb.attribute_values import from_attribute, to_attribute
from recon.errors import NotAllowed, SyncError, TableRefused, TableUnavailable
from recon.retry import READ_ATTEMPTS, TRANSACTION_ATTEMPTS, Deadline, attempts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = dict[str, Any]
type Key = tuple[str, str]

MAX_ACTIONS = 100  # of one transaction
MAX_BATCH_GET = 100
# Error codes that say "this content, never"; all others (throttling, conflicts, outages, a missing table
# that an operator will mend) say "not now".
_REFUSALS = {"ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"}
_CONDITION_FAILED = "ConditionalCheckFailed"
_REFUSED_REASONS = {"ValidationError", "ItemCollectionSizeLimitExceeded"}


@dataclass(frozen=True)
class CancellationReason:
    """Why one action cancelled its transaction; `item` is what stood in the table, if anything."""

    failed: bool
    refused: bool
    item: Item | None

    @property
    def stops(self) -> bool:
        return self.failed or self.refused


class TransactionCancelled(Exception):  # noqa: N818 - a signal between ledger modules, not an error of the system
    """A condition of the transaction did not hold. Reasons come in the order of the actions."""

    def __init__(self, reasons: list[CancellationReason]) -> None:
        super().__init__("a condition did not hold")
        self.reasons = reasons


@dataclass(frozen=True)
class Action:
    """One action of a transaction. Names and values of the expressions are plain Python."""

    kind: str  # Put, Update or Delete
    key: Key
    body: Item


class Table:
    """One DynamoDB table with string keys PK and SK. Thread-safe, as its client is."""

    def __init__(
        self, client: "DynamoDBClient", name: str, new_token: Callable[[], str] = lambda: uuid.uuid4().hex
    ) -> None:
        self._client = client
        self._name = name
        self._new_token = new_token

    def put(self, item: Item, condition: str, values: Item | None = None) -> Action:
        body = {"Item": to_wire(item), "ConditionExpression": condition}
        return Action("Put", (item["PK"], item["SK"]), body | _values(values))

    def update(
        self,
        key: Key,
        expression: str,
        values: Item,
        *,
        condition: str | None = None,
        names: dict[str, str] | None = None,
    ) -> Action:
        body: Item = {"Key": _key(key), "UpdateExpression": expression}
        body |= {"ConditionExpression": condition} if condition else {}
        return Action("Update", key, body | _values(values) | _names(names))

    def delete(self, key: Key) -> Action:
        """Of an item that may not be there: then nothing happens."""
        return Action("Delete", key, {"Key": _key(key)})

    def get(self, key: Key, deadline: Deadline | None = None) -> Item | None:
        """Consistent; repeated while a deadline, if there is one, allows."""
        request = {"TableName": self._name, "Key": _key(key), "ConsistentRead": True}
        answer = _read(self._client.get_item, request, deadline)
        return from_wire(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Sequence[Key], deadline: Deadline) -> list[Item]:
        """Consistent; what is not there is left out, the order is DynamoDB's."""
        found: list[Item] = []
        for start in range(0, len(keys), MAX_BATCH_GET):
            wanted = [_key(key) for key in keys[start : start + MAX_BATCH_GET]]
            again = attempts(TRANSACTION_ATTEMPTS, deadline, first=0.05, longest=1.0, on=(TableUnavailable,))
            again(self._get_some, wanted, found)
        return found

    def _get_some(self, wanted: list[Item], found: list[Item]) -> None:
        """Takes what is answered out of `wanted`; raises while something is left."""
        answer = _call(
            self._client.batch_get_item,
            RequestItems={self._name: {"Keys": wanted, "ConsistentRead": True}},
        )
        found.extend(from_wire(item) for item in answer["Responses"].get(self._name, []))
        wanted[:] = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
        if wanted:
            raise TableUnavailable(f"DynamoDB left {len(wanted)} keys of a batch unread")

    def query(
        self,
        condition: str,
        values: Item,
        *,
        projection: str | None = None,
        names: dict[str, str] | None = None,
        only: str | None = None,
        newest_first: bool = False,
        deadline: Deadline | None = None,
    ) -> Iterator[Item]:
        """All items under a key condition, consistently, page after page; `only` filters them. A page is
        repeated while a deadline, if there is one, allows."""
        request: Item = {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        request |= _values(values) | _names(names)
        request |= {"ProjectionExpression": projection} if projection else {}
        request |= {"FilterExpression": only} if only else {}
        while True:
            answer = _read(self._client.query, request, deadline)
            yield from (from_wire(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def transact(
        self, actions: Sequence[Action], deadline: Deadline, check: Callable[[], None] | None = None
    ) -> None:
        """All actions or none. Conflicts and throttling are repeated with jitter while time is left; `check`
        is called right before each try, and what it raises ends them.

        Raises Cancelled when a condition did not hold, TableRefused, or TableUnavailable: then, and only
        then, it is unknown whether the transaction took effect.
        """
        # One token for all repeats: a commit whose answer was lost is answered, not made a second time
        # (for ten minutes, far longer than an invocation).
        token = self._new_token()
        wire = [
            {
                action.kind: action.body
                | {"TableName": self._name, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
            }
            for action in actions
        ]
        again = attempts(TRANSACTION_ATTEMPTS, deadline, first=0.02, longest=1.0, on=(TableUnavailable,))
        again(self._transact_once, wire, token, check)

    def _transact_once(self, wire: list[Any], token: str, check: Callable[[], None] | None) -> None:
        if check:
            check()
        try:
            self._client.transact_write_items(TransactItems=wire, ClientRequestToken=token)
        except ClientError as exc:
            reasons: list[Item] = exc.response.get("CancellationReasons") or []  # type: ignore[assignment]  # botocore's type knows only some operations
            codes = {reason.get("Code") for reason in reasons}
            if codes & {_CONDITION_FAILED, *_REFUSED_REASONS}:
                raise TransactionCancelled([_reason(reason) for reason in reasons]) from exc
            raise to_domain_error(exc) from exc
        except BotoCoreError as exc:
            raise to_domain_error(exc) from exc


def to_domain_error(error: ClientError | BotoCoreError) -> SyncError:
    """Ours for the SDK's, never with a value in it."""
    if not isinstance(error, ClientError):
        return TableUnavailable(f"DynamoDB: {describe_error(error)}")
    kind = TableRefused if error.response["Error"]["Code"] in _REFUSALS else TableUnavailable
    return (NotAllowed if is_denied(error) else kind)(f"DynamoDB: {describe_error(error)}")


def to_wire(item: Item) -> Item:
    return {name: to_attribute(value) for name, value in item.items()}


def from_wire(item: Item) -> Item:
    return {name: from_attribute(value) for name, value in item.items()}


def _read(method: Callable[..., Any], request: Item, deadline: Deadline | None) -> Any:  # noqa: ANN401 - as below
    if deadline is None:
        return _call(method, **request)
    again = attempts(READ_ATTEMPTS, deadline, first=0.05, longest=1.0, on=(TableUnavailable,))
    return again(_call, method, **request)


def _call(method: Callable[..., Any], **request: Any) -> Any:  # noqa: ANN401 - boto3's shapes
    try:
        return method(**request)
    except (ClientError, BotoCoreError) as exc:
        raise to_domain_error(exc) from exc


def _reason(reason: Item) -> CancellationReason:
    item = reason.get("Item")
    return CancellationReason(
        failed=reason.get("Code") == _CONDITION_FAILED,
        refused=reason.get("Code") in _REFUSED_REASONS,
        item=from_wire(item) if item else None,
    )


def _key(key: Key) -> Item:
    return to_wire({"PK": key[0], "SK": key[1]})


def _values(values: Item | None) -> Item:
    return {"ExpressionAttributeValues": to_wire(values)} if values else {}


def _names(names: dict[str, str] | None) -> Item:
    return {"ExpressionAttributeNames": names} if names else {}
