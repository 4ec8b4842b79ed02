"""What has to be true of the shop once it has recovered, told apart from the product's own view of it.

`of_the_queue`  after the queue did what it does by itself: a session is what it has to be, or it is an error
                that is counted and whose message waits in the dead-letter queue
`of_the_end`    after a redrive: every session is what it has to be
`of_the_nights` after the next night, where nobody repeated what failed
`of_a_preview`  after a dry run: nothing is written and nothing sent
"""

import json
from collections import Counter
from functools import cached_property

from recon.timestamps import DAY
from testkit.builders import NOW, RUN
from testkit.shapes import JsonObject
from testkit.world import COUNTERS, wire
from tests.crash.shop import CREATED, ERROR, Night, Sale, Shop

GRACE = 600
# What no line and no item may say: see `harms.TELLTALE`.
SECRETS = ("sk_test_right", "buyer@example.com")
type Ends = tuple[str, str | None]


class Books:
    """The table of a shop, read once."""

    def __init__(self, night: Night, shop: Shop) -> None:
        self.night = night
        self.shop = shop
        self.items = {(item["PK"], item["SK"]): item for item in shop.items()}

    def item(self, pk: str, sk: str) -> JsonObject:
        return self.items.get((pk, sk), {})

    def run(self, run_id: str = RUN) -> JsonObject:
        return self.item("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}")

    @property
    def state(self) -> JsonObject:
        return self.item("SYSTEM", "STRIPE_ORDER_SYNC")

    @cached_property
    def run_ids(self) -> list[str]:
        return sorted(sk.partition("#")[2] for _, sk in self.items if sk.startswith("STRIPE_ORDER_SYNC#"))

    def ends(self, sale: Sale) -> Ends | None:
        outcome = self.item(f"SYNC_RUN#{RUN}", f"SESSION#{sale.id}")
        return (outcome["outcome"], outcome.get("reason") or outcome.get("errorType")) if outcome else None

    def ends_well(self, sale: Sale) -> bool:
        """A run that was not allowed to see what became of the money says so, and writes the order."""
        ends = self.ends(sale)
        blind = sale.ends[1] == "refunded" and self.warns("no_charges")
        return ends == sale.ends or (blind and ends == (CREATED, None))

    def warns(self, word: str, run_id: str = RUN) -> bool:
        return any(warning.startswith(word) for warning in self.run(run_id).get("warnings", ()))

    def orders(self, sale: Sale) -> list[JsonObject]:
        return [
            item
            for (_, sk), item in self.items.items()
            if sk.startswith("ORDER#") and sk.endswith(f"#{sale.id}")
        ]


def of_the_queue(night: Night, shop: Shop) -> list[str]:
    books = Books(night, shop)
    dead = _dead(shop)
    lost = [
        f"{sale.id} is {books.ends(sale)} and its message is gone"
        for sale in night.sales
        if not books.ends_well(sale) and not ((books.ends(sale) or "?")[0] == ERROR and sale.id in dead)
    ]
    return lost + _run(books) + _untouched(books) + _orders(books, may_be_missing=True)


def of_the_end(night: Night, shop: Shop) -> list[str]:
    books = Books(night, shop)
    other = [
        f"{sale.id} is {books.ends(sale)} and not {sale.ends}"
        for sale in night.sales
        if not books.ends_well(sale)
    ]
    checks = _run(books) + _untouched(books) + _orders(books) + _beside(books)
    return other + checks + _watermark(books, NOW) + _told(books)


def of_the_nights(night: Night, shop: Shop) -> list[str]:
    books = Books(night, shop)
    statuses = {run_id: books.run(run_id)["status"] for run_id in books.run_ids}
    open_ = [f"run {run_id} is still running" for run_id, status in statuses.items() if status == "running"]
    last = [] if statuses[books.run_ids[-1]] == "done" else ["the last night's run is not done"]
    counted = [wrong for run_id in books.run_ids for wrong in _counted(books, run_id)]
    checks = _untouched(books) + _orders(books) + _watermark(books, NOW + DAY)
    return open_ + last + counted + checks + _told(books)


def of_a_preview(night: Night, shop: Shop) -> list[str]:
    written = [] if shop.memory.dump() == night.table else ["a preview has written"]
    sent = ["a preview has sent"] if shop.memory_sqs.bodies(shop.queue) or shop.hops else []
    return written + sent + _told(Books(night, shop))


def _dead(shop: Shop) -> set[str]:
    bodies = shop.memory_sqs.bodies(shop.dlq)
    return {json.loads(body)["sessionId"] for body in bodies if body.startswith("{")}


def _run(books: Books) -> list[str]:
    run, state = books.run(), books.state
    wrong = _counted(books, RUN)
    if run.get("status") != "done":
        wrong.append(f"the run is {run.get('status')}")
    if run.get("enqueued") != len(books.night.sales):
        wrong.append(f"{run.get('enqueued')} sessions are enqueued and not {len(books.night.sales)}")
    told = {name: state.get(f"lastSync{name.capitalize()}") for name in (*COUNTERS, "status")}
    if told != {name: run.get(name) for name in told}:
        wrong.append(f"the state says {told}")
    return wrong


def _counted(books: Books, run_id: str) -> list[str]:
    kinds = Counter(item["outcome"] for (pk, _), item in books.items.items() if pk == f"SYNC_RUN#{run_id}")
    truth = [kinds.total(), kinds["created"], kinds["skipped"], kinds["error"]]
    counted = [books.run(run_id).get(name, 0) for name in COUNTERS[1:]]
    return [] if counted == truth else [f"run {run_id} counts {counted}, its outcomes are {truth}"]


def _untouched(books: Books) -> list[str]:
    """Byte for byte."""
    shop = books.shop
    return [
        f"what somebody else wrote is changed: {item['PK']} {item['SK']}"
        for item in books.night.webhooks
        if shop.memory.get_item(TableName=shop.table, Key={k: item[k] for k in ("PK", "SK")}).get("Item")
        != item
    ]


def _orders(books: Books, *, may_be_missing: bool = False) -> list[str]:
    wrong = []
    for sale in books.night.sales:
        found = books.orders(sale)
        blind = sale.ends[1] == "refunded" and any(
            books.warns("no_charges", order["syncRunId"]) for order in found
        )
        allowed = {sale.orders, 0 if may_be_missing else sale.orders, 1 if blind else sale.orders}
        if len(found) not in allowed:
            wrong.append(f"{sale.id} has {len(found)} orders and not {sale.orders}")
        ours = [order for order in found if order.get("source") == "nightly_sync"]
        wrong += [f"the order of {sale.id} is not whole" for order in ours if not _is_whole(order, sale)]
    return wrong


def _is_whole(order: JsonObject, sale: Sale) -> bool:
    spec = sale.spec
    lines = [(line.description, line.quantity, line.amount_total) for line in spec.lines]
    return (
        order["amount"] == spec.amount_total
        and order["itemCount"] == len(lines)
        and [(line["name"], line["quantity"], line["amountTotal"]) for line in order["items"]] == lines
    )


def _beside(books: Books) -> list[str]:
    """The fence stands, and waiting for a payment is what it has to be."""
    wrong = []
    for sale in books.night.sales:
        marker = books.item(f"EVENT#{sale.spec.completed_event_id}", "METADATA")
        undelivered = sale.ends == (CREATED, None) and not sale.spec.event_delivered
        if undelivered and not (marker or books.warns("no_events") or _is_refused(books, sale)):
            wrong.append(f"{sale.id} is written and its event is not fenced off")
        waits = ("SYSTEM", f"PENDING#{sale.id}") in books.items
        if waits is not (sale.ends[1] == "unpaid"):
            wrong.append(f"{sale.id} {'waits' if waits else 'does not wait'} for its payment")
    return wrong


def _is_refused(books: Books, sale: Sale) -> bool:
    """DynamoDB would not take the event's own record: then the order is written without it, and not lost."""
    for event in books.shop.history.events:
        refusal, _, position = (event.fault or "").partition(" at ")
        if refusal in ("ValidationError", "ItemCollectionSizeLimitExceeded"):
            action = event.call.arguments["TransactItems"][int(position or 0)]
            if action.get("Put", {}).get("Item", {}).get("PK") == {
                "S": f"EVENT#{sale.spec.completed_event_id}"
            }:
                return True
    return False


def _watermark(books: Books, night: int) -> list[str]:
    covered = books.state.get("lastCoveredThrough")
    return [] if covered == night - GRACE else [f"covered through {covered} and not {night - GRACE}"]


def _told(books: Books) -> list[str]:
    """No bug behind a fault, and no secret in what is logged or kept."""
    kept = [str(wire(item)) for item in books.items.values()]
    said = books.shop.told.lines
    return [
        *(f"a bug: {line}" for line in said if "ERROR Unexpected " in line),
        *(f"says a secret: {line[:200]}" for line in said + kept for secret in SECRETS if secret in line),
    ]
