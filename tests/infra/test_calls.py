"""The comparison of recorded calls with the roles' permissions finds missing and superfluous ones."""

import json

import pytest

from recon.dynamodb.keys import STATE_KEY
from testkit.roles import CALLED_BY_AWS, granted_actions, write_patterns
from tests.e2e import calls
from tests.e2e.calls import RoleUsage, find_differences, read_usage

PRODUCER, CONSUMER = "ProducerRole", "ConsumerRole"
KEYS = {pattern.replace("*", "1") for pattern in write_patterns(CONSUMER)}


def usage(role, *, more=(), less=(), keys=KEYS):
    """Return all that a role is granted, plus `more` and minus `less`."""
    actions = granted_actions(role) - CALLED_BY_AWS[role]
    return RoleUsage(frozenset((actions | set(more)) - set(less)), frozenset(keys))


@pytest.mark.parametrize(
    ("role", "used", "differences"),
    [
        (PRODUCER, usage(PRODUCER, keys={STATE_KEY[0]}), []),
        (CONSUMER, usage(CONSUMER), []),
        (
            CONSUMER,
            usage(CONSUMER, more=["dynamodb:Scan"]),
            ["ConsumerRole calls dynamodb:Scan, which is not granted"],
        ),
        (
            CONSUMER,
            usage(CONSUMER, less=["dynamodb:GetItem"]),
            ["ConsumerRole is granted dynamodb:GetItem, which nothing calls"],
        ),
        (
            PRODUCER,
            usage(PRODUCER, keys={"SYSTEM", "USER#1"}),
            ["ProducerRole writes USER#1, which no pattern of its policy covers"],
        ),
        (
            CONSUMER,
            usage(CONSUMER, keys=KEYS - {"EVENT#1"}),
            ["ConsumerRole may write EVENT#*, which nothing does"],
        ),
    ],
)
def test_difference_between_calls_and_grants_is_named(role, used, differences):
    assert find_differences(role, used) == differences


def test_recorded_calls_of_all_processes_become_the_usage_of_roles(tmp_path):
    writes = [["Put", "USER#1"], ["Update", "SYSTEM"], ["Delete", "SYSTEM"]]
    recorded = [
        ("consumer", "ssm", "GetParameter", []),
        ("consumer", "dynamodb", "TransactWriteItems", writes),
        ("producer", "sqs", "SendMessageBatch", []),
    ]
    for number, (function, service, operation, written) in enumerate(recorded):
        call = {
            "function": f"sync-1-{function}",
            "service": service,
            "operation": operation,
            "writes": written,
        }
        (tmp_path / f"{number}.jsonl").write_text(f"{json.dumps(call)}\n")
    assert read_usage(tmp_path) == {
        CONSUMER: RoleUsage(
            frozenset({"ssm:GetParameter", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}),
            frozenset({"USER#1", "SYSTEM"}),
        ),
        PRODUCER: RoleUsage(frozenset({"sqs:SendMessage"}), frozenset()),
    }


def test_functions_record_their_calls_if_the_session_collects_them(monkeypatch, tmp_path):
    monkeypatch.setenv(calls.FOLDER, str(tmp_path))
    recorder = calls.HERE / "recorder"
    assert calls.recorder_environment() == {calls.FOLDER: str(tmp_path), "PYTHONPATH": str(recorder)}
    assert (recorder / "sitecustomize.py").exists()
    monkeypatch.delenv(calls.FOLDER)
    assert calls.recorder_environment() == {}
