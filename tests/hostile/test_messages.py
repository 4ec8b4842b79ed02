"""Message bodies that nobody sends on purpose: each is a message, or a MalformedMessage that names the field,
and in a batch never its neighbours' trouble."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.domain.message import build_message, dumps, loads
from recon.errors import MalformedMessage
from testkit.builders import a_message, a_session
from tests.hostile.judge import NAMED
from tests.hostile.mutations import MISSING, MUTATIONS, SECRET
from tests.hostile.stage import Stage, a_rich_session, as_fetched

FIELDS = list(json.loads(dumps(a_message(pending=5, event_types=("t",)))))
WHAT = [what for what in MUTATIONS if what != "an integer of 400 digits"]
texts = st.text(st.characters(), max_size=60)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def read(body):
    """The message, or the sentence that refuses it; whatever else is raised fails the test."""
    try:
        return loads(body)
    except MalformedMessage as error:
        return str(error)


def with_field(name, value):
    fields = json.loads(dumps(a_message()))
    if value is MISSING:
        fields.pop(name, None)
    else:
        fields[name] = value
    return json.dumps(fields)


@settings(derandomize=True, max_examples=150)
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused(text):
    assert isinstance(read(text), str)


@settings(derandomize=True, max_examples=150)
@given(anything)
def test_any_json_is_refused(value):
    assert isinstance(read(json.dumps(value)), str)


@settings(derandomize=True, max_examples=200)
@given(st.dictionaries(st.sampled_from(FIELDS) | texts, anything, max_size=6))
def test_a_message_with_anything_in_its_fields_is_read_whole_or_refused(changes):
    body = json.dumps(json.loads(dumps(a_message())) | changes)
    found = read(body)
    if not isinstance(found, str):
        assert loads(dumps(found)) == found


@pytest.mark.parametrize("what", MUTATIONS)
@pytest.mark.parametrize("name", FIELDS)
def test_a_hostile_field_is_read_or_named_and_not_repeated(name, what):
    found = read(with_field(name, MUTATIONS[what]()))
    if isinstance(found, str):
        assert name in found
        assert SECRET not in found


@pytest.mark.parametrize(
    "body",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"v": 1, "created": ' + "9" * 5000 + "}",
        '{"v": NaN}',
        '{"v": 1e999}',
        "\ufeff{}",
        "\ud800",
        '{"v": 1} {"v": 1}',
        "{'v': 1}",
        "0" * 100_000,
    ],
    ids=lambda body: body[:12],
)
def test_what_breaks_parsers_is_refused(body):
    assert isinstance(read(body), str)


def test_of_a_name_that_is_there_twice_the_last_one_counts():
    body = dumps(a_message(created=5)).removesuffix("}") + ',"created":6}'
    assert loads(body).created == 6


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(
    "name", ["amount_total", "currency", "payment_status", "mode", "livemode", "created"]
)
def test_whatever_is_listed_travels_in_a_message_that_sqs_takes(name, what):
    session, value = a_session(), MUTATIONS[what]()
    session |= {name: value}
    if value is MISSING:
        del session[name]
    assert len(dumps(build_message(session, "run"))) < 5000


@pytest.mark.parametrize("what", [what for what in MUTATIONS if what != "missing"])
def test_whoever_bought_it_travels_in_a_message_that_sqs_takes(what):
    session = a_session(metadata={"userId": MUTATIONS[what]()}, customer_details=None)
    assert len(dumps(build_message(session, "run"))) < 20_000


@pytest.mark.parametrize("name", FIELDS)
def test_in_a_batch_a_hostile_message_is_nobody_elses_trouble(account, name):
    """Every way of one field beside two messages in good health."""
    base = as_fetched(account, a_rich_session("base"))
    stage = Stage(account)
    ways = {f"cs_test_{n}": what for n, what in enumerate(MUTATIONS)}
    healthy = ("cs_test_first", "cs_test_last")
    for session_id in (healthy[0], *ways, healthy[1]):
        stage.stripe_says(session_id, base | {"id": session_id})
        fields = json.loads(dumps(a_message(session_id=session_id, user_id="base")))
        value = MUTATIONS[ways[session_id]]() if session_id in ways else None
        if value is MISSING:
            fields.pop(name, None)
        elif session_id in ways:
            fields[name] = value
        stage.sends(json.dumps(fields))
    delivery = stage.deliver(50)
    assert delivery.error is None
    assert not [line for line in stage.told.lines if "ERROR Unexpected " in line]
    for session_id in healthy:
        assert stage.outcome(session_id)["outcome"] == "created"
    errors = [item for item in stage.items() if item.get("outcome") == "error"]
    assert {item["errorType"] for item in errors} <= NAMED
    assert all(name in item["errorMessage"] for item in errors if item["errorType"] == "MalformedMessage")
    assert SECRET not in "".join(stage.told.lines) or name in ("runId", "sessionId")
