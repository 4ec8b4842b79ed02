"""SQS records are grouped into one task per session, taken from the record received most often."""

import json

import pytest

from consumer.session_tasks import SqsRecord, group_by_session, parse_records
from recon.domain.message import dumps
from testkit.builders import RUN, a_message


def a_record(number, session_id="cs_1", receives=1, body=None):
    text = dumps(a_message(session_id=session_id)) if body is None else body
    return SqsRecord(f"m-{number}", f"r-{number}", receives, text)


def a_malformed_body(session_id="cs_1"):
    return json.dumps({"v": 1, "runId": RUN, "sessionId": session_id})


def test_lambda_event_is_parsed_into_records():
    record = {
        "messageId": "m-1",
        "receiptHandle": "r-1",
        "attributes": {"ApproximateReceiveCount": "3"},
        "body": "text",
    }
    assert parse_records({"Records": [record]}) == [SqsRecord("m-1", "r-1", 3, "text")]


def test_two_messages_of_one_session_become_one_task():
    batch = group_by_session([a_record(1, receives=4), a_record(2, receives=2), a_record(3, "cs_2")])
    assert [(task.key, task.message_id, task.receive_count) for task in batch.tasks] == [
        ((RUN, "cs_2"), "m-3", 1),
        ((RUN, "cs_1"), "m-1", 4),
    ]
    assert [record.message_id for record in batch.records[RUN, "cs_1"]] == ["m-2", "m-1"]
    assert batch.tasks[0].message == a_message(session_id="cs_2")
    assert batch.unreadable == []


def test_records_without_session_are_kept_apart():
    nameless = [a_record(1, body="no JSON"), a_record(2, body=a_malformed_body(session_id=7))]
    batch = group_by_session([nameless[0], a_record(3), nameless[1]])
    assert [task.message_id for task in batch.tasks] == ["m-3"]
    assert [(record, str(problem)) for record, problem in batch.unreadable] == [
        (nameless[0], "the body is not JSON"),
        (nameless[1], "sessionId must be a str"),
    ]


def test_malformed_message_with_ids_is_a_task_with_a_problem():
    [task] = group_by_session([a_record(1, body=a_malformed_body(), receives=2)]).tasks
    assert (task.run_id, task.session_id, task.message) == (RUN, "cs_1", None)
    assert (task.message_id, task.receive_count) == ("m-1", 2)
    assert str(task.problem) == "userId is missing"


@pytest.mark.parametrize(
    ("bodies", "message_id"),
    [
        ((None, a_malformed_body()), "m-1"),
        ((a_malformed_body(), None), "m-2"),
        ((a_malformed_body(), a_malformed_body()), "m-2"),
    ],
)
def test_later_record_replaces_all_but_a_readable_message(bodies, message_id):
    records = [a_record(n, body=body, receives=n) for n, body in enumerate(bodies, 1)]
    [task] = group_by_session(records).tasks
    assert task.message_id == message_id
    assert (task.problem is None) is (None in bodies)
