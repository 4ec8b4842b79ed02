"""Without a permission of the Stripe key, the pipeline does what docs/stripe-key.md says."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from recon.errors import KeyNotAllowed
from recon.stripe.expansions import SESSION_EXPANSIONS
from recon.timestamps import DAY
from testkit.builders import NOW
from testkit.fake_stripe import Endpoint, SessionSpec

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "stripe-key.md"


@dataclass(frozen=True)
class Permission:
    """A row of the table, and what Stripe refuses without it: endpoints, or paths that are expanded."""

    name: str
    effect: str
    endpoints: tuple[Endpoint, ...] = ()
    expanded: tuple[str, ...] = ()

    def __str__(self):
        return self.name

    def refuse(self, faults):
        for endpoint in self.endpoints:
            faults.forbidden(endpoint=endpoint)
        for path in self.expanded:
            faults.forbidden(expanding=path)


ERROR, NO_EVENTS, NO_CHARGES = "error `KeyNotAllowed`", "warning `no_events`", "warning `no_charges`"
NO_DETAILS = "warning `no_details`"
SESSIONS = Permission("Checkout Sessions", ERROR, (Endpoint.LIST, Endpoint.RETRIEVE, Endpoint.LINE_ITEMS))
# With a session's first lines the paths begin at the session, with further ones at the line.
PRODUCTS = Permission(
    "Products", ERROR, (Endpoint.PRODUCTS,), ("line_items.data.price.product", "price.product")
)
PRICES = Permission("Prices", ERROR, expanded=("line_items.data.price", "price"))
EVENTS = Permission("Events", NO_EVENTS, (Endpoint.EVENTS,))
INTENTS = Permission("PaymentIntents", NO_CHARGES, expanded=("payment_intent",))
CHARGES = Permission("Charges", NO_CHARGES, expanded=("payment_intent.latest_charge",))
DISPUTES = Permission("Disputes", NO_CHARGES, (Endpoint.DISPUTES,))
INVOICES = Permission("Invoices", NO_CHARGES, (Endpoint.INVOICE_PAYMENTS,))
BALANCES = Permission(
    "Balance transactions", NO_DETAILS, expanded=("payment_intent.latest_charge.balance_transaction",)
)
RATES = Permission("Shipping rates", NO_DETAILS, expanded=("shipping_cost.shipping_rate",))
CODES = Permission("Promotion codes", NO_DETAILS, expanded=("discounts.promotion_code",))
COUPONS = Permission("Coupons", NO_DETAILS, expanded=("total_details.breakdown",))
REVIEWS = Permission("Reviews", NO_DETAILS, expanded=("payment_intent.review",))
PERMISSIONS = [
    SESSIONS,
    PRODUCTS,
    PRICES,
    EVENTS,
    INTENTS,
    CHARGES,
    DISPUTES,
    INVOICES,
    BALANCES,
    RATES,
    CODES,
    COUPONS,
    REVIEWS,
]


def spec(session_id, **changes):
    return SessionSpec(session_id, NOW - 3600, **{"metadata": {"userId": "u1"}} | changes)


@pytest.fixture
def shop(world):
    """Return a shop with one session of each kind that a permission affects."""
    world.sells(spec("cs_test_plain"))
    world.sells(spec("cs_test_known"))
    world.webhook_writes("cs_test_known", "u1", NOW - 1800)
    world.sells(spec("cs_test_refunded", amount_refunded=1500))
    world.sells(spec("cs_test_lost", dispute_status="lost"))
    world.sells(spec("cs_test_subscribed", mode="subscription", amount_refunded=1500))
    world.sells(spec("cs_test_undelivered", event_delivered=False))
    return world


def read_orders(world):
    return {order["orderId"].removeprefix("cs_test_") for order in world.orders()}


def read_markers(world):
    return [item["sessionId"] for item in world.items() if item["PK"].startswith("EVENT#")]


def read_warnings(run):
    return [warning.partition(":")[0] for warning in run["warnings"]]


def test_documents_list_these_permissions_and_no_key():
    rows = [line.strip("|").split("|") for line in GUIDE.read_text().splitlines() if line.startswith("|")]
    documented = [(row[0].strip(), row[2].strip()) for row in rows[2:]]
    assert documented == [(permission.name, permission.effect) for permission in PERMISSIONS]
    assert re.findall(r"[sr]k_(?:live|test)_\w+", GUIDE.read_text()) == []


PAID = {"plain", "known", "undelivered"}


@pytest.mark.parametrize(
    ("permission", "warnings", "also_written", "fenced"),
    [
        (None, [], set(), True),
        (EVENTS, ["no_events"], set(), False),
        (INTENTS, ["no_charges"], {"refunded", "lost", "subscribed"}, True),
        (CHARGES, ["no_charges"], {"refunded", "lost", "subscribed"}, True),
        (DISPUTES, ["no_charges"], {"lost"}, True),
        (INVOICES, ["no_charges"], {"subscribed"}, True),
        (BALANCES, ["no_details"], set(), True),
        (RATES, ["no_details"], set(), True),
        (CODES, ["no_details"], set(), True),
        (COUPONS, ["no_details"], set(), True),
        (REVIEWS, ["no_details"], set(), True),
    ],
    ids=[
        "none",
        "events",
        "intents",
        "charges",
        "disputes",
        "invoices",
        "balances",
        "rates",
        "codes",
        "coupons",
        "reviews",
    ],  # not by `str`: a set's order differs by process
)
def test_missing_optional_permission_is_a_warning(shop, permission, warnings, also_written, fenced):
    if permission:
        permission.refuse(shop.stripe.faults)
    run = shop.night()
    assert (read_warnings(run), shop.dead()) == (warnings, [])
    assert read_orders(shop) == PAID | also_written
    written = sorted(f"cs_test_{name}" for name in read_orders(shop) - {"known"})
    assert sorted(read_markers(shop)) == (written if fenced else [])


def test_details_that_the_key_may_read_are_kept_without_the_others(world):
    world.sells(spec("cs_test_review", review="open"))
    BALANCES.refuse(world.stripe.faults)
    run = world.night()
    [order] = world.orders("cs_test_review")
    assert (read_warnings(run), order["attention"]) == (["no_details"], ["under_review"])


def test_missing_details_of_many_orders_are_one_warning_and_few_requests(world):
    for number in range(20):
        world.sells(spec(f"cs_test_{number}"))
    for permission in (BALANCES, REVIEWS):
        permission.refuse(world.stripe.faults)
    run = world.night()
    assert (read_warnings(run), len(world.orders())) == (["no_details", "nothing_found"], 20)
    # All eight threads may find out at once that one is missing, and one of them finds out which.
    calls = world.stripe.calls
    assert calls.count(Endpoint.RETRIEVE, status=403) <= 8 + 2
    assert calls.count(Endpoint.RETRIEVE, status=200) < 20 + len(SESSION_EXPANSIONS)


def test_run_without_sessions_fails_and_the_next_covers_its_time(shop):
    SESSIONS.refuse(shop.stripe.faults)
    with pytest.raises(KeyNotAllowed):
        shop.produce()
    assert read_orders(shop) == {"known"}
    shop.stripe.faults.clear()
    shop.clock.now = NOW + 2 * DAY
    shop.night({"trigger": "scheduled", "scheduledTime": "2024-11-29T02:00:00Z"})
    assert read_orders(shop) == PAID


@pytest.mark.slow
@pytest.mark.parametrize("permission", [PRODUCTS, PRICES], ids=str)
def test_order_is_an_error_until_products_and_prices_are_readable(shop, permission):
    permission.refuse(shop.stripe.faults)
    shop.night()
    assert read_orders(shop) == {"known"}
    assert shop.outcome("cs_test_known")["reason"] == "exists"
    missing = {f"cs_test_{name}" for name in ("plain", "refunded", "lost", "subscribed", "undelivered")}
    assert {message["sessionId"] for message in shop.dead()} == missing
    assert {shop.outcome(session)["errorType"] for session in missing} == {"KeyNotAllowed"}
    shop.stripe.faults.clear()
    shop.redrive()
    shop.drain()
    assert read_orders(shop) == PAID
    assert shop.dead() == []


def test_further_lines_of_a_long_order_need_products_too(world):
    long = world.sells(spec("cs_test_long", lines=SessionSpec("", 0).lines * 30))
    world.stripe.faults.forbidden(expanding="price.product")
    world.night()
    assert world.outcome(long.id)["errorType"] == "KeyNotAllowed"


def test_dry_run_needs_sessions_and_events_only(shop):
    for permission in PERMISSIONS[1:3] + PERMISSIONS[4:]:
        permission.refuse(shop.stripe.faults)
    preview = shop.body({"dryRun": True})
    assert (preview["status"], read_warnings(preview)) == ("success", [])


def test_rotated_key_is_read_once_and_costs_no_attempt(world):
    world.sells(spec("cs_test_first"))
    world.night()
    world.sells(spec("cs_test_second"))
    world.stripe.accept_keys({"rk_test_new"})
    world.ssm.value = "rk_test_new"
    reads = world.ssm.reads
    world.clock.now = NOW + DAY
    world.night({"trigger": "scheduled", "scheduledTime": "2024-11-28T02:00:00Z"})
    assert read_orders(world) == {"first", "second"}
    assert world.outcome("cs_test_second", "20241128T020000Z")["attempts"] == 1
    assert world.ssm.reads == reads + 1
