"""Each field of a message at its edges: what travels, what is refused, and in which words."""

import json

import pytest

from recon.domain.message import build_message, dumps, loads
from recon.errors import MalformedMessage
from testkit.builders import RUN, a_message, a_session

LONGEST = "x" * 255
IDS = "be 1 to 255 printable ASCII characters"


def body(**changes):
    return json.dumps(json.loads(dumps(a_message())) | changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"runId": ""}, f"runId must {IDS}"),
        ({"runId": "x" * 256}, f"runId must {IDS}"),
        ({"sessionId": "of jane"}, f"sessionId must {IDS}"),
        ({"currency": LONGEST + "x"}, "currency must be at most 255 characters"),
        ({"paymentStatus": LONGEST + "x"}, "paymentStatus must be at most 255 characters"),
        ({"created": 10**18}, "created must be a number of at most 18 digits"),
        ({"amountTotal": -(10**18)}, "amountTotal must be a number of at most 18 digits"),
        (
            {"eventIds": ["evt_1", "of jane"]},
            "eventIds must hold strings of 1 to 255 printable ASCII characters",
        ),
        ({"eventTypes": [7]}, "eventTypes must hold strings of 1 to 255 printable ASCII characters"),
        ({"pending": None}, "pending is missing"),
        ({"pending": True}, "pending must be a int"),
        ({"livemode": 1}, "livemode must be a bool"),
        ({"created": True}, "created must be a int"),
        ({"mode": None}, "mode is missing"),
        ({"userId": 7}, "userId must be a str"),
        ({"v": 2}, "v must be 1"),
        ({"v": True}, "v must be 1"),
    ],
)
def test_a_field_that_is_something_else_is_named_with_what_it_must_be(changes, told):
    with pytest.raises(MalformedMessage) as caught:
        loads(body(**changes))
    assert str(caught.value) == told
    nameable = not {"runId", "sessionId"} & set(changes)
    assert (caught.value.run_id, caught.value.session_id) == ((RUN, "cs_1") if nameable else (None, None))


@pytest.mark.parametrize(
    ("text", "told"),
    [("no JSON", "the body is not JSON"), ("[]", "the body is not a JSON object"), ("{}", "v must be 1")],
)
def test_a_body_that_is_no_message_says_so(text, told):
    with pytest.raises(MalformedMessage) as caught:
        loads(text)
    assert (str(caught.value), caught.value.run_id) == (told, None)


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
def test_a_field_at_its_edge_travels(name, field, value):
    message = loads(body(**{name: value}))
    assert message == a_message(**{field: value})
    assert loads(dumps(message)) == message


def test_a_message_takes_no_more_room_than_it_needs():
    """What the queue and every log of it hold; a message of Stripe's ids has no space of its own."""
    assert " " not in dumps(a_message())


def test_events_travel_with_their_types_and_what_a_later_version_adds_is_ignored():
    message = loads(body(eventIds=["evt_1", "evt_2"], eventTypes=["a", "b"], later=7))
    assert message == a_message(event_ids=("evt_1", "evt_2"), event_types=("a", "b"))


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
def test_what_stripe_lists_travels_unless_it_is_too_long(name, value, sent):
    assert getattr(build_message(a_session(**{name: value}), RUN), name) == sent


@pytest.mark.parametrize(
    ("raw", "sent"),
    [("a b", "a b"), ("ä" + "x" * 2047, "ä" + "x" * 2047), ("ä" + "x" * 2048, "x" * 256)],
)
def test_a_user_id_travels_raw_unless_no_key_could_hold_it(raw, sent):
    assert build_message(a_session(metadata={"userId": raw}), RUN).user_id == sent


def test_a_session_without_a_user_travels_without():
    session = a_session(metadata={}, customer_details=None)
    assert build_message(session, RUN).user_id is None
