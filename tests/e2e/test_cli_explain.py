"""`nightly-sync explain` as an operator runs it: on a deployed stack, the morning after a bad night."""

import re
import time

import pytest

from recon.timestamps import HOUR
from sandbox.stack import STRIPE_KEY, wait_until
from testkit.fake_stripe import Endpoint, SessionSpec
from tests.e2e.operator_cli import Cli
from tests.e2e.shop import iso

pytestmark = pytest.mark.e2e

JANE = "jane.doe+shop@example.com"
JANES_ID = "jane.doeshop@example.com"  # as the webhook cleans it
# Whatever is left of an address when only its beginning is shown.
ADDRESS = re.compile(r"\w@\w|jane|doeshop|example\.com", re.IGNORECASE)


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop()


@pytest.fixture(scope="module")
def cli(shop, tmp_path_factory):
    return Cli(shop.stack, tmp_path_factory.mktemp("sandbox"))


class BadNight:
    """One order recovered, one doubled, both Jane's; one session dead, one unpaid."""

    def __init__(self, shop):
        self.now = int(time.time())
        self.recovered = self._session("recovered", email=JANE, name="Jane Doe", phone="+15550100")
        self.doubled = self._session("doubled", email=JANE)
        self.dead = self._session("dead", metadata={"userId": "user-1"})
        self.unpaid = self._session("unpaid", metadata={"userId": "user-1"}, payment_status="unpaid")
        shop.sells(self.recovered, self.doubled, self.dead, self.unpaid)
        for moment in (30, 90):
            shop.webhook_writes(self.doubled, JANES_ID, self.doubled.created + moment, customerEmail=JANE)
        shop.stripe.faults.missing(session=self.dead.id, endpoint=Endpoint.RETRIEVE)
        self.run_id = shop.body({"trigger": "scheduled", "scheduledTime": iso(self.now)})["runId"]
        shop.settled(self.run_id)
        wait_until(lambda: shop.queues() == (0, 1), "the dead letter is there", 30)
        shop.stripe.faults.clear()

    def _session(self, name, /, **changes):
        return SessionSpec(f"cs_test_{name}", self.now - 2 * HOUR, **changes)


@pytest.fixture(scope="module")
def night(shop):
    return BadNight(shop)


def test_a_recovered_order_is_told_in_a_sentence_and_then_in_facts(cli, night):
    ran = cli("explain", night.recovered.id)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].startswith(f"Run {night.run_id} wrote its order BC-ECOVERED")
    assert "The schedule is off: no run looks at it by itself." in ran.lines
    headings = [line for line in ran.lines if line in ("Stripe", "Order", "Runs", "Events")]
    assert headings == ["Stripe", "Order", "Runs", "Events"]
    assert "15.00 USD" in ran.out
    assert "https://dashboard.stripe.com/test/search?query=cs_test_recovered" in ran.out


def test_the_json_has_the_verdict_and_every_fact(cli, night):
    told = cli.data("explain", night.recovered.id)
    assert (told["sessionId"], told["needsAttention"]) == (night.recovered.id, False)
    assert (told["verdict"]["case"], told["verdict"]["toDo"]) == ("recovered", None)
    facts = told["facts"]
    assert (facts["stripe"]["status"], facts["stripe"]["amount"]) == (
        "complete",
        {"currency": "usd", "amount": 1500},
    )
    assert [(run["runId"], run["outcome"]) for run in facts["runs"]] == [(night.run_id, "created")]
    assert [(order["source"], order["runId"]) for order in facts["orders"]] == [
        ("nightly_sync", night.run_id)
    ]
    assert [event["id"] for event in facts["events"]] == [night.recovered.completed_event_id]
    assert facts["missing"] == []


def test_no_address_of_a_customer_is_shown_not_even_in_a_key(cli, night):
    for spec in (night.recovered, night.doubled):
        for arguments in ([], ["--json"]):
            out = cli("explain", spec.id, *arguments).out
            assert "USER#j…@…/ORDER#" in out or "USER#j\\u2026@\\u2026/ORDER#" in out
            assert ADDRESS.findall(out) == []
            assert "+15550100" not in out


def test_whoever_asks_for_it_sees_the_user_id_and_still_no_name(cli, night):
    out = cli("explain", night.recovered.id, "--show-pii").out
    assert f"USER#{JANES_ID}/ORDER#" in out
    assert [secret for secret in ("Jane Doe", "+15550100", STRIPE_KEY) if secret in out] == []


def test_two_orders_of_one_session_need_a_person(cli, night):
    ran = cli("explain", night.doubled.id)
    assert ran.code == 1
    assert ran.lines[0].startswith("It has 2 orders: USER#")
    assert "No run changes or deletes an order." in ran.lines


def test_a_dead_session_is_told_with_the_command_that_mends_it(cli, night):
    ran = cli("explain", night.dead.id)
    assert ran.code == 1
    assert ran.lines[0].startswith(f"Run {night.run_id} gave it up (SessionNotFound: Stripe: ")
    told = cli.data("explain", night.dead.id)
    assert told["verdict"]["case"] == "dead"
    assert told["verdict"]["toDo"] == (
        "The cause is gone, and now the order would be written: "
        f"nightly-sync dlq redrive --session {night.dead.id}"
    )
    assert (told["facts"]["prospect"]["would"], len(told["facts"]["deadLetters"])) == ("create", 1)


def test_an_unpaid_session_waits(cli, night):
    ran = cli("explain", night.unpaid.id)
    assert ran.code == 0
    assert "kept as pending" in ran.out


def test_without_a_right_key_it_tells_what_the_table_knows(cli, shop, night):
    shop.stack.set_stripe_key("sk_test_wrong")
    try:
        ran = cli("explain", night.recovered.id)
    finally:
        shop.stack.set_stripe_key(STRIPE_KEY)
    assert ran.code == 0
    assert f"In run {night.run_id} it was written as order BC-ECOVERED." in ran.out
    assert "Not known" in ran.lines
    assert "sk_test" not in ran.out + ran.err


def test_a_session_that_nobody_knows_is_one_line_that_says_the_likely_cause(cli, night):
    ran = cli("explain", "cs_live_elsewhere")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "it is a live session, and the sync's key is a test key" in ran.err
    assert cli("explain", "cs_live_elsewhere", "--json").json.keys() == {"error"}


def test_what_is_no_session_is_refused_before_anything_is_asked(cli):
    ran = cli("explain", "BC-ECOVERED")
    assert (ran.code, ran.out) == (2, "")
    assert "'BC-ECOVERED' is no Checkout Session's id" in ran.err
