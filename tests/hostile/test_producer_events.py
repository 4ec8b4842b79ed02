"""Hostile events: each is a request, or is answered 400 with a text that names the field."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.lambda_function import lambda_handler
from producer.request import Continuation, Request, parse_request
from recon.errors import InvalidRequest
from tests.hostile.field_mutations import EMOJI, MUTATIONS, SECRET, set_field
from tests.hostile.hostile_shop import HostileShop
from tests.hostile.test_messages import json_values, texts

EVENTS = (
    {"lookbackHours": 48, "maxSessions": 100, "dryRun": True, "requestedAt": "2024-11-27T02:00:00Z"},
    {"from": "2024-11-01T00:00:00Z", "to": "2024-11-02T00:00:00Z"},
    {"trigger": "scheduled", "scheduledTime": "2024-11-27T02:00:00Z"},
    {"source": "aws.events", "time": "2024-11-27T02:00:00Z"},
    {"trigger": "continue", "runId": "20241127T020000Z", "hop": 1},
)
NAMES = sorted({name for event in EVENTS for name in event})


def parse(event):
    """Return the request, or the text of the refusal; any other exception fails the test."""
    try:
        return parse_request(event)
    except InvalidRequest as error:
        return str(error)


@settings(derandomize=True, max_examples=200)
@given(json_values | st.dictionaries(st.sampled_from(NAMES) | texts, json_values, max_size=5))
def test_any_event_is_a_request_or_a_short_refusal(event):
    found = parse(event)
    assert isinstance(found, Request | Continuation) or 10 < len(found) < 500


@pytest.mark.parametrize(("event", "name"), [(event, name) for event in EVENTS for name in event])
def test_hostile_field_is_refused_by_name_or_harmless(event, name):
    for what, make in MUTATIONS.items():
        changed = dict(event)
        set_field(changed, name, make())
        found = parse(changed)
        if isinstance(found, str):
            assert SECRET not in found, what
            # Without the field it is another kind of event, and the refusal names one of the others.
            assert name in found or not set(changed).isdisjoint(NAMES), what


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
def test_refused_event_reads_and_writes_nothing(account, event):
    shop = HostileShop(account)
    before = shop.memory.dump()
    answer = shop.produce(event)
    assert answer["statusCode"] == 400
    assert answer["body"]["error"] == "InvalidRequest"
    assert shop.history.calls == []
    assert shop.memory.dump() == before
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
def test_refused_event_without_a_caller_raises(account, event):
    shop = HostileShop(account)
    before = shop.memory.dump()
    with pytest.raises(InvalidRequest):
        shop.produce(event)
    assert shop.history.calls == []
    assert shop.memory.dump() == before


def test_refusal_needs_no_settings(monkeypatch):
    monkeypatch.delenv("COMMERCE_TABLE", raising=False)
    assert lambda_handler({"lookbackHours": None}, None)["statusCode"] == 400
