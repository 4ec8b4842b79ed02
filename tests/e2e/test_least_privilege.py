"""With one permission less the pipeline fails and says which. That nothing more is granted, see `calls.py`.

The emulator enforces the roles' policies in all of the suite. A few permissions are enough to see that it
does; EVERY_ACTION=1 takes each away once, as `make prove` does.
"""

import json
import os

import pytest

from recon.timestamps import DAY
from sandbox.stack import InvocationError, wait_until
from testkit.roles import CALLED_BY_AWS, PATH, granted_actions, template_without
from tests.e2e.calls import ROLES
from tests.e2e.shop import PATIENCE

pytestmark = pytest.mark.e2e

PRODUCER, CONSUMER = ROLES["producer"], ROLES["consumer"]
FEW = {
    PRODUCER: {"dynamodb:UpdateItem", "sqs:SendMessage"},
    CONSUMER: {"dynamodb:PutItem", "ssm:GetParameter"},
}
# Without this one nothing fails: messages come back, only later.
LATER = "sqs:ChangeMessageVisibility"


def taken_away(role):
    every = os.environ.get("EVERY_ACTION")
    return sorted((granted_actions(role) - CALLED_BY_AWS[role] if every else FEW[role]) - {LATER})


@pytest.fixture
def open_shop_of(open_brief_shop, tmp_path):
    """A shop that is deployed from another template, and ends with the test: it would go on trying."""

    def make(text, **parameters):
        template = tmp_path / "template.yaml"
        template.write_text(text)
        return open_brief_shop(template=template, **parameters)

    return make


def a_night_of_all_kinds(shop):
    """Sessions that take every call of a consumer: one of tonight's whose webhook may still come, one that
    waited for its payment, and one that Stripe does not know."""
    night = shop.night()
    night.sells("sold", event_delivered=False)
    paid = night.sells("waited", created=night.begin - 3 * DAY)
    message = night.message(paid, paymentStatus="unpaid", pending=paid.created)
    waiting = {"PK": "SYSTEM", "SK": f"PENDING#{paid.id}", "message": json.dumps(message)}
    wire = {name: {"S": value} for name, value in waiting.items()}
    shop.stack.client("dynamodb").put_item(TableName=shop.stack.table, Item=wire)
    shop.stripe.faults.missing(session=night.sells("gone").id)
    return night


def refusals(shop, function, action):
    return [line for line in shop.logged(function) if f"no permission for {action}" in line["message"]]


def await_refusal(shop, action):
    wait_until(lambda: refusals(shop, shop.stack.consumer, action), f"{action} is missed", PATIENCE)


@pytest.mark.parametrize("action", taken_away(PRODUCER))
def test_a_producer_that_lacks_a_permission_fails_and_names_it(open_shop_of, action):
    # So many, and few at a time, so that it has to go on in another invocation.
    shop = open_shop_of(template_without(PRODUCER, action), MaxSessions=10)
    shop.stack.pause_consumer()
    night = shop.night()
    night.sells_many(450)
    with pytest.raises(InvocationError, match=f"no permission for {action}"):
        night.produce()
    assert refusals(shop, shop.stack.producer, action)
    assert not shop.run(night.run_id).get("listed")


@pytest.mark.parametrize("action", taken_away(CONSUMER))
def test_a_consumer_that_lacks_a_permission_does_not_end_the_run_and_names_it(open_shop_of, action):
    shop = open_shop_of(template_without(CONSUMER, action))
    night = a_night_of_all_kinds(shop)
    night.produce()
    await_refusal(shop, action)
    assert shop.run(night.run_id)["status"] == "running"


def test_with_all_permissions_the_same_night_ends(open_shop_of):
    shop = open_shop_of(PATH.read_text())
    night = a_night_of_all_kinds(shop)
    night.passes()
    assert night.counters() == (3, 3, 2, 0, 1)
    assert [message.partition("_")[0] for message in shop.dead_sessions()] == ["cs"]


@pytest.mark.skipif("EVERY_ACTION" not in os.environ, reason="make prove")
def test_a_consumer_that_may_not_change_visibility_says_so_and_ends_the_run(open_shop_of):
    shop = open_shop_of(template_without(CONSUMER, LATER))
    night = a_night_of_all_kinds(shop)
    night.produce()
    await_refusal(shop, LATER)
    wait_until(lambda: night.counters() == (3, 3, 2, 0, 1), "the run is through", PATIENCE)
    wait_until(lambda: shop.queues() == (1, 0), "only the one that failed is left", PATIENCE)


@pytest.mark.skipif("EVERY_ACTION" not in os.environ, reason="make prove")
@pytest.mark.parametrize("pattern", ["USER#", "SYNC_RUN#", "EVENT#"])
def test_a_consumer_may_write_the_partitions_that_its_policy_names_and_no_others(open_shop_of, pattern):
    shop = open_shop_of(PATH.read_text().replace(f'"{pattern}*"', '"OTHER#*"'))
    night = a_night_of_all_kinds(shop)
    night.produce()
    await_refusal(shop, "dynamodb:PutItem")
    assert shop.run(night.run_id)["status"] == "running"
