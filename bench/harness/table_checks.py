"""Checks a table after a run: what a correct run must have left in it."""

from collections import Counter

from bench.shops import UniformShop
from testkit.shapes import JsonObject
from testkit.world import plain


def find_wrong_orders(shop: UniformShop, items: list[JsonObject]) -> list[str]:
    """Describe each session without exactly one order and each changed order of the webhook.

    `items` is the whole table in boto3's wire format.
    """
    found = {(item["PK"]["S"], item["SK"]["S"]): item for item in items}
    orders = Counter(item["orderId"]["S"] for key, item in found.items() if key[1].startswith("ORDER#"))
    wanted = {sale.id for sale in shop.sales()}
    problems = [f"{session} has {orders[session]} orders" for session in wanted if orders[session] != 1]
    problems += [f"{session} is no session of the shop" for session in orders.keys() - wanted]
    for order in shop.webhook_orders():
        if found.get((order["PK"]["S"], order["SK"]["S"])) != order:
            problems.append(f"the webhook's order of {order['orderId']['S']} was changed")
    return problems


def find_miscounts(shop: UniformShop, items: list[JsonObject], run_id: str) -> list[str]:
    """Describe each difference between the shop and the run's record or outcomes."""
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
        "created": shop.lost,
        "skipped": shop.sessions - shop.lost,
        "errors": 0,
    }
    problems = [
        f"{name} is {run.get(name)}, not {value}"
        for name, value in expected.items()
        if run.get(name) != value
    ]
    if outcomes != +Counter(created=shop.lost, skipped=shop.sessions - shop.lost):
        problems.append(f"the outcomes are {dict(outcomes)}")
    return problems
