"""The check that everything else is judged by finds each kind of damage, and nothing where there is none."""

import re

import pytest
from boto3.dynamodb.types import TypeSerializer

from testkit.invariants import Problem, verify
from testkit.shop import Expected, make_shop

NOW = 1_732_672_800
RUN = "20241127T020000Z"
SHOP = make_shop(120, 5, NOW)
PAGE = 40


def typed(item):
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}


class Table:
    """As much of DynamoDB as a scan takes: a few items on a page, consistent reads only."""

    def __init__(self, items):
        self.items = {(item["PK"], item["SK"]): dict(item) for item in items}

    def get_paginator(self, operation):
        assert operation == "scan"
        return self

    def paginate(self, *, TableName, ConsistentRead):  # noqa: N803 - boto3's names
        assert (TableName, ConsistentRead) == ("orders", True)
        everything = [typed(item) for item in self.items.values()]
        return [{"Items": everything[at : at + PAGE]} for at in range(0, len(everything), PAGE)]

    def put(self, item):
        self.items[item["PK"], item["SK"]] = item

    def order_of(self, session_id):
        return next(item for item in self.items.values() if item.get("orderId") == session_id)

    def drop(self, item):
        del self.items[item["PK"], item["SK"]]


def recovered(truth):
    times = dict.fromkeys(("updatedAt", "completedAt", "syncedAt"), "2024-11-27T02:00:05Z")
    return truth.order | times | {"syncRunId": RUN}


def outcome(truth, *, healed):
    base = {"PK": f"SYNC_RUN#{RUN}", "SK": f"SESSION#{truth.session_id}", "attempts": 1}
    if truth.expected is Expected.ORDER_RECOVERED or (truth.expected is Expected.DEAD and healed):
        return base | {"outcome": "created", "orderNumber": truth.order["orderNumber"]}
    if truth.expected is Expected.DEAD:
        return base | {"outcome": "error", "errorType": "SessionNotFound"}
    return base | {"outcome": "skipped", "reason": truth.reason}


def synced(*, healed=False):
    """The table as a run without a flaw leaves it."""
    counters = SHOP.counters(healed=healed)
    numbers = {name: getattr(counters, name) for name in counters.__slots__}
    state = {f"lastSync{name.capitalize()}": number for name, number in numbers.items()}
    state |= {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": RUN}
    run = numbers | {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}
    orders = [
        recovered(truth)
        for truth in SHOP.truth
        if truth.expected is Expected.ORDER_RECOVERED or (truth.expected is Expected.DEAD and healed)
    ]
    outcomes = [outcome(truth, healed=healed) for truth in SHOP.truth]
    return Table([*SHOP.webhook_orders, *SHOP.webhook_events, *orders, *outcomes, state, run])


def problems(table, *, healed=False):
    return verify(table, "orders", SHOP, healed=healed)


def first(expected, wanted=lambda _: True):
    return next(truth for truth in SHOP.truth if truth.expected is expected and wanted(truth))


LOST = first(Expected.ORDER_RECOVERED, lambda truth: "shippingAddress" in truth.order)
BY_EMAIL = first(Expected.ORDER_RECOVERED, lambda truth: "@" in truth.order["PK"])
FREE = first(Expected.ORDER_RECOVERED, lambda truth: "amount" not in truth.order)
KEPT = first(Expected.ORDER_KEPT)
SKIPPED = first(Expected.SKIPPED)
DEAD = first(Expected.DEAD)


@pytest.mark.parametrize("healed", [False, True])
def test_a_flawless_table_has_no_problems(healed):
    assert problems(synced(healed=healed), healed=healed) == []


def test_a_table_that_nobody_synced_is_full_of_problems():
    found = problems(Table([*SHOP.webhook_orders, *SHOP.webhook_events]))
    lost = SHOP.counters(healed=False).created
    assert sum(problem.what == "the order is missing" for problem in found) == lost
    assert sum(problem.what == "no outcome" for problem in found) == len(SHOP.sessions)
    assert {problem.subject for problem in found if problem.what == "is missing"} == {
        "sync state",
        "run record",
    }


def test_a_missing_order_is_found():
    table = synced()
    table.drop(table.order_of(LOST.session_id))
    assert problems(table) == [Problem(LOST.session_id, "the order is missing")]


def test_a_dead_session_that_was_not_recovered_is_found():
    found = problems(synced(healed=False), healed=True)
    assert Problem(DEAD.session_id, "the order is missing") in found


@pytest.mark.parametrize("truth", [KEPT, LOST], ids=["kept", "recovered"])
@pytest.mark.parametrize("name", ["orderId", "stripeSessionId"])
def test_an_order_written_twice_is_found_by_either_of_its_ids(truth, name):
    table = synced()
    twin = table.order_of(truth.session_id) | {"SK": "ORDER#1#elsewhere", "syncRunId": RUN}
    other = {"orderId": "stripeSessionId", "stripeSessionId": "orderId"}[name]
    table.put({key: value for key, value in twin.items() if key != other})
    assert Problem(truth.session_id, "2 orders instead of 1") in problems(table)


def test_a_second_order_without_any_id_is_found_by_its_key():
    table = synced()
    table.put({"PK": "USER#somebody", "SK": f"ORDER#1#{KEPT.session_id}"})
    assert Problem(KEPT.session_id, "2 orders instead of 1") in problems(table)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"status": "completed!"}, "status"),
        ({"amount": 1}, "amount"),
        ({"source": "nightly_sync"}, "source"),
        ({"itemCount": "1"}, "itemCount"),
    ],
)
def test_a_changed_webhook_order_is_found(change, named):
    table = synced()
    table.order_of(KEPT.session_id).update(change)
    assert problems(table) == [Problem(KEPT.session_id, f"the webhook's order was changed: {named}")]


def test_a_webhook_order_that_lost_an_attribute_is_found():
    table = synced()
    del table.order_of(KEPT.session_id)["customerEmail"]
    assert problems(table) == [Problem(KEPT.session_id, "the webhook's order was changed: customerEmail")]


def test_a_deleted_webhook_order_is_found():
    table = synced()
    table.drop(table.order_of(KEPT.session_id))
    assert Problem(KEPT.session_id, "the webhook's order is gone") in problems(table)


def test_a_webhook_order_moved_to_another_key_is_found():
    table = synced()
    order = table.order_of(KEPT.session_id)
    table.drop(order)
    table.put(order | {"SK": f"ORDER#{NOW}#{KEPT.session_id}"})
    assert Problem(KEPT.session_id, "the webhook's order is gone") in problems(table)


def test_a_changed_event_record_is_found():
    table = synced()
    record = SHOP.webhook_events[0]
    table.items[record["PK"], record["SK"]]["orderCreated"] = "yes"
    found = problems(table)
    assert found == [Problem(record["sessionId"], "the webhook's event record was changed: orderCreated")]


@pytest.mark.parametrize("truth", [SKIPPED, DEAD], ids=["skipped", "dead"])
def test_an_order_that_must_not_be_is_found(truth):
    table = synced()
    table.put({"PK": "USER#nobody", "SK": f"ORDER#1#{truth.session_id}", "orderId": truth.session_id})
    assert any(
        problem.subject == truth.session_id and problem.what.startswith("an order that must not be")
        for problem in problems(table)
    )


def required_attributes():
    runtime = ["updatedAt", "completedAt", "syncedAt", "syncRunId"]
    return [name for name in [*LOST.order, *runtime] if name not in {"PK", "SK"}]


@pytest.mark.parametrize("name", required_attributes())
def test_every_attribute_that_a_recovered_order_lacks_is_found(name):
    table = synced()
    del table.order_of(LOST.session_id)[name]
    found = problems(table)
    assert [problem.subject for problem in found] == [LOST.session_id]
    assert name in found[0].what


@pytest.mark.parametrize("name", required_attributes())
def test_every_attribute_that_a_recovered_order_has_wrong_is_found(name):
    table = synced()
    table.order_of(LOST.session_id)[name] = "wrong"
    found = problems(table)
    assert any(problem.subject == LOST.session_id and name in problem.what for problem in found)


@pytest.mark.parametrize("key", [{"PK": "USER#somebody_else"}, {"SK": f"ORDER#1#{LOST.session_id}"}])
def test_a_recovered_order_under_another_key_is_found(key):
    table = synced()
    order = table.order_of(LOST.session_id)
    table.drop(order)
    table.put(order | key)
    assert problems(table) == [Problem(LOST.session_id, f"{next(iter(key))} is not what it must be")]


def test_a_wrong_amount_is_shown():
    table = synced()
    right = table.order_of(LOST.session_id)["amount"]
    table.order_of(LOST.session_id)["amount"] = right + 1
    assert problems(table) == [Problem(LOST.session_id, f"amount is {right + 1} and not {right}")]


def test_a_free_order_with_an_amount_is_found():
    table = synced()
    table.order_of(FREE.session_id)["amount"] = 0
    assert problems(table) == [Problem(FREE.session_id, "amount should not be there")]


def test_a_line_with_another_price_is_found():
    table = synced()
    order = table.order_of(LOST.session_id)
    order["items"] = [order["items"][0] | {"unitPrice": 1}, *order["items"][1:]]
    assert problems(table) == [Problem(LOST.session_id, "items is not what it must be")]


def test_a_time_to_live_is_none_of_its_business():
    table = synced()
    table.order_of(LOST.session_id)["expiresAt"] = NOW + 1
    assert problems(table) == []


def test_an_order_of_an_unknown_session_is_found():
    table = synced()
    table.put({"PK": "USER#a", "SK": "ORDER#1#cs_x", "orderId": "cs_x"})
    assert problems(table) == [Problem("cs_x", "an order of a session that the shop never had")]


@pytest.mark.parametrize("name", ["Enqueued", "Processed", "Created", "Skipped", "Errors"])
def test_a_wrong_counter_of_the_sync_state_is_found(name):
    table = synced()
    table.items["SYSTEM", "STRIPE_ORDER_SYNC"][f"lastSync{name}"] += 1
    (problem,) = problems(table)
    assert problem.subject == "sync state"
    assert problem.what.startswith(f"lastSync{name} is ")


@pytest.mark.parametrize("name", ["enqueued", "processed", "created", "skipped", "errors"])
def test_a_wrong_counter_of_the_run_record_is_found(name):
    table = synced()
    del table.items["SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}"][name]
    (problem,) = problems(table)
    assert problem.subject == "run record"
    assert problem.what.startswith(f"{name} is None and not ")


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
def test_a_wrong_outcome_is_found(truth, change):
    table = synced()
    table.items[f"SYNC_RUN#{RUN}", f"SESSION#{truth.session_id}"].update(change)
    (problem,) = problems(table)
    assert problem.subject == truth.session_id
    assert "its outcome" in problem.what


def test_a_missing_and_an_unknown_outcome_are_found():
    table = synced()
    table.drop(table.items[f"SYNC_RUN#{RUN}", f"SESSION#{LOST.session_id}"])
    table.put({"PK": f"SYNC_RUN#{RUN}", "SK": "SESSION#cs_x", "outcome": "created"})
    assert problems(table) == [
        Problem(LOST.session_id, "no outcome"),
        Problem("cs_x", "an outcome of an unknown session"),
    ]


def test_no_problem_ever_shows_an_address():
    table = synced()
    for item in list(table.items.values()):
        if item["SK"].startswith("ORDER#"):
            item |= {"customerEmail": "shown@example.com", "userId": "shown@example.com"}
            item |= {"shippingAddress": {"line1": "shown@example.com"}}
    table.put({"PK": "USER#a", "SK": "ORDER#1#b", "orderId": "shown@example.com"})
    table.put({"PK": f"SYNC_RUN#{RUN}", "SK": "SESSION#shown@example.com"})
    found = problems(table)
    assert {problem.subject for problem in found} >= {BY_EMAIL.session_id, KEPT.session_id, "an item"}
    assert not re.search(r"@|example\.com", " ".join(map(str, found)))


def test_a_problem_reads_as_a_sentence():
    assert str(Problem("cs_1", "no outcome")) == "cs_1: no outcome"
