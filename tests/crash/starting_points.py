"""Where cases begin: a small shop with one customer for each way that a session can go, and how it must end.

A starting point is prepared once, by the product and without faults; each case begins from the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recon.timestamps import DAY, HOUR
from testkit.builders import NOW
from testkit.fake_stripe import FakeStripe, LineSpec, SessionSpec
from testkit.invariants import RawItem, to_wire
from testkit.shop import Record, build_event_record, build_session, build_webhook_order
from tests.crash.crash_shop import MAX_RECEIVES, PAGE_SIZE, CrashShop

PREVIOUS_RUN = {"trigger": "scheduled", "scheduledTime": "2024-11-26T02:00:00Z", "lookbackHours": 120}
# An order of another session under the key that the order of `collides` would have.
OTHER_ORDER = "another_session"


@dataclass(frozen=True)
class Scenario:
    """A session, and how it must end: its outcome, and the reason or error type if it is not created.

    `items` are in the table before, `receives` is how often its message was received before. `paid_later` was
    unpaid a night ago, `vanishes` is unknown to Stripe later, `reappears` was unknown to Stripe before.
    """

    spec: SessionSpec
    outcome: str = "created"
    reason: str | None = None
    items: tuple[Record, ...] = ()
    receives: int = 0
    paid_later: bool = False
    vanishes: bool = False
    reappears: bool = False

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def orders(self) -> int:
        """Return the number of orders that the session must have in the end, from the webhook or the sync."""
        return int(self.outcome == "created" or self.reason == "exists")


def list_scenarios() -> list[Scenario]:
    long = tuple(LineSpec(f"line {n}", quantity=n + 1) for n in range(25))
    regular = {"userId": "regular"}
    there, met, collides = (
        _spec("there", metadata=regular),
        _spec("met", event_delivered=False),
        _spec("collides"),
    )
    handled = build_event_record(met.completed_event_id, met.id, NOW - 2 * HOUR, order_number=None)
    own_key = {"PK": "USER#collides", "SK": f"ORDER#{collides.created}#{collides.id}", "orderId": OTHER_ORDER}
    return [
        Scenario(_spec("plain")),
        Scenario(_spec("again", metadata=regular)),
        Scenario(there, "skipped", "exists", (build_webhook_order(there, NOW - 2 * HOUR, status="shipped"),)),
        Scenario(_spec("unpaid", payment_status="unpaid"), "skipped", "unpaid"),
        Scenario(_spec("late", created=NOW - 100 * HOUR), paid_later=True),
        Scenario(_spec("long", lines=long)),
        Scenario(_spec("fenced", event_delivered=False)),
        Scenario(met, items=(handled,)),
        Scenario(_spec("refunded", amount_refunded=1500), "skipped", "refunded"),
        Scenario(_spec("lost", dispute_status="lost"), "skipped", "refunded"),
        Scenario(_spec("won", dispute_status="won")),
        Scenario(collides, "skipped", "exists", (own_key,)),
        Scenario(_spec("setup", mode="setup", payment_status="no_payment_required"), "skipped", "not_a_sale"),
        Scenario(_spec("nobody", metadata={}), "skipped", "no_user"),
        Scenario(_spec("gone"), "error", "SessionNotFound", vanishes=True),
        Scenario(_spec("strange", mode=None), "error", "MalformedMessage"),
        Scenario(_spec("second"), receives=1),
        Scenario(_spec("final"), receives=MAX_RECEIVES - 1),
        Scenario(_spec("redriven"), reappears=True),
    ]


def _spec(name: str, **changes: Any) -> SessionSpec:
    created = NOW - 3 * HOUR - 60 * (sum(name.encode()) % 97)  # some in one second, most apart
    return build_session(name, NOW, **{"created": created} | changes)


@dataclass(frozen=True)
class StartingPoint:
    """The account, its scenarios, the table's bytes, and the queued bodies with their receive counts."""

    account: FakeStripe
    scenarios: list[Scenario]
    table: bytes
    messages: tuple[tuple[str, int], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    page_size: int | None = None

    def open_shop(self) -> CrashShop:
        shop = CrashShop(self.account, self.table, page_size=self.page_size, **self.env)
        for body, receives in self.messages:
            shop.sends(body)
            message = shop.memory_sqs._queues[shop.queue].messages[-1]
            message.receive_count = receives
            message.first_received_at = message.sent_at if receives else None
        return shop

    @property
    def foreign_items(self) -> list[RawItem]:
        """Return the items that the sync did not write and must not change."""
        return [to_wire(item) for scenario in self.scenarios for item in scenario.items]


def before_run(account: FakeStripe, **env: str) -> StartingPoint:
    """Return the evening: one run went through a night ago, and the webhook's items are in the table."""
    every = list_scenarios()
    scenarios = [replace(one, receives=0) for one in every if not one.vanishes and not one.reappears]
    table = _open_a_night_later(account, scenarios, **env).memory.dump()
    return StartingPoint(account, scenarios, table, env=env, page_size=PAGE_SIZE)


def before_batch(account: FakeStripe, **env: str) -> StartingPoint:
    """Return the moment when all messages of the night are in the queue, to be received as one batch."""
    scenarios = list_scenarios()
    shop = _open_a_night_later(account, scenarios, **env)
    shop.body()
    bodies = {json.loads(body)["sessionId"]: body for body in shop.memory_sqs.bodies(shop.queue)}
    table = shop.memory.dump()
    for scenario in scenarios:
        if scenario.reappears:
            table = _fail_once(account, scenario, bodies[scenario.id], table)
        if scenario.vanishes:
            account.store.remove(scenario.id)
    messages = [(bodies[scenario.id], scenario.receives) for scenario in scenarios]
    duplicate_and_garbage = [(bodies[scenarios[0].id], 0), ("what is this", 0)]
    return StartingPoint(account, scenarios, table, (*messages, *duplicate_and_garbage), env)


def _open_a_night_later(account: FakeStripe, scenarios: list[Scenario], **env: str) -> CrashShop:
    """Return the shop at the hour of its run, after a run of the night before."""
    shop = CrashShop(account, **env)
    account.store.clear()
    account.store.add_all(replace(one.spec, payment_status="unpaid") for one in scenarios if one.paid_later)
    shop.clock.now = NOW - DAY
    shop.night(PREVIOUS_RUN)
    shop.clock.now = NOW
    account.store.add_all(one.spec for one in scenarios)
    for item in (to_wire(item) for one in scenarios for item in one.items):
        shop.memory.put_item(TableName=shop.table, Item=item)
    return shop


def _fail_once(account: FakeStripe, scenario: Scenario, body: str, table: bytes) -> bytes:
    """Return the table after the session failed permanently, under a message that is dead by now."""
    shop = CrashShop(account, table)
    shop.memory_sqs._numbers = 1_000_000  # a redriven message has another id
    account.store.remove(scenario.id)
    shop.sends(body)
    shop.drain()
    account.store.add(scenario.spec)
    return shop.memory.dump()
