"""What must be true of a shop at rest: the table compared with the truth about its sales."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from testkit.invariants import (
    TableRecords,
    compare_pending,
    compare_words,
    find_changed_items,
    find_misplaced_items,
    find_missing_orders,
    find_surplus_orders,
    find_unfinished_runs,
)
from testkit.world import plain as from_wire
from tests.model.ledger_checks import is_from_sync, session_of
from tests.model.night_shop import NightShop


def check_at_rest(shop: NightShop) -> list[str]:
    """Return everything that is wrong, during the history and at its end."""
    records = shop.checks.records
    written = Counter(session_of(from_wire(item)) for item in shop.webhook.written)
    # Money that went back before the night gives no order, and one that the webhook wrote stays, also one
    # that it wrote before the payment arrived.
    wanted = {
        sale.id: 0
        if shop.config.has_own_layout
        else written[sale.id]
        if sale.is_returned or (sale.id in shop.webhook.unpaid and not sale.wants_order)
        else int(sale.wants_order)
        for sale in shop.customers.sales.values()
    }
    found = [
        *shop.checks.violations,
        *_check_mirror(shop),
        *map(str, find_missing_orders(records, wanted)),
        *map(str, find_surplus_orders(records, wanted)),
        *map(str, find_changed_items(records, shop.webhook.written)),
        *map(str, find_unfinished_runs(records)),
        *_check_queues(shop),
        *map(str, compare_pending(records, shop.list_waiting())),
        *map(str, compare_words(records, shop.list_words())),
    ]
    for run_id in records.runs:
        found += _check_run(shop, run_id)
    if shop.neighbour:
        found += shop.neighbour.check()
    return found + list(_check_last_night(shop))


def _check_mirror(shop: NightShop) -> Iterator[str]:
    tables = dict.fromkeys((shop.world.table, shop.world.ledger))
    stored = [shop.world.memory.items(table) for table in tables]
    if TableRecords(chain(*stored)).items != shop.checks.records.items:
        yield "the table holds other items than were written"
    if shop.config.has_own_layout:
        expected = shop.webhook.written
        if sorted(stored[0], key=str) != sorted(expected, key=str):
            yield "the table of a shop with its own layout has other items than its webhook wrote"
    elif len(stored) > 1:
        yield from map(str, find_misplaced_items(*stored))


def _check_queues(shop: NightShop) -> Iterator[str]:
    for body in shop.world.read_bodies():
        yield f"a message is left: {body}"


def _check_run(shop: NightShop, run_id: str) -> Iterator[str]:
    records = shop.checks.records
    run, outcomes = records.runs[run_id], records.outcomes[run_id]
    orders = [order for session_id in shop.customers.sales for order in records.read_orders(session_id)]
    created = sum(is_from_sync(order) and order["syncRunId"] == run_id for order in orders)
    created += shop.removed[run_id]
    if run["created"] != created:
        yield f"run {run_id} says {run['created']} created, and the table holds {created} orders of it"
    counted = shop.sendings.counted[run_id]
    if missing := counted - outcomes.keys():
        yield f"run {run_id} counts {sorted(missing)} and has no outcome of them"
    if beyond := outcomes.keys() - counted - shop.sendings.list_uncounted(run_id):
        yield f"run {run_id} has outcomes of {sorted(beyond)}, which it does not count"
    if run["errors"]:
        yield f"run {run_id} still counts {run['errors']} errors after the redrive"


def _check_last_night(shop: NightShop) -> Iterator[str]:
    """Check that the last run examined its window and all pending sessions, and had nothing left to do."""
    records = shop.checks.records
    run_id, state = records.last_run_id, records.state
    run = records.runs[run_id]
    start, end = run["lookbackStart"], run["lookbackEnd"]
    own = [sale.spec for sale in shop.customers.sales.values() if not sale.is_foreign and not sale.is_gone]
    complete = [spec for spec in own if spec.status == "complete"]
    expected = {spec.id for spec in complete if start <= spec.created <= end} | shop.pending_before
    if records.outcomes[run_id].keys() != expected:
        yield f"run {run_id} examined {sorted(records.outcomes[run_id])} and not {sorted(expected)}"
    missing = sum(shop.is_missing(shop.customers.sales[session_id]) for session_id in expected)
    shown = [int(state.get(f"lastSync{name}", 0)) for name in ("Created", "Skipped", "Errors", "Missing")]
    if shown != [0, len(expected) - missing, 0, missing]:
        yield f"the state says {shown} of {len(expected)} sessions on a night with nothing to do"
    # A run in which the filter let nothing through leaves the watermark.
    moves = bool(run.get("coversThrough")) or not run.get("filtered")
    through = run.get("coversThrough") if moves else records.watermark.get("lastCoveredThrough")
    if not records.watermark.get("lastCoveredThrough") == state.get("lastCoveredThrough") == through:
        yield "the watermark is not where the last night left it"
