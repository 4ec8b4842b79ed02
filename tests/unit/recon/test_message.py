"""The queue message: what is sent is read back, and what cannot be read says why and for whom."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.domain.message import build_message, dumps, loads
from recon.errors import MalformedMessage
from testkit.builders import NOW, RUN, a_message

MESSAGE = a_message()


def body(**changes):
    return json.dumps(json.loads(dumps(MESSAGE)) | changes)


def test_the_wire_form_is_the_contract():
    assert json.loads(dumps(MESSAGE)) == {
        "v": 1,
        "runId": RUN,
        "sessionId": "cs_1",
        "userId": "a+b@example.com",
        "created": NOW - 3600,
        "amountTotal": 4999,
        "currency": "eur",
        "paymentStatus": "paid",
        "mode": "payment",
        "livemode": False,
        "eventIds": ["evt_1"],
    }


def test_a_message_is_read_back_as_it_was_sent():
    assert loads(dumps(MESSAGE)) == MESSAGE


def test_a_session_becomes_a_message_without_name_address_or_phone():
    listed = {
        "id": "cs_1",
        "created": 5,
        "amount_total": None,
        "currency": None,
        "payment_status": "no_payment_required",
        "mode": "payment",
        "livemode": True,
        "metadata": {},
        "customer_details": {
            "email": "a@example.com",
            "name": "Ada L",
            "phone": "+4917012",
            "address": {"line1": "Weg 1"},
        },
    }
    wire = dumps(build_message(listed, "run"))
    assert not any(secret in wire for secret in ("Ada", "4917012", "Weg"))
    assert loads(wire).user_id == "a@example.com"


def test_unknown_fields_of_a_later_producer_do_no_harm():
    assert loads(body(extra=1)) == MESSAGE


@pytest.mark.parametrize("text", ["", "not json", "[]", '"x"', "null", "5", "{}", "[" * 100_000])
def test_what_names_no_session_is_malformed_without_ids(text):
    with pytest.raises(MalformedMessage) as caught:
        loads(text)
    assert (caught.value.run_id, caught.value.session_id) == (None, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"v": 2}, "v must be 1"),
        ({"v": True}, "v must be 1"),
        ({"v": "1"}, "v must be 1"),
        ({"created": "5"}, "created"),
        ({"created": 5.5}, "created"),
        ({"created": True}, "created"),
        ({"created": None}, "created"),
        ({"userId": 7}, "userId"),
        ({"livemode": 1}, "livemode"),
        ({"mode": None}, "mode"),
        ({"eventIds": "evt"}, "eventIds"),
        ({"eventIds": [1]}, "eventIds"),
    ],
)
def test_a_wrong_field_is_named_and_the_session_too(changes, named):
    with pytest.raises(MalformedMessage, match=named) as caught:
        loads(body(**changes))
    assert (caught.value.run_id, caught.value.session_id) == (RUN, "cs_1")


@pytest.mark.parametrize("name", list(json.loads(dumps(MESSAGE))))
def test_every_field_is_needed(name):
    fields = json.loads(dumps(MESSAGE))
    del fields[name]
    with pytest.raises(MalformedMessage, match=name if name != "v" else "v must be"):
        loads(json.dumps(fields))


@pytest.mark.parametrize("bad", ["", "a b", "\ud800", "ü", "x" * 256, 5, None])
def test_an_id_that_cannot_be_part_of_a_key_names_no_session(bad):
    with pytest.raises(MalformedMessage) as caught:
        loads(body(sessionId=bad))
    assert caught.value.session_id is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*json.loads(dumps(MESSAGE)), "other"]), json_values))
def test_no_body_is_read_as_anything_but_a_message_or_a_named_error(changes):
    try:
        message = loads(body(**changes))
    except MalformedMessage:
        return
    else:
        assert loads(dumps(message)) == message
