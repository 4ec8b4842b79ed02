"""Each harm is done to a right table, and the verdict finds it."""

from dataclasses import asdict

import pytest

from testkit.invariants import COUNTERS, TableRecords, to_plain, to_wire
from testkit.shop import Expected, make_shop
from tests.fault_injection.verdict import judge

FIRST, SECOND = NIGHTS = ("20241127T020000Z", "20241128T020000Z")
SHOP = make_shop(100, seed=3, now=1_732_672_800)
STATE = ("SYSTEM", "STRIPE_ORDER_SYNC")
LOST = next(truth for truth in SHOP.truth if truth.expected is Expected.ORDER_RECOVERED)
UNPAID = next(truth.session_id for truth in SHOP.truth if truth.reason == "unpaid")


def outcome(truth, run_id):
    if truth.order and run_id == FIRST:
        return {"outcome": "created", "orderNumber": truth.order["orderNumber"]}
    return {"outcome": "skipped", "reason": truth.reason or "exists"}


def right_items():
    """Yield what two nights must leave."""
    yield from SHOP.webhook_orders
    yield from SHOP.webhook_events
    yield from (truth.order for truth in SHOP.truth if truth.order)
    for run_id in NIGHTS:
        outcomes = {truth.session_id: outcome(truth, run_id) for truth in SHOP.truth}
        created = sum(one["outcome"] == "created" for one in outcomes.values())
        total = len(outcomes)
        run = dict(zip(COUNTERS, (total, total, created, total - created, 0), strict=True)) | {
            "status": "done"
        }
        yield {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{run_id}", **run}
        for session_id, one in outcomes.items():
            yield {"PK": f"SYNC_RUN#{run_id}", "SK": f"SESSION#{session_id}", **one}
    state = {f"lastSync{name.capitalize()}": value for name, value in run.items()}
    yield {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": SECOND, **state}


@pytest.fixture
def records():
    return TableRecords(map(to_wire, right_items()))


def judge_counts(records, **options):
    """Return the number of violations of each harm that has any."""
    found = asdict(judge(records, [SHOP], **options))
    return {harm: len(sentences) for harm, sentences in found.items() if sentences}


def find_order(records, source=None):
    return next(
        key
        for key, item in records.items.items()
        if key[1].startswith("ORDER#") and item.get("source", {}).get("S") == source
    )


def change(records, key, **attributes):
    records.put(to_wire(to_plain(records.items[key]) | attributes))


def add(records, key, *names):
    """Add one to counters of an item."""
    item = to_plain(records.items[key])
    change(records, key, **{name: item[name] + 1 for name in names})


def run_key(run_id):
    return ("SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}")


@pytest.mark.parametrize("runs_see_all", [True, False])
def test_right_table_is_right(records, runs_see_all):
    assert judge_counts(records, runs_see_all=runs_see_all) == {}


def test_missing_order_is_lost(records):
    records.remove(find_order(records, "nightly_sync"))
    assert judge_counts(records) == {"lost": 1}


def test_missing_webhook_order_is_lost_and_touched(records):
    records.remove(find_order(records))
    assert judge_counts(records) == {"lost": 1, "touched": 1}


@pytest.mark.parametrize("session", [None, UNPAID, "cs_test_other"])
def test_surplus_order_is_doubled(records, session):
    order = to_plain(records.items[find_order(records, "nightly_sync")])
    session = session or order["orderId"]
    records.put(to_wire(order | {"SK": f"ORDER#1#{session}", "orderId": session, "stripeSessionId": session}))
    assert judge_counts(records) == {"doubled": 1}


@pytest.mark.parametrize("name", ["status", "amount", "items"])
def test_changed_webhook_order_is_touched(records, name):
    change(records, find_order(records), **{name: "changed"})
    assert judge_counts(records) == {"touched": 1}


@pytest.mark.parametrize("name", COUNTERS)
@pytest.mark.parametrize("run_id", NIGHTS)
def test_counter_that_is_one_off_is_miscounted(records, run_id, name):
    add(records, run_key(run_id), name)
    assert judge_counts(records).keys() == {"miscounted"}


def test_counter_of_the_state_that_is_one_off_is_miscounted(records):
    add(records, STATE, "lastSyncSkipped")
    assert judge_counts(records) == {"miscounted": 1}


def test_session_without_outcome_is_miscounted_if_counters_agree(records):
    for run_id in NIGHTS:
        records.remove((f"SYNC_RUN#{run_id}", f"SESSION#{UNPAID}"))
        run = to_plain(records.items[run_key(run_id)])
        change(records, run_key(run_id), processed=run["processed"] - 1, skipped=run["skipped"] - 1)
    assert judge_counts(records).keys() == {"miscounted"}


def test_run_that_is_not_done_is_miscounted(records):
    change(records, run_key(FIRST), status="running")
    assert judge_counts(records) == {"miscounted": 1}


def test_creation_that_its_run_does_not_claim_is_miscounted(records):
    """The order exists once and the counters agree, but its run says that it existed before."""
    change(records, (f"SYNC_RUN#{FIRST}", f"SESSION#{LOST.session_id}"), outcome="skipped")
    run = to_plain(records.items[run_key(FIRST)])
    change(records, run_key(FIRST), created=run["created"] - 1, skipped=run["skipped"] + 1)
    assert judge_counts(records) == {"miscounted": 1}
