"""The baseline that the pipeline is measured against: the same task, solved in the simplest way.

One process handles one session after the other: a Query of the user's orders and, if the session's order is
missing, one request for its line items and one PutItem. It is correct: it finds the webhook's order under any
key, reads all pages and never writes an order twice. It has no run, counters or retries: a fault ends it, and
it can be repeated safely. It builds an order with the pipeline's code, so that both do the same work.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recon.domain.order import SnapshotContext, build_order
from recon.domain.order_keys import partition_key
from recon.domain.stripe_objects import Json
from recon.domain.user_ids import UserIdRules, clean_user_id, find_candidates
from recon.dynamodb.table import to_wire
from recon.stripe.pages import PAGE_SIZE
from recon.stripe.source import SESSIONS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The path and the parameters of one GET; answers Stripe's JSON or raises.
type StripeGet = Callable[[str, Json], Json]

RUN_ID = "baseline"
# Between Stripe's clock and the webhook's, as in the pipeline.
CLOCK_SKEW_SECONDS = 300
_BEHIND_ORDERS = "ORDER$"


@dataclass
class BaselineResult:
    listed: int = 0
    created: int = 0

    @property
    def skipped(self) -> int:
        return self.listed - self.created


class Baseline:
    """The simplest program that recovers missing orders. `now` returns epoch seconds."""

    def __init__(
        self, dynamodb: "DynamoDBClient", table: str, get: StripeGet, now: Callable[[], int]
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._get = get
        self._now = now

    def run(self, start: int, end: int) -> BaselineResult:
        """Check all complete sessions created in [start, end] (epoch seconds)."""
        result = BaselineResult()
        within = {"created": {"gte": start, "lte": end}, "status": "complete"}
        for session in self._list_all(SESSIONS, within):
            result.listed += 1
            result.created += self._recover(session)
        return result

    def _recover(self, session: Json) -> bool:
        """Write the session's order if it is missing; return whether it was written."""
        raw = find_candidates(session, UserIdRules()).chosen
        if raw is None or session["mode"] == "setup" or session["payment_status"] == "unpaid":
            return False
        user = clean_user_id(raw)
        if any(self._has_order(one, session) for one in dict.fromkeys((user, raw))):
            return False
        lines = self._list_all(f"{SESSIONS}/{session['id']}/line_items", {"expand": ["data.price.product"]})
        return self._put(build_order(session, list(lines), user, SnapshotContext(RUN_ID, self._now())))

    def _has_order(self, user: str, session: Json) -> bool:
        """Return whether the user has the session's order, under any sort key since the session."""
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
        """Write the order unless its key exists; return whether it was written."""
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_wire(order),
                ConditionExpression="attribute_not_exists(PK)",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _list_all(self, path: str, params: Json) -> Iterator[Json]:
        """Yield every entry of a Stripe list, page by page."""
        params = params | {"limit": PAGE_SIZE}
        while True:
            page = self._get(path, params)
            yield from page["data"]
            if not page["has_more"]:
                return
            params = params | {"starting_after": page["data"][-1]["id"]}
