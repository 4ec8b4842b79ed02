"""A batch from end to end: who is worked on with whom, and what comes back when."""

import pytest

from recon.dynamodb.records import outcome_key
from recon.errors import StripeUnavailable
from testkit.batches import TIMEOUT, USER, Batches, fetched
from testkit.builders import RUN, a_message
from testkit.doubles.faults import Killed, on, throttled


@pytest.fixture
def batches():
    return Batches()


def unpaid(session_id, **changes):
    """A session that nobody has to be asked about."""
    return a_message(session_id=session_id, payment_status="unpaid", **changes)


def missing(batches, session_id, **changes):
    """A session whose order has to be written."""
    batches.answers[session_id] = fetched(session_id)
    return a_message(session_id=session_id, user_id=USER, **changes)


# What is worked on together


def test_a_batch_that_was_never_received_before_changes_nobodys_visibility(batches):
    deliveries = [batches.received(unpaid(f"cs_{n}")) for n in range(2)]
    assert batches.process(*deliveries) == []
    assert batches.sqs.history.calls == []


def test_what_was_received_before_has_a_time_of_its_own_to_come_back_while_it_is_worked_on(batches):
    fresh, again = batches.received(unpaid("cs_1")), batches.received(unpaid("cs_2"), receives=2)
    assert batches.process(fresh, again, chance=0.5) == []
    assert batches.back_in(fresh) == 360
    assert batches.back_in(again) == TIMEOUT * 3.5


def test_fresh_sessions_of_a_run_are_committed_together_and_all_others_one_by_one_after_them(batches):
    deliveries = [
        batches.received(unpaid("cs_old1"), receives=2),
        batches.received(unpaid("cs_1")),
        batches.received(unpaid("cs_2", run_id="another")),
        batches.received(unpaid("cs_3")),
        batches.received(unpaid("cs_old2"), receives=3),
    ]
    assert batches.process(*deliveries) == []
    assert batches.commits() == [["cs_1", "cs_3"], ["cs_2"], ["cs_old1"], ["cs_old2"]]


def test_a_batch_that_nobody_can_read_asks_the_table_nothing_and_is_back_at_once(batches):
    delivery = batches.received("no JSON")
    assert batches.process(delivery) == [delivery.message_id]
    assert batches.dynamodb.history.calls == []
    assert batches.back_in(delivery) == 0


def test_every_run_of_a_batch_is_asked_whether_it_is_done(batches):
    for run_id in ("a", "b"):
        batches.runs(1, run_id)
    batches.process(*(batches.received(unpaid("cs_1", run_id=run_id)) for run_id in ("a", "b")))
    assert [batches.run(run_id)["status"] for run_id in ("a", "b")] == ["done", "done"]


# What comes back, and when


def test_all_messages_of_a_session_come_back_each_after_a_wait_of_its_own(batches):
    message = missing(batches, "cs_1")
    batches.answers["cs_1"] = StripeUnavailable("no")
    first, third = batches.received(message), batches.received(message, receives=3)
    assert batches.process(first, third, chance=0) == [first.message_id, third.message_id]
    assert (batches.back_in(first), batches.back_in(third)) == (30, 120)


def test_the_wait_begins_with_the_base_of_the_settings():
    batches = Batches(backoff_base_seconds=7)
    message = missing(batches, "cs_1")
    batches.answers["cs_1"] = StripeUnavailable("no")
    delivery = batches.received(message)
    batches.process(delivery, chance=0)
    assert batches.back_in(delivery) == 7


def test_a_batch_whose_outcomes_cannot_be_read_comes_back_as_a_whole(batches):
    batches.dynamodb.plan = on("batch_get_item", throttled())
    deliveries = [batches.received(missing(batches, f"cs_{n}")) for n in range(3)]
    assert batches.process(*deliveries, chance=0) == [each.message_id for each in deliveries]
    assert [batches.back_in(each) for each in deliveries] == [30, 30, 30]
    assert (batches.asked, batches.orders()) == ([], [])


def test_what_is_left_when_time_is_up_comes_back_untried(batches):
    delivery = batches.received(missing(batches, "cs_1"))
    assert batches.process(delivery, seconds=0) == [delivery.message_id]
    assert (batches.asked, batches.outcome("cs_1")) == ([], {})


def test_a_session_that_failed_for_good_is_back_at_once_and_so_are_all_its_messages(batches):
    bad = a_message(session_id="cs_1", user_id=USER)
    batches.answers["cs_1"] = fetched("cs_1", status="open")
    deliveries = [batches.received(bad), batches.received(bad, receives=2)]
    assert batches.process(*deliveries) == [each.message_id for each in deliveries]
    assert [batches.back_in(each) for each in deliveries] == [0, 0]


@pytest.mark.parametrize("outcome", ["created", "skipped"])
def test_a_session_with_a_final_outcome_is_asked_about_no_more(batches, outcome):
    batches.put(outcome_key(RUN, "cs_1"), outcome=outcome, messageId="another")
    assert batches.process(batches.received(missing(batches, "cs_1"))) == []
    assert (batches.asked, batches.commits()) == ([], [])


def test_a_message_under_which_its_session_failed_is_back_at_once_and_asks_nothing(batches):
    delivery = batches.received(missing(batches, "cs_1"), receives=2)
    failed = {"outcome": "error", "errorType": "SessionNotFound", "messageId": delivery.message_id}
    batches.put(outcome_key(RUN, "cs_1"), **failed)
    assert batches.process(delivery) == [delivery.message_id]
    assert batches.back_in(delivery) == 0
    assert (batches.asked, batches.commits()) == ([], [])


@pytest.mark.parametrize(
    "failed",
    [
        {"errorType": "SessionNotFound", "messageId": "another"},
        {"errorType": "Unfinished"},
    ],
)
def test_a_redriven_message_and_one_whose_last_attempt_did_not_end_are_tried(batches, failed):
    delivery = batches.received(missing(batches, "cs_1"), receives=2)
    batches.put(outcome_key(RUN, "cs_1"), **{"outcome": "error", "messageId": delivery.message_id} | failed)
    assert batches.process(delivery) == []
    assert batches.outcome("cs_1")["outcome"] == "created"


def test_a_session_that_another_consumer_settled_meanwhile_does_not_come_back(batches):
    message = missing(batches, "cs_1")
    settled = {"outcome": "skipped", "reason": "exists", "messageId": "another"}

    def the_other_is_faster(call):
        if call.method == "transact_write_items":
            batches.put(outcome_key(RUN, "cs_1"), **settled)

    batches.dynamodb.plan = the_other_is_faster
    assert batches.process(batches.received(message)) == []
    assert batches.outcome("cs_1")["reason"] == "exists"


# Last attempts


def test_a_run_whose_last_session_kills_the_function_is_done_by_the_announcement(batches):
    batches.runs(enqueued=1)
    message = missing(batches, "cs_1")
    batches.answers["cs_1"] = Killed()
    with pytest.raises(Killed):
        batches.process(batches.received(message, receives=10))
    outcome = batches.outcome("cs_1")
    assert (outcome["errorType"], outcome["errorMessage"]) == ("Unfinished", "the last attempt did not end")
    assert (batches.run()["status"], batches.run()["errors"]) == ("done", 1)


def test_an_attempt_that_is_not_the_last_is_not_announced(batches):
    message = missing(batches, "cs_1")
    batches.answers["cs_1"] = Killed()
    with pytest.raises(Killed):
        batches.process(batches.received(message, receives=9))
    assert batches.outcome("cs_1") == {}


def test_the_last_attempts_of_every_run_are_announced_before_any_is_tried(batches):
    deliveries = [
        batches.received(missing(batches, f"cs_{run_id}", run_id=run_id), receives=10)
        for run_id in ("a", "b")
    ]
    batches.answers["cs_a"] = Killed()
    with pytest.raises(Killed):
        batches.process(*deliveries)
    kinds = [batches.outcome(f"cs_{run_id}", run_id)["errorType"] for run_id in ("a", "b")]
    assert kinds == ["Unfinished", "Unfinished"]


def test_what_was_announced_is_replaced_by_what_becomes_of_it_at_the_first_try(batches):
    batches.runs(enqueued=1)
    assert batches.process(batches.received(missing(batches, "cs_1"), receives=10)) == []
    assert batches.outcome("cs_1")["outcome"] == "created"
    assert batches.commits() == [["cs_1"], ["cs_1"]]
    assert (batches.run()["created"], batches.run()["errors"]) == (1, 0)


def test_an_error_that_is_known_is_not_announced_again(batches):
    batches.put(outcome_key(RUN, "cs_1"), outcome="error", errorType="SessionNotFound", messageId="old")
    batches.process(batches.received(missing(batches, "cs_1"), receives=10))
    assert batches.commits() == [["cs_1"]]
