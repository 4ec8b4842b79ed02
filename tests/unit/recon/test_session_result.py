"""What is stored of one result: the messages that failed, and the entry of an order that is missing."""

from dataclasses import replace

import pytest

from recon.domain.attention import Attention
from recon.domain.fence import EventMark
from recon.domain.message import loads
from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.keys import pending_key
from recon.dynamodb.records import OutcomeRecord
from recon.dynamodb.session_result import SessionResult, outcome_action, side_record_actions
from recon.dynamodb.table import from_wire
from recon.errors import TableUnavailable
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN, a_message

BUSY = TableUnavailable("busy")
ERROR = SessionResult("cs_1", Outcome.ERROR, 2, "m-1", error=BUSY)
BEFORE = OutcomeRecord(
    "cs_1", "error", error_type="MalformedSession", message_id="m-0", failed_messages=("m-a", "m-1")
)


def test_result_becomes_an_error_without_what_it_had_decided():
    decided = replace(
        ERROR,
        outcome=Outcome.SKIPPED,
        reason=SkipReason.EXISTS,
        order={"PK": "USER#u1"},
        error=None,
        marks=(EventMark("evt_1", "a", NOW),),
        ends_pending=True,
        attention=(Attention.DISPUTED,),
    )
    assert decided.to_error(BUSY) == ERROR


@pytest.mark.parametrize(
    ("result", "previous", "stored"),
    [
        (ERROR, BEFORE, ["m-a", "m-0"]),
        (ERROR, replace(BEFORE, error_type="Unfinished"), ["m-a"]),
        (ERROR, replace(BEFORE, message_id=None), ["m-a"]),
        (
            ERROR,
            replace(BEFORE, failed_messages=tuple(map(str, range(25)))),
            [*map(str, range(6, 25)), "m-0"],
        ),
        (ERROR, None, None),
        (replace(ERROR, outcome=Outcome.SKIPPED, error=None), BEFORE, None),
    ],
)
def test_error_keeps_the_last_other_messages_that_failed(table, result, previous, stored):
    action = outcome_action(table, RUN, replace(result, previous=previous), NOW)
    assert from_wire(action.body["Item"]).get("failedMessages") == stored


def test_outcome_has_the_words_for_a_person(table):
    action = outcome_action(table, RUN, replace(ERROR, attention=(Attention.DISPUTED,)), NOW)
    assert from_wire(action.body["Item"])["attention"] == ["disputed"]


@pytest.mark.parametrize(("known", "since"), [(None, NOW), (NOW - DAY, NOW - DAY)])
def test_missing_order_is_looked_for_until_thirty_days_after_it_was_first_missed(
    known, since, table, time, item
):
    message = a_message(key_values=(("metadata.orderId", "o-1"),), missing_since=known)
    result = SessionResult("cs_1", Outcome.MISSING, 1, "m-1", pending=message)
    for now in (NOW, NOW + DAY):
        table.transact(list(side_record_actions(table, result, now)), time.deadline(9))
    entry = item(pending_key("cs_1"))
    assert loads(entry.pop("message")) == replace(message, pending=message.created, missing_since=None)
    pk, sk = pending_key("cs_1")
    assert entry == {
        "PK": pk,
        "SK": sk,
        "sessionId": "cs_1",
        "sessionCreated": message.created,
        "missingSince": since,
        "updatedAt": to_iso(NOW + DAY),
        "expiresAt": (NOW + DAY if known is None else since) + 30 * DAY,
    }
