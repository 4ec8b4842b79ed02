"""Committing results, item by item: what stands in the table afterwards, and what the caller is told."""

from dataclasses import replace

import pytest

from recon.domain.message import dumps
from recon.domain.reconcile import Outcome, SkipReason
from recon.dynamodb.outcomes import (
    OutcomeWriter,
    PriorState,
    Recheck,
    SessionResult,
    find_created_orders,
    load_prior_state,
)
from recon.dynamodb.records import KnownOutcome
from recon.errors import MalformedSession, StripeRejected, TableRefused, TableUnavailable
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import cancelled, lost_response, on, service_error, throttled

AT = "2024-11-27T02:00:00Z"
STATE = ("SYSTEM", "STRIPE_ORDER_SYNC")
RECORD = ("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}")
REFUSED = "ValidationError"
FAILED = "ConditionalCheckFailed"


@pytest.fixture(autouse=True)
def held(put):
    put(STATE, lastSyncRunId=RUN)


@pytest.fixture
def commit(table, time):
    def make(*results, holds_state=True, look=lambda results: Recheck(list(results), {})):
        made = OutcomeWriter(table, RUN, NOW, time.deadline(60), holds_state=holds_state, look_again=look)
        return made(results)

    return make


def outcome(session_id):
    return (f"SYNC_RUN#{RUN}", f"SESSION#{session_id}")


def order(session_id="cs_1", **fields):
    return {
        "PK": "USER#u1",
        "SK": f"ORDER#1#{session_id}",
        "orderId": session_id,
        "orderNumber": f"BC-{session_id[-1]}",
        "amount": 4999,
        "currency": "eur",
    } | fields


def created(session_id="cs_1", **changes):
    made = SessionResult(session_id, Outcome.CREATED, 1, f"m-{session_id}", order=order(session_id))
    return replace(made, **changes)


def skipped(session_id="cs_1", **changes):
    made = SessionResult(session_id, Outcome.SKIPPED, 2, f"m-{session_id}", reason=SkipReason.EXISTS)
    return replace(made, **changes)


def failed(session_id="cs_1", **changes):
    made = SessionResult(
        session_id, Outcome.ERROR, 3, f"m-{session_id}", error=MalformedSession("id must be a string")
    )
    return replace(made, **changes)


def counters(record):
    return {name: record.get(name) for name in ("processed", "created", "skipped", "errors", "drifted")}


def test_a_created_order_stands_with_its_outcome_and_its_counters(commit, item):
    result = created(amount=1, currency="usd")
    done = commit(result)
    assert (done.applied, done.settled, done.failed) == ({"cs_1": result}, {}, {})
    assert item(("USER#u1", "ORDER#1#cs_1")) == order()
    assert item(outcome("cs_1")) == {
        "PK": f"SYNC_RUN#{RUN}",
        "SK": "SESSION#cs_1",
        "outcome": "created",
        "orderNumber": "BC-1",
        "amount": 4999,
        "currency": "eur",
        "attempts": 1,
        "messageId": "m-cs_1",
        "updatedAt": AT,
        "expiresAt": NOW + 30 * DAY,
    }
    assert item(RECORD) == {
        "PK": "SYSTEM",
        "SK": f"STRIPE_ORDER_SYNC#{RUN}",
        "processed": 1,
        "created": 1,
        "skipped": 0,
        "errors": 0,
        "drifted": 0,
        "updatedAt": AT,
        "expiresAt": NOW + 90 * DAY,
    }
    assert item(STATE) == {
        "PK": "SYSTEM",
        "SK": "STRIPE_ORDER_SYNC",
        "lastSyncRunId": RUN,
        "lastSyncProcessed": 1,
        "lastSyncCreated": 1,
        "lastSyncSkipped": 0,
        "lastSyncErrors": 0,
        "lastSyncDrifted": 0,
        "updatedAt": AT,
    }


def test_a_skip_says_why_what_it_is_worth_and_where_it_drifts(commit, item):
    commit(skipped(amount=4999, currency="eur", drift=("amount: 1, 2",), was_pending=True))
    assert item(outcome("cs_1")) == {
        "PK": f"SYNC_RUN#{RUN}",
        "SK": "SESSION#cs_1",
        "outcome": "skipped",
        "reason": "exists",
        "amount": 4999,
        "currency": "eur",
        "attempts": 2,
        "messageId": "m-cs_1",
        "drift": ["amount: 1, 2"],
        "pending": True,
        "updatedAt": AT,
        "expiresAt": NOW + 30 * DAY,
    }
    assert counters(item(RECORD)) == {"processed": 1, "created": 0, "skipped": 1, "errors": 0, "drifted": 1}


def test_an_error_says_which(commit, item):
    commit(failed())
    assert item(outcome("cs_1")) == {
        "PK": f"SYNC_RUN#{RUN}",
        "SK": "SESSION#cs_1",
        "outcome": "error",
        "errorType": "MalformedSession",
        "errorMessage": "id must be a string",
        "attempts": 3,
        "messageId": "m-cs_1",
        "updatedAt": AT,
        "expiresAt": NOW + 30 * DAY,
    }
    assert counters(item(RECORD)) == {"processed": 1, "created": 0, "skipped": 0, "errors": 1, "drifted": 0}


def test_an_error_that_is_corrected_moves_two_counters(commit, item):
    commit(failed())
    commit(created(previous=KnownOutcome("error")))
    assert counters(item(RECORD)) == {"processed": 1, "created": 1, "skipped": 0, "errors": 0, "drifted": 0}
    assert item(outcome("cs_1"))["outcome"] == "created"


def test_a_batch_counts_each_of_its_results(commit, item):
    commit(failed(), failed("cs_2"))
    commit(
        created("cs_1", previous=KnownOutcome("error")),
        created("cs_2", previous=KnownOutcome("error"), drift=("amount",)),
        created("cs_3", drift=("amount", "currency")),
        skipped("cs_4"),
        skipped("cs_5"),
    )
    assert counters(item(RECORD)) == {"processed": 5, "created": 3, "skipped": 2, "errors": 0, "drifted": 2}


def test_a_run_that_does_not_hold_the_state_counts_for_itself(commit, item):
    commit(created(), holds_state=False)
    assert item(RECORD)["created"] == 1
    assert item(STATE) == {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": RUN}


def test_a_run_that_lost_the_state_meanwhile_counts_for_itself(commit, item, put):
    put(STATE, lastSyncRunId="20241128T020000Z")
    done = commit(created(), skipped("cs_2"))
    assert set(done.applied) == {"cs_1", "cs_2"}
    assert counters(item(RECORD)) == {"processed": 2, "created": 1, "skipped": 1, "errors": 0, "drifted": 0}
    assert "lastSyncProcessed" not in item(STATE)


def test_an_event_that_a_webhook_may_still_get_is_marked_in_the_webhooks_words(commit, item):
    commit(created(markers=(("evt_1", "checkout.session.completed"),)))
    assert item(("EVENT#evt_1", "METADATA")) == {
        "PK": "EVENT#evt_1",
        "SK": "METADATA",
        "eventType": "checkout.session.completed",
        "sessionId": "cs_1",
        "status": "completed",
        "orderCreated": True,
        "orderNumber": "BC-1",
        "source": "nightly_sync",
        "processedAt": AT,
        "expiresAt": NOW + 90 * DAY,
    }


def test_an_event_that_a_webhook_has_handled_keeps_its_marker_and_the_order_is_written(commit, item, put):
    put(("EVENT#evt_1", "METADATA"), source="webhook")
    done = commit(created(markers=(("evt_1", "a"), ("evt_2", "b"))))
    assert done.applied["cs_1"].markers == (("evt_2", "b"),)
    assert item(("EVENT#evt_1", "METADATA"))["source"] == "webhook"
    assert item(("EVENT#evt_2", "METADATA"))["source"] == "nightly_sync"
    assert item(("USER#u1", "ORDER#1#cs_1")) == order()


def test_a_session_that_waits_for_its_payment_is_kept_with_its_message(commit, item):
    message = a_message(session_id="cs_1")
    commit(skipped(reason=SkipReason.UNPAID, pending=message))
    assert item(("SYSTEM", "PENDING#cs_1")) == {
        "PK": "SYSTEM",
        "SK": "PENDING#cs_1",
        "message": dumps(replace(message, pending=message.created)),
        "sessionId": "cs_1",
        "sessionCreated": message.created,
        "updatedAt": AT,
        "expiresAt": NOW + 90 * DAY,
    }


def test_what_waits_already_keeps_its_message_and_its_last_day(commit, item, put):
    put(("SYSTEM", "PENDING#cs_1"), message="the first", expiresAt=NOW + DAY)
    commit(skipped(reason=SkipReason.UNPAID, pending=a_message(session_id="cs_1")))
    entry = item(("SYSTEM", "PENDING#cs_1"))
    assert (entry["message"], entry["expiresAt"], entry["updatedAt"]) == ("the first", NOW + DAY, AT)


def test_what_waits_no_longer_is_forgotten_with_its_outcome(commit, item, put):
    put(("SYSTEM", "PENDING#cs_1"), message="the first")
    commit(created(ends_pending=True))
    assert item(("SYSTEM", "PENDING#cs_1")) is None


def test_an_outcome_that_is_final_already_is_told_and_left(commit, item, put):
    put(outcome("cs_1"), outcome="created", messageId="another", errorType="Unfinished")
    done = commit(skipped(), skipped("cs_2"))
    assert done.settled == {"cs_1": KnownOutcome("created", "Unfinished", "another")}
    assert (set(done.applied), done.failed) == ({"cs_2"}, {})
    assert item(outcome("cs_1"))["messageId"] == "another"
    assert counters(item(RECORD))["processed"] == 1


def test_what_others_decided_meanwhile_leaves_the_rest_of_the_batch_as_it_was(commit, item, put):
    put(outcome("cs_2"), outcome="skipped")
    put(outcome("cs_3"), outcome="error")
    done = commit(*(created(f"cs_{n}") for n in (1, 2, 3, 4)))
    assert (set(done.applied), set(done.settled), done.failed) == ({"cs_1", "cs_3", "cs_4"}, {"cs_2"}, {})
    assert [item(("USER#u1", f"ORDER#1#cs_{n}")) is not None for n in (1, 2, 3, 4)] == [
        True,
        False,
        True,
        True,
    ]


def test_an_error_that_was_written_meanwhile_is_corrected(commit, item, put):
    put(outcome("cs_1"), outcome="error", messageId="another")
    put(RECORD, processed=1, errors=1)
    done = commit(skipped())
    assert done.applied["cs_1"].previous == KnownOutcome("error", None, "another")
    assert counters(item(RECORD)) == {"processed": 1, "created": 0, "skipped": 1, "errors": 0, "drifted": 0}


def test_an_outcome_that_is_gone_meanwhile_is_written_anew(commit, item):
    done = commit(skipped(previous=KnownOutcome("error")))
    assert done.applied["cs_1"].previous is None
    assert item(outcome("cs_1"))["outcome"] == "skipped"
    assert counters(item(RECORD))["processed"] == 1


def test_an_order_whose_key_is_taken_exists_and_is_not_overwritten(commit, item, put):
    put(("USER#u1", "ORDER#1#cs_1"), note="by somebody else")
    done = commit(created(markers=(("evt_1", "a"),), ends_pending=True), created("cs_2"))
    assert done.applied["cs_1"] == skipped(
        attempts=1, markers=(), ends_pending=True, order=None, message_id="m-cs_1"
    )
    assert item(("USER#u1", "ORDER#1#cs_1"))["note"] == "by somebody else"
    assert item(("EVENT#evt_1", "METADATA")) is None
    assert counters(item(RECORD)) == {"processed": 2, "created": 1, "skipped": 1, "errors": 0, "drifted": 0}


def test_what_was_found_by_another_look_is_decided_again(commit, item):
    looks = []

    def look(results):
        looks.append([result.session_id for result in results])
        if len(looks) > 1:
            return Recheck(list(results), {})
        return Recheck([results[0].to_skipped_existing(), results[1]], {"cs_3": TableUnavailable("busy")})

    done = commit(created(), created("cs_2"), created("cs_3"), look=look)
    assert looks == [["cs_1", "cs_2", "cs_3"], ["cs_1", "cs_2"]]
    assert {key: result.outcome for key, result in done.applied.items()} == {
        "cs_1": Outcome.SKIPPED,
        "cs_2": Outcome.CREATED,
    }
    assert str(done.failed["cs_3"]) == "busy"
    assert item(outcome("cs_3")) is None


def test_what_could_not_be_looked_at_is_told_of_every_part(commit):
    def look(results):
        return Recheck(
            [r for r in results if r.session_id not in {"cs_00", "cs_32"}],
            {r.session_id: TableUnavailable("busy") for r in results if r.session_id in {"cs_00", "cs_32"}},
        )

    # As below: 32 sessions are one part, the last one is another.
    done = commit(
        *(created(f"cs_{n:02}", order=order(f"cs_{n:02}"), ends_pending=True) for n in range(33)), look=look
    )
    assert set(done.failed) == {"cs_00", "cs_32"}
    assert len(done.applied) == 31


def test_nobody_looks_again_for_results_without_an_order(commit):
    def look(results):
        raise AssertionError(results)

    assert set(commit(skipped(), failed("cs_2"), look=look).applied) == {"cs_1", "cs_2"}


def test_each_try_is_preceded_by_a_look(commit, memory):
    looks = []

    def look(results):
        looks.append(len(results))
        return Recheck(list(results), {})

    memory.plan = on("transact_write_items", throttled(), nth=(1, 2))
    commit(created(), look=look)
    assert looks == [1, 1, 1]


def test_an_answer_that_was_lost_is_not_a_second_commit(commit, memory, item):
    memory.plan = on("transact_write_items", lost_response(), nth=1)
    assert set(commit(created(), skipped("cs_2")).applied) == {"cs_1", "cs_2"}
    assert counters(item(RECORD))["processed"] == 2


def test_a_table_that_stays_away_fails_every_session_by_its_error(commit, memory):
    memory.plan = on("transact_write_items", throttled())
    done = commit(created(), skipped("cs_2"))
    assert set(done.failed) == {"cs_1", "cs_2"}
    assert {type(error) for error in done.failed.values()} == {TableUnavailable}
    assert done.applied == {}


def refuses(*session_ids):
    """DynamoDB refuses what holds one of these sessions, and does not say what."""
    refusal = service_error("ValidationException", "no")

    def plan(call):
        if call.method == "transact_write_items":
            text = str(call.arguments["TransactItems"])
            return refusal if any(f"SESSION#{session_id}'" in text for session_id in session_ids) else None
        return None

    return plan


def test_a_session_that_dynamodb_refuses_keeps_nobody_from_being_committed(commit, memory, item):
    memory.plan = refuses("cs_2")
    done = commit(skipped(), skipped("cs_2"), created("cs_3"))
    assert set(done.applied) == {"cs_1", "cs_3"}
    assert list(done.failed) == ["cs_2"]
    assert type(done.failed["cs_2"]) is TableRefused
    assert counters(item(RECORD))["processed"] == 2


def test_an_order_that_dynamodb_refuses_becomes_an_error(commit, memory, item):
    def plan(call):
        if call.method == "transact_write_items" and "ORDER#1#cs_2" in str(call.arguments["TransactItems"]):
            return service_error("ValidationException", "no")
        return None

    memory.plan = plan
    refused = created("cs_2", markers=(("evt_1", "a"),), ends_pending=True, amount=4999, currency="eur")
    done = commit(created(), refused)
    assert done.failed == {}
    error = done.applied["cs_2"]
    assert (error.outcome, error.order, error.markers, error.ends_pending) == (Outcome.ERROR, None, (), False)
    assert type(error.error) is TableRefused
    written = item(outcome("cs_2"))
    assert (written["errorType"], written["amount"]) == ("TableRefused", 4999)
    assert item(("EVENT#evt_1", "METADATA")) is None
    assert counters(item(RECORD)) == {"processed": 2, "created": 1, "skipped": 0, "errors": 1, "drifted": 0}


def test_an_action_that_dynamodb_refuses_by_name_concerns_its_session_alone(commit, memory, item):
    # outcomes of cs_1 and cs_2, then their orders
    memory.plan = on("transact_write_items", cancelled(REFUSED, "too large", 3), nth=1)
    done = commit(created(), created("cs_2"))
    assert done.applied["cs_1"].outcome is Outcome.CREATED
    error = done.applied["cs_2"]
    assert (error.outcome, str(error.error)) == (Outcome.ERROR, "DynamoDB refuses the item")
    assert item(("USER#u1", "ORDER#1#cs_2")) is None


def test_an_outcome_that_dynamodb_refuses_by_name_fails_its_session_alone(commit, memory):
    memory.plan = on("transact_write_items", cancelled(REFUSED, "too large", 0), nth=1)
    done = commit(skipped(), skipped("cs_2"))
    assert set(done.applied) == {"cs_2"}
    assert str(done.failed["cs_1"]) == "DynamoDB refuses the item"


def test_a_transaction_that_is_cancelled_for_no_sessions_reason_ends(commit, memory):
    # outcome, run, state
    memory.plan = on("transact_write_items", cancelled(REFUSED, "too large", 1))
    done = commit(skipped())
    assert str(done.failed["cs_1"]) == "DynamoDB cancels the transaction for no session's reason"
    assert done.applied == {}


def test_failures_of_several_parts_add_up(commit, memory):
    memory.plan = refuses("cs_1", "cs_3")
    done = commit(skipped(), skipped("cs_2"), skipped("cs_3"))
    assert set(done.failed) == {"cs_1", "cs_3"}


def sizes(memory):
    """How many actions each transaction had."""
    return [
        len(call.arguments["TransactItems"]) for call in memory.history.calls if "transact" in call.method
    ]


def test_what_does_not_fit_into_one_transaction_is_cut_between_sessions(commit, memory):
    # Each takes an outcome, an order, and an end of waiting: 32 of them and two counters are 98 actions.
    results = [created(f"cs_{n:02}", order=order(f"cs_{n:02}"), ends_pending=True) for n in range(33)]
    assert len(commit(*results).applied) == 33
    assert sizes(memory) == [98, 5]


def test_a_transaction_is_filled_to_its_last_action(commit, memory):
    commit(*(skipped(f"cs_{n:03}") for n in range(197)))
    assert sizes(memory) == [100, 100, 3]


def test_what_waits_for_its_payment_takes_two_actions(commit, memory):
    commit(*(skipped(f"cs_{n:02}", pending=a_message(session_id=f"cs_{n:02}")) for n in range(50)))
    assert sizes(memory) == [100, 4]


def test_markers_and_what_waits_count_among_the_actions(commit, memory):
    markers = tuple((f"evt_{n}", "a") for n in range(46))
    commit(
        created("cs_1", markers=markers, ends_pending=True),
        created("cs_2", markers=tuple((f"{event}_2", "a") for event, _ in markers), ends_pending=True),
        skipped("cs_3", pending=a_message(session_id="cs_3")),
    )
    assert sizes(memory) == [100, 4]


def test_large_orders_share_no_transaction(commit, memory):
    text = "x" * 390_000
    results = [created(f"cs_{n:02}", order=order(f"cs_{n:02}", note=text)) for n in range(12)]
    assert len(commit(*results).applied) == 12
    assert sizes(memory) == [22, 6]


def test_what_the_table_knows_of_a_batch_is_read_at_once(table, put, time):
    put(outcome("cs_1"), outcome="error", errorType="Unfinished", messageId="m-1")
    put(("SYNC_RUN#other", "SESSION#cs_2"), outcome="skipped")
    known = load_prior_state(table, [(RUN, "cs_1"), ("other", "cs_2"), (RUN, "cs_3")], time.deadline(60))
    assert known == PriorState(
        {
            (RUN, "cs_1"): KnownOutcome("error", "Unfinished", "m-1"),
            ("other", "cs_2"): KnownOutcome("skipped"),
        },
        RUN,
    )


def test_the_first_orders_that_a_run_created_are_named(table, commit, time):
    commit(
        created("cs_1"),
        skipped("cs_2"),
        created("cs_3"),
        created("cs_4"),
        failed("cs_5", error=StripeRejected("x")),
    )
    assert find_created_orders(table, RUN, 9, time.deadline(60)) == ["BC-1", "BC-3", "BC-4"]
    assert find_created_orders(table, RUN, 2, time.deadline(60)) == ["BC-1", "BC-3"]
    assert find_created_orders(table, "other", 2, time.deadline(60)) == []
