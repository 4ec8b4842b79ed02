"""What the doctor reads: of AWS, with what it may not; of Stripe, one request each."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ops.doctor.collect import skew_seconds
from ops.doctor.facts import Access, Permissions, Tried
from ops.doctor.permissions import permissions_of
from ops.doctor.unread import Cause, Unavailable, read
from recon.config import load_settings
from recon.errors import TableRefused
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import KEY

ALLOWED = Tried(Access.ALLOWED)


def refusal(code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetThing")


def raising(error):
    def ask():
        raise error

    return ask


def test_what_is_answered_is_read():
    assert read(lambda: {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("error", "unread"),
    [
        (
            refusal("AccessDenied", "User: arn:x is not authorized to perform: iam:GetRole on resource: y"),
            Unavailable(Cause.DENIED, "iam:GetRole"),
        ),
        (refusal("AccessDeniedException", "no"), Unavailable(Cause.DENIED, "GetThing")),
        (refusal("ResourceNotFoundException"), Unavailable(Cause.MISSING, "ResourceNotFoundException")),
        (refusal("ParameterNotFound"), Unavailable(Cause.MISSING, "ParameterNotFound")),
        (refusal("NoSuchEntity"), Unavailable(Cause.MISSING, "NoSuchEntity")),
        (refusal("InternalFailure"), Unavailable(Cause.FAILED, "GetThing: InternalFailure")),
        (TableRefused("DynamoDB: no"), Unavailable(Cause.FAILED, "DynamoDB: no")),
    ],
)
def test_what_is_refused_is_a_fact_too(error, unread):
    assert read(raising(error)) == unread


def test_an_aws_that_does_not_answer_is_a_fact_too():
    unread = read(raising(EndpointConnectionError(endpoint_url="https://sqs.example")))
    assert unread.cause is Cause.FAILED
    assert "sqs.example" in unread.why


def test_a_mistake_of_ours_is_none():
    with pytest.raises(KeyError):
        read(raising(KeyError("Attributes")))


def test_the_skew_is_how_far_this_machine_is_ahead():
    reply = {"ResponseMetadata": {"HTTPHeaders": {"date": "Wed, 27 Nov 2024 02:00:00 GMT"}}}
    assert skew_seconds(reply, NOW + 90) == 90
    assert skew_seconds({}, NOW) is None


@pytest.fixture
def ask(stripe):
    time = FakeTime()

    def ask(key=KEY):
        env = {
            "COMMERCE_TABLE": "t",
            "SYNC_QUEUE_URL": "q",
            "STRIPE_SECRET": key,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_MAX_RPS": "1000",
        }
        return permissions_of(load_settings(env), NOW, time.deadline(30))

    return ask


@pytest.fixture
def sold(stripe):
    stripe.store.add(SessionSpec("cs_test_old", NOW - 7200))
    stripe.store.add(SessionSpec("cs_test_new", NOW - 3600))


def test_a_key_that_may_read_all_is_asked_once_for_each(ask, sold, stripe):
    assert ask() == Permissions(ALLOWED, ALLOWED, ALLOWED, ALLOWED, ALLOWED)
    assert stripe.calls.summary()["total"] == 4


def test_without_a_session_there_is_nothing_to_try_line_items_with(ask):
    untried = Tried(Access.UNTRIED, "Stripe lists no complete session to try it with")
    assert ask() == Permissions(ALLOWED, untried, untried, ALLOWED, ALLOWED)


def test_a_wrong_key_is_rejected_everywhere_and_never_quoted(ask, sold):
    asked = ask("sk_test_wrong0000")
    assert {asked.sessions.access, asked.disputes.access, asked.events.access} == {Access.REJECTED}
    assert "wrong" not in repr(asked)


@pytest.mark.parametrize(
    ("where", "area"),
    [
        ({"endpoint": Endpoint.LIST}, "sessions"),
        ({"endpoint": Endpoint.RETRIEVE, "expanding": "line_items.data.price"}, "line_items"),
        ({"endpoint": Endpoint.RETRIEVE, "expanding": "payment_intent"}, "charges"),
        ({"endpoint": Endpoint.DISPUTES}, "disputes"),
        ({"endpoint": Endpoint.EVENTS}, "events"),
    ],
)
def test_a_missing_permission_is_found_where_it_is(ask, sold, stripe, where, area):
    stripe.faults.forbidden(**where)
    asked = ask()
    refused = {name for name, tried in vars(asked).items() if tried.access is Access.NOT_ALLOWED}
    assert refused == {area}


def test_a_stripe_that_fails_leaves_it_unknown(ask, sold, stripe):
    stripe.faults.server_error(endpoint=Endpoint.EVENTS)
    asked = ask()
    assert asked.events.access is Access.FAILED
    assert asked.sessions == ALLOWED
