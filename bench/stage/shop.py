"""A shop as Stripe and the table hold it before a run, and what is wrong with the table after one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bench.night import a_sale
from testkit.builders import NOW
from testkit.fake_stripe import SessionSpec
from testkit.world import plain, wire

type Item = dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """`sessions` of one customer each, evenly over the day before `now` (epoch seconds). Of every
    `missing_every` one has lost its webhook; 1 is all of them."""

    sessions: int
    missing_every: int
    now: int

    @property
    def missing(self) -> int:
        return len(range(0, self.sessions, self.missing_every))

    def sales(self) -> Iterator[SessionSpec]:
        for n in range(self.sessions):
            sale = a_sale(n, self.sessions)
            yield replace(sale, created=sale.created - NOW + self.now)

    def webhook_orders(self) -> Iterator[Item]:
        """As boto3's client writes them; under the webhook's own sort key, without a `source`."""
        for n, sale in enumerate(self.sales()):
            if n % self.missing_every:
                moment = sale.created + 5
                yield wire(
                    {
                        "PK": f"USER#{sale.metadata['userId']}",
                        "SK": f"ORDER#{moment}#{sale.id}",
                        "orderId": sale.id,
                        "stripeSessionId": sale.id,
                        "userId": sale.metadata["userId"],
                        "status": "completed",
                        "amount": sale.amount_total,
                        "currency": sale.currency,
                        "createdAt": moment,
                        "customerEmail": sale.email,
                        "items": [{"name": "Poster"}, {"name": "Mug"}],
                    }
                )


def wrongs(shop: Shop, items: list[Item]) -> list[str]:
    """Whatever keeps the shop from having exactly one order for each session, with those of the webhook
    untouched; `items` is the whole table, as boto3's client reads it."""
    found = {(item["PK"]["S"], item["SK"]["S"]): item for item in items}
    orders = Counter(item["orderId"]["S"] for key, item in found.items() if key[1].startswith("ORDER#"))
    wanted = {sale.id for sale in shop.sales()}
    wrong = [f"{session} has {orders[session]} orders" for session in wanted if orders[session] != 1]
    wrong += [f"{session} is no session of the shop" for session in orders.keys() - wanted]
    for order in shop.webhook_orders():
        if found.get((order["PK"]["S"], order["SK"]["S"])) != order:
            wrong.append(f"the webhook's order of {order['orderId']['S']} was touched")
    return wrong


def miscounts(shop: Shop, items: list[Item], run_id: str) -> list[str]:
    """Where the run's record or its outcomes say something else than what there was to do."""
    run, outcomes = {}, Counter[str]()
    for item in map(plain, items):
        if (item["PK"], item["SK"]) == ("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}"):
            run = item
        elif item["PK"] == f"SYNC_RUN#{run_id}":
            outcomes[item["outcome"]] += 1
    expected = {
        "status": "done",
        "enqueued": shop.sessions,
        "processed": shop.sessions,
        "created": shop.missing,
        "skipped": shop.sessions - shop.missing,
        "errors": 0,
    }
    wrong = [
        f"{name} is {run.get(name)} and not {value}"
        for name, value in expected.items()
        if run.get(name) != value
    ]
    if outcomes != +Counter(created=shop.missing, skipped=shop.sessions - shop.missing):
        wrong.append(f"the outcomes are {dict(outcomes)}")
    return wrong
