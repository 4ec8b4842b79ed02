"""`nightly-sync explain` on a deployed stack, the morning after a bad night."""

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
# The rest of an address if only its beginning is shown.
ADDRESS = re.compile(r"\w@\w|jane|doeshop|example\.com", re.IGNORECASE)


@pytest.fixture(scope="module")
def shop(open_shop):
    return open_shop()


@pytest.fixture(scope="module")
def cli(shop, tmp_path_factory):
    return Cli(shop.stack, tmp_path_factory.mktemp("sandbox"))


class ExplainedNight:
    """A night with one recovered and one doubled order, both of Jane, and one dead session."""

    def __init__(self, shop):
        self.now = int(time.time())
        self.recovered = self._session("recovered", email=JANE, name="Jane Doe", phone="+15550100")
        self.doubled = self._session("doubled", email=JANE)
        self.dead = self._session("dead", metadata={"userId": "user-1"})
        shop.sells(self.recovered, self.doubled, self.dead)
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
    return ExplainedNight(shop)


def test_recovered_order_is_explained_in_sentences_and_sections(cli, night):
    ran = cli("explain", night.recovered.id)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0].startswith(f"Run {night.run_id} wrote its order BC-ECOVERED")
    assert "The schedule is off: no run starts automatically." in ran.lines
    headings = [line for line in ran.lines if line in ("Stripe", "Order", "Runs", "Events")]
    assert headings == ["Stripe", "Order", "Runs", "Events"]
    assert "15.00 USD" in ran.out
    assert "https://dashboard.stripe.com/test/search?query=cs_test_recovered" in ran.out


def test_session_is_found_by_its_order_number_and_its_payment(cli, night):
    dashboard = f"https://dashboard.stripe.com/test/payments/{night.recovered.payment_intent}"
    for reference in ("BC-ECOVERED", night.recovered.payment_intent, dashboard):
        assert cli.data("explain", reference)["sessionId"] == night.recovered.id


def test_address_of_two_sessions_is_refused_and_not_repeated(cli, night):
    ran = cli("explain", JANE)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert night.recovered.id in ran.err
    assert night.doubled.id in ran.err
    assert ADDRESS.findall(ran.err) == []


def test_json_has_verdict_and_facts(cli, night):
    data = cli.data("explain", night.recovered.id)
    assert (data["sessionId"], data["needsAttention"]) == (night.recovered.id, False)
    assert (data["verdict"]["case"], data["verdict"]["toDo"]) == ("recovered", None)
    facts = data["facts"]
    amount = {"currency": "usd", "amount": 1500}
    assert (facts["stripe"]["status"], facts["stripe"]["amount"]) == ("complete", amount)
    assert [(run["runId"], run["outcome"]) for run in facts["runs"]] == [(night.run_id, "created")]
    orders = [(order["source"], order["runId"]) for order in facts["orders"]]
    assert orders == [("nightly_sync", night.run_id)]
    assert [event["id"] for event in facts["events"]] == [night.recovered.completed_event_id]
    assert facts["missing"] == []


def test_customer_data_is_masked_in_text_and_json(cli, night):
    for spec in (night.recovered, night.doubled):
        for arguments in ([], ["--json"]):
            out = cli("explain", spec.id, *arguments).out
            assert "USER#j…@…/ORDER#" in out or "USER#j\\u2026@\\u2026/ORDER#" in out
            assert ADDRESS.findall(out) == []
            assert "+15550100" not in out


def test_show_pii_shows_the_user_id_only(cli, night):
    out = cli("explain", night.recovered.id, "--show-pii").out
    assert f"USER#{JANES_ID}/ORDER#" in out
    assert [secret for secret in ("Jane Doe", "+15550100", STRIPE_KEY) if secret in out] == []


def test_dead_session_is_explained_with_the_command(cli, night):
    ran = cli("explain", night.dead.id)
    assert ran.code == 1
    assert ran.lines[0].startswith(f"Run {night.run_id} gave it up (SessionNotFound: Stripe: ")
    data = cli.data("explain", night.dead.id)
    assert data["verdict"]["case"] == "dead"
    assert data["verdict"]["toDo"] == (
        "The cause is fixed, and the order would be written now: "
        f"nightly-sync dlq redrive --session {night.dead.id}"
    )
    assert (data["facts"]["prospect"]["would"], len(data["facts"]["deadLetters"])) == ("create", 1)


def test_wrong_key_leaves_what_the_table_knows(cli, shop, night):
    shop.stack.set_stripe_key("sk_test_wrong")
    try:
        ran = cli("explain", night.recovered.id)
    finally:
        shop.stack.set_stripe_key(STRIPE_KEY)
    assert ran.code == 0
    assert f"In run {night.run_id} it was written as order BC-ECOVERED." in ran.out
    assert "Could not be read" in ran.lines
    assert "sk_test" not in ran.out + ran.err


@pytest.mark.usefixtures("night")
@pytest.mark.parametrize(
    ("session_id", "error"),
    [
        ("cs_live_elsewhere", "it is a live session, and the sync's key is a test key"),
        ("BC-NOWHERE1", "no session of the last 30 days has the order number BC-NOWHERE1"),
        ("recovered", "'recovered' is not a Checkout Session"),
    ],
)
def test_unknown_session_is_one_line_with_the_likely_cause(cli, session_id, error):
    ran = cli("explain", session_id)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert error in ran.err
    assert cli("explain", session_id, "--json").json.keys() == {"error"}
