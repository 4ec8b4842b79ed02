"""The results of a run in the table, read with plain boto3 by anyone with read access.

No personal data is read: the projections omit names, addresses and e-mail addresses.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from ops.format.money import Money
from testkit.invariants import Violation
from testkit.shapes import JsonObject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# `source` and `items` are reserved words of DynamoDB.
_NAMES = {"#source": "source", "#items": "items"}
_DETAILS = "amountTax, shippingMethod, stripeDiscounts, customFields, presentment"


@dataclass(frozen=True)
class RecoveredOrder:
    """An order that the sync wrote.

    `amount` is in the smallest unit; free orders have neither an amount nor a currency. `items` are
    (name, quantity). `details` say what else was bought: variants, shipping, codes, answers, tax.
    """

    session_id: str
    number: str
    created_at: str
    amount: int | None
    currency: str | None
    items: tuple[tuple[str, int], ...]
    details: tuple[str, ...] = ()


def recovered_orders(client: "DynamoDBClient", table: str, run_id: str) -> list[RecoveredOrder]:
    """Return the orders that a run wrote, by currency, the largest first and free ones last.

    It scans the table, which is acceptable for a sandbox and too expensive for a shop.
    """
    request: JsonObject = {
        "ProjectionExpression": f"orderId, orderNumber, createdAt, amount, currency, #items, {_DETAILS}",
        "FilterExpression": "#source = :sync AND syncRunId = :run",
        "ExpressionAttributeNames": _NAMES,
        "ExpressionAttributeValues": {":sync": {"S": "nightly_sync"}, ":run": {"S": run_id}},
    }
    return sorted(map(_order, _scan(client, table, request)), key=_rank)


def _rank(order: RecoveredOrder) -> tuple[bool, str, int, str]:
    return order.currency is None, order.currency or "", -(order.amount or 0), order.number


def find_problems(client: "DynamoDBClient", table: str, run_id: str, enqueued: int) -> list[Violation]:
    """Return what is wrong after a run with an unknown account and an empty table.

    Every listed session must have exactly one order, or must be skipped for a reason that needs none.
    """
    outcomes = _outcomes(client, table, run_id)
    request: JsonObject = {
        "ProjectionExpression": "stripeSessionId",
        "FilterExpression": "attribute_exists(stripeSessionId)",
    }
    orders = Counter(item["stripeSessionId"] for item in _scan(client, table, request))
    problems = [
        Violation(session_id, what)
        for session_id, outcome in outcomes.items()
        if (what := _wrong(outcome, orders.pop(session_id, 0)))
    ]
    problems += [Violation(session_id, "an order that no outcome speaks of") for session_id in orders]
    if len(outcomes) != enqueued:
        problems.append(
            Violation("the run", f"{enqueued} sessions were enqueued, {len(outcomes)} have an outcome")
        )
    return problems


def _wrong(outcome: JsonObject, orders: int) -> str | None:
    match outcome["outcome"], outcome.get("reason"):
        case "created", _:
            return None if orders == 1 else f"{orders} orders instead of 1"
        case "skipped", "exists":
            return "skipped as existing, and the table was empty"
        case "skipped", _:
            return f"{orders} orders instead of none" if orders else None
        case _:
            return f"no order: {outcome.get('errorType', 'unknown')}"


def _outcomes(client: "DynamoDBClient", table: str, run_id: str) -> dict[str, JsonObject]:
    """Return the outcomes of a run by session id."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="PK = :run",
        ExpressionAttributeValues={":run": {"S": f"SYNC_RUN#{run_id}"}},
    )
    items = [_plain(item) for page in pages for item in page["Items"]]
    return {item["SK"].removeprefix("SESSION#"): item for item in items}


def _scan(client: "DynamoDBClient", table: str, request: JsonObject) -> Iterator[JsonObject]:
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, **request):
        yield from map(_plain, page["Items"])


def _order(item: JsonObject) -> RecoveredOrder:
    amount = item.get("amount")
    return RecoveredOrder(
        session_id=item["orderId"],
        number=item["orderNumber"],
        created_at=item["createdAt"],
        amount=None if amount is None else int(amount),
        currency=item.get("currency"),
        items=tuple((line.get("name", "-"), int(line.get("quantity", 1))) for line in item["items"]),
        details=tuple(_describe_details(item)),
    )


def _describe_details(item: JsonObject) -> Iterator[str]:
    """Yield what an order says besides its items and its amount. The customer's answers are only counted."""
    yield from sorted({line["variant"] for line in item["items"] if "variant" in line})
    if rate := item.get("shippingMethod", {}).get("name"):
        yield f"shipping: {rate}"
    yield from (
        f"code {discount['code']}" for discount in item.get("stripeDiscounts", ()) if "code" in discount
    )
    if answers := len(item.get("customFields", ())):
        yield f"answers of the customer: {answers}"
    if "amountTax" in item and "currency" in item:
        yield f"tax {Money(item['currency'], int(item['amountTax']))}"
    if shown := item.get("presentment"):
        yield f"the customer saw {Money(shown['currency'], int(shown['amount']))}"


def _plain(item: Mapping[str, Any]) -> JsonObject:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}
