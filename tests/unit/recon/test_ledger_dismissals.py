"""A dismissal in the table: what it writes, what it leaves, and who was faster."""

import pytest

from recon.dynamodb.dismissals import Dismissal, dismiss
from recon.dynamodb.table import Table
from recon.errors import OutOfTime, TableRefused
from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE
from testkit.doubles.faults import cancelled, never, on

AT = "2024-11-27T02:00:00Z"
STATE = ("SYSTEM", "STRIPE_ORDER_SYNC")
RECORD = ("SYSTEM", f"STRIPE_ORDER_SYNC#{RUN}")
OUTCOME = (f"SYNC_RUN#{RUN}", "SESSION#cs_1")
WISH = Dismissal(RUN, "cs_1", "jane", "test order", "m-dead", 4999, "eur")


@pytest.fixture
def dismissed(memory, time):
    def act(wish=WISH):
        return dismiss(Table(memory, TABLE), wish, NOW, time.deadline(60))

    return act


def test_an_error_becomes_a_skip_and_what_it_was_stays_to_be_read(dismissed, put, item):
    error = {
        "errorType": "MalformedSession",
        "errorMessage": "id",
        "attempts": 3,
        "messageId": "m-1",
        "amount": 1,
    }
    put(OUTCOME, outcome="error", currency="usd", **error)
    put(RECORD, processed=1, errors=1, expiresAt=NOW)
    put(STATE, lastSyncRunId=RUN, lastSyncProcessed=1, lastSyncErrors=1)
    assert dismissed() is None
    assert item(OUTCOME) == error | {
        "PK": OUTCOME[0],
        "SK": OUTCOME[1],
        "outcome": "skipped",
        "reason": "dismissed",
        "dismissedBy": "jane",
        "dismissedBecause": "test order",
        "dismissedAt": AT,
        "updatedAt": AT,
        "expiresAt": NOW + 30 * DAY,
        "currency": "usd",
    }
    assert item(RECORD) == {
        "PK": RECORD[0],
        "SK": RECORD[1],
        "processed": 1,
        "skipped": 1,
        "errors": 0,
        "updatedAt": AT,
        "expiresAt": NOW,
    }
    assert item(STATE) == {
        "PK": STATE[0],
        "SK": STATE[1],
        "lastSyncRunId": RUN,
        "lastSyncProcessed": 1,
        "lastSyncSkipped": 1,
        "lastSyncErrors": 0,
        "updatedAt": AT,
    }


def test_a_session_without_an_outcome_gets_one_of_the_dead_message(dismissed, put, item):
    put(STATE, lastSyncRunId="20241128T020000Z")
    assert dismissed() is None
    assert item(OUTCOME) == {
        "PK": OUTCOME[0],
        "SK": OUTCOME[1],
        "outcome": "skipped",
        "reason": "dismissed",
        "dismissedBy": "jane",
        "dismissedBecause": "test order",
        "dismissedAt": AT,
        "updatedAt": AT,
        "expiresAt": NOW + 30 * DAY,
        "messageId": "m-dead",
        "attempts": 0,
        "amount": 4999,
        "currency": "eur",
    }
    assert item(RECORD)["processed"] == item(RECORD)["skipped"] == 1
    assert item(RECORD)["errors"] == 0
    assert "lastSyncSkipped" not in item(STATE)


def test_what_the_dead_message_does_not_say_is_absent(dismissed, item):
    assert dismissed(Dismissal(RUN, "cs_1", "jane", "test order", "m-dead")) is None
    assert not {"amount", "currency"} & set(item(OUTCOME))


@pytest.mark.parametrize("word", ["created", "skipped"])
def test_a_final_outcome_is_left_and_returned(word, dismissed, put, item):
    put(OUTCOME, outcome=word, messageId="m-1")
    assert dismissed() == item(OUTCOME)
    assert item(OUTCOME)["outcome"] == word
    assert item(RECORD) is None


def test_a_consumer_that_is_faster_wins(dismissed, memory, put, item):
    put(OUTCOME, outcome="error")

    def consumer(call):
        if call.method == "transact_write_items":
            memory.plan = never
            put(OUTCOME, outcome="created")

    memory.plan = consumer
    assert dismissed()["outcome"] == "created"
    assert "dismissedBy" not in item(OUTCOME)


def test_an_outcome_that_appears_meanwhile_is_not_counted_twice(dismissed, memory, put, item):
    def consumer(call):
        if call.method == "transact_write_items":
            memory.plan = never
            put(OUTCOME, outcome="error")
            put(RECORD, processed=1, errors=1)

    memory.plan = consumer
    assert dismissed() is None
    assert [item(RECORD)[name] for name in ("processed", "skipped", "errors")] == [1, 1, 0]


def test_a_dismissal_that_dynamodb_refuses_is_said(dismissed, memory):
    memory.plan = on("transact_write_items", cancelled("ValidationError", "too large"))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses the dismissal$"):
        dismissed()


def test_a_dismissal_that_is_never_in_time_ends(dismissed, memory, time):
    memory.plan = on("transact_write_items", cancelled("ConditionalCheckFailed", "moved"))
    with pytest.raises(OutOfTime):
        dismiss(Table(memory, TABLE), WISH, NOW, time.deadline(0))
