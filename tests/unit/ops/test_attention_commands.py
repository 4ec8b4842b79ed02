"""What is shown of the sessions that need a person, and the commands that answer."""

import json
import re
from dataclasses import replace

import pytest

from ops.cli.commands.attention import ack, allow, dismiss
from ops.cli.commands.show import show
from ops.cli.commands.status import Status
from ops.cli.commands.status import show as show_status
from ops.cli.screen import CommandResult
from ops.errors import CommandError
from ops.format.attention import describe_stored_attention
from ops.report import collect_report, render_page
from ops.runs.attention import group_by_word
from ops.runs.prediction import predict
from ops.runs.problems import find_problems
from ops.runs.system_state import assess
from recon.domain.attention import Attention
from recon.dynamodb.attention import find_attention
from recon.dynamodb.keys import attention_key, dismissed_key, guard_key, outcome_key
from recon.stripe.source import StripeSource
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, a_message
from testkit.fake_stripe import SessionSpec
from testkit.reports import FINE
from testkit.world import wire
from tests.unit.ops.test_status import GOOD
from tests.unit.producer.nights import run_night

SESSION = "cs_test_00000001"
OTHER = "cs_test_00000002"
HOUR = 3600
UNTIL, HELD = "2024-11-27 03:00", "the payment is authorised and not captured"


@pytest.fixture
def put(world):
    def write(key, **fields):
        item = {"PK": key[0], "SK": key[1]} | fields
        world.memory.put_item(TableName=world.ledger, Item=wire(item))

    return write


@pytest.fixture
def needs(put):
    def write(session_id, *words, amount=4999, currency="eur", **fields):
        item = {"words": list(words), "amount": amount, "currency": currency, "since": "2024-11-27T02:00:00Z"}
        put(attention_key(session_id), **item | fields)

    return write


def findings(context):
    groups = group_by_word(find_attention(context.stack.table))
    found = find_problems(GOOD.__class__(**GOOD.__dict__ | {"attention": groups}))
    return [(one.what, one.command, *map(str, one.money)) for one in found]


def test_status_lists_open_words_with_number_money_and_command(context, needs):
    needs(SESSION, "awaiting_capture", "disputed")
    needs(OTHER, "awaiting_capture", amount=1500, currency="usd", until=NOW + HOUR)
    needs("cs_test_3", "awaiting_capture", acknowledgedBy="jane")
    needs("cs_test_4", "shipped_twice", amount=None, currency=None)
    assert findings(context) == [
        (
            "disputed: 1 session (the customer disputes the payment)",
            f"nightly-sync explain {SESSION}",
            "49.99 EUR",
        ),
        (
            f"awaiting_capture: 2 sessions, to capture until {UNTIL} UTC ({HELD})",
            f"nightly-sync explain {OTHER}",
            "49.99 EUR",
            "15.00 USD",
        ),
        ("shipped_twice: 1 session (shipped_twice)", "nightly-sync explain cs_test_4"),
    ]


def test_status_names_a_command_for_each_session_of_a_group(context, needs):
    for n in range(7):
        needs(f"cs_test_{n}", "disputed", since=f"2024-11-2{n}T02:00:00Z")
    facts = replace(GOOD, attention=group_by_word(find_attention(context.stack.table)))
    shown = context.show(
        CommandResult(None, lambda screen: show_status(screen, Status(facts, assess(facts))))
    )
    assert re.findall(r"nightly-sync (?:explain|status) .*", shown) == [
        *(f"nightly-sync explain cs_test_{n}" for n in range(5)),
        "nightly-sync status --json   # lists the 2 others",
    ]


def test_status_json_has_the_groups():
    assert "attention" in Status(GOOD, assess(GOOD)).json


@pytest.mark.parametrize("word", Attention)
def test_every_word_has_a_sentence(word):
    assert describe_stored_attention(word) != word


def test_report_begins_with_the_sessions_that_need_a_person(context, needs):
    needs(SESSION, "disputed")
    needs(OTHER, "gone", acknowledgedBy="jane")
    page = render_page(collect_report(context.stack.table, now=NOW, days=1, stack="shop", state=FINE))
    assert page.index('id="attention"') < page.index('id="period"') < page.index('id="unknown"')
    assert ("€49.99" in page, SESSION in page, OTHER in page) == (True, True, False)


def test_show_says_the_words_of_an_outcome(world, context):
    world.sells(SessionSpec(SESSION, NOW - HOUR, metadata={}))
    world.night()
    shown = context.show(show(context, "last"))
    assert "no_user, no_user_paid" in " ".join(shown.split())
    assert "it is paid and has no user id, so no order was written" in shown


def test_ack_keeps_words_silent_and_says_by_whom(world, context, needs):
    needs(SESSION, "disputed")
    result = ack(context, SESSION)
    assert not result.needs_attention
    assert f"{SESSION}: acknowledged by jane" in context.show(result)
    assert world.item(*attention_key(SESSION))["acknowledgedBy"] == "jane"
    assert findings(context) == []
    assert "was acknowledged before by jane" in context.show(ack(context, SESSION))


@pytest.mark.parametrize("session", [SESSION, "pi_1", "cs_live_nobody"])
def test_ack_refuses_what_is_not_open(session, context):
    with pytest.raises(CommandError, match=r"nothing is open for cs_|not a Checkout Session id"):
        ack(context, session)


def test_dismissed_session_is_skipped_in_every_window_until_it_is_allowed(world, context, needs):
    needs(SESSION, "awaiting_capture")
    world.sells(SessionSpec(SESSION, NOW - HOUR, metadata={"userId": "u1"}))
    context.show(dismiss(context, SESSION, "bought by ann@example.com for a test"))
    decision = world.item(*dismissed_key(SESSION))
    assert (decision["dismissedBy"], world.item(*attention_key(SESSION))) == ("jane", None)
    assert "example" not in json.dumps(decision)
    world.night()
    assert (world.orders(), world.run()["skipped"]) == ([], 1)
    assert (
        predict(a_message(session_id=SESSION), context.stack.table, world.connect, world.settings, NOW).reason
        == "dismissed"
    )
    assert "was dismissed before by jane: bought" in context.show(dismiss(context, SESSION, "again"))
    assert "it is not dismissed any more" in context.show(allow(context, "by mistake", SESSION))
    world.clock.sleep(1)
    world.body({"lookbackHours": 48})
    world.drain()
    assert len(world.orders()) == 1


def test_dismiss_refuses_a_session_that_neither_stripe_nor_the_sync_knows(world, context, needs):
    for session, why in (
        (SESSION, "mistyped"),
        ("cs_live_1", "a live session, and the sync's key is a test"),
    ):
        with pytest.raises(CommandError, match=f"nothing was changed: .* know {session}; .*{why}"):
            dismiss(context, session, "a test")
        assert world.item(*dismissed_key(session)) is None
    # A session that Stripe finds no longer can be given up, and so can one while Stripe is not read.
    needs(SESSION, "gone")
    dismiss(context, SESSION, "a test")
    world.stripe.faults.unauthorized()
    dismiss(context, OTHER, "a test")
    assert world.item(*dismissed_key(OTHER))["dismissedBy"] == "jane"


def test_allow_prints_the_run_that_looks_at_the_session_again(world, context):
    world.sells(SessionSpec(SESSION, NOW - 5 * HOUR, metadata={}))
    world.night()
    dismiss(context, SESSION, "a test")
    assert findings(context) == []
    shown = context.show(allow(context, "by mistake", SESSION))
    command = re.search(r"nightly-sync run --from (\S+) --to (\S+)", shown)
    world.clock.sleep(1)
    world.body({"from": command[1], "to": command[2]})
    world.drain()
    assert [what.partition(":")[0] for what, *_ in findings(context)] == ["no_user_paid"]


def test_dry_run_leaves_dismissed_sessions_out(world, put):
    world.sells(SessionSpec(SESSION, NOW - HOUR, metadata={"userId": "u1"}))
    assert world.body({"dryRun": True})["created"] == 1
    put(dismissed_key(SESSION), dismissedBy="jane")
    preview = world.body({"dryRun": True})
    assert (preview["created"], preview["skipped"]) == (0, 1)


def test_allow_takes_back_all_of_a_run(world, context, put):
    for session in (SESSION, OTHER):
        world.sells(SessionSpec(session, NOW - HOUR, metadata={"userId": session}))
    dismiss(context, OTHER, "a test")
    world.night()
    put(guard_key(SESSION), orderNumber="BC-1")
    shown = context.show(allow(context, "the table was restored", run="last"))
    assert f"{SESSION}: a run may write its order once more." in shown
    assert f"{OTHER}: it is not dismissed any more." in shown
    window = ("lookbackStart", "lookbackEnd")
    times = [to_iso(world.run()[name]) for name in window]
    assert "nightly-sync run --from {} --to {}".format(*times) in shown
    with pytest.raises(CommandError, match="nothing to take back for run last"):
        allow(context, "again", run="last")


@pytest.fixture
def late_order(world):
    """Let a run write the order of a session that is paid three days late, and a person delete it."""
    spec = SessionSpec(SESSION, NOW - HOUR, metadata={"userId": "u1"}, payment_status="unpaid")
    world.sells(spec)
    for night in range(4):
        run_night(world, night)
    world.sells(replace(spec, payment_status="paid", async_paid_at=NOW + 3 * DAY + HOUR))
    world.sells(SessionSpec(OTHER, NOW + 4 * DAY - HOUR, metadata={"userId": "u2"}))
    run = run_night(world, 4)
    assert run["created"] == 2
    assert run["lookbackStart"] > NOW
    for order in world.orders():
        world.memory.delete_item(TableName=world.table, Key=wire({"PK": order["PK"], "SK": order["SK"]}))
    return run


def test_allow_of_a_run_prints_a_command_that_reaches_its_late_payments(world, context, late_order):
    shown = context.show(allow(context, "the table was restored", run=late_order["runId"]))
    command = re.search(r"nightly-sync run --from (\S+) --to (\S+)", shown)
    assert command[2] == to_iso(late_order["lookbackEnd"])
    world.clock.sleep(1)
    world.night({"from": command[1], "to": command[2]})
    assert sorted(order["orderId"] for order in world.orders()) == [SESSION, OTHER]


def test_allow_of_a_run_reaches_late_payments_that_were_purged_untried(context, late_order, put):
    put(outcome_key(late_order["runId"], SESSION), outcome="skipped", reason="dismissed", attempts=0)
    result = allow(context, "by mistake", run=late_order["runId"])
    assert f"--from {to_iso(NOW - HOUR - 60)}" in context.show(result)


@pytest.mark.parametrize("by_run", [True, False])
def test_allow_names_the_sessions_of_which_stripe_says_no_time(world, context, late_order, by_run):
    world.stripe.faults.unauthorized()
    what = {"run": late_order["runId"]} if by_run else {"session": SESSION}
    result = allow(context, "the table was restored", **what)
    assert (result.data.command, result.data.unknown_start) == (None, (SESSION,))
    shown = " ".join(context.show(result).split())
    assert f"Stripe does not say when {SESSION} began" in shown
    assert "--from" not in shown


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ack", "Missing argument"),
        ("ack pi_1", "not a Checkout Session id"),
        ("dismiss cs_live_1", "Missing option"),
        ("dismiss cs_live_1 --because ' '", "--because is empty"),
        (f"dismiss cs_live_1 --because {'x' * 501}", "--because has 501 characters; at most 500"),
        ("allow --because x", "name what to allow"),
        ("allow cs_live_1 --run last --because x", "SESSION cannot be combined with --run"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(line, error, cli):
    result = cli(line)
    assert result.exit_code == 2
    assert error in result.output


# A paid session whose order says unpaid


@pytest.fixture
def unpaid_order(player):
    """Let the order of a session say unpaid, and Stripe say paid from the second night on."""
    player.sell(
        {"id": SESSION, "metadata": {"userId": "u1"}, "email": "b@example.com", "payment_status": "unpaid"}
    )
    player.world.webhook_writes(SESSION, "u1", NOW - HOUR, stripePaymentStatus="unpaid")
    player.night(0)
    player.change({"id": SESSION, "payment_status": "paid", "async_paid_at": HOUR})
    player.night(3)
    return player


def waits(player):
    return player.world.item("SYSTEM", f"PENDING#{SESSION}") is not None


def test_unpaid_order_is_reported_until_somebody_knows_of_it(unpaid_order, context):
    player = unpaid_order
    for _ in range(2):
        assert player.night(1)["drifted"] == 1
        assert (player.outcome(SESSION)["reason"], waits(player)) == ("exists", True)
        assert [what.partition(":")[0] for what, *_ in findings(context)] == ["order_says_unpaid"]


def test_acknowledged_unpaid_order_ends_its_wait_silently(unpaid_order, context):
    player = unpaid_order
    before = player.world.orders()
    ack(context, SESSION)
    predicted = predict(
        a_message(session_id=SESSION, user_id="u1", created=NOW - HOUR, pending=NOW + 2 * DAY),
        context.stack.table,
        lambda: StripeSource(player.world.connect(), player.world.clock.deadline(HOUR), lambda: None),
        player.world.settings,
        int(player.world.clock.now),
    )
    assert (predicted.reason, predicted.waits, predicted.drift) == ("exists", False, ())
    assert player.night(1)["drifted"] == 0
    outcome = player.outcome(SESSION)
    assert (outcome["reason"], outcome["attention"]) == ("exists", ["order_says_unpaid"])
    assert "drift" not in outcome
    assert not waits(player)
    assert player.night(1)["drifted"] == 0
    assert (player.outcome(SESSION), findings(context)) == ({}, [])
    assert player.world.orders() == before


def test_other_differences_of_an_acknowledged_order_stay_drift(unpaid_order, context):
    ack(context, SESSION)
    unpaid_order.world.webhook_writes(SESSION, "u1", NOW - HOUR, stripePaymentStatus="unpaid", amount=1)
    assert unpaid_order.night(1)["drifted"] == 1
    assert [drift.partition(":")[0] for drift in unpaid_order.outcome(SESSION)["drift"]] == ["amount"]
