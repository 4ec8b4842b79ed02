"""A verdict that cannot say no proves nothing: each harm is done to a table that is right, and found."""

import pytest
from boto3.dynamodb.types import TypeSerializer

from testkit.shop import Expected, make_shop
from tests.fault_injection.verdict import judged, secrets_and_bugs

NIGHTS = ("20241127T020000Z", "20241128T020000Z")
SHOP = make_shop(100, seed=3, now=1_732_672_800)


def outcomes_of_a_night(first):
    missing = (Expected.ORDER_RECOVERED, Expected.DEAD)
    return {
        truth.session_id: "created" if first and truth.expected in missing else "skipped"
        for truth in SHOP.truth
    }


def right_items():
    """What two nights leave, as the design's contracts say."""
    yield from SHOP.webhook_orders
    yield from SHOP.webhook_events
    yield from (truth.order for truth in SHOP.truth if truth.order)
    for run_id in NIGHTS:
        outcomes = outcomes_of_a_night(run_id == NIGHTS[0])
        created = sum(outcome == "created" for outcome in outcomes.values())
        total = len(outcomes)
        run = {"enqueued": total, "processed": total, "created": created, "skipped": total - created}
        run |= {"errors": 0, "status": "done"}
        yield {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{run_id}", **run}
        for session_id, outcome in outcomes.items():
            yield {"PK": f"SYNC_RUN#{run_id}", "SK": f"SESSION#{session_id}", "outcome": outcome}
    state = {f"lastSync{name.capitalize()}": value for name, value in run.items()}
    yield {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": NIGHTS[-1], **state}


@pytest.fixture
def table():
    to_wire = TypeSerializer().serialize
    return {
        (item["PK"], item["SK"]): {name: to_wire(value) for name, value in item.items()}
        for item in right_items()
    }


def an_order(table, source=None):
    return next(
        key
        for key, item in table.items()
        if key[1].startswith("ORDER#") and item.get("source", {}).get("S") == source
    )


def test_a_table_that_is_right_is_right(table):
    assert judged(table, [SHOP]).is_right


def test_an_order_that_is_missing_is_lost(table):
    del table[an_order(table, "nightly_sync")]
    assert len(judged(table, [SHOP]).lost) == 1


def test_a_webhooks_order_that_is_gone_is_lost_and_touched(table):
    del table[an_order(table)]
    verdict = judged(table, [SHOP])
    assert len(verdict.lost) == len(verdict.touched) == 1


def test_a_second_order_under_another_key_is_doubled(table):
    pk, sk = an_order(table)
    table[pk, f"{sk}0"] = table[pk, sk]
    assert len(judged(table, [SHOP]).doubled) == 1


def test_an_order_of_nobodys_session_is_doubled(table):
    pk, sk = an_order(table, "nightly_sync")
    table[pk, "ORDER#1#other"] = table[pk, sk] | {"stripeSessionId": {"S": "cs_test_other"}}
    assert len(judged(table, [SHOP]).doubled) == 1


def test_an_order_of_a_session_that_is_not_paid_is_doubled(table):
    unpaid = next(truth.session_id for truth in SHOP.truth if truth.reason == "unpaid")
    table["USER#x", "ORDER#1#x"] = {"stripeSessionId": {"S": unpaid}}
    assert len(judged(table, [SHOP]).doubled) == 1


@pytest.mark.parametrize("name", ["status", "amount", "items"])
def test_a_changed_order_of_the_webhook_is_touched(table, name):
    key = an_order(table)
    table[key] = table[key] | {name: {"S": "changed"}}
    assert len(judged(table, [SHOP]).touched) == 1


@pytest.mark.parametrize("name", ["enqueued", "processed", "created", "skipped", "errors"])
@pytest.mark.parametrize("run_id", NIGHTS)
def test_a_counter_that_is_one_off_is_miscounted(table, run_id, name):
    run = table["SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}"]
    run[name] = {"N": str(int(run[name]["N"]) + 1)}
    assert judged(table, [SHOP]).miscounted


def test_a_counter_of_the_state_that_is_one_off_is_miscounted(table):
    state = table["SYSTEM", "STRIPE_ORDER_SYNC"]
    state["lastSyncSkipped"] = {"N": str(int(state["lastSyncSkipped"]["N"]) + 1)}
    assert len(judged(table, [SHOP]).miscounted) == 1


def test_a_session_without_an_outcome_is_miscounted_also_where_the_counters_agree(table):
    session_id = SHOP.truth[0].session_id
    for run_id in NIGHTS:
        del table[f"SYNC_RUN#{run_id}", f"SESSION#{session_id}"]
        run = table["SYSTEM", f"STRIPE_ORDER_SYNC#{run_id}"]
        for name in ("processed", "skipped"):
            run[name] = {"N": str(int(run[name]["N"]) - 1)}
    assert judged(table, [SHOP]).miscounted


def test_a_run_that_is_not_done_is_miscounted(table):
    table["SYSTEM", f"STRIPE_ORDER_SYNC#{NIGHTS[0]}"]["status"] = {"S": "running"}
    assert len(judged(table, [SHOP]).miscounted) == 1


def test_a_creation_that_a_later_run_claims_is_miscounted(table):
    """The order is there once and the counters agree, but its run says that it was there before."""
    missing = next(truth.session_id for truth in SHOP.truth if truth.expected is Expected.ORDER_RECOVERED)
    table[f"SYNC_RUN#{NIGHTS[0]}", f"SESSION#{missing}"]["outcome"] = {"S": "skipped"}
    run = table["SYSTEM", f"STRIPE_ORDER_SYNC#{NIGHTS[0]}"]
    run["created"], run["skipped"] = (
        {"N": str(int(run["created"]["N"]) - 1)},
        {"N": str(int(run["skipped"]["N"]) + 1)},
    )
    assert len(judged(table, [SHOP]).miscounted) == 1


def test_a_log_is_searched_for_bugs_and_secrets():
    lines = ['{"message":"Unexpected KeyError"}', '{"message":"Created"}', '{"message":"to ada@example.com"}']
    assert len(secrets_and_bugs(lines, ["@example.com"])) == 2
