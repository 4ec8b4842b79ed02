"""Events that nobody sends on purpose: a run as it was asked for, or 400 with a sentence that names the
field, before anything is read or written."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.lambda_function import lambda_handler
from producer.request import Continuation, Request, parse_request
from recon.errors import InvalidRequest
from tests.hostile.mutations import EMOJI, MISSING, MUTATIONS, SECRET
from tests.hostile.stage import Stage
from tests.hostile.test_messages import anything, texts

EVENTS = (
    {"lookbackHours": 48, "maxSessions": 100, "dryRun": True, "requestedAt": "2024-11-27T02:00:00Z"},
    {"from": "2024-11-01T00:00:00Z", "to": "2024-11-02T00:00:00Z"},
    {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"},
    {"source": "aws.events", "time": "2024-11-27T02:00:00Z"},
    {"trigger": "continue", "runId": "20241127T020000Z", "hop": 1},
)
NAMES = sorted({name for event in EVENTS for name in event})
IDS = [next(iter(event.values())) if "trigger" in event else "by hand" for event in EVENTS]


def asked(event):
    """What is asked for, or the sentence that refuses it; whatever else is raised fails the test."""
    try:
        return parse_request(event)
    except InvalidRequest as error:
        return str(error)


@settings(derandomize=True, max_examples=200)
@given(anything | st.dictionaries(st.sampled_from(NAMES) | texts, anything, max_size=5))
def test_anything_is_a_request_or_a_refusal_of_a_bearable_length(event):
    found = asked(event)
    assert isinstance(found, Request | Continuation) or 10 < len(found) < 500


@pytest.mark.parametrize("what", MUTATIONS)
@pytest.mark.parametrize(("event", "name"), [(event, name) for event in EVENTS for name in event])
def test_a_hostile_field_is_refused_by_name_or_harmless(event, name, what):
    value = MUTATIONS[what]()
    changed = {k: v for k, v in event.items() if k != name or value is not MISSING}
    if value is not MISSING:
        changed[name] = value
    found = asked(changed)
    if isinstance(found, str):
        assert SECRET not in found
        # An event that says less is another kind of event: what is left over is named then.
        assert name in found or not set(changed).isdisjoint(NAMES)


@pytest.mark.parametrize(
    "event",
    [
        None,
        7,
        [],
        "{}",
        {EMOJI: 1},
        {"lookbackHours": 10**400},
        {"maxSessions": float("nan")},
        {"requestedAt": "9" * 100_000},
        {"requestedAt": "0001-01-01T00:00:00Z"},
        {"trigger": ["scheduled"]},
        json.loads('{"a":' * 900 + "1" + "}" * 900),
    ],
    ids=lambda event: str(event)[:24],
)
def test_a_refusal_is_answered_before_anything_is_read_or_written(account, event):
    stage = Stage(account)
    before = stage.memory.dump()
    answer = stage.produce(event)
    assert answer["statusCode"] == 400
    assert answer["body"]["error"] == "InvalidRequest"
    assert stage.history.calls == []
    assert stage.memory.dump() == before
    json.dumps(answer).encode()


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": "continue", "runId": "../../etc", "hop": 1},
        {"trigger": "continue"},
        {"trigger": "scheduled"},
        {"trigger": "scheduled", "scheduledTime": "soon"},
        {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z", "lookbackHours": 0},
        {"source": "aws.events"},
        {"source": "aws.events", "time": "9" * 100_000},
    ],
    ids=lambda event: str(event)[:60],
)
def test_a_refusal_without_a_caller_is_raised_before_anything_is_read_or_written(account, event):
    stage = Stage(account)
    before = stage.memory.dump()
    with pytest.raises(InvalidRequest):
        stage.produce(event)
    assert stage.history.calls == []
    assert stage.memory.dump() == before


def test_a_refusal_needs_no_settings(monkeypatch, capsys):
    monkeypatch.delenv("COMMERCE_TABLE", raising=False)
    assert lambda_handler({"lookbackHours": None}, None)["statusCode"] == 400
