"""One group of sessions: what is committed for each, and the recheck right before the commit."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from consumer.session_group import NO_CHARGES, NO_DETAILS
from consumer.session_tasks import SessionTask
from recon.domain.message import loads
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.shape import parse_shape
from recon.dynamodb.attention import AttentionRecord
from recon.dynamodb.keys import STATE_KEY, attention_key, marker_key, outcome_key, pending_key
from recon.dynamodb.outcomes import PriorState
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.table import Table
from recon.errors import (
    KeyUnavailable,
    MalformedMessage,
    OutOfTime,
    StripeUnavailable,
    TableUnavailable,
    Unexpected,
)
from recon.timestamps import DAY
from testkit.batches import USER, a_fetched_session, parse_log, parse_metrics
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import on, throttled


def a_task(session_id="cs_1", *, receives=1, **changes):
    message = a_message(**{"session_id": session_id, "user_id": USER} | changes)
    return SessionTask(message.run_id, session_id, message, None, f"m-{session_id}", receives)


MALFORMED = SessionTask(RUN, "cs_9", None, MalformedMessage("mode is missing"), "m-cs_9", 1)


@pytest.fixture
def sell(consumer):
    def sell(*session_ids, **changes):
        consumer.answers |= {session: a_fetched_session(session, **changes) for session in session_ids}

    return sell


def read_applied(result):
    return {session: (each.outcome, each.reason) for session, each in result.committed.applied.items()}


# Results


def test_each_session_of_a_group_gets_its_own_outcome(consumer, sell):
    sell("cs_new")
    sell("cs_open", status="open")
    consumer.answers |= {"cs_down": StripeUnavailable("no"), "cs_bug": ZeroDivisionError("a secret")}
    consumer.put_webhook_order("cs_known")
    tasks = map(a_task, ("cs_new", "cs_known", "cs_open", "cs_down", "cs_bug"))
    result = consumer.reconcile(
        MALFORMED, *tasks, a_task("cs_nobody", user_id=None), a_task("cs_setup", mode="setup")
    )
    assert read_applied(result) == {
        "cs_9": (Outcome.ERROR, None),
        "cs_new": (Outcome.CREATED, None),
        "cs_known": (Outcome.SKIPPED, "exists"),
        "cs_open": (Outcome.ERROR, None),
        "cs_nobody": (Outcome.SKIPPED, "no_user"),
        "cs_setup": (Outcome.SKIPPED, "not_a_sale"),
    }
    down, bug = (result.delayed.pop(session) for session in ("cs_down", "cs_bug"))
    assert down is consumer.answers["cs_down"]
    assert (type(bug), str(bug)) == (Unexpected, "ZeroDivisionError while the order was built")
    assert (result.delayed, result.warnings) == ({}, ())
    assert consumer.outcome("cs_9")["errorMessage"] == "mode is missing"
    assert [order["orderId"] for order in consumer.orders() if "orderId" in order] == ["cs_new"]


def test_outcome_has_amount_attempts_and_message_id(consumer, sell):
    sell("cs_1", payment_status="unpaid")
    consumer.reconcile(
        a_task(payment_status="unpaid", amount_total=700, currency="JPY", receives=3), MALFORMED
    )
    outcome = consumer.outcome("cs_1")
    assert (outcome["amount"], outcome["currency"]) == (700, "jpy")
    assert (outcome["attempts"], outcome["messageId"]) == (3, "m-cs_1")
    assert not {"amount", "currency", "pending"} & consumer.outcome("cs_9").keys()


@pytest.mark.parametrize("currency", [None, "eur"])
def test_outcome_of_a_free_order_has_the_amount_zero(consumer, sell, currency):
    """Of a free session Stripe may state neither an amount nor a currency."""
    free = {"payment_status": "no_payment_required", "amount_total": None, "currency": currency}
    sell("cs_1", amount_subtotal=None, **free)
    consumer.reconcile(a_task(**free))
    outcome = consumer.outcome("cs_1")
    assert (outcome["outcome"], outcome["amount"], outcome.get("currency")) == ("created", 0, currency)


def test_outcome_of_an_order_has_the_amount_at_stripe(consumer, sell):
    sell("cs_1", amount_total=5, currency="usd")
    consumer.reconcile(a_task(amount_total=700, currency="jpy"))
    outcome = consumer.outcome("cs_1")
    assert (outcome["amount"], outcome["currency"], outcome["orderNumber"]) == (5, "usd", "BC-CS1")


@pytest.mark.parametrize(
    ("types", "marked"),
    [
        ((), ["checkout.session.completed"] * 2),
        (("a",), ["a", "checkout.session.completed"]),
        (("a", "b", "c"), ["a", "b"]),
    ],
)
def test_events_of_a_created_order_are_marked_with_their_types(consumer, sell, types, marked):
    sell("cs_1")
    consumer.reconcile(a_task(event_ids=("evt_1", "evt_2"), event_types=types))
    assert [consumer.item(marker_key(f"evt_{n}"))["eventType"] for n in (1, 2)] == marked


def test_existing_order_marks_no_event_and_ends_no_wait(consumer):
    consumer.put_webhook_order("cs_1")
    consumer.reconcile(a_task())
    assert consumer.item(marker_key("evt_1")) == {}
    [commit] = [call for call in consumer.dynamodb.history.calls if call.method == "transact_write_items"]
    assert [action for action in commit.arguments["TransactItems"] if "Delete" in action] == []


def test_sync_state_counts_only_for_the_run_that_holds_it(consumer, sell):
    sell("cs_1", "cs_2", payment_status="unpaid")
    consumer.reconcile(a_task("cs_1", payment_status="unpaid"), prior=PriorState({}, "another"))
    assert consumer.item(STATE_KEY) == {}
    consumer.put_run(enqueued=2)
    consumer.reconcile(a_task("cs_2", payment_status="unpaid"), prior=PriorState({}, RUN))
    assert consumer.item(STATE_KEY)["lastSyncProcessed"] == 1


def test_prior_error_is_replaced(consumer, sell):
    sell("cs_1")
    consumer.put(outcome_key(RUN, "cs_1"), outcome="error", errorType="SessionNotFound", messageId="old")
    before = OutcomeRecord("cs_1", Outcome.ERROR, error_type="SessionNotFound", message_id="old")
    result = consumer.reconcile(a_task(), prior=PriorState({(RUN, "cs_1"): before}, None))
    assert result.committed.applied["cs_1"].previous == before
    assert consumer.outcome("cs_1")["outcome"] == "created"


def test_dismissed_session_says_nothing_of_its_order(consumer):
    consumer.put_webhook_order("cs_1", amount=1, syncRunId=RUN)
    prior = PriorState({}, None, dismissed=frozenset({"cs_1"}))
    [result] = consumer.reconcile(a_task(), prior=prior).committed.applied.values()
    assert (result.reason, result.drift, result.unguarded) == (SkipReason.DISMISSED, (), None)


@pytest.mark.parametrize(("days", "waits"), [(399, True), (400, False)])
def test_unpaid_session_with_an_unpaid_order_waits_400_days(consumer, days, waits):
    consumer.put_webhook_order("cs_1", stripePaymentStatus="unpaid")
    consumer.reconcile(a_task(payment_status="unpaid", created=NOW - days * DAY))
    assert bool(consumer.item(pending_key("cs_1"))) is waits


@pytest.mark.parametrize(("amount", "words"), [(1, ("no_user_paid",)), (0, ()), (None, ())])
def test_paid_session_without_a_user_needs_a_person_unless_it_was_free(consumer, amount, words):
    [result] = consumer.reconcile(a_task(user_id=None, amount_total=amount)).committed.applied.values()
    assert (result.reason, result.attention) == (SkipReason.NO_USER, words)


@pytest.mark.parametrize(("word", "still"), [("missing", False), ("disputed", True)])
def test_order_that_was_missing_ends_its_wait_when_it_is_found(consumer, word, still):
    consumer.put(pending_key("cs_1"), message="stored")
    consumer.put_webhook_order("cs_1")
    words = AttentionRecord("cs_1", (word,), stored_words=[word])
    consumer.put(attention_key("cs_1"), words=[word])
    consumer.reconcile(a_task(), prior=PriorState({}, None, attention={"cs_1": words}))
    assert bool(consumer.item(pending_key("cs_1"))) is still


SHAPE = """
[find]
key = { PK = "O#{metadata.orderId}", SK = "x" }
done = { status = ["PAID"] }
open = { status = ["PENDING"] }
"""


@pytest.fixture
def shop(consumer, sell):
    """Make the layout another shop's, and return the task of a session that has another key at Stripe."""
    consumer.settings = replace(consumer.settings, shape=parse_shape(SHAPE))
    sell("cs_1", metadata={"orderId": "o-2"})
    return a_task(user_id=None, key_values=(("metadata.orderId", "o-1"),))


def test_missing_order_waits_under_the_key_that_stripes_session_has(consumer, shop):
    assert read_applied(consumer.reconcile(shop)) == {"cs_1": (Outcome.MISSING, None)}
    entry = loads(consumer.item(pending_key("cs_1"))["message"])
    assert entry.key_values == (("metadata.orderId", "o-2"),)


@pytest.mark.parametrize(
    ("status", "outcome", "drift"),
    [
        ("PAID", (Outcome.SKIPPED, SkipReason.EXISTS), ()),
        (
            "ODD",
            (Outcome.SKIPPED, SkipReason.EXISTS),
            ("status: status has a value that shape.toml names nowhere",),
        ),
        ("PENDING", (Outcome.MISSING, None), ()),
    ],
)
def test_order_that_the_shop_has_done_during_the_fetch_is_not_missing(consumer, shop, status, outcome, drift):
    fetch = consumer.stripe.fetch

    def fetch_while_the_shop_works(session_id, *listed):
        consumer.put(("O#o-2", "x"), status=status)
        return fetch(session_id, *listed)

    consumer.stripe.fetch = fetch_while_the_shop_works
    result = consumer.reconcile(shop)
    assert read_applied(result) == {"cs_1": outcome}
    assert result.committed.applied["cs_1"].drift == drift


def test_order_that_cannot_be_looked_up_again_is_not_missing(consumer, shop):
    def plan(call):
        return throttled() if call.method == "batch_get_item" and consumer.asked else None

    consumer.dynamodb.plan = plan
    result = consumer.reconcile(shop)
    assert (read_applied(result), [type(error) for error in result.delayed.values()]) == (
        {},
        [TableUnavailable],
    )


def test_drift_is_stored_only_for_an_existing_order_of_a_sale(consumer):
    for session in ("cs_1", "cs_2"):
        consumer.put_webhook_order(session, amount=1)
    consumer.reconcile(a_task("cs_1"), a_task("cs_2", mode="setup"))
    assert consumer.outcome("cs_1")["drift"] == ["amount: the order says 1, Stripe 4999"]
    assert consumer.outcome("cs_2")["reason"] == "not_a_sale"
    assert "drift" not in consumer.outcome("cs_2")


# Pending sessions


@pytest.mark.parametrize(
    ("answer", "outcome", "still"),
    [
        ({}, {"outcome": "created"}, False),
        ({"mode": "setup"}, {"outcome": "skipped", "reason": "not_a_sale"}, False),
        ({"payment_status": "unpaid"}, {"outcome": "skipped", "reason": "unpaid"}, True),
        ({"status": "open"}, {"outcome": "error"}, True),
    ],
)
def test_pending_entry_is_kept_until_the_session_is_decided(consumer, sell, answer, outcome, still):
    sell("cs_1", payment_status="unpaid")
    consumer.reconcile(a_task(payment_status="unpaid"))
    assert consumer.item(pending_key("cs_1"))
    assert "pending" not in consumer.outcome("cs_1")
    sell("cs_1", **answer)
    consumer.reconcile(a_task(run_id="later", payment_status="unpaid", pending=NOW))
    later = consumer.outcome("cs_1", "later")
    assert outcome.items() <= later.items()
    assert later["pending"] is True
    assert bool(consumer.item(pending_key("cs_1"))) is still


@pytest.mark.parametrize(("listed_as", "pending"), [("unpaid", NOW), ("paid", NOW), ("unpaid", None)])
def test_pending_entry_is_deleted_if_the_order_exists(consumer, sell, listed_as, pending):
    sell("cs_1", payment_status="unpaid")
    consumer.reconcile(a_task(payment_status=listed_as))
    assert consumer.item(pending_key("cs_1"))
    consumer.put_webhook_order("cs_1", stripePaymentStatus="paid")
    consumer.reconcile(a_task(run_id="later", payment_status=listed_as, pending=pending))
    assert consumer.outcome("cs_1", "later")["reason"] == "exists"
    assert not consumer.item(pending_key("cs_1"))


# Failures


@pytest.mark.parametrize(
    ("error", "receives", "given_up"),
    [
        (StripeUnavailable("no"), 9, False),
        (StripeUnavailable("no"), 10, True),
        (StripeUnavailable("no"), 11, True),
        (OutOfTime("no"), 11, False),
    ],
)
def test_retryable_error_is_final_at_the_last_attempt_that_ran(consumer, error, receives, given_up):
    consumer.answers["cs_1"] = error
    result = consumer.reconcile(a_task(receives=receives))
    assert (result.delayed == {}) is given_up
    assert (consumer.outcome("cs_1").get("errorMessage") == "no") is given_up


def test_without_stripe_only_missing_sessions_are_delayed(consumer):
    error = KeyUnavailable("no")

    def fail():
        raise error

    consumer.connect = fail
    result = consumer.reconcile(a_task("cs_1"), a_task("cs_2"), a_task("cs_3", mode="setup"))
    assert result.delayed == {"cs_1": error, "cs_2": error}
    assert list(result.committed.applied) == ["cs_3"]


def test_group_without_missing_orders_never_connects_to_stripe(consumer):
    consumer.connect = None  # calling it would raise
    consumer.put_webhook_order("cs_1")
    assert list(consumer.reconcile(a_task()).committed.applied) == ["cs_1"]


@pytest.mark.parametrize(
    ("known", "warnings"),
    [
        ({"charges_known": False}, (NO_CHARGES,)),
        ({"details_known": False}, (NO_DETAILS,)),
        ({"charges_known": False, "details_known": False}, (NO_CHARGES, NO_DETAILS)),
        ({}, ()),
    ],
)
def test_what_the_key_may_not_read_is_a_warning(consumer, sell, known, warnings):
    consumer.answers["cs_1"] = a_fetched_session("cs_1", **known)
    sell("cs_2")
    assert consumer.reconcile(a_task("cs_1"), a_task("cs_2")).warnings == warnings


# The recheck before the commit


def test_bug_in_the_lists_leaves_each_session_its_own_request(consumer, sell, capsys):
    def fail(_wanted, _pool):
        raise ZeroDivisionError

    sell("cs_1", "cs_2")
    consumer.stripe.list_together = fail
    result = consumer.reconcile(a_task("cs_1"), a_task("cs_2"))
    assert {outcome for outcome, _ in read_applied(result).values()} == {Outcome.CREATED}
    [line] = parse_log(capsys.readouterr().out)
    assert (line["message"], line["run_id"]) == ("Unexpected ZeroDivisionError in a list", RUN)
    assert line["frames"][-1].endswith(" fail")


def test_listed_orders_are_written_while_further_pages_are_requested(consumer, sell):
    sell("cs_1", details_known=False)
    sell("cs_2", "cs_3")
    fetch, written, fetched = consumer.stripe.fetch, [], {}

    def list_together(wanted, pool):
        assert pool is consumer.pool
        for session_id in ("cs_1", "cs_2"):
            yield {session_id: {"id": session_id}}
            written.append(sorted(order["stripeSessionId"] for order in consumer.orders()))

    def remember(session_id, listed=None):
        fetched[session_id] = listed
        return fetch(session_id, listed)

    consumer.stripe.list_together, consumer.stripe.fetch = list_together, remember
    tasks = [a_task("cs_1", created=NOW - 60), a_task("cs_2", created=NOW - 120), a_task("cs_3")]
    result = consumer.reconcile(*tasks)
    assert set(read_applied(result).values()) == {(Outcome.CREATED, None)}
    assert (written, result.warnings) == ([["cs_1"], ["cs_1", "cs_2"]], (NO_DETAILS,))
    assert fetched == {"cs_1": {"id": "cs_1"}, "cs_2": {"id": "cs_2"}, "cs_3": None}
    # All of them share one page of events.
    assert len(consumer.event_pages) == 1


def test_few_missing_sessions_among_many_are_not_listed(consumer, sell):
    listed = []
    consumer.stripe.list_together = lambda wanted, _pool: listed.append(wanted) or iter(())
    known = [f"cs_known_{number}" for number in range(44)]
    lost = [f"cs_{number}" for number in range(6)]
    sell(*lost)
    for session_id in known:
        consumer.put_webhook_order(session_id)
    consumer.reconcile(*map(a_task, known + lost[:4]))
    assert listed == []
    consumer.reconcile(*map(a_task, known[:5] + lost[4:]))
    assert listed == [dict.fromkeys(lost[4:], a_task().message.created)]


def test_sessions_with_an_order_are_written_while_stripe_answers(consumer, sell):
    sell("cs_1")
    fetch, written = consumer.stripe.fetch, []

    def fetch_late(session_id, listed=None):
        written.append(consumer.outcome("cs_known").get("reason"))
        return fetch(session_id, listed)

    consumer.stripe.fetch = fetch_late
    consumer.put_webhook_order("cs_known")
    result = consumer.reconcile(a_task("cs_1"), a_task("cs_known"))
    assert written == ["exists"]
    assert read_applied(result) == {
        "cs_1": (Outcome.CREATED, None),
        "cs_known": (Outcome.SKIPPED, "exists"),
    }


@pytest.fixture
def slow_commits(consumer, monkeypatch):
    """Let each commit take a while; return how many were at work at the end of each one."""
    transact, at_work, seen = Table.transact, set(), []

    def transact_slowly(*args, **options):
        at_work.add(threading.get_ident())
        time.sleep(0.1)
        seen.append(len(at_work))
        try:
            transact(*args, **options)
        finally:
            at_work.remove(threading.get_ident())

    monkeypatch.setattr(Table, "transact", transact_slowly)
    consumer.pool = ThreadPoolExecutor(4)
    yield seen
    consumer.pool.shutdown()


def test_error_with_the_others_waits_for_the_commit_under_way(consumer, sell, slow_commits):
    """What an invocation leaves at work is frozen with it, and its message returns although it is written."""

    def fail(_start, _end):
        raise ZeroDivisionError

    sell("cs_1")
    consumer.put_webhook_order("cs_known")
    consumer.stripe.find_events_between = fail
    records = [consumer.receive(a_task(session_id).message) for session_id in ("cs_1", "cs_known")]
    assert consumer.process(*records) == [records[0].message_id]
    assert slow_commits[0] == 1


def fail_commit_of(session_id, monkeypatch):
    """Let the transaction with the outcome of a session raise an unexpected error."""
    transact = Table.transact

    def transact_or_fail(table, actions, *args, **options):
        if outcome_key(RUN, session_id) in [action.key for action in actions]:
            raise ZeroDivisionError
        transact(table, actions, *args, **options)

    monkeypatch.setattr(Table, "transact", transact_or_fail)


def test_bug_in_the_early_commit_costs_no_other_session_its_result(consumer, sell, monkeypatch, capsys):
    sell("cs_1")
    consumer.put_webhook_order("cs_known")
    fail_commit_of("cs_known", monkeypatch)
    records = [consumer.receive(a_task(session_id).message) for session_id in ("cs_1", "cs_known")]
    assert consumer.process(*records) == [records[1].message_id]
    assert consumer.outcome("cs_1")["outcome"] == "created"
    [error] = [line for line in parse_log(capsys.readouterr().out) if line["level"] == "ERROR"]
    assert (error["message"], error["run_id"]) == ("Unexpected ZeroDivisionError in a commit", RUN)
    assert any("transact_or_fail" in frame for frame in error["frames"])


def test_bug_in_the_early_commit_hides_no_other_bug(consumer, sell, monkeypatch, capsys):
    def fail(_start, _end):
        raise KeyError

    sell("cs_1")
    consumer.put_webhook_order("cs_known")
    consumer.stripe.find_events_between = fail
    fail_commit_of("cs_known", monkeypatch)
    consumer.process(*(consumer.receive(a_task(each).message) for each in ("cs_1", "cs_known")))
    messages = [line["message"] for line in parse_log(capsys.readouterr().out) if line["level"] == "ERROR"]
    assert messages == ["Unexpected ZeroDivisionError in a commit", "Unexpected KeyError"]


def test_bug_in_a_commit_hides_no_order_that_is_already_written(consumer, sell, monkeypatch, capsys):
    """Fifty orders take two transactions, and the second one fails."""
    names = [f"cs_{n}" for n in range(50)]
    sell(*names)
    fail_commit_of("cs_49", monkeypatch)
    records = [consumer.receive(a_task(each, event_ids=()).message) for each in names]
    returned = consumer.process(*records)
    orders = len(consumer.orders())
    assert 0 < orders == len(records) - len(returned)
    consumer.telemetry.flush()
    printed = capsys.readouterr().out
    assert sum(parse_metrics(printed)["OrdersCreated"]) == orders
    assert printed.count("Created order snapshot") == orders


def test_batch_never_commits_twice_at_the_same_time(consumer, sell, slow_commits):
    """Both would move the counters, and one would be cancelled."""
    sell("cs_1", "cs_2")
    consumer.put_webhook_order("cs_known")
    consumer.stripe.list_together = lambda _wanted, _pool: (part for part in ({"cs_1": {}}, {"cs_2": {}}))
    result = consumer.reconcile(a_task("cs_1"), a_task("cs_2"), a_task("cs_known"))
    assert len(read_applied(result)) == 3
    assert set(slow_commits) == {1}


def test_order_written_during_the_fetch_is_left_alone(consumer, sell):
    sell("cs_1", "cs_2")
    sell("cs_3", payment_status="unpaid")
    fetch = consumer.stripe.fetch

    def fetch_while_webhook_writes(session_id, _listed=None):
        consumer.put_webhook_order("cs_1")
        return fetch(session_id)

    consumer.stripe.fetch = fetch_while_webhook_writes
    result = consumer.reconcile(a_task("cs_1"), a_task("cs_2"), a_task("cs_3", payment_status="unpaid"))
    assert read_applied(result) == {
        "cs_1": (Outcome.SKIPPED, "exists"),
        "cs_2": (Outcome.CREATED, None),
        "cs_3": (Outcome.SKIPPED, "unpaid"),
    }
    assert len(consumer.orders()) == 2


def test_failed_recheck_is_repeated(consumer, sell):
    sell("cs_1")
    consumer.dynamodb.plan = on("query", throttled(), nth=2)
    assert consumer.reconcile(a_task()).committed.applied["cs_1"].outcome is Outcome.CREATED
    queries = [call.arguments for call in consumer.dynamodb.history.calls if call.method == "query"]
    firsts = [query["ExpressionAttributeValues"][":first"]["S"] for query in queries]
    assert {first[:7] for first in firsts} == {"ORDER#1"}


@pytest.mark.parametrize("at_recheck", [False, True])
def test_failed_lookup_delays_only_its_user(consumer, sell, at_recheck):
    sell("cs_1", "cs_2")

    def plan(call):
        fails = call.method == "query" and "USER#u2" in str(call.arguments)
        return throttled() if fails and bool(consumer.asked) >= at_recheck else None

    consumer.dynamodb.plan = plan
    result = consumer.reconcile(a_task("cs_2", user_id="u2"), a_task("cs_1"))
    assert list(result.committed.applied) == ["cs_1"]
    failed = result.committed.failed if at_recheck else result.delayed
    assert {session: type(error).__name__ for session, error in failed.items()} == {
        "cs_2": "TableUnavailable"
    }


def test_only_missing_orders_are_looked_up_again(consumer, sell):
    sell("cs_1", payment_status="unpaid")
    consumer.put_webhook_order("cs_2")
    consumer.reconcile(a_task("cs_1", payment_status="unpaid"), a_task("cs_2"))
    assert consumer.dynamodb.history.count("query") == 1
