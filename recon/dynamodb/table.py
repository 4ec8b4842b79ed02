"""Access to the shop's table and the ledger: plain values, domain errors, and transactions safe to repeat.

The partition key of an item decides where it is: orders and the webhook's markers are in the shop's table,
all other items in the ledger. By default both are one table. Reads and transactions may span the two.
"""

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

# The partition keys of the items in the shop's table: orders, and the events that the webhook has handled.
SHOP_PREFIXES = ("USER#", "EVENT#")
MAX_ACTIONS = 100  # of one transaction
MAX_BATCH_GET = 100
# Error codes of content that DynamoDB will never accept. All other codes (throttling, conflicts, outages, a
# missing table that an operator will restore) are temporary.
_REFUSALS = {"ValidationException", "SerializationException", "ItemCollectionSizeLimitExceededException"}
_CONDITION_FAILED = "ConditionalCheckFailed"
_REFUSED_REASONS = {"ValidationError", "ItemCollectionSizeLimitExceeded"}


@dataclass(frozen=True)
class CancellationReason:
    """Why one action cancelled its transaction, if it did.

    `failed` is True if its condition failed, `refused` if DynamoDB never accepts it. `item` is the stored
    item that a condition failed on, if there is one.
    """

    failed: bool
    refused: bool
    item: Item | None

    @property
    def stops(self) -> bool:
        """Return True if the action cancelled the transaction."""
        return self.failed or self.refused


class TransactionCancelled(Exception):  # noqa: N818 - a signal between ledger modules, not an error of the system
    """A transaction was cancelled by some of its actions.

    `reasons` has one entry for each action, in their order.
    """

    def __init__(self, reasons: list[CancellationReason]) -> None:
        super().__init__()
        self.reasons = reasons


@dataclass(frozen=True)
class Action:
    """One action of a transaction; `body` is its request without the table's name."""

    kind: str  # Put, Update, Delete or ConditionCheck
    key: Key
    body: Item


class Table:
    """The shop's table and the ledger, both with the string keys PK and SK.

    It is thread-safe, like its clients. `ledger` is the name of the ledger; None means that it is in the
    shop's table. Transactions go through `transactions`, a client that must not retry by itself; the default
    is `client`.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        name: str,
        new_token: Callable[[], str] = lambda: uuid.uuid4().hex,
        *,
        ledger: str | None = None,
        transactions: "DynamoDBClient | None" = None,
    ) -> None:
        self._client = client
        self._transactions = transactions or client
        self.shop = name
        self.ledger = ledger or name
        self._new_token = new_token

    def name_for(self, partition: str) -> str:
        """Return the name of the table that holds the items with this partition key."""
        return self.shop if partition.startswith(SHOP_PREFIXES) else self.ledger

    def at(self, ledger: str) -> "Table":
        """Return the same shop's table with its ledger in another table of the account."""
        return Table(self._client, self.shop, self._new_token, ledger=ledger, transactions=self._transactions)

    def put(self, item: Item, condition: str | None = None, values: Item | None = None) -> Action:
        """Return an action that writes a whole item, under a condition if there is one."""
        body: Item = {"Item": to_wire(item)}
        body |= {"ConditionExpression": condition} if condition else {}
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
        """Return an action that updates one item and, if its condition allows it, creates an absent one."""
        body: Item = {"Key": _key(key), "UpdateExpression": expression}
        body |= {"ConditionExpression": condition} if condition else {}
        return Action("Update", key, body | _values(values) | _names(names))

    def delete(self, key: Key, condition: str | None = None, values: Item | None = None) -> Action:
        """Return an action that deletes an item, and has no effect if the item is absent."""
        body: Item = {"Key": _key(key)}
        body |= {"ConditionExpression": condition} if condition else {}
        return Action("Delete", key, body | _values(values))

    def check(self, key: Key, condition: str, values: Item | None = None) -> Action:
        """Return an action that writes nothing, and cancels the transaction unless its condition holds."""
        body: Item = {"Key": _key(key), "ConditionExpression": condition}
        return Action("ConditionCheck", key, body | _values(values))

    def get(self, key: Key, deadline: Deadline | None = None) -> Item | None:
        """Return an item by a consistent read, or None. Retry a failed read until the deadline, if any."""
        request = {"TableName": self.name_for(key[0]), "Key": _key(key), "ConsistentRead": True}
        answer = _read(self._client.get_item, request, deadline)
        return from_wire(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: Sequence[Key], deadline: Deadline) -> list[Item]:
        """Return the existing items of these distinct keys by consistent reads, in any order."""
        items: list[Item] = []
        for start in range(0, len(keys), MAX_BATCH_GET):
            unread: Item = {}
            for key in keys[start : start + MAX_BATCH_GET]:
                one_table = unread.setdefault(self.name_for(key[0]), {"Keys": [], "ConsistentRead": True})
                one_table["Keys"].append(_key(key))
            self._get_all(unread, items, deadline)
        return items

    def _get_all(self, unread: Item, items: list[Item], deadline: Deadline) -> None:
        deadline.check()
        retry = attempts(TRANSACTION_ATTEMPTS, deadline, first=0.05, longest=1.0)
        retry(self._get_some, unread, items)

    def _get_some(self, unread: Item, items: list[Item]) -> None:
        """Move the items that DynamoDB returns from `unread` to `items`; raise if it leaves any unread."""
        sent = dict(unread)
        answer = _call(self._client.batch_get_item, RequestItems=sent)
        items.extend(from_wire(item) for found in answer["Responses"].values() for item in found)
        left = {name: request["Keys"] for name, request in answer.get("UnprocessedKeys", {}).items()}
        unread.clear()
        unread |= {name: sent[name] | {"Keys": keys} for name, keys in left.items() if keys}
        if unread:
            number = sum(map(len, left.values()))
            raise TableUnavailable(f"DynamoDB left {number} keys of a batch unread")

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
        """Return an iterator over all items under a key condition, which begins with `PK = :name`.

        The reads are consistent and cover all pages. `only` is a filter expression. A failed read of a page
        is retried until the deadline, if any. Raises OutOfTime if the deadline passes before a page.
        """
        partition = values[condition.split()[2]]
        request: Item = {
            "TableName": self.name_for(partition),
            "KeyConditionExpression": condition,
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        request |= _values(values) | _names(names)
        request |= {"ProjectionExpression": projection} if projection else {}
        request |= {"FilterExpression": only} if only else {}
        return _read_pages(self._client.query, request, deadline)

    def scan(self, only: str, values: Item, deadline: Deadline) -> Iterator[Item]:
        """Return an iterator over the items of the ledger's table under a filter, by consistent reads."""
        request: Item = {"TableName": self.ledger, "FilterExpression": only, "ConsistentRead": True}
        return _read_pages(self._client.scan, request | _values(values), deadline)

    def get_shop_items(
        self, keys: Sequence[Item], attributes: Sequence[str], deadline: Deadline
    ) -> list[Item]:
        """Return these attributes of the shop's existing items by consistent reads, in any order.

        The keys are distinct and may have any names, which are among `attributes`.
        """
        items: list[Item] = []
        for start in range(0, len(keys), MAX_BATCH_GET):
            wanted = [to_wire(key) for key in keys[start : start + MAX_BATCH_GET]]
            request = {"Keys": wanted, "ConsistentRead": True} | _projection(attributes)
            self._get_all({self.shop: request}, items, deadline)
        return items

    def query_shop(
        self, index: str, key: Item, attributes: Sequence[str], deadline: Deadline
    ) -> Iterator[Item]:
        """Return an iterator over these attributes of the shop's items under the key of an index.

        DynamoDB reads an index eventually consistently.
        """
        request = _projection(attributes)
        names = request["ExpressionAttributeNames"]
        aliases = {name: alias for alias, name in names.items()}
        request |= {
            "TableName": self.shop,
            "IndexName": index,
            "KeyConditionExpression": " AND ".join(f"{aliases[name]} = :{aliases[name][1:]}" for name in key),
        } | _values({f":{aliases[name][1:]}": value for name, value in key.items()})
        return _read_pages(self._client.query, request, deadline)

    def transact(
        self, actions: Sequence[Action], deadline: Deadline, check: Callable[[], None] | None = None
    ) -> None:
        """Apply all actions or none. Conflicts and throttling are retried with jitter until the deadline.

        `check` is called right before each try, and an exception from it ends the retries. Raises
        TransactionCancelled if a condition failed or DynamoDB refused an action, TableRefused if it refused
        the whole request, and TableUnavailable if it is unknown whether the transaction took effect.
        """
        # One token for all tries: if a response was lost, DynamoDB repeats it and does not apply the
        # transaction again, for ten minutes. All tries of one transaction take about a minute at most.
        token = self._new_token()
        wire = [
            {
                action.kind: action.body
                | {
                    "TableName": self.name_for(action.key[0]),
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            for action in actions
        ]
        retry = attempts(TRANSACTION_ATTEMPTS, deadline, first=0.02, longest=1.0, on=(TableUnavailable,))
        retry(self._transact_once, wire, token, check)

    def _transact_once(self, wire: list[Any], token: str, check: Callable[[], None] | None) -> None:
        if check:
            check()
        try:
            self._transactions.transact_write_items(TransactItems=wire, ClientRequestToken=token)
        except ClientError as exc:
            reasons: list[Item] = exc.response.get("CancellationReasons") or []  # type: ignore[assignment]  # botocore's type knows only some operations
            codes = {reason.get("Code") for reason in reasons}
            if codes & {_CONDITION_FAILED, *_REFUSED_REASONS}:
                raise TransactionCancelled([_reason(reason) for reason in reasons]) from exc
            raise to_domain_error(exc) from exc
        except BotoCoreError as exc:
            raise to_domain_error(exc) from exc


def to_domain_error(error: ClientError | BotoCoreError) -> SyncError:
    """Return the domain error for an error of the SDK. Its text names operation and code, never values."""
    if not isinstance(error, ClientError):
        return TableUnavailable(f"DynamoDB: {describe_error(error)}")
    kind = TableRefused if error.response["Error"]["Code"] in _REFUSALS else TableUnavailable
    return (NotAllowed if is_denied(error) else kind)(f"DynamoDB: {describe_error(error)}")


def to_wire(item: Item) -> Item:
    """Return an item of plain values with DynamoDB's typed values."""
    return {name: to_attribute(value) for name, value in item.items()}


def from_wire(item: Item) -> Item:
    """Return an item of DynamoDB's typed values with plain values."""
    return {name: from_attribute(value) for name, value in item.items()}


def _read_pages(method: Callable[..., Any], request: Item, deadline: Deadline | None) -> Iterator[Item]:
    while True:
        if deadline:
            # A request that hangs takes its whole time-out, and a batch has many.
            deadline.check()
        answer = _read(method, request, deadline)
        yield from (from_wire(item) for item in answer["Items"])
        if "LastEvaluatedKey" not in answer:
            return
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _read(method: Callable[..., Any], request: Item, deadline: Deadline | None) -> Any:  # noqa: ANN401 - as below
    if deadline is None:
        return _call(method, **request)
    retry = attempts(READ_ATTEMPTS, deadline, first=0.05, longest=1.0)
    return retry(_call, method, **request)


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


def _projection(attributes: Sequence[str]) -> Item:
    """Return the request to read these attributes only, by alias: their names may be reserved words."""
    aliases = {f"#a{number}": name for number, name in enumerate(attributes)}
    return {"ProjectionExpression": ", ".join(aliases), "ExpressionAttributeNames": aliases}


def _names(names: dict[str, str] | None) -> Item:
    return {"ExpressionAttributeNames": names} if names else {}
