"""The independent check of the demo's shops with their own layouts: it finds each kind of fault."""

from types import SimpleNamespace

import pytest

from sandbox.demo.options import LAYOUTS as SHOWN
from testkit.builders import NOW
from testkit.invariants import to_wire
from testkit.invariants.layout_check import verify_layout
from testkit.shop.layout_shop import Fate, make_layout_shop
from testkit.shop.layouts import LAYOUTS

RUNS = ("20241126T020000Z", "20241127T020000Z")


class Night:
    """The tables after two right nights, of which a test changes something."""

    def __init__(self, name):
        self.shop = make_layout_shop(name, 20, 1, NOW - 86_400)
        self.items = self.shop.items_after()
        lost = [name for name, fate in self.shop.fates.items() if fate is Fate.LOST]
        self.ledger = [{"PK": "SYSTEM", "SK": f"PENDING#{name}"} for name in lost]
        for number, run_id in enumerate(RUNS):
            self.ledger += self._build_run(run_id, number)

    def _build_run(self, run_id, number):
        missing = {Fate.LOST} if number else {Fate.LOST, Fate.LATE}
        outcomes = []
        for name, fate in self.shop.fates.items():
            reason = "refunded" if fate is Fate.REFUNDED else "exists"
            said = {"outcome": "missing"} if fate in missing else {"outcome": "skipped", "reason": reason}
            outcomes.append({"PK": f"SYNC_RUN#{run_id}", "SK": f"SESSION#{name}"} | said)
        missed = sum(one["outcome"] == "missing" for one in outcomes)
        counts = {"enqueued": 20, "processed": 20, "created": 0, "skipped": 20 - missed, "errors": 0}
        run = {
            "PK": "SYSTEM",
            "SK": f"STRIPE_ORDER_SYNC#{run_id}",
            "status": "done",
            "missing": missed,
        } | counts
        state = {
            f"lastSync{key.capitalize()}": value for key, value in (counts | {"missing": missed}).items()
        }
        state |= {
            "PK": "SYSTEM",
            "SK": "STRIPE_ORDER_SYNC",
            "lastSyncRunId": run_id,
            "lastSyncStatus": "done",
        }
        return [*outcomes, run, state]

    def find(self, kind):
        """Return the records of the last run's sessions of this fate."""
        names = {f"SESSION#{name}" for name, fate in self.shop.fates.items() if fate is kind}
        return [one for one in self.ledger if one["SK"] in names and one["PK"].endswith(RUNS[1])]

    def verify(self):
        tables = {"shop": self.items, "ledger": self.ledger}

        def paginate(*, TableName, **_):  # noqa: N803 - boto3's name
            return [{"Items": [to_wire(item) for item in tables[TableName]]}]

        client = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))
        return [str(one) for one in verify_layout(client, "shop", "ledger", self.shop, RUNS)]


@pytest.mark.parametrize("name", SHOWN)
def test_two_right_nights_have_no_violation(name):
    assert Night(name).verify() == []


def write_item(night):
    night.items.append(night.items[0] | dict.fromkeys(night.shop.layout.keys, "new"))


def change_item(night):
    night.items[0] = night.items[0] | {"syncRunId": RUNS[0]}


def lose_item(night):
    night.items.pop()


def find_lost(night):
    night.find(Fate.LOST)[0] |= {"outcome": "skipped", "reason": "exists"}


def miss_late(night):
    night.find(Fate.LATE)[0] |= {"outcome": "missing"}


def forget_entry(night):
    night.ledger = [one for one in night.ledger if not one["SK"].startswith("PENDING#")]


def write_order(night):
    night.ledger.append({"PK": "USER#u", "SK": "ORDER#1", "orderId": next(iter(night.shop.fates))})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (write_item, "an item was written"),
        (change_item, "an item was changed"),
        (lose_item, "an item is gone"),
        (find_lost, "its outcome in run"),
        (miss_late, "its outcome in run"),
        (forget_entry, "is not looked for any more"),
        (write_order, "the sync wrote an order"),
    ],
)
def test_each_fault_of_a_night_is_found(change, said):
    night = Night("order-id-in-metadata")
    change(night)
    assert any(said in violation for violation in night.verify())


def test_every_shown_layout_is_one_of_the_documented_ones():
    assert set(SHOWN) <= set(LAYOUTS)
