"""What Lambda delivers, sorted: one piece of work a session, by the delivery that was received most often."""

import json

from consumer.batch import SqsRecord, group_by_session, parse_records
from recon.domain.message import dumps
from testkit.builders import RUN, a_message


def delivery(number, session_id="cs_1", receives=1, body=None):
    text = dumps(a_message(session_id=session_id)) if body is None else body
    return SqsRecord(f"m-{number}", f"r-{number}", receives, text)


def broken(session_id="cs_1", run_id=RUN):
    return json.dumps({"v": 1, "runId": run_id, "sessionId": session_id})


def test_a_record_becomes_a_delivery():
    record = {
        "messageId": "m-1",
        "receiptHandle": "r-1",
        "attributes": {"ApproximateReceiveCount": "3"},
        "body": "text",
    }
    assert parse_records({"Records": [record]}) == [SqsRecord("m-1", "r-1", 3, "text")]


def test_two_messages_of_one_session_are_one_piece_of_work():
    batch = group_by_session([delivery(1, receives=4), delivery(2, receives=2), delivery(3, "cs_2")])
    assert [(work.key, work.message_id, work.receive_count) for work in batch.works] == [
        ((RUN, "cs_2"), "m-3", 1),
        ((RUN, "cs_1"), "m-1", 4),
    ]
    assert [at.message_id for at in batch.deliveries[RUN, "cs_1"]] == ["m-2", "m-1"]
    assert batch.works[0].message == a_message(session_id="cs_2")
    assert batch.unreadable == []


def test_what_names_no_session_is_set_apart_and_all_others_are_worked_on():
    nameless = [delivery(1, body="no JSON"), delivery(2, body=broken(session_id=7))]
    batch = group_by_session([nameless[0], delivery(3), nameless[1]])
    assert [work.message_id for work in batch.works] == ["m-3"]
    assert [(at, str(problem)) for at, problem in batch.unreadable] == [
        (nameless[0], "the body is not JSON"),
        (nameless[1], "sessionId must be a str"),
    ]


def test_a_broken_message_that_names_its_session_is_work_with_a_problem():
    [work] = group_by_session([delivery(1, body=broken(), receives=2)]).works
    assert (work.run_id, work.session_id, work.message) == (RUN, "cs_1", None)
    assert (work.message_id, work.receive_count) == ("m-1", 2)
    assert str(work.problem) == "userId is missing"


def test_a_readable_message_is_never_replaced_by_a_broken_one():
    [work] = group_by_session([delivery(1), delivery(2, body=broken(), receives=5)]).works
    assert (work.message_id, work.problem) == ("m-1", None)


def test_a_broken_message_is_replaced_by_whatever_comes_later():
    [work] = group_by_session([delivery(1, body=broken()), delivery(2, receives=5)]).works
    assert (work.message_id, work.problem) == ("m-2", None)
    [work] = group_by_session([delivery(1, body=broken()), delivery(2, body=broken(), receives=5)]).works
    assert work.message_id == "m-2"
