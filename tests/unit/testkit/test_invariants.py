"""Each kind of damage to a right table is found, and a right table has no violations."""

import re

import pytest

from testkit.invariants import (
    COUNTERS,
    TableRecords,
    Violation,
    check_run_done,
    compare_counters,
    compare_pending,
    compare_state,
    find_changed_items,
    find_leaked_secrets,
    find_surplus_orders,
    find_unexpected_errors,
    find_unfinished_runs,
    to_wire,
    verify,
    verify_records,
)
from testkit.shop import Expected, make_shop

pytestmark = pytest.mark.slow

NOW = 1_732_672_800
RUN = "20241127T020000Z"
RUN_KEY, STATE_KEY = ("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}"), ("SYSTEM", "STRIPE_ORDER_SYNC")
SHOP = make_shop(120, 5, NOW)


class PlainTable(dict):
    """Plain items by key, as a run without a flaw leaves them."""

    def __init__(self, *, healed=False):
        super().__init__()
        counters = SHOP.counters(healed=healed)
        run = {name: getattr(counters, name) for name in COUNTERS} | {"status": "done"}
        state = {f"lastSync{name.capitalize()}": value for name, value in run.items()}
        self.put(*SHOP.webhook_orders, *SHOP.webhook_events)
        self.put(dict(zip(("PK", "SK"), RUN_KEY, strict=True)) | run)
        self.put(dict(zip(("PK", "SK"), STATE_KEY, strict=True)) | state | {"lastSyncRunId": RUN})
        for truth in SHOP.truth:
            created = truth.expected is Expected.ORDER_RECOVERED or (truth.is_lost and healed)
            if created:
                self.put(recovered(truth))
            self.put(outcome(truth, created=created))

    def put(self, *items):
        for item in items:
            self[item["PK"], item["SK"]] = dict(item)

    def order(self, truth):
        return next(item for item in self.values() if item.get("orderId") == truth.session_id)

    def outcome(self, truth):
        return self[f"SYNC_RUN#{RUN}", f"SESSION#{truth.session_id}"]

    def drop(self, item):
        del self[item["PK"], item["SK"]]

    def records(self):
        return TableRecords(map(to_wire, self.values()))

    def violations(self, *, healed=False):
        return verify_records(self.records(), SHOP, healed=healed)


def recovered(truth):
    times = dict.fromkeys(("updatedAt", "completedAt", "syncedAt"), "2024-11-27T02:00:05Z")
    return truth.order | times | {"syncRunId": RUN}


def outcome(truth, *, created):
    base = {"PK": f"SYNC_RUN#{RUN}", "SK": f"SESSION#{truth.session_id}", "attempts": 1}
    if created:
        return base | {"outcome": "created", "orderNumber": truth.order["orderNumber"]}
    if truth.expected is Expected.DEAD:
        return base | {"outcome": "error", "errorType": "SessionNotFound"}
    return base | {"outcome": "skipped", "reason": truth.reason}


@pytest.fixture
def table():
    return PlainTable()


def first(expected, is_wanted=lambda _: True):
    return next(truth for truth in SHOP.truth if truth.expected is expected and is_wanted(truth))


LOST = first(Expected.ORDER_RECOVERED, lambda truth: "shippingAddress" in truth.order)
BY_EMAIL = first(Expected.ORDER_RECOVERED, lambda truth: "@" in truth.order["PK"])
FREE = first(Expected.ORDER_RECOVERED, lambda truth: "amount" not in truth.order)
KEPT, SKIPPED, DEAD = first(Expected.ORDER_KEPT), first(Expected.SKIPPED), first(Expected.DEAD)
REQUIRED = [
    name
    for name in (*LOST.order, "updatedAt", "completedAt", "syncedAt", "syncRunId")
    if name not in {"PK", "SK"}
]


@pytest.mark.parametrize("healed", [False, True])
def test_right_table_has_no_violations(healed):
    assert PlainTable(healed=healed).violations(healed=healed) == []


def test_verify_reads_all_pages_consistently(table):
    class Client:
        def get_paginator(self, operation):
            assert operation == "scan"
            return self

        def paginate(self, *, TableName, ConsistentRead):  # noqa: N803 - boto3's names
            assert (TableName, ConsistentRead) == ("orders", True)
            items = [to_wire(item) for item in table.values()]
            return [{"Items": items[at : at + 40]} for at in range(0, len(items), 40)]

    assert verify(Client(), "orders", SHOP, healed=False) == []


def test_unsynced_table_lacks_everything():
    found = verify_records(
        TableRecords(map(to_wire, (*SHOP.webhook_orders, *SHOP.webhook_events))), SHOP, healed=False
    )
    assert sum(one.what == "the order is missing" for one in found) == SHOP.counters(healed=False).created
    assert sum(one.what == "no outcome" for one in found) == len(SHOP.sessions)
    assert {one.subject for one in found if one.what == "is missing"} == {"sync state", "run record"}


def test_missing_order_is_found(table):
    table.drop(table.order(LOST))
    assert table.violations() == [Violation(LOST.session_id, "the order is missing")]
    assert Violation(DEAD.session_id, "the order is missing") in table.violations(healed=True)


@pytest.mark.parametrize("truth", [KEPT, LOST], ids=["kept", "recovered"])
@pytest.mark.parametrize("kept_ids", [("orderId",), ("stripeSessionId",), ()], ids=str)
def test_second_order_is_found_by_either_id_or_its_key(table, truth, kept_ids):
    key = "elsewhere" if kept_ids else truth.session_id
    twin = table.order(truth) | {"PK": "USER#other", "SK": f"ORDER#1#{key}", "syncRunId": RUN}
    dropped = {"orderId", "stripeSessionId"} - set(kept_ids)
    table.put({name: value for name, value in twin.items() if name not in dropped})
    assert Violation(truth.session_id, "2 orders instead of 1") in table.violations()


@pytest.mark.parametrize("truth", [SKIPPED, DEAD], ids=["skipped", "dead"])
def test_unwanted_order_is_found(table, truth):
    table.put({"PK": "USER#x", "SK": f"ORDER#1#{truth.session_id}", "orderId": truth.session_id})
    assert Violation(truth.session_id, "1 orders instead of 0") in table.violations()


def test_order_of_unknown_session_is_found(table):
    table.put({"PK": "USER#a", "SK": "ORDER#1#cs_x", "orderId": "cs_x"})
    assert table.violations() == [Violation("cs_x", "an order of a session that the shop never had")]


@pytest.mark.parametrize(
    "change",
    [{"status": "completed!"}, {"amount": 1}, {"source": "nightly_sync"}, {"itemCount": "1"}],
    ids=str,
)
def test_changed_webhook_order_is_found(table, change):
    table.order(KEPT).update(change)
    (name,) = change
    assert table.violations() == [Violation(KEPT.session_id, f"the webhook's order was changed: {name}")]


def test_webhook_order_without_an_attribute_is_found(table):
    del table.order(KEPT)["createdAt"]
    assert table.violations() == [Violation(KEPT.session_id, "the webhook's order was changed: createdAt")]


def test_webhook_order_under_another_key_is_found(table):
    order = table.order(KEPT)
    table.drop(order)
    table.put(order | {"SK": f"ORDER#{NOW}#{KEPT.session_id}"})
    assert Violation(KEPT.session_id, "the webhook's order is gone") in table.violations()


def test_changed_event_record_is_found(table):
    record = SHOP.webhook_events[0]
    table[record["PK"], record["SK"]]["orderCreated"] = "yes"
    what = "the webhook's event record was changed: orderCreated"
    assert table.violations() == [Violation(record["sessionId"], what)]


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("is_missing", [True, False])
def test_missing_or_wrong_attribute_of_recovered_order_is_found(table, name, is_missing):
    if is_missing:
        del table.order(LOST)[name]
    else:
        table.order(LOST)[name] = "wrong"
    found = table.violations()
    assert any(one.subject == LOST.session_id and name in one.what for one in found)
    assert not is_missing or len(found) == 1


@pytest.mark.parametrize("key", [{"PK": "USER#somebody_else"}, {"SK": f"ORDER#1#{LOST.session_id}"}], ids=str)
def test_recovered_order_under_another_key_is_found(table, key):
    order = table.order(LOST)
    table.drop(order)
    table.put(order | key)
    assert table.violations() == [Violation(LOST.session_id, f"{next(iter(key))} is not what it must be")]


def test_wrong_amount_is_shown(table):
    right = table.order(LOST)["amount"]
    table.order(LOST)["amount"] = right + 1
    assert table.violations() == [Violation(LOST.session_id, f"amount is {right + 1} and not {right}")]


def test_amount_of_free_order_is_found(table):
    table.order(FREE)["amount"] = 0
    assert table.violations() == [Violation(FREE.session_id, "amount should not be there")]


def test_wrong_price_of_a_line_is_found(table):
    order = table.order(LOST)
    order["items"] = [order["items"][0] | {"unitPrice": 1}, *order["items"][1:]]
    assert table.violations() == [Violation(LOST.session_id, "items is not what it must be")]


def test_time_to_live_is_allowed(table):
    table.order(LOST)["expiresAt"] = NOW + 1
    assert table.violations() == []


@pytest.mark.parametrize("name", [*COUNTERS, "status"])
def test_wrong_value_of_sync_state_is_found(table, name):
    attribute = f"lastSync{name.capitalize()}"
    table[STATE_KEY][attribute] = 999
    (found,) = table.violations()
    assert found.subject == "sync state"
    assert found.what.startswith(f"{attribute} is 999 and not ")


@pytest.mark.parametrize("change", [1, None], ids=["one more", "missing"])
@pytest.mark.parametrize("name", COUNTERS)
def test_wrong_counter_of_run_is_found(table, name, change):
    run = table[RUN_KEY]
    if change is None:
        del run[name]
    else:
        run[name] += change
    run_record = [one for one in table.violations() if one.subject == "run record"]
    assert [one.what.split()[0] for one in run_record] == [name]
    assert list(compare_state(table.records()))
    other = check_run_done if name == "enqueued" else compare_counters
    (found,) = other(table.records(), RUN)
    assert found.what.startswith(f"{name} is {run.get(name)}")


def test_run_is_compared_with_its_outcomes(table):
    table.drop(table.outcome(LOST))
    names = [one.what.split()[0] for one in compare_counters(table.records(), RUN)]
    assert names == ["processed", "created"]
    assert len(list(check_run_done(table.records(), RUN))) == 1
    assert len(list(check_run_done(table.records(), RUN, len(SHOP.truth)))) == 1


@pytest.mark.parametrize(("status", "number"), [("running", 1), ("failed", 0), ("done", 0)])
def test_unfinished_run_is_found(table, status, number):
    table[RUN_KEY]["status"] = status
    assert len(list(find_unfinished_runs(table.records()))) == number
    assert len(list(check_run_done(table.records(), RUN))) == (status != "done")


def test_sync_state_without_its_run_is_found(table):
    del table[RUN_KEY]
    assert [str(one) for one in compare_state(table.records())] == ["sync state: no record of its run"]


@pytest.mark.parametrize(
    ("truth", "change"),
    [
        (LOST, {"outcome": "skipped"}),
        (LOST, {"orderNumber": "BC-OTHER"}),
        (KEPT, {"reason": "no_user"}),
        (KEPT, {"outcome": "created"}),
        (SKIPPED, {"reason": "exists"}),
        (DEAD, {"outcome": "created"}),
        (DEAD, {"errorType": ""}),
    ],
)
def test_wrong_outcome_is_found(table, truth, change):
    table.outcome(truth).update(change)
    (found,) = table.violations()
    assert found.subject == truth.session_id
    assert "its outcome" in found.what


def test_missing_and_unknown_outcomes_are_found(table):
    table.drop(table.outcome(LOST))
    table.put({"PK": f"SYNC_RUN#{RUN}", "SK": "SESSION#cs_x", "outcome": "created"})
    assert table.violations() == [
        Violation(LOST.session_id, "no outcome"),
        Violation("cs_x", "an outcome of an unknown session"),
    ]


def test_pending_entries_are_those_of_unpaid_sessions(table):
    table.put({"PK": "SYSTEM", "SK": "PENDING#cs_a"}, {"PK": "SYSTEM", "SK": "PENDING#cs_b"})
    found = compare_pending(table.records(), {"cs_b", "cs_c"})
    assert [str(one) for one in found] == [
        "cs_a: still waits for its payment",
        "cs_c: does not wait for its payment",
    ]


def test_records_follow_replaced_and_removed_items(table):
    records = table.records()
    pending = to_wire({"PK": "SYSTEM", "SK": "PENDING#cs_a"})
    for item in (*map(to_wire, table.values()), pending):
        records.put(item)
    for key in list(records.items):
        records.remove(key)
    records.remove(("not", "there"))
    indexes = (records.items, records.runs, records.pending, records.state)
    assert [len(index) for index in indexes] == [0, 0, 0, 0]
    assert not any(records.orders.values())
    assert not any(records.outcomes.values())
    assert list(find_surplus_orders(records, {})) == []


def test_violations_never_show_an_address(table):
    address = "shown@example.com"
    for item in table.values():
        if item["SK"].startswith("ORDER#"):
            item |= {"customerEmail": address, "userId": address, "shippingAddress": {"line1": address}}
    table.put({"PK": "USER#a", "SK": "ORDER#1#b", "orderId": address})
    table.put({"PK": f"SYNC_RUN#{RUN}", "SK": f"SESSION#{address}"})
    written = [to_wire({"PK": f"USER#{address}", "SK": f"ORDER#1#{address}"})]
    found = [*table.violations(), *find_changed_items(table.records(), written)]
    assert {one.subject for one in found} >= {BY_EMAIL.session_id, KEPT.session_id, "an item"}
    assert not re.search(r"@|example\.com", " ".join(map(str, found)))


def test_log_is_searched_for_bugs_and_secrets():
    lines = ['{"message":"Unexpected KeyError"}', "ERROR Unexpected {}", '{"message":"to ada@example.com"}']
    assert len(list(find_unexpected_errors(lines))) == 2
    assert len(list(find_leaked_secrets(lines, ["@example.com", "sk_test"]))) == 1
