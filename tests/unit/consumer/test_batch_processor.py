"""One batch: which sessions are committed together, and when failed messages return."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from recon.domain.shape import parse_shape
from recon.dynamodb.keys import STATE_KEY, WATERMARK_KEY, outcome_key
from recon.dynamodb.outcome_writer import Committed, OutcomeWriter
from recon.dynamodb.table import Table
from recon.errors import OutOfTime, StripeUnavailable
from recon.telemetry import DEFAULT_STACK
from recon.timestamps import DAY
from testkit.batches import TIMEOUT, USER, ConsumerHarness, a_fetched_session
from testkit.builders import NOW, RUN, TABLE, a_message
from testkit.doubles.faults import Killed, on, throttled

# Groups


def test_fresh_batch_changes_no_visibility(consumer, unpaid):
    records = [consumer.receive(unpaid(f"cs_{n}")) for n in range(2)]
    assert consumer.process(*records) == []
    assert consumer.sqs.history.calls == []


def test_redelivered_messages_get_a_visibility_each(consumer, unpaid):
    fresh = consumer.receive(unpaid("cs_0"))
    again = [consumer.receive(unpaid(f"cs_{n}"), receives=2) for n in (1, 2)]
    assert consumer.process(fresh, *again, chances=(0.5, 0.1)) == []
    assert consumer.seconds_until_visible(fresh) == 360
    assert [consumer.seconds_until_visible(each) for each in again] == [TIMEOUT * 3.5, TIMEOUT * 1.5]


def test_fresh_sessions_share_a_commit_and_redelivered_ones_do_not(consumer, unpaid):
    records = [
        consumer.receive(unpaid("cs_old1"), receives=2),
        consumer.receive(unpaid("cs_1")),
        consumer.receive(unpaid("cs_2", run_id="another")),
        consumer.receive(unpaid("cs_3")),
        consumer.receive(unpaid("cs_old2"), receives=3),
    ]
    assert consumer.process(*records) == []
    *fresh, one, other = consumer.commits()
    assert fresh == [["cs_1", "cs_3"], ["cs_2"]]
    assert sorted([one, other]) == [["cs_old1"], ["cs_old2"]]


@pytest.fixture
def overloaded(consumer):
    """Let each fetch take five seconds, and let only ten begin in a batch."""
    fetch, ends_at = consumer.stripe.fetch, 0.0

    def fetch_slowly(session_id, _listed=None):
        if consumer.clock.now >= ends_at:
            raise OutOfTime("no turn")
        consumer.clock.now += 5
        return fetch(session_id)

    def process(*records):
        nonlocal ends_at
        ends_at = consumer.clock.now + 10 * 5
        return consumer.process(*records)

    consumer.stripe.fetch = fetch_slowly
    return process


def test_session_gets_its_turn_although_younger_ones_fill_each_batch(consumer, missing, overloaded):
    message = missing("cs_old")
    for receives in range(3, 10):
        younger = [consumer.receive(missing(f"cs_{receives}_{n}"), receives=2) for n in range(23)]
        returned = overloaded(consumer.receive(message, receives=receives), *younger)
        assert len(returned) >= len(younger) - 10
    assert consumer.outcome("cs_old")["outcome"] == "created"


def test_unreadable_batch_returns_without_reading_the_table(consumer):
    record = consumer.receive("no JSON")
    assert consumer.process(record) == [record.message_id]
    assert consumer.dynamodb.history.calls == []
    assert consumer.seconds_until_visible(record) == 0


def test_every_run_of_a_batch_is_completed(consumer, unpaid):
    for run_id in ("a", "b"):
        consumer.put_run(1, run_id)
    consumer.process(*(consumer.receive(unpaid(run_id=run_id)) for run_id in ("a", "b")))
    assert [consumer.run(run_id)["status"] for run_id in ("a", "b")] == ["done", "done"]


# Returning messages


@pytest.mark.parametrize(("base", "waits"), [(30, (30, 120)), (7, (7, 28))])
def test_each_message_of_a_failed_session_backs_off_by_its_receives(base, waits, missing):
    slow = ConsumerHarness(backoff_base_seconds=base)
    message = missing()
    slow.answers["cs_1"] = StripeUnavailable("no")
    first, third = slow.receive(message), slow.receive(message, receives=3)
    assert slow.process(first, third, chances=(0,)) == [first.message_id, third.message_id]
    assert (slow.seconds_until_visible(first), slow.seconds_until_visible(third)) == waits


def test_batch_returns_as_a_whole_if_outcomes_cannot_be_read(consumer, missing):
    consumer.dynamodb.plan = on("batch_get_item", throttled())
    records = [consumer.receive(missing(f"cs_{n}")) for n in range(3)]
    assert consumer.process(*records, chances=(0,)) == [each.message_id for each in records]
    assert [consumer.seconds_until_visible(each) for each in records] == [30, 30, 30]
    assert (consumer.asked, consumer.orders()) == ([], [])


@pytest.mark.parametrize(("owner", "returns"), [(DEFAULT_STACK, True), ("another", False)])
def test_batch_returns_if_the_ledger_is_still_in_the_table_of_the_shop(consumer, missing, owner, returns):
    consumer._memory.add_table("books")
    consumer.put(WATERMARK_KEY, stackName=owner)
    table = Table(consumer.dynamodb, TABLE, ledger="books")
    context = replace(consumer.context(), table=table)
    consumer.context = lambda _seconds: context
    consumer.dynamodb.plan = on("batch_get_item", throttled(), nth=2)
    record = consumer.receive(missing())
    assert consumer.process(record) == [record.message_id] * returns
    assert bool(consumer.orders()) is not returns


def test_pace_learns_from_the_batch_until_when_a_run_lists(consumer, unpaid):
    learned = []
    context = replace(consumer.context(), pace=SimpleNamespace(learn=lambda *args: learned.append(args)))
    consumer.context = lambda _seconds: context
    consumer.put(STATE_KEY, listingUntil=NOW + 9)
    consumer.process(consumer.receive(unpaid()))
    assert learned == [(NOW + 9, NOW)]


@pytest.mark.parametrize(
    ("proven", "proof"),
    [(None, "cs_new"), (NOW - DAY, None), (NOW - DAY - 1, "cs_new")],
)
def test_newest_listed_session_with_a_webhooks_order_is_the_proof_of_the_next_day(consumer, proven, proof):
    if proven:
        consumer.put(WATERMARK_KEY, provenCreated=proven)
    times = {"cs_old": NOW - 2 * DAY, "cs_new": NOW, "cs_waiting": NOW, "cs_ahead": NOW + 1}
    for session_id in times:
        consumer.put_webhook_order(session_id)
    messages = (
        a_message(session_id=name, user_id=USER, created=at, pending=NOW if name == "cs_waiting" else None)
        for name, at in times.items()
    )
    consumer.process(*map(consumer.receive, messages))
    stored = consumer.item(WATERMARK_KEY)
    assert (stored.get("provenBy"), stored.get("provenCreated")) == (proof, NOW if proof else proven)


def test_proof_of_another_layout_is_stored_with_its_file(consumer):
    text = '[find]\nkey = { PK = "{id}", SK = "x" }'
    consumer.settings = replace(consumer.settings, shape=parse_shape(text))
    consumer.put(("cs_1", "x"))
    assert consumer.process(consumer.receive(a_message(session_id="cs_1", user_id=None))) == []
    stored = consumer.item(WATERMARK_KEY)
    assert (stored["provenBy"], stored["provenShape"]) == ("cs_1", text)


def test_session_returns_untried_if_time_is_up(consumer, missing):
    record = consumer.receive(missing())
    assert consumer.process(record, seconds=0) == [record.message_id]
    assert (consumer.asked, consumer.outcome("cs_1")) == ([], {})


def test_messages_of_a_permanent_failure_return_at_once(consumer, missing):
    message = missing(answer=a_fetched_session("cs_1", status="open"))
    records = [consumer.receive(message), consumer.receive(message, receives=2)]
    assert consumer.process(*records) == [each.message_id for each in records]
    assert [consumer.seconds_until_visible(each) for each in records] == [0, 0]


def test_session_without_a_result_in_the_commit_returns(consumer, missing, monkeypatch):
    monkeypatch.setattr(OutcomeWriter, "write", lambda self, results: Committed({}, {}, {}))
    record = consumer.receive(missing())
    assert consumer.process(record, chances=(0,)) == [record.message_id]
    assert consumer.seconds_until_visible(record) == 30


# Known outcomes


@pytest.mark.parametrize("outcome", ["created", "skipped", "of a later version"])
def test_session_with_a_final_outcome_is_not_processed(consumer, missing, outcome):
    consumer.put(outcome_key(RUN, "cs_1"), outcome=outcome, messageId="another")
    assert consumer.process(consumer.receive(missing())) == []
    assert (consumer.asked, consumer.commits()) == ([], [])


def test_message_whose_session_failed_under_it_returns_at_once(consumer, missing):
    record = consumer.receive(missing(), receives=2)
    failed = {"outcome": "error", "errorType": "SessionNotFound", "messageId": record.message_id}
    consumer.put(outcome_key(RUN, "cs_1"), **failed)
    assert consumer.process(record) == [record.message_id]
    assert consumer.seconds_until_visible(record) == 0
    assert (consumer.asked, consumer.commits()) == ([], [])


@pytest.mark.parametrize(
    "failed", [{"errorType": "SessionNotFound", "messageId": "another"}, {"errorType": "Unfinished"}]
)
def test_redriven_message_or_unfinished_attempt_is_processed(consumer, missing, failed):
    record = consumer.receive(missing(), receives=2)
    consumer.put(outcome_key(RUN, "cs_1"), **{"outcome": "error", "messageId": record.message_id} | failed)
    assert consumer.process(record) == []
    assert consumer.outcome("cs_1")["outcome"] == "created"


def test_session_settled_by_another_consumer_does_not_return(consumer, missing):
    settled = {"outcome": "skipped", "reason": "exists", "messageId": "another"}

    def settle_first(call):
        if call.method == "transact_write_items":
            consumer.put(outcome_key(RUN, "cs_1"), **settled)

    consumer.dynamodb.plan = settle_first
    assert consumer.process(consumer.receive(missing())) == []
    assert consumer.outcome("cs_1")["reason"] == "exists"


# Last attempts


@pytest.mark.parametrize("receives", [9, 10])
def test_only_the_last_attempt_is_announced_and_completes_its_run(consumer, missing, receives):
    consumer.put_run(enqueued=1)
    with pytest.raises(Killed):
        consumer.process(consumer.receive(missing(answer=Killed()), receives=receives))
    if receives == 9:
        assert consumer.outcome("cs_1") == {}
        return
    outcome = consumer.outcome("cs_1")
    assert (outcome["errorType"], outcome["errorMessage"]) == (
        "Unfinished",
        "the last attempt did not finish",
    )
    assert (consumer.run()["status"], consumer.run()["errors"]) == ("done", 1)


def test_all_last_attempts_are_announced_before_the_first_starts(consumer, missing):
    messages = [missing(f"cs_{name}", Killed(), run_id=run) for name, run in ("aa", "bb", "ca")]
    with pytest.raises(Killed):
        consumer.process(*(consumer.receive(message, receives=10) for message in messages))
    outcomes = [consumer.outcome(f"cs_{name}", run_id) for name, run_id in ("aa", "bb", "ca")]
    assert [outcome["errorType"] for outcome in outcomes] == ["Unfinished"] * 3


def test_announced_error_is_replaced_by_the_result_of_the_attempt(consumer, missing):
    consumer.put_run(enqueued=1)
    assert consumer.process(consumer.receive(missing(), receives=10)) == []
    assert consumer.outcome("cs_1")["outcome"] == "created"
    assert consumer.commits() == [["cs_1"], ["cs_1"]]
    assert (consumer.run()["created"], consumer.run()["errors"]) == (1, 0)


def test_known_error_is_not_announced_again(consumer, missing):
    consumer.put(outcome_key(RUN, "cs_1"), outcome="error", errorType="SessionNotFound", messageId="old")
    consumer.process(consumer.receive(missing(), receives=10))
    assert consumer.commits() == [["cs_1"]]


# Copies of a message


def test_each_copy_of_a_permanent_failure_asks_stripe_once(consumer, missing):
    message = missing(answer=a_fetched_session("cs_1", status="open"))
    copies = [consumer.receive(message) for _ in range(3)]
    for _ in range(12):
        for copy in copies:
            assert consumer.process(copy) == [copy.message_id]
    assert len(consumer.asked) == len(copies)
    assert consumer.outcome("cs_1")["failedMessages"] == [copy.message_id for copy in copies[:-1]]


def test_redriven_copy_of_a_permanent_failure_is_tried_again(consumer, missing):
    message = missing(answer=a_fetched_session("cs_1", status="open"))
    first, second, redriven = [consumer.receive(message) for _ in range(3)]
    assert consumer.process(first)
    assert consumer.process(second)
    consumer.answers["cs_1"] = a_fetched_session("cs_1")
    assert consumer.process(redriven) == []
    assert consumer.outcome("cs_1")["outcome"] == "created"
    assert "failedMessages" not in consumer.outcome("cs_1")
