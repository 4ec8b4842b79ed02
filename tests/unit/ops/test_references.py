"""What `explain` takes for a session, and how the one session is found."""

import pytest

from ops.errors import CommandError
from ops.explain.find_session import MOST_NAMED, SessionFinder
from ops.explain.references import Reference, ReferenceKind, parse_reference
from ops.format.links import session_url
from ops.format.masking import mask_emails
from ops.stack.stripe_access import StripeAccess
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Table
from recon.timestamps import HOUR
from testkit.builders import NOW
from testkit.fake_stripe import SessionSpec

SESSION, PAYMENT = "cs_live_a1B2c3D4", "pi_3MtwBwLkdIwHu7ix28a3tqPa"
JANE = "jane.doe+shop@example.com"
DASHBOARD = "https://dashboard.stripe.com"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (SESSION, ReferenceKind.SESSION, SESSION),
        (f" {SESSION}\n", ReferenceKind.SESSION, SESSION),
        (PAYMENT, ReferenceKind.PAYMENT, PAYMENT),
        ("BC-A1B2C3D4", ReferenceKind.ORDER_NUMBER, "BC-A1B2C3D4"),
        ("#1042", ReferenceKind.ORDER_NUMBER, "#1042"),
        (JANE, ReferenceKind.EMAIL, JANE),
        (f"{DASHBOARD}/payments/{PAYMENT}", ReferenceKind.PAYMENT, PAYMENT),
        (f"{DASHBOARD}/test/payments/{PAYMENT}?a=b#c", ReferenceKind.PAYMENT, PAYMENT),
        (f"{DASHBOARD}/acct_1032D82eZvKYlo2C/test/payments/{PAYMENT}/", ReferenceKind.PAYMENT, PAYMENT),
        (f"dashboard.stripe.com/payments/{PAYMENT}", ReferenceKind.PAYMENT, PAYMENT),
        (f"{DASHBOARD}/checkout/sessions/{SESSION}", ReferenceKind.SESSION, SESSION),
        (f"{DASHBOARD}/test/workbench/inspector?id={SESSION}", ReferenceKind.SESSION, SESSION),
        (
            f"{DASHBOARD}/search?query={JANE.replace('@', '%40').replace('+', '%2B')}",
            ReferenceKind.EMAIL,
            JANE,
        ),
        (f"{DASHBOARD}/search?query=BC-A1B2C3D4", ReferenceKind.ORDER_NUMBER, "BC-A1B2C3D4"),
        (f"https://checkout.stripe.com/c/pay/{SESSION}#fidkdWxOYHw", ReferenceKind.SESSION, SESSION),
        (f"https://shop.example/thanks?session_id={SESSION}&p={PAYMENT}", ReferenceKind.SESSION, SESSION),
        # The links that the commands print themselves
        (session_url(SESSION), ReferenceKind.SESSION, SESSION),
        (session_url("cs_test_1"), ReferenceKind.SESSION, "cs_test_1"),
    ],
)
def test_reference_is_recognised(text, kind, value):
    assert parse_reference(text) == Reference(kind, value)


OTHER_TEXTS = ["nobody", "cs_", "cs_ä", "ch_1", "sub_1", "in_1", "evt_1", "cus_1", "a b", "@", "BC A1", "€"]
OTHER_TEXTS += ["x" * 70 + "1", f"{DASHBOARD}/customers/cus_1", f"{DASHBOARD}/", "https://["]
OTHER_TEXTS += [f"{DASHBOARD}/search?query=cus_1"]


@pytest.mark.parametrize("text", OTHER_TEXTS, ids=lambda text: text[:30])
def test_other_text_is_refused_with_what_is_accepted(text):
    with pytest.raises(CommandError, match=r"a payment \(pi_…\), an order number"):
        parse_reference(text)


@pytest.mark.parametrize(
    "text", [f"{JANE} and more", f"{'x' * 36}@example.com y", f"{DASHBOARD}/customers?q={JANE}"]
)
def test_refused_address_is_not_repeated(text):
    with pytest.raises(CommandError) as refused:
        parse_reference(text)
    assert "@" not in str(refused.value)


@pytest.fixture
def find(world):
    """Return the id of the session that a text names, two hours after its night."""
    with StripeAccess(world.settings, lambda: world.ssm, world.clock.deadline(10**9)) as access:
        table = Table(world.dynamodb, world.table)
        runs = Runs(table, world.clock.deadline(10**9))
        finder = SessionFinder(table, runs, access.source, "BC", world.clock())
        yield lambda text: finder.find(parse_reference(text))


def sell(world, name, **fields):
    spec = {"created": NOW - HOUR, "metadata": {"userId": "user-1"}} | fields
    return world.sells(SessionSpec(f"cs_test_{name}", **spec))


def test_payment_leads_to_its_session(world, find):
    spec = sell(world, "paid0001")
    sell(world, "other001")
    assert find(spec.payment_intent) == spec.id
    assert find(f"{DASHBOARD}/test/payments/{spec.payment_intent}") == spec.id
    with pytest.raises(CommandError, match=r"^no Checkout Session has the payment pi_none; "):
        find("pi_none")


def test_order_number_leads_to_the_session_of_a_run_or_at_stripe(world, find):
    recovered, later = sell(world, "aaAA0001"), None
    world.night()
    assert find("BC-AAAA0001") == recovered.id
    assert find("bc-aaaa0001") == recovered.id
    later = sell(world, "bbbb0002", created=world.clock() - HOUR)
    assert find("BC-BBBB0002") == later.id
    with pytest.raises(
        CommandError, match=r"^no session of the last 30 days has the order number BC-CCCC0003"
    ):
        find("BC-CCCC0003")


def test_order_number_of_two_sessions_is_refused_with_both(world, find):
    first, second = sell(world, "1_aaAA0001"), sell(world, "2_AAaa0001")
    world.night()
    with pytest.raises(
        CommandError, match=r"^order number BC-AAAA0001 has 2 sessions; explain one"
    ) as refused:
        find("BC-AAAA0001")
    assert first.id in str(refused.value)
    assert second.id in str(refused.value)


def test_number_of_the_webhook_is_found_in_the_outcomes_only(world, find):
    sell(world, "aaaa0001")
    world.night()
    with pytest.raises(CommandError, match="has the order number #1042"):
        find("#1042")


def test_email_leads_to_the_complete_session_of_its_customer(world, find):
    complete = sell(world, "complete", email=JANE)
    sell(world, "expired1", email=JANE, status="expired", payment_status="unpaid")
    sell(world, "someone1", email="other@example.com")
    assert find(JANE) == complete.id


def test_email_leads_to_the_order_that_is_stored_under_it(world, find):
    spec = sell(world, "ordered1", metadata={"userId": JANE})
    world.webhook_writes(spec.id, "jane.doeshop@example.com", NOW - HOUR)
    assert find(JANE) == spec.id


def test_email_of_several_sessions_names_the_newest_and_never_the_address(world, find):
    count = MOST_NAMED + 2
    specs = [sell(world, f"several{n:02}", email=JANE, created=NOW - n * HOUR) for n in range(count)]
    with pytest.raises(
        CommandError, match=rf"^this e-mail address has {count} sessions; explain one"
    ) as refused:
        find(JANE)
    message = str(refused.value)
    assert [spec.id in message for spec in specs] == [True] * MOST_NAMED + [False] * 2
    assert message.endswith(" and 2 more")
    assert mask_emails(message) == message


def test_unknown_email_is_an_error_without_the_address(find):
    with pytest.raises(CommandError, match=r"^no Checkout Session and no order has this e-mail address"):
        find(JANE)
