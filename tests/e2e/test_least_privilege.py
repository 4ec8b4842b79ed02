"""A function without one of its permissions fails and names it. `calls.py` finds superfluous permissions.

The emulator enforces the roles' policies in the whole suite. One permission per function is enough to show
that; PROVE=all, which `make prove` sets, removes each of them once.
"""

import json

import pytest

from recon.timestamps import DAY
from sandbox.stack import InvocationError, wait_until
from testkit.roles import CALLED_BY_AWS, PATH, granted_actions, template_without
from tests.e2e.calls import ROLES
from tests.e2e.shop import PATIENCE
from tests.proofs import PROVE_ALL

pytestmark = pytest.mark.e2e

PRODUCER, CONSUMER = ROLES["producer"], ROLES["consumer"]
SAMPLE = {PRODUCER: ["sqs:SendMessage"], CONSUMER: ["dynamodb:PutItem"]}
# Without this permission nothing fails: messages come back, only later.
LATER = "sqs:ChangeMessageVisibility"
only_in_prove = pytest.mark.skipif(not PROVE_ALL, reason="make prove")


def removed_actions(role):
    if not PROVE_ALL:
        return SAMPLE[role]
    return sorted(granted_actions(role) - CALLED_BY_AWS[role] - {LATER})


@pytest.fixture
def open_shop_from(open_brief_shop, tmp_path):
    """Deploy a shop from another template; it is deleted after the test, since it would retry for long."""

    def make(text, **parameters):
        template = tmp_path / "template.yaml"
        template.write_text(text)
        return open_brief_shop(template=template, **parameters)

    return make


def start_night(shop):
    """Start a run that needs every call of a consumer, and return its night.

    It has a session whose webhook may still come, a pending one that is paid, and one unknown to Stripe.
    """
    night = shop.night()
    night.sells("sold", event_delivered=False)
    paid = night.sells("waited", created=night.end - 4 * DAY)
    message = night.message(paid, paymentStatus="unpaid", pending=paid.created)
    pending = {"PK": "SYSTEM", "SK": f"PENDING#{paid.id}", "message": json.dumps(message)}
    wire = {name: {"S": value} for name, value in pending.items()}
    shop.stack.client("dynamodb").put_item(TableName=shop.stack.ledger, Item=wire)
    shop.stripe.faults.missing(session=night.sells("gone").id)
    night.produce()
    return night


def refusals(shop, function, action):
    return [
        line for line in shop.structured_lines(function) if f"no permission for {action}" in line["message"]
    ]


def wait_for_refusal(shop, action):
    wait_until(lambda: refusals(shop, shop.stack.consumer, action), f"{action} is refused", PATIENCE)


@pytest.mark.parametrize("action", removed_actions(PRODUCER))
def test_producer_without_a_permission_fails_and_names_it(open_shop_from, action):
    # Enough sessions for a second invocation, which needs another permission. A producer with a separate
    # ledger reads the shop's table in a batch, in search of another one.
    ledger = {"LedgerTable": "create"} if action == "dynamodb:BatchGetItem" else {}
    shop = open_shop_from(template_without(PRODUCER, action), MaxSessions=10, **ledger)
    shop.stack.pause_consumer()
    night = shop.night()
    night.sells_many(120, spacing=600)
    with pytest.raises(InvocationError, match=f"no permission for {action}"):
        night.produce()
    assert refusals(shop, shop.stack.producer, action)
    assert not shop.run(night.run_id).get("listed")


@pytest.mark.parametrize("action", removed_actions(CONSUMER))
def test_consumer_without_a_permission_names_it(open_shop_from, action):
    shop = open_shop_from(template_without(CONSUMER, action))
    night = start_night(shop)
    wait_for_refusal(shop, action)
    assert shop.run(night.run_id)["status"] == "running"


def test_night_completes_with_all_permissions(open_shop_from):
    shop = open_shop_from(PATH.read_text())
    night = start_night(shop)
    shop.settled(night.run_id)
    assert night.counters() == (3, 3, 2, 0, 1)
    assert len(shop.dead_sessions()) == 1


def test_night_completes_with_a_ledger_that_the_stack_makes(open_shop_from):
    shop = open_shop_from(PATH.read_text(), LedgerTable="create")
    night = start_night(shop)
    shop.settled(night.run_id)
    assert night.counters() == (3, 3, 2, 0, 1)
    assert prefixes(shop, shop.stack.table) == {"USER", "EVENT"}
    assert prefixes(shop, shop.stack.ledger) == {"SYSTEM", "SYNC_RUN", "SESSION"}


def test_night_of_a_shop_with_its_own_layout_only_reads_its_table(open_shop_from):
    key = 'key = { PK = "CART#{metadata.userId}", SK = "{id}" }'
    shape = f'[find]\n{key}\ndone = {{ status = ["PAID"] }}\nopen = {{ status = ["PENDING"] }}'
    shop = open_shop_from(PATH.read_text(), LedgerTable="create", Shape=shape)
    night = shop.night()
    for name, status in {"done": "PAID", "open": "PENDING"}.items():
        spec = night.sells(name, event_delivered=False)
        item = {"PK": f"CART#{night.user}", "SK": spec.id, "status": status}
        wire = {name: {"S": value} for name, value in item.items()}
        shop.stack.client("dynamodb").put_item(TableName=shop.stack.table, Item=wire)
    before = shop.dump_table(shop.stack.table)
    assert night.play() == (2, 2, 0, 1, 0)
    assert (shop.run(night.run_id)["missing"], shop.outcome(night.run_id, spec)["outcome"]) == (1, "missing")
    assert shop.dump_table(shop.stack.table) == before


def prefixes(shop, table):
    return {pk.partition("#")[0] for pk, _ in shop.dump_table(table)}


@only_in_prove
@pytest.mark.parametrize("pattern", ["USER#", "EVENT#", "SYNC_RUN#", "SESSION#"])
def test_consumer_with_a_ledger_may_write_only_the_partitions_of_its_policy(open_shop_from, pattern):
    shop = open_shop_from(PATH.read_text().replace(f'"{pattern}*"', '"OTHER#*"'), LedgerTable="create")
    night = start_night(shop)
    wait_for_refusal(shop, "dynamodb:PutItem")
    assert shop.run(night.run_id)["status"] == "running"


@only_in_prove
def test_consumer_without_changing_visibility_completes_the_run(open_shop_from):
    shop = open_shop_from(template_without(CONSUMER, LATER))
    night = start_night(shop)
    wait_for_refusal(shop, LATER)
    wait_until(lambda: night.counters() == (3, 3, 2, 0, 1), "the run is complete", PATIENCE)
    wait_until(lambda: shop.queues() == (1, 0), "only the failed session is left", PATIENCE)


@only_in_prove
@pytest.mark.parametrize("pattern", ["USER#", "SYNC_RUN#", "EVENT#", "SESSION#"])
def test_consumer_may_write_only_the_partitions_of_its_policy(open_shop_from, pattern):
    shop = open_shop_from(PATH.read_text().replace(f'"{pattern}*"', '"OTHER#*"'))
    night = start_night(shop)
    wait_for_refusal(shop, "dynamodb:PutItem")
    assert shop.run(night.run_id)["status"] == "running"
