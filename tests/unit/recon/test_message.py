"""The queue message: its JSON form, its validation, and how it is built from a listed session."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.domain.fence import FencedEvent
from recon.domain.message import build_message, dumps, loads, with_user
from recon.domain.shape import parse_shape
from recon.domain.user_ids import EmailCase, UserIdRules
from recon.errors import MalformedMessage
from testkit.builders import NOW, RUN, a_message, a_session

MESSAGE = a_message()
LONGEST = "x" * 255
ID_RULE = "1 to 255 printable ASCII characters"
FIELDS = {
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


def body(**changes):
    return json.dumps(FIELDS | changes)


def test_message_is_compact_json_and_can_be_read_back():
    assert dumps(MESSAGE) == json.dumps(FIELDS, separators=(",", ":"))
    assert loads(dumps(MESSAGE)) == MESSAGE


@pytest.mark.parametrize("intent", ["pi_1", {"id": "pi_1", "status": "succeeded"}])
def test_payment_intent_is_sent_whether_expanded_or_not(intent):
    message = build_message(a_session(payment_intent=intent), RUN, UserIdRules())
    assert json.loads(dumps(message))["paymentIntent"] == "pi_1"
    assert loads(dumps(message)).payment_intent == "pi_1"


@pytest.mark.parametrize("intent", [None, "", 5, {}, {"id": None}, "p i", "p" * 256, "pi_\ud800"])
def test_payment_intent_that_is_none_costs_no_session(intent):
    message = build_message(a_session(payment_intent=intent), RUN, UserIdRules())
    assert "paymentIntent" not in json.loads(dumps(message))


def test_message_of_an_earlier_version_has_no_payment_intent():
    assert loads(body()).payment_intent is None


def test_unknown_fields_of_a_later_version_are_ignored():
    message = loads(body(eventIds=["evt_1", "evt_2"], eventTypes=["a", "b"], eventTimes=[0, NOW], later=7))
    assert message == a_message(event_ids=("evt_1", "evt_2"), event_types=("a", "b"), event_times=(0, NOW))
    assert loads(dumps(message)) == message


def test_events_of_an_earlier_version_have_no_time():
    message = a_message(event_ids=("evt_1", "evt_2"), event_types=("a",))
    assert message.events == (FencedEvent("evt_1", "a"), FencedEvent("evt_2", "checkout.session.completed"))
    assert replace(message, event_times=(7,)).events[0] == FencedEvent("evt_1", "a", 7)


def test_candidates_of_the_user_are_optional_fields():
    others = ("用户", "cus 1", "u", "x" * 2048)
    fields = {"user_id": "a@x.com", "raw_user_id": "A@x.com", "other_user_ids": others}
    sent = dumps(a_message(**fields))
    assert json.loads(sent) == FIELDS | {
        "userId": "a@x.com",
        "rawUserId": "A@x.com",
        "userIds": list(others),
    }
    assert loads(sent) == a_message(**fields)


@pytest.mark.parametrize("wrong", [["a", 5], [""], [None], ["x" * 2049], "a", None])
def test_wrong_candidates_name_their_field(wrong):
    with pytest.raises(MalformedMessage, match=r"^userIds "):
        loads(body(userIds=wrong))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the body is not JSON"),
        ("no JSON", "the body is not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        ("[]", "the body is not a JSON object"),
        ('"x"', "the body is not a JSON object"),
        ("null", "the body is not a JSON object"),
        ("5", "the body is not a JSON object"),
        ("{}", "v must be 1"),
    ],
)
def test_body_that_is_no_message_has_no_ids(text, problem):
    with pytest.raises(MalformedMessage) as caught:
        loads(text)
    assert (str(caught.value), caught.value.run_id, caught.value.session_id) == (problem, None, None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"v": 2}, "v must be 1"),
        ({"v": True}, "v must be 1"),
        ({"v": "1"}, "v must be 1"),
        ({"created": "5"}, "created must be a int"),
        ({"created": 5.5}, "created must be a int"),
        ({"created": True}, "created must be a int"),
        ({"created": None}, "created is missing"),
        ({"created": 10**18}, "created must be a number of at most 18 digits"),
        ({"amountTotal": -(10**18)}, "amountTotal must be a number of at most 18 digits"),
        ({"userId": 7}, "userId must be a str"),
        ({"currency": LONGEST + "x"}, "currency must be at most 255 characters"),
        ({"paymentStatus": LONGEST + "x"}, "paymentStatus must be at most 255 characters"),
        ({"livemode": 1}, "livemode must be a bool"),
        ({"mode": None}, "mode is missing"),
        ({"eventIds": "evt"}, "eventIds must be a list"),
        ({"eventIds": [1]}, f"eventIds must hold strings of {ID_RULE}"),
        ({"eventIds": ["evt_1", "of jane"]}, f"eventIds must hold strings of {ID_RULE}"),
        ({"eventTypes": [7]}, f"eventTypes must hold strings of {ID_RULE}"),
        ({"eventTimes": 7}, "eventTimes must be a list"),
        ({"eventTimes": ["7"]}, "eventTimes must hold numbers of at most 18 digits"),
        ({"eventTimes": [True]}, "eventTimes must hold numbers of at most 18 digits"),
        ({"eventTimes": [10**18]}, "eventTimes must hold numbers of at most 18 digits"),
        ({"userIds": [""]}, "userIds must hold strings of 1 to 2048 characters"),
        *(
            ({"keyValues": {"id": wrong}}, "keyValues must hold texts of at most 1024 characters")
            for wrong in (5, None, "x" * 1025, "\ud800")
        ),
        ({"pending": None}, "pending is missing"),
        ({"pending": True}, "pending must be a int"),
    ],
)
def test_wrong_field_is_named_with_its_rule_and_the_ids(changes, problem):
    with pytest.raises(MalformedMessage) as caught:
        loads(body(**changes))
    assert (str(caught.value), caught.value.run_id, caught.value.session_id) == (problem, RUN, "cs_1")


@pytest.mark.parametrize("name", list(FIELDS))
def test_missing_field_is_named(name):
    with pytest.raises(MalformedMessage, match=f"^{name} is missing$" if name != "v" else "^v must be 1$"):
        loads(json.dumps({key: value for key, value in FIELDS.items() if key != name}))


@pytest.mark.parametrize("name", ["runId", "sessionId"])
@pytest.mark.parametrize(
    ("value", "rule"),
    [(bad, f"must be {ID_RULE}") for bad in ("", "a b", "\ud800", "ü", "x" * 256)]
    + [(5, "must be a str"), (None, "is missing")],
)
def test_id_that_no_key_can_hold_is_refused(name, value, rule):
    with pytest.raises(MalformedMessage) as caught:
        loads(body(**{name: value}))
    assert str(caught.value) == f"{name} {rule}"
    assert (caught.value.run_id, caught.value.session_id) == (None, None)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("runId", "run_id", LONGEST),
        ("sessionId", "session_id", LONGEST),
        ("userId", "user_id", "of jane, " * 100),
        ("userId", "user_id", None),
        ("currency", "currency", LONGEST),
        ("currency", "currency", None),
        ("created", "created", 10**18 - 1),
        ("amountTotal", "amount_total", 1 - 10**18),
        ("amountTotal", "amount_total", None),
        ("livemode", "livemode", True),
        ("pending", "pending", 7),
    ],
)
def test_extreme_value_is_read_and_written(name, field, value):
    message = loads(body(**{name: value}))
    assert message == a_message(**{field: value})
    assert loads(dumps(message)) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), json_values))
def test_any_body_is_a_message_or_a_malformed_message(changes):
    try:
        message = loads(body(**changes))
    except MalformedMessage:
        return
    assert loads(dumps(message)) == message


# Building


def test_message_has_no_name_address_or_phone():
    details = {
        "email": "a@example.com",
        "name": "Ada L",
        "phone": "+4917012",
        "address": {"line1": "Weg 1"},
    }
    message = dumps(build_message(a_session(metadata={}, customer_details=details), RUN, UserIdRules()))
    assert not any(secret in message for secret in ("Ada", "4917012", "Weg"))
    assert loads(message).user_id == "a@example.com"


def test_session_is_named_by_its_user_or_by_the_values_of_its_shape():
    metadata = {"user_id": "u2", "orderId": "o-1", "note": ""}
    session = a_session(metadata=metadata, customer_details={"email": "A@x.com"})
    rules = UserIdRules(("customer_details.email", "metadata.user_id"), EmailCase.LOWER)
    ours = build_message(session, RUN, rules)
    named = (ours.user_id, ours.raw_user_id, ours.other_user_ids, ours.key_values)
    assert named == ("a@x.com", "A@x.com", ("u2",), ())
    shape = parse_shape('[find]\nkey = { id = "{metadata.orderId}{metadata.note|id}" }')
    keyed = build_message(session, RUN, rules, shape)
    values = (("metadata.orderId", "o-1"), ("metadata.note", ""))
    assert (keyed.user_id, keyed.raw_user_id, keyed.other_user_ids) == (None, None, ())
    assert loads(dumps(keyed)).key_values == keyed.key_values == values
    assert with_user(keyed, session, rules) == ours


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("currency", LONGEST, LONGEST),
        ("currency", LONGEST + "x", {}),
        ("currency", None, None),
        ("amount_total", 10**18 - 1, 10**18 - 1),
        ("amount_total", 10**18, {}),
        ("amount_total", -(10**18), {}),
        ("amount_total", 1.5, 1.5),
        ("livemode", True, True),
        ("mode", ["x"], {}),
    ],
)
def test_listed_value_is_copied_unless_it_is_too_long(name, value, sent):
    assert getattr(build_message(a_session(**{name: value}), RUN, UserIdRules()), name) == sent


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("a b", "a b"),
        ("ä" + "x" * 2047, "ä" + "x" * 2047),
        ("ä" + "x" * 2048, "x" * 256),
        (None, None),
    ],
)
def test_user_id_is_copied_raw_unless_no_key_can_hold_it(raw, sent):
    session = a_session(metadata={"userId": raw}, customer_details=None)
    assert build_message(session, RUN, UserIdRules()).user_id == sent
