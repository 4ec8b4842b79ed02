"""The baseline: the problem of DESIGN.md solved the plain way, to measure the pipeline against.

One process, one session after the other: a Query of the user's orders, and where the session's order is
missing one call for its line items and one PutItem. It is correct: it finds the webhook's order under any
key, looks at all pages, and never writes an order twice. And it is nothing more: no run, no counters, no
retries; a fault ends it, and running it again is safe. What an order looks like is the pipeline's own code,
so that both do the same work on it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon.domain.order import SnapshotContext, build_order, clean_user_id, find_raw_user_id, partition_key
from recon.domain.stripe_objects import Json
from recon.dynamodb.table import to_wire
from recon.stripe.source import PAGE_SIZE, SESSIONS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The path and the parameters of one GET; answers Stripe's JSON or raises.
type Ask = Callable[[str, Json], Json]

RUN_ID = "baseline"
# Between Stripe's clock and the webhook's, as in the pipeline.
CLOCK_SKEW_SECONDS = 300
_BEHIND_ORDERS = "ORDER$"


@dataclass
class Tally:
    listed: int = 0
    created: int = 0

    @property
    def skipped(self) -> int:
        return self.listed - self.created


class Baseline:
    """`now` gives epoch seconds."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, ask: Ask, now: Callable[[], int]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._ask = ask
        self._now = now

    def __call__(self, start: int, end: int) -> Tally:
        """All complete sessions created in [start, end], epoch seconds."""
        tally = Tally()
        within = {"created": {"gte": start, "lte": end}, "status": "complete"}
        for session in self._all_of(SESSIONS, within):
            tally.listed += 1
            tally.created += self._created(session)
        return tally

    def _created(self, session: Json) -> bool:
        """Whether its order was missing, and is there now."""
        raw = find_raw_user_id(session)
        if raw is None or session["mode"] == "setup" or session["payment_status"] == "unpaid":
            return False
        user = clean_user_id(raw)
        if any(self._has_order(one, session) for one in dict.fromkeys((user, raw))):
            return False
        lines = self._all_of(f"{SESSIONS}/{session['id']}/line_items", {"expand": ["data.price.product"]})
        return self._put(build_order(session, list(lines), user, SnapshotContext(RUN_ID, self._now())))

    def _has_order(self, user: str, session: Json) -> bool:
        """The webhook's order lies under a moment of its own, so all of the user's since are looked at."""
        values = {
            ":pk": partition_key(user),
            ":since": f"ORDER#{session['created'] - CLOCK_SKEW_SECONDS}",
            ":behind": _BEHIND_ORDERS,
        }
        request: Json = {
            "TableName": self._table,
            "KeyConditionExpression": "PK = :pk AND SK BETWEEN :since AND :behind",
            "ExpressionAttributeValues": to_wire(values),
            "ProjectionExpression": "orderId, stripeSessionId",
            "ConsistentRead": True,
        }
        wanted = {"S": session["id"]}
        while True:
            page = self._dynamodb.query(**request)
            if any(wanted in (item.get("orderId"), item.get("stripeSessionId")) for item in page["Items"]):
                return True
            if "LastEvaluatedKey" not in page:
                return False
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _put(self, order: Json) -> bool:
        """False where somebody was faster."""
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_wire(order),
                ConditionExpression="attribute_not_exists(PK)",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _all_of(self, path: str, params: Json) -> Iterator[Json]:
        """Every entry of one of Stripe's lists, page after page."""
        params = params | {"limit": PAGE_SIZE}
        while True:
            page = self._ask(path, params)
            yield from page["data"]
            if not page["has_more"]:
                return
            params = params | {"starting_after": page["data"][-1]["id"]}
