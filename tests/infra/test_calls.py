"""The comparison of calls and grants sees what is missing and what is too much."""

import json

import pytest

from recon.dynamodb.records import STATE_KEY
from testkit.roles import CALLED_BY_AWS, granted_actions, write_patterns
from tests.e2e import calls
from tests.e2e.calls import Used, differences, read

PRODUCER, CONSUMER = "ProducerRole", "ConsumerRole"
KEYS = {pattern.replace("*", "1") for pattern in write_patterns(CONSUMER)}


def use(role, *, more=(), less=(), keys=None):
    """All that a role is granted, and so much more or less."""
    actions = granted_actions(role) - CALLED_BY_AWS[role]
    return Used(frozenset((actions | set(more)) - set(less)), frozenset(KEYS if keys is None else keys))


def call(service, operation, writes=(), function="sync-1-consumer"):
    return {"function": function, "service": service, "operation": operation, "writes": writes}


def noted(folder, *made):
    folder.mkdir(exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}.jsonl").write_text(
        "".join(f"{json.dumps(one)}\n" for one in made)
    )
    return read(folder)


@pytest.mark.parametrize("role", [PRODUCER, CONSUMER])
def test_nothing_is_said_when_grants_and_calls_agree(role):
    keys = {STATE_KEY[0]} if role == PRODUCER else KEYS
    assert differences(role, use(role, keys=keys)) == []


def test_a_call_without_a_grant_is_said():
    assert differences(CONSUMER, use(CONSUMER, more=["dynamodb:Scan"])) == [
        "ConsumerRole calls dynamodb:Scan, which is not granted"
    ]


def test_a_grant_without_a_call_is_said():
    assert differences(CONSUMER, use(CONSUMER, less=["dynamodb:GetItem"])) == [
        "ConsumerRole is granted dynamodb:GetItem, which nothing calls"
    ]


def test_a_partition_that_no_pattern_covers_is_said():
    assert differences(PRODUCER, use(PRODUCER, keys={"SYSTEM", "USER#1"})) == [
        "ProducerRole writes USER#1, which no pattern of its policy covers"
    ]


def test_a_pattern_under_which_nothing_is_written_is_said():
    assert differences(CONSUMER, use(CONSUMER, keys=KEYS - {"EVENT#1"})) == [
        "ConsumerRole may write EVENT#*, which nothing does"
    ]


def test_notes_of_all_processes_are_one(tmp_path):
    noted(tmp_path / "calls", call("ssm", "GetParameter"))
    found = noted(
        tmp_path / "calls", call("dynamodb", "Query"), call("sqs", "SendMessageBatch", (), "sync-1-producer")
    )
    assert found[CONSUMER].actions == {"ssm:GetParameter", "dynamodb:Query"}
    assert found[PRODUCER].actions == {"sqs:SendMessage"}


def test_a_transaction_needs_what_its_actions_need(tmp_path):
    writes = [["Put", "USER#1"], ["Update", "SYSTEM"], ["Delete", "SYSTEM"]]
    found = noted(tmp_path / "calls", call("dynamodb", "TransactWriteItems", writes))
    assert found[CONSUMER] == Used(
        frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}),
        frozenset({"USER#1", "SYSTEM"}),
    )


def test_the_recorder_is_on_the_path_of_functions_when_a_session_collects(monkeypatch, tmp_path):
    monkeypatch.setenv(calls.FOLDER, str(tmp_path))
    variables = calls.recording()
    assert variables[calls.FOLDER] == str(tmp_path)
    assert (calls.HERE / "recorder" / "sitecustomize.py").exists()
    assert variables["PYTHONPATH"] == str(calls.HERE / "recorder")
    monkeypatch.delenv(calls.FOLDER)
    assert calls.recording() == {}
