"""Dismissals in the table: what they write, what they leave, and what happens when a consumer is faster."""

import pytest

from recon.dynamodb.dismissals import (
    Allowance,
    Dismissal,
    DismissalRecord,
    allow,
    dismiss,
    dismiss_session,
    find_dismissal,
    find_dismissed_ids,
)
from recon.dynamodb.keys import (
    allowed_key,
    attention_key,
    dismissed_key,
    guard_key,
    outcome_key,
    pending_key,
)
from recon.dynamodb.records import parse_outcome
from recon.errors import OutOfTime, TableRefused
from recon.timestamps import DAY
from testkit.builders import NOW, RUN
from testkit.doubles.faults import cancelled, first_of, never, on, throttled
from testkit.runs import BEGAN, OTHER, RECORD, STATE

OUTCOME = outcome_key(RUN, "cs_1")
DEAD_MESSAGE = {"messageId": "m-dead", "attempts": 0, "amount": 4999, "currency": "eur"}
ERROR = {"errorType": "MalformedSession", "errorMessage": "id", "attempts": 3, "messageId": "m-1"}
ERROR |= {"amount": 1, "currency": "usd"}
DISMISSED = {
    "PK": OUTCOME[0],
    "SK": OUTCOME[1],
    "outcome": "skipped",
    "reason": "dismissed",
    "dismissedBy": "jane",
    "dismissedBecause": "test order",
    "dismissedAt": BEGAN,
    "updatedAt": BEGAN,
    "expiresAt": NOW + 30 * DAY,
}


DECISION = DismissalRecord("cs_1", "jane", "test order", BEGAN)


@pytest.fixture
def dismiss_in_run(table, time):
    def act(amount=4999, currency="eur", seconds=60):
        wish = Dismissal(RUN, "cs_1", "jane", "test order", "m-dead", amount, currency)
        return dismiss(table, wish, NOW, time.deadline(seconds))

    return act


def test_error_becomes_a_skip_and_keeps_its_attributes(dismiss_in_run, put, item):
    put(OUTCOME, outcome="error", **ERROR)
    put(RECORD, processed=1, errors=1, expiresAt=NOW)
    put(STATE, lastSyncRunId=RUN, lastSyncProcessed=1, lastSyncErrors=1)
    assert dismiss_in_run() is None
    assert item(OUTCOME) == DISMISSED | ERROR
    keys = {"PK": RECORD[0], "SK": RECORD[1]}
    counters = {"processed": 1, "skipped": 1, "errors": 0}
    assert item(RECORD) == keys | counters | {"updatedAt": BEGAN, "expiresAt": NOW}
    keys = {"PK": STATE[0], "SK": STATE[1], "lastSyncRunId": RUN}
    counters = {"lastSyncProcessed": 1, "lastSyncSkipped": 1, "lastSyncErrors": 0}
    assert item(STATE) == keys | counters | {"updatedAt": BEGAN}


def test_session_without_an_outcome_gets_one_of_its_message(dismiss_in_run, put, item):
    put(STATE, lastSyncRunId=OTHER)
    assert dismiss_in_run() is None
    assert item(OUTCOME) == DISMISSED | DEAD_MESSAGE
    assert [item(RECORD)[name] for name in ("processed", "skipped", "errors")] == [1, 1, 0]
    assert "lastSyncSkipped" not in item(STATE)


def test_absent_amount_of_the_message_is_not_stored(dismiss_in_run, item):
    assert dismiss_in_run(amount=None, currency=None) is None
    assert not {"amount", "currency"} & set(item(OUTCOME))


@pytest.mark.parametrize("word", ["created", "skipped"])
def test_final_outcome_is_left_and_returned(word, dismiss_in_run, put, item):
    put(OUTCOME, outcome=word, messageId="m-1")
    stored = item(OUTCOME)
    assert dismiss_in_run() == parse_outcome(stored)
    assert item(OUTCOME) == stored
    assert item(RECORD) is None


@pytest.mark.parametrize(
    ("before", "after", "returned", "counters"),
    [
        ({"outcome": "error"}, {"outcome": "created"}, "created", [1, 0, 1]),
        (None, {"outcome": "error"}, None, [1, 1, 0]),
    ],
    ids=["created", "error"],
)
def test_consumer_that_writes_first_is_respected(before, after, returned, counters, request):
    dismiss_in_run, memory, put, item = map(
        request.getfixturevalue, ("dismiss_in_run", "memory", "put", "item")
    )
    if before:
        put(OUTCOME, **before)

    def write_outcome(call):
        if call.method == "transact_write_items":
            memory.plan = never
            put(OUTCOME, **after)
            put(RECORD, processed=1, skipped=0, errors=1)

    memory.plan = write_outcome
    outcome = dismiss_in_run()
    assert (outcome and outcome.outcome) == returned
    assert ("dismissedBy" in item(OUTCOME)) is (returned is None)
    assert [item(RECORD)[name] for name in ("processed", "skipped", "errors")] == counters


@pytest.mark.parametrize(
    ("code", "seconds", "error"),
    [("ValidationError", 60, TableRefused), ("ConditionalCheckFailed", 0, OutOfTime)],
)
def test_dismissal_that_cannot_be_written_raises(code, seconds, error, dismiss_in_run, memory):
    memory.plan = on("transact_write_items", cancelled(code, "the outcome"))
    with pytest.raises(error) as caught:
        dismiss_in_run(seconds=seconds)
    assert error is OutOfTime or str(caught.value) == "DynamoDB refuses the dismissal"


def test_dismissal_is_for_good_and_ends_wait_and_attention(dismiss_in_run, table, put, item):
    put(OUTCOME, outcome="error", **ERROR)
    put(pending_key("cs_1"), message="{}")
    put(attention_key("cs_1"), words=["disputed"])
    dismiss_in_run()
    assert find_dismissal(table, "cs_1") == DECISION
    assert "expiresAt" not in item(dismissed_key("cs_1"))
    assert (item(pending_key("cs_1")), item(attention_key("cs_1"))) == (None, None)


def test_first_dismissal_stays(table, time, item):
    assert dismiss_session(table, "cs_1", "jane", "test order", NOW, time.deadline(60)) is None
    assert dismiss_session(table, "cs_1", "joe", "other", NOW + DAY, time.deadline(60)) == DECISION
    assert find_dismissal(table, "cs_1") == DECISION
    assert find_dismissed_ids(table, time.deadline(60)) == {"cs_1"}


def test_decisions_outlast_a_busy_read_and_name_what_dynamodb_refuses(table, time, memory, put):
    put(guard_key("cs_1"))
    refused = cancelled("ValidationError", "too large")
    memory.plan = first_of(on("get_item", throttled(), nth=1), on("transact_write_items", refused))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses the dismissal$"):
        dismiss_session(table, "cs_1", "jane", "x" * 9, NOW, time.deadline(60))
    with pytest.raises(TableRefused, match=r"^DynamoDB refuses the permission to write the order$"):
        allow(table, "cs_1", "jane", "x" * 9, NOW, time.deadline(60))


@pytest.mark.parametrize(
    ("items", "taken_back"),
    [
        ([], None),
        (["dismissal"], Allowance("cs_1", DECISION, removed_order=False)),
        (["guard"], Allowance("cs_1", None, removed_order=True)),
        (["dismissal", "guard"], Allowance("cs_1", DECISION, removed_order=True)),
    ],
)
def test_allow_takes_back_dismissal_and_guard(items, taken_back, table, time, put, item):
    if "dismissal" in items:
        dismiss_session(table, "cs_1", "jane", "test order", NOW, time.deadline(60))
    if "guard" in items:
        put(guard_key("cs_1"), orderNumber="BC-1")
    assert allow(table, "cs_1", "joe", "paid again", NOW, time.deadline(60)) == taken_back
    assert (item(dismissed_key("cs_1")), item(guard_key("cs_1"))) == (None, None)
    record = item(allowed_key("cs_1")) or {}
    expected = {"allowedBy": "joe", "allowedBecause": "paid again", "allowedAt": BEGAN}
    expected |= {"expiresAt": NOW + 90 * DAY}
    assert {name: record[name] for name in record if name not in ("PK", "SK")} == (expected if items else {})
