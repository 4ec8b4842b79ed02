"""Acknowledgements, dismissals and permissions hold with every other version."""

import json
from dataclasses import replace

import pytest

from recon.dynamodb.attention import find_attention
from recon.timestamps import DAY, HOUR
from testkit.builders import NOW, TABLE
from testkit.world import SCHEDULED, wire
from tests.compat.conftest import add_fields
from tests.compat.people import PEOPLE, SESSIONS

NEXT_NIGHT = SCHEDULED | {"scheduledTime": "2024-11-28T02:00:00Z"}
NEXT_RUN = "20241128T020000Z"


@pytest.fixture(params=sorted(PEOPLE.glob("*.json")), ids=lambda path: path.stem)
def people(request):
    return json.loads(request.param.read_text())


@pytest.fixture(params=[False, True], ids=["as it was", "with later additions"])
def night_after(request, world, people):
    """Store the items of a version, let all holds be captured, and play the next night."""
    items = add_fields(people) if request.param else people
    for item in items:
        world.memory.put_item(TableName=TABLE, Item=wire(item))
    captured = {"payment_status": "paid", "intent_status": None, "amount_captured": None}
    for spec in SESSIONS:
        world.sells(replace(spec, **({} if spec.payment_status == "paid" else captured)))
    world.clock.now += DAY
    world.night(NEXT_NIGHT)
    return world


def test_attention_is_read(world, people):
    for item in people:
        world.memory.put_item(TableName=TABLE, Item=wire(item))
    found = {record.session_id: record for record in find_attention(world.open_table())}
    assert [(name, one.words, one.is_open) for name, one in found.items()] == [
        ("cs_test_open", ("awaiting_capture",), True),
        ("cs_test_seen", ("disputed",), False),
    ]
    held = found["cs_test_open"]
    assert (held.amount, held.currency, held.until) == (1500, "usd", NOW + 6 * DAY)
    assert held.since == "2024-11-27T02:00:00Z"


def test_open_words_end_with_the_next_outcome(night_after):
    assert night_after.outcome("cs_test_open", NEXT_RUN)["outcome"] == "created"
    assert night_after.item("SYSTEM", "ATTENTION#cs_test_open") is None
    assert night_after.item("SYSTEM", "PENDING#cs_test_open") is None


def test_acknowledged_words_stay_silent(night_after, people):
    [before] = [item for item in people if item["SK"] == "ATTENTION#cs_test_seen"]
    after = night_after.item("SYSTEM", "ATTENTION#cs_test_seen")
    assert before.items() <= after.items()
    assert night_after.outcome("cs_test_seen", NEXT_RUN)["reason"] == "exists"


def test_dismissed_session_is_not_written_and_an_allowed_one_is(night_after):
    assert night_after.outcome("cs_test_dismissed", NEXT_RUN)["reason"] == "dismissed"
    assert night_after.orders("cs_test_dismissed") == []
    assert len(night_after.orders("cs_test_allowed")) == 1


def test_samples_are_of_the_sessions_of_the_recorder(people):
    assert {spec.created for spec in SESSIONS} == {NOW - HOUR}
    names = {item["SK"].partition("#")[2] for item in people if item["PK"].startswith("SYNC_RUN#")}
    assert names == {spec.id for spec in SESSIONS}
