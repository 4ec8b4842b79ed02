"""What docs/stripe-key.md says of each permission is what happens when Stripe refuses it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recon.errors import KeyNotAllowed
from testkit.builders import NOW
from testkit.fake_stripe import Endpoint, SessionSpec

GUIDE = Path(__file__).parents[3] / "docs" / "stripe-key.md"
README = Path(__file__).parents[3] / "README.md"


@dataclass(frozen=True)
class Permission:
    """What the table says, and what Stripe refuses without it: endpoints, or paths that are expanded."""

    name: str
    said_as: str
    endpoints: tuple[Endpoint, ...] = ()
    expanded: tuple[str, ...] = field(default=())

    def __str__(self):
        return self.name

    def refuse(self, faults):
        for endpoint in self.endpoints:
            faults.forbidden(endpoint=endpoint)
        for path in self.expanded:
            faults.forbidden(expanding=path)


ERROR, NO_EVENTS, NO_CHARGES = "error `KeyNotAllowed`", "warning `no_events`", "warning `no_charges`"
SESSIONS = Permission("Checkout Sessions", ERROR, (Endpoint.LIST, Endpoint.RETRIEVE, Endpoint.LINE_ITEMS))
# With a session's first lines the paths begin at the session, with further ones at the line.
PRODUCTS = Permission("Products", ERROR, expanded=("line_items.data.price.product", "price.product"))
PRICES = Permission("Prices", ERROR, expanded=("line_items.data.price", "price"))
EVENTS = Permission("Events", NO_EVENTS, (Endpoint.EVENTS,))
INTENTS = Permission("PaymentIntents", NO_CHARGES, expanded=("payment_intent",))
CHARGES = Permission("Charges", NO_CHARGES, expanded=("payment_intent.latest_charge",))
DISPUTES = Permission("Disputes", NO_CHARGES, (Endpoint.DISPUTES,))
PERMISSIONS = [SESSIONS, PRODUCTS, PRICES, EVENTS, INTENTS, CHARGES, DISPUTES]


def spec(session_id, **changes):
    return SessionSpec(session_id, NOW - 3600, **{"metadata": {"userId": "u1"}} | changes)


def documented():
    """(permission, said as) of each row of the table."""
    rows = [line.strip("|").split("|") for line in GUIDE.read_text().splitlines() if line.startswith("|")]
    return [(row[0].strip(), row[2].strip()) for row in rows[2:]]


@pytest.fixture
def shop(world):
    """One session of each kind that a permission makes a difference for."""
    world.sells(spec("cs_test_plain"))
    world.sells(spec("cs_test_known"))
    world.webhook_writes("cs_test_known", "u1", NOW - 1800)
    world.sells(spec("cs_test_refunded", amount_refunded=1500))
    world.sells(spec("cs_test_lost", dispute_status="lost"))
    world.sells(spec("cs_test_undelivered", event_delivered=False))
    return world


def ordered(world):
    return {order["orderId"].removeprefix("cs_test_") for order in world.orders()}


def fenced(world):
    return [item["sessionId"] for item in world.items() if item["PK"].startswith("EVENT#")]


def warned(run):
    return [warning.partition(":")[0] for warning in run["warnings"]]


def test_the_guide_lists_these_permissions_and_no_others():
    assert documented() == [(permission.name, permission.said_as) for permission in PERMISSIONS]


def test_the_readme_names_the_same_permissions():
    text = README.read_text()
    assert [permission.name for permission in PERMISSIONS if permission.name not in text] == []


def test_with_all_of_them_nothing_is_said_and_everything_is_as_it_should_be(shop):
    run = shop.night()
    assert (warned(run), shop.dead()) == ([], [])
    assert ordered(shop) == {"plain", "known", "undelivered"}
    assert fenced(shop) == ["cs_test_undelivered"]


def test_without_checkout_sessions_the_run_fails_and_the_next_covers_its_time_too(shop):
    SESSIONS.refuse(shop.stripe.faults)
    with pytest.raises(KeyNotAllowed):
        shop.produce()
    assert ordered(shop) == {"known"}
    shop.stripe.faults.clear()
    shop.night({"trigger": "scheduled", "scheduledTime": "2024-11-29T02:00:00Z"})
    assert ordered(shop) == {"plain", "known", "undelivered"}


@pytest.mark.parametrize("permission", [PRODUCTS, PRICES], ids=str)
def test_without_products_or_prices_what_is_missing_is_an_error_until_they_are_added(shop, permission):
    permission.refuse(shop.stripe.faults)
    shop.night()
    assert ordered(shop) == {"known"}
    assert shop.outcome("cs_test_known")["reason"] == "exists"
    missing = {"cs_test_plain", "cs_test_refunded", "cs_test_lost", "cs_test_undelivered"}
    assert {message["sessionId"] for message in shop.dead()} == missing
    assert {shop.outcome(session)["errorType"] for session in missing} == {"KeyNotAllowed"}
    shop.stripe.faults.clear()
    shop.redrive()
    shop.drain()
    assert ordered(shop) == {"plain", "known", "undelivered"}
    assert shop.dead() == []


def test_without_products_the_further_lines_of_a_long_order_are_refused_too(world):
    long = world.sells(spec("cs_test_long", lines=SessionSpec("", 0).lines * 30))
    world.stripe.faults.forbidden(expanding="price.product")
    world.night()
    assert world.outcome(long.id)["errorType"] == "KeyNotAllowed"


def test_without_events_orders_are_written_without_the_fence(shop):
    EVENTS.refuse(shop.stripe.faults)
    run = shop.night()
    assert warned(run) == ["no_events"]
    assert ordered(shop) == {"plain", "known", "undelivered"}
    assert fenced(shop) == []


@pytest.mark.parametrize("permission", [INTENTS, CHARGES], ids=str)
def test_without_payment_intents_or_charges_refunded_orders_are_written_like_all_others(shop, permission):
    permission.refuse(shop.stripe.faults)
    run = shop.night()
    assert warned(run) == ["no_charges"]
    assert {"plain", "undelivered", "refunded", "known"} <= ordered(shop)


def test_without_disputes_orders_of_lost_ones_are_written_like_all_others(shop):
    DISPUTES.refuse(shop.stripe.faults)
    run = shop.night()
    assert warned(run) == ["no_charges"]
    assert ordered(shop) == {"plain", "known", "undelivered", "lost"}


def test_a_dry_run_needs_sessions_and_events_only(shop):
    for permission in (PRODUCTS, PRICES, INTENTS, CHARGES, DISPUTES):
        permission.refuse(shop.stripe.faults)
    body = shop.body({"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"})
    shop.drain()
    assert body["status"] == "running"
    preview = shop.body({"dryRun": True})
    assert (preview["status"], warned(preview)) == ("success", [])


def test_a_key_that_was_rotated_is_read_once_and_the_session_needs_no_second_attempt(world):
    world.sells(spec("cs_test_first"))
    world.night()
    world.sells(spec("cs_test_second"))
    world.stripe.accept_keys({"rk_test_new"})
    world.ssm.value = "rk_test_new"
    reads = world.ssm.reads
    world.night({"trigger": "scheduled", "scheduledTime": "2024-11-28T02:00:00Z"})
    assert ordered(world) == {"first", "second"}
    assert world.outcome("cs_test_second", "20241128T020000Z")["attempts"] == 1
    assert world.ssm.reads == reads + 1


def test_no_key_stands_in_the_guide():
    assert re.findall(r"[sr]k_(?:live|test)_\w+", GUIDE.read_text()) == []
