"""Committing session results: the items in the table afterwards, and what the caller gets."""

from dataclasses import replace

import pytest

from recon.domain.fence import EventMark
from recon.domain.message import dumps
from recon.domain.outcome import Outcome, SkipReason
from recon.domain.table_decision import ExistingOrder
from recon.dynamodb.guards import hash_order_key
from recon.dynamodb.keys import guard_key, outcome_key
from recon.dynamodb.outcome_writer import Committed, OutcomeWriter, Recheck
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.session_result import SessionResult
from recon.errors import MalformedSession, TableRefused, TableUnavailable, WebhookAtWork
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, a_message
from testkit.doubles.faults import cancelled, lost_response, on, service_error, throttled
from testkit.runs import BEGAN, OTHER, RECORD, STATE

EVENT = ("EVENT#evt_1", "METADATA")
PENDING = ("SYSTEM", "PENDING#cs_1")
EXPIRES = {"updatedAt": BEGAN, "expiresAt": NOW + 30 * DAY}
BUSY = TableUnavailable("busy")


@pytest.fixture(autouse=True)
def state_of_this_run(put):
    put(STATE, lastSyncRunId=RUN)


@pytest.fixture
def write(table, time):
    def write_results(*results, holds_state=True, look_again=lambda results: Recheck(list(results), {})):
        writer = OutcomeWriter(
            table, RUN, NOW, time.deadline(60), holds_state=holds_state, look_again=look_again
        )
        return writer.write(results)

    return write_results


@pytest.fixture
def counters(item):
    """Return a reader of a run's counters: processed, created, skipped, errors, drifted."""

    def read():
        names = ("processed", "created", "skipped", "errors", "drifted")
        return tuple(item(RECORD).get(name) for name in names)

    return read


def order_key(number):
    return ("USER#u1", f"ORDER#1#cs_{number}")


def created(number=1, **changes):
    pk, sk = order_key(number)
    order = {"PK": pk, "SK": sk, "orderNumber": f"BC-{number}", "amount": 4999, "currency": "eur"}
    result = SessionResult(f"cs_{number}", Outcome.CREATED, 1, f"m-{number}", order=order)
    return replace(result, **changes)


def skipped(number=1, **changes):
    result = SessionResult(f"cs_{number}", Outcome.SKIPPED, 2, f"m-{number}", reason=SkipReason.EXISTS)
    return replace(result, **changes)


def failed(number=1):
    error = MalformedSession("id must be a string")
    return SessionResult(f"cs_{number}", Outcome.ERROR, 3, f"m-{number}", error=error)


def stored_error(number=1):
    return OutcomeRecord(f"cs_{number}", "error")


@pytest.mark.parametrize(
    ("result", "outcome", "counts"),
    [
        (
            created(amount=1, currency="usd"),
            {"outcome": "created", "orderNumber": "BC-1", "amount": 4999, "currency": "eur", "attempts": 1},
            {"processed": 1, "created": 1, "skipped": 0, "errors": 0, "drifted": 0, "existing": 0},
        ),
        (
            skipped(amount=4999, currency="eur", drift=("amount: 1, 2",), was_pending=True),
            {"outcome": "skipped", "reason": "exists", "amount": 4999, "currency": "eur", "attempts": 2}
            | {"drift": ["amount: 1, 2"], "pending": True},
            {"processed": 1, "created": 0, "skipped": 1, "errors": 0, "drifted": 1, "existing": 1},
        ),
        (
            failed(),
            {"outcome": "error", "errorType": "MalformedSession", "errorMessage": "id must be a string"}
            | {"attempts": 3},
            {"processed": 1, "created": 0, "skipped": 0, "errors": 1, "drifted": 0, "existing": 0},
        ),
    ],
    ids=["created", "skipped", "error"],
)
def test_result_is_stored_with_its_order_and_counters(result, outcome, counts, write, item):
    done = write(result)
    assert (done.applied, done.settled, done.failed) == ({"cs_1": result}, {}, {})
    assert item(order_key(1)) == result.order
    keys = {"PK": f"SYNC_RUN#{RUN}", "SK": "SESSION#cs_1"}
    assert item(outcome_key(RUN, "cs_1")) == keys | {"messageId": "m-1"} | EXPIRES | outcome
    keys = {"PK": "SYSTEM", "SK": f"STRIPE_ORDER_SYNC#{RUN}"}
    assert item(RECORD) == keys | counts | {"updatedAt": BEGAN, "expiresAt": NOW + 90 * DAY}
    keys = {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": RUN, "updatedAt": BEGAN}
    in_state = {name: count for name, count in counts.items() if name != "existing"}
    assert item(STATE) == keys | {f"lastSync{name.capitalize()}": count for name, count in in_state.items()}


def test_batch_counts_each_result_and_corrects_errors(write, item, counters):
    write(failed(1), failed(2))
    write(
        created(1, previous=stored_error(1)),
        created(2, previous=stored_error(2), drift=("amount",)),
        created(3, drift=("amount", "currency")),
        skipped(4),
        skipped(5),
    )
    assert counters() == (5, 3, 2, 0, 2)
    assert item(outcome_key(RUN, "cs_1"))["outcome"] == "created"


def test_repeated_error_moves_no_counter(write, item):
    write(failed())
    record, state = item(RECORD), item(STATE)
    assert set(write(replace(failed(), attempts=4, previous=stored_error())).applied) == {"cs_1"}
    assert item(outcome_key(RUN, "cs_1"))["attempts"] == 4
    assert (item(RECORD), item(STATE)) == (record, state)


def test_run_that_lost_the_state_counts_on_its_record(write, item, put, counters):
    put(STATE, lastSyncRunId=OTHER)
    assert set(write(created(), skipped(2)).applied) == {"cs_1", "cs_2"}
    assert counters() == (2, 1, 1, 0, 0)
    assert item(STATE) == {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": OTHER}


def test_run_known_to_have_lost_the_state_leaves_it_alone(write, item):
    write(created(), holds_state=False)
    assert item(STATE) == {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncRunId": RUN}


def test_marker_has_the_attributes_of_the_webhook(write, item):
    write(created(marks=(EventMark("evt_1", "checkout.session.completed", NOW, "BC-1"),)))
    assert item(EVENT) == {
        "PK": "EVENT#evt_1",
        "SK": "METADATA",
        "eventType": "checkout.session.completed",
        "sessionId": "cs_1",
        "status": "completed",
        "orderCreated": True,
        "orderNumber": "BC-1",
        "source": "nightly_sync",
        "processedAt": BEGAN,
        "expiresAt": NOW + 90 * DAY,
    }


def test_marker_of_the_webhook_stays_and_the_order_is_written(write, item, put):
    put(EVENT, source="webhook", status="completed")
    done = write(created(marks=(EventMark("evt_1", "a", NOW), EventMark("evt_2", "b", NOW))))
    assert done.applied["cs_1"].marks == (EventMark("evt_2", "b", NOW),)
    assert item(EVENT)["source"] == "webhook"
    assert item(("EVENT#evt_2", "METADATA"))["source"] == "nightly_sync"
    assert item(order_key(1)) == created().order


MANY = tuple(EventMark(f"evt_{number}", "a", NOW) for number in range(250))


def test_marks_beyond_a_transaction_follow_the_order_each_with_its_session(write, item, put):
    put(("EVENT#evt_200", "METADATA"), source="webhook")
    done = write(created(marks=MANY))
    assert (set(done.applied), done.unmarked) == ({"cs_1"}, {})
    stored = [item((f"EVENT#{mark.event_id}", "METADATA")) for mark in MANY]
    assert [number for number, marker in enumerate(stored) if marker["source"] == "webhook"] == [200]
    assert {marker.get("sessionId") for marker in stored[:200] + stored[201:]} == {"cs_1"}


def test_ends_of_several_commits_are_added():
    one, other = (Committed({n: n}, {n: n}, {n: n}, {n: n}) for n in "ab")
    one.add(other)
    both = {"a": "a", "b": "b"}
    assert one == Committed(both, both, both, both)


def test_guard_of_a_found_order_is_put_although_another_condition_failed(write, item, put):
    put(EVENT, source="webhook")
    found = ExistingOrder("USER#u1", "ORDER#1#cs_1", "cs_1", "cs_1", sync_run_id=OTHER)
    write(skipped(unguarded=found, marks=(EventMark("evt_1", "a", NOW),)))
    assert item(guard_key("cs_1"))["syncRunId"] == OTHER


def test_order_that_was_written_once_is_not_written_again(write, item, put):
    put(guard_key("cs_1"))
    assert write(created()).applied["cs_1"].reason is SkipReason.REMOVED
    assert item(order_key(1)) is None


def test_guard_holds_a_hash_of_the_key_whatever_it_is_made_of():
    assert (
        hash_order_key(("USER#u1", "ORDER#1#cs_1"))
        == "2dde82323166764abc30709de7e62f88559cb79f4c4de257fd53cebdfb71f31d"
    )
    assert (
        hash_order_key(("USER#\ud800", "ORDER#1"))
        == "9e8b9f9e312e9f85cfe810d36549f8009c468cda1e916679d05325a588a5f0e4"
    )


def test_missing_orders_are_counted(write, item):
    missing = SessionResult("cs_1", Outcome.MISSING, 1, "m-1")
    write(missing, replace(missing, session_id="cs_2"))
    assert [item(RECORD)[name] for name in ("processed", "missing", "skipped")] == [2, 2, 0]


def test_claim_of_a_webhook_at_work_fails_the_session_until_it_ends(write, item, put):
    put(EVENT, status="processing")
    done = write(created(marks=(EventMark("evt_1", "a", NOW - 60),)), skipped(2))
    assert set(done.applied) == {"cs_2"}
    error = done.failed["cs_1"]
    assert (type(error), error.seconds) == (WebhookAtWork, 840)
    assert item(order_key(1)) is None


def test_unpaid_session_is_stored_with_its_message(write, item):
    message = a_message(session_id="cs_1")
    write(skipped(reason=SkipReason.UNPAID, pending=message))
    assert item(PENDING) == {
        "PK": "SYSTEM",
        "SK": "PENDING#cs_1",
        "message": dumps(replace(message, pending=message.created)),
        "sessionId": "cs_1",
        "sessionCreated": message.created,
        "updatedAt": BEGAN,
        "expiresAt": message.created + 460 * DAY,
    }


def test_pending_entry_keeps_its_message_and_outlives_the_wait(write, item, put):
    put(PENDING, message="the first", expiresAt=NOW + DAY)
    message = a_message(session_id="cs_1")
    write(skipped(reason=SkipReason.UNPAID, pending=message))
    entry = item(PENDING)
    assert (entry["message"], entry["updatedAt"]) == ("the first", BEGAN)
    assert entry["expiresAt"] == message.created + 460 * DAY


def test_order_deletes_the_pending_entry(write, item, put):
    put(PENDING, message="the first")
    write(created(ends_pending=True))
    assert item(PENDING) is None


def test_outcomes_of_other_writers_settle_or_are_corrected(write, item, put, counters):
    put(outcome_key(RUN, "cs_1"), outcome="created", messageId="another", errorType="Unfinished")
    put(outcome_key(RUN, "cs_2"), outcome="error", messageId="another")
    put(RECORD, processed=2, created=1, errors=1)
    done = write(*map(created, (1, 2, 3)))
    final = OutcomeRecord("cs_1", "created", error_type="Unfinished", message_id="another")
    assert (set(done.applied), done.settled, done.failed) == ({"cs_2", "cs_3"}, {"cs_1": final}, {})
    assert done.applied["cs_2"].previous == OutcomeRecord("cs_2", "error", message_id="another")
    assert item(outcome_key(RUN, "cs_1"))["messageId"] == "another"
    assert [item(order_key(n)) is not None for n in (1, 2, 3)] == [False, True, True]
    assert counters() == (3, 3, 0, 0, 0)


def test_outcome_that_disappeared_is_written_anew(write, item, counters):
    done = write(skipped(previous=stored_error()))
    assert done.applied["cs_1"].previous is None
    assert item(outcome_key(RUN, "cs_1"))["outcome"] == "skipped"
    assert counters() == (1, 0, 1, 0, 0)


def test_order_under_a_taken_key_is_not_overwritten(write, item, put, counters):
    put(order_key(1), note="by another writer")
    done = write(created(marks=(EventMark("evt_1", "a", NOW),), ends_pending=True), created(2))
    assert done.applied["cs_1"] == skipped(attempts=1, ends_pending=True)
    assert item(order_key(1))["note"] == "by another writer"
    assert item(EVENT) is None
    assert counters() == (2, 1, 1, 0, 0)


def test_recheck_before_the_commit_changes_the_results(write, item):
    looks = []

    def look_again(results):
        looks.append([result.session_id for result in results])
        if len(looks) > 1:
            return Recheck(list(results), {})
        return Recheck([results[0].to_skipped_existing(), results[1]], {"cs_3": BUSY})

    done = write(*map(created, (1, 2, 3)), look_again=look_again)
    assert looks == [["cs_1", "cs_2", "cs_3"], ["cs_1", "cs_2"]]
    assert {name: result.outcome for name, result in done.applied.items()} == {
        "cs_1": Outcome.SKIPPED,
        "cs_2": Outcome.CREATED,
    }
    assert done.failed == {"cs_3": BUSY}
    assert item(outcome_key(RUN, "cs_3")) is None


def test_failed_rechecks_of_all_parts_are_reported(write):
    busy = {"cs_0": BUSY, "cs_32": BUSY}

    def look_again(results):
        ids = {result.session_id for result in results}
        known = [result for result in results if result.session_id not in busy]
        return Recheck(known, {name: error for name, error in busy.items() if name in ids})

    # As below: 32 sessions are one part, the last one is another.
    done = write(*(created(n, ends_pending=True) for n in range(33)), look_again=look_again)
    assert (done.failed, len(done.applied)) == (busy, 31)


def test_recheck_is_skipped_without_an_order_to_write(write):
    def look_again(results):
        raise AssertionError(results)

    assert set(write(skipped(), failed(2), look_again=look_again).applied) == {"cs_1", "cs_2"}


def test_recheck_runs_before_each_try(write, memory):
    looks = []

    def look_again(results):
        looks.append(len(results))
        return Recheck(list(results), {})

    memory.plan = on("transact_write_items", throttled(), nth=(1, 2))
    write(created(), look_again=look_again)
    assert looks == [1, 1, 1]


def test_commit_with_a_lost_response_counts_once(write, memory, counters):
    memory.plan = on("transact_write_items", lost_response(), nth=1)
    assert set(write(created(), skipped(2)).applied) == {"cs_1", "cs_2"}
    assert counters() == (2, 1, 1, 0, 0)


def test_unavailable_table_fails_every_session(write, memory):
    memory.plan = on("transact_write_items", throttled())
    done = write(created(), skipped(2))
    assert {name: type(error) for name, error in done.failed.items()} == {
        "cs_1": TableUnavailable,
        "cs_2": TableUnavailable,
    }
    assert done.applied == {}


def refuse(*texts):
    """Refuse each transaction that contains one of these texts, without naming the item."""

    def plan(call):
        if call.method != "transact_write_items":
            return None
        content = str(call.arguments["TransactItems"])
        return service_error("ValidationException", "no") if any(text in content for text in texts) else None

    return plan


def test_refused_sessions_do_not_stop_the_others(write, memory, counters):
    memory.plan = refuse("SESSION#cs_2", "SESSION#cs_4")
    done = write(skipped(), skipped(2), created(3), skipped(4))
    assert set(done.applied) == {"cs_1", "cs_3"}
    assert {name: type(error) for name, error in done.failed.items()} == {
        "cs_2": TableRefused,
        "cs_4": TableRefused,
    }
    assert counters() == (2, 1, 1, 0, 0)


def test_refused_order_becomes_an_error(write, memory, item, counters):
    memory.plan = refuse("ORDER#1#cs_2")
    refused = created(
        2, marks=(EventMark("evt_1", "a", NOW),), ends_pending=True, amount=4999, currency="eur"
    )
    done = write(created(), refused)
    error = done.applied["cs_2"]
    assert done.failed == {}
    assert (error.outcome, error.order, error.marks, error.ends_pending) == (Outcome.ERROR, None, (), False)
    assert type(error.error) is TableRefused
    stored = item(outcome_key(RUN, "cs_2"))
    assert (stored["errorType"], stored["amount"]) == ("TableRefused", 4999)
    assert item(EVENT) is None
    assert counters() == (2, 1, 0, 1, 0)


def test_order_refused_by_name_becomes_an_error_alone(write, memory, item):
    # The actions are both outcomes, then the order of cs_1 with its check and its guard, then that of cs_2.
    memory.plan = on("transact_write_items", cancelled("ValidationError", "too large", 5), nth=1)
    done = write(created(), created(2, marks=(EventMark("evt_1", "a", NOW),)))
    assert done.applied["cs_1"].outcome is Outcome.CREATED
    assert item(guard_key("cs_1"))["syncRunId"] == RUN
    error = done.applied["cs_2"]
    assert (error.outcome, str(error.error)) == (Outcome.ERROR, "DynamoDB refuses the item")
    assert item(order_key(2)) is None


@pytest.mark.parametrize(
    ("results", "position", "applied", "text"),
    [
        # The actions are the outcomes, then the counters of the run and of the state.
        ((skipped(1), skipped(2)), 0, {"cs_2"}, "DynamoDB refuses the item"),
        ((skipped(1),), 1, set(), "DynamoDB cancels the transaction for no session's reason"),
    ],
    ids=["outcome", "counter"],
)
def test_action_refused_by_name_fails_its_session(results, position, applied, text, write, memory):
    first = 1 if applied else None
    memory.plan = on("transact_write_items", cancelled("ValidationError", "too large", position), nth=first)
    done = write(*results)
    assert set(done.applied) == applied
    assert {name: str(error) for name, error in done.failed.items()} == {"cs_1": text}


def with_markers(number, count):
    return created(
        number, marks=tuple(EventMark(f"evt_{number}_{n}", "a", NOW) for n in range(count)), ends_pending=True
    )


def with_size(number, count):
    return replace(created(number), order=created(number).order | {"note": "x" * count})


@pytest.mark.parametrize(
    ("results", "sizes"),
    [
        # An outcome, an order, its guard, its check and a pending entry each: 19 and the counters are 97.
        ([created(n, ends_pending=True) for n in range(25)], [97, 32]),
        ([skipped(n) for n in range(197)], [100, 100, 3]),
        ([skipped(n, pending=a_message(session_id=f"cs_{n}")) for n in range(50)], [100, 4]),
        (
            [with_markers(1, 44), with_markers(2, 44), skipped(3, pending=a_message(session_id="cs_3"))],
            [100, 4],
        ),
        ([with_size(n, 390_000) for n in range(12)], [42, 10]),
        ([], []),
    ],
    ids=["orders", "outcomes", "pending entries", "markers", "large orders", "nothing"],
)
def test_batch_is_split_between_sessions_to_fit(results, sizes, write, memory):
    assert len(write(*results).applied) == len(results)
    transactions = [call for call in memory.history.calls if call.method == "transact_write_items"]
    assert [len(call.arguments["TransactItems"]) for call in transactions] == sizes
