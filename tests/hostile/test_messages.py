"""Hostile message bodies: each is read, or refused by a MalformedMessage that names the field."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.domain.message import build_message, dumps, loads
from recon.domain.user_ids import UserIdRules
from recon.errors import MalformedMessage
from testkit.builders import a_message, a_session
from testkit.invariants import find_unexpected_errors
from tests.hostile.field_mutations import MUTATIONS, SECRET, set_field
from tests.hostile.hostile_shop import HostileShop
from tests.hostile.verdict import NAMED_ERRORS

FIELDS = list(json.loads(dumps(a_message(pending=5, event_types=("t",)))))
texts = st.text(st.characters(), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def read(body):
    """Return the message, or the text of the MalformedMessage; any other exception fails the test."""
    try:
        return loads(body)
    except MalformedMessage as error:
        return str(error)


def build_body(name=None, what=None, **fields):
    """Return the body of a message in which the named field has an odd value."""
    message = json.loads(dumps(a_message(**fields)))
    if name:
        set_field(message, name, MUTATIONS[what]())
    return json.dumps(message)


@settings(derandomize=True, max_examples=300)
@given(
    st.text(max_size=300)
    | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1"))
    | json_values.map(json.dumps)
)
def test_any_other_body_is_refused(body):
    assert isinstance(read(body), str)


@settings(derandomize=True, max_examples=200)
@given(st.dictionaries(st.sampled_from(FIELDS) | texts, json_values, max_size=6))
def test_message_with_any_values_is_read_completely_or_refused(changes):
    found = read(json.dumps(json.loads(dumps(a_message())) | changes))
    if not isinstance(found, str):
        assert loads(dumps(found)) == found


@pytest.mark.parametrize("name", FIELDS)
def test_hostile_field_is_read_or_named_and_not_repeated(name):
    for what in MUTATIONS:
        found = read(build_body(name, what))
        if isinstance(found, str):
            assert name in found, what
            assert SECRET not in found, what


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
def test_body_that_breaks_parsers_is_refused(body):
    assert isinstance(read(body), str)


def test_last_of_duplicate_names_counts():
    body = dumps(a_message(created=5)).removesuffix("}") + ',"created":6}'
    assert loads(body).created == 6


@pytest.mark.parametrize(
    "name", ["amount_total", "currency", "payment_status", "mode", "livemode", "created", "user"]
)
def test_message_of_a_hostile_session_fits_into_sqs(name):
    for what, make in MUTATIONS.items():
        session = a_session()
        if name != "user" and what != "an integer of 400 digits":
            set_field(session, name, make())
        elif name == "user" and what != "missing":
            session |= {"metadata": {"userId": make()}, "customer_details": None}
        assert len(dumps(build_message(session, "run", UserIdRules()))) < (
            20_000 if name == "user" else 5000
        ), what


@pytest.mark.parametrize("name", FIELDS)
def test_hostile_messages_harm_no_other_message_of_a_batch(account, fetched, name):
    shop = HostileShop(account)
    ways = {f"cs_test_{n}": what for n, what in enumerate(MUTATIONS)}
    healthy = ("cs_test_first", "cs_test_last")
    for session_id in (healthy[0], *ways, healthy[1]):
        shop.set_session(session_id, fetched | {"id": session_id})
        mutation = (name, ways[session_id]) if session_id in ways else ()
        shop.sends(build_body(*mutation, session_id=session_id, user_id="base"))
    delivery = shop.deliver(50)
    assert delivery.error is None
    assert list(find_unexpected_errors(shop.log.lines)) == []
    for session_id in healthy:
        assert shop.outcome(session_id)["outcome"] == "created"
    errors = [item for item in shop.items() if item.get("outcome") == "error"]
    assert {item["errorType"] for item in errors} <= NAMED_ERRORS
    assert all(name in item["errorMessage"] for item in errors if item["errorType"] == "MalformedMessage")
    assert SECRET not in "".join(shop.log.lines) or name in ("runId", "sessionId")
