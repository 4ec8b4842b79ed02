"""What must be true of a shop that has come to rest: the books, held against the truth."""

from collections.abc import Iterator

from testkit.builders import TABLE
from tests.model.books import COUNTERS, is_ours, number, text
from tests.model.customers import Sale
from tests.model.night_shop import NightShop


def wrong_at_rest(shop: NightShop) -> list[str]:
    found = [*shop.books.wrong, *_wrong_orders(shop), *_wrong_table(shop), *_wrong_waiting(shop)]
    for run_id in shop.books.runs:
        found += _wrong_run(shop, run_id)
    return found + list(_wrong_last_night(shop))


def _wrong_orders(shop: NightShop) -> Iterator[str]:
    for sale in shop.customers.sales.values():
        count = len(shop.books.orders[sale.id])
        if count != sale.wants_order:
            yield f"{sale.id} has {count} orders and not {int(sale.wants_order)}"


def _wrong_table(shop: NightShop) -> Iterator[str]:
    """Byte by byte what was written once is what is there."""
    there = [item for item in shop.world.memory.items(TABLE) if text(item, "SK").startswith("ORDER#")]
    written = [order for orders in shop.books.orders.values() for order in orders]
    keys = sorted((text(item, "PK"), text(item, "SK")) for item in there)
    if keys != sorted((text(item, "PK"), text(item, "SK")) for item in written):
        yield "the table holds other orders than were written"
    for (pk, sk), order in shop.webhook.written.items():
        if order not in there:
            yield f"the webhook's order {pk} {sk} is changed"


def _wrong_waiting(shop: NightShop) -> Iterator[str]:
    for name, queue in (("queue", shop.world.queue), ("dead-letter queue", shop.world.dlq)):
        for body in shop.world.memory_sqs.bodies(queue):
            yield f"a message is left in the {name}: {body}"
    unpaid = {sale.id for sale in shop.customers.waiting_for_payment()}
    for session_id in sorted(shop.books.pending - unpaid):
        yield f"{session_id} still waits for its payment"


def _wrong_run(shop: NightShop, run_id: str) -> Iterator[str]:
    run, outcomes = shop.books.runs[run_id], shop.books.outcomes[run_id]
    ours = [o for orders in shop.books.orders.values() for o in orders if is_ours(o)]
    created = sum(text(order, "syncRunId") == run_id for order in ours)
    if number(run, "created") != created:
        yield f"run {run_id} says {number(run, 'created')} created, the table holds {created} orders of it"
    if text(run, "status") == "running":
        yield f"run {run_id} never ends"
    counted = shop.sendings.counted[run_id]
    if missing := counted - outcomes.keys():
        yield f"run {run_id} counts {sorted(missing)} and has no outcome of them"
    if beyond := outcomes.keys() - counted - shop.sendings.uncounted(run_id):
        yield f"run {run_id} has outcomes of {sorted(beyond)}, which it does not count"
    if number(run, "errors"):
        yield f"run {run_id} still counts {number(run, 'errors')} errors after the redrive"


def _wrong_last_night(shop: NightShop) -> Iterator[str]:
    """The last run looked at everything in its window and at all that wait, and had nothing left to do."""
    run_id = text(shop.books.state, "lastSyncRunId")
    run = shop.books.runs[run_id]
    start, end = number(run, "lookbackStart"), number(run, "lookbackEnd")

    def is_in(sale: Sale) -> bool:
        return sale.spec.status == "complete" and start <= sale.spec.created <= end

    expected = {sale.id for sale in shop.customers.sales.values() if is_in(sale)} | shop.waited_for
    if shop.books.outcomes[run_id].keys() != expected:
        yield f"run {run_id} looked at {sorted(shop.books.outcomes[run_id])} and not {sorted(expected)}"
    shown = {name: number(shop.books.state, f"lastSync{name.capitalize()}") for name in COUNTERS}
    if shown != {"created": 0, "skipped": len(expected), "errors": 0}:
        yield f"the state says {shown} of {len(expected)} sessions on a night with nothing to do"
    if number(shop.books.state, "lastCoveredThrough") != number(run, "coversThrough"):
        yield "the watermark is not where the last night left it"
