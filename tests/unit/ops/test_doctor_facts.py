"""The facts of the doctor: unavailable AWS answers, the clock, and what the Stripe key may read."""

from unittest.mock import ANY

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ops.doctor.checks.stripe import DETAILS
from ops.doctor.collect import clock_skew, read_ledger
from ops.doctor.facts import Access, AccessProbe, KeyPermissions, LedgerFacts, RecentSessions
from ops.doctor.fetched import Cause, Unavailable, fetch
from ops.doctor.permissions import probe_permissions
from ops.stack.stack import DEFAULT_STACK
from recon.config import load_settings
from recon.dynamodb.runs import Runs
from recon.errors import TableRefused
from recon.timestamps import DAY
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import Endpoint, SessionSpec
from testkit.world import KEY, wire

ALLOWED = AccessProbe(Access.ALLOWED)
DENIAL = "User: arn:x is not authorized to perform: iam:GetRole on resource: y"


def aws_error(code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetThing")


def fetch_error(error):
    def call():
        raise error

    return fetch(call)


@pytest.mark.parametrize(
    ("error", "cause", "why"),
    [
        (aws_error("AccessDenied", DENIAL), Cause.DENIED, "iam:GetRole"),
        (aws_error("AccessDeniedException", "no"), Cause.DENIED, "GetThing"),
        (aws_error("ResourceNotFoundException"), Cause.MISSING, "ResourceNotFoundException"),
        (aws_error("ParameterNotFound"), Cause.MISSING, "ParameterNotFound"),
        (aws_error("NoSuchEntity"), Cause.MISSING, "NoSuchEntity"),
        (aws_error("InternalFailure"), Cause.FAILED, "GetThing: InternalFailure"),
        (TableRefused("DynamoDB: no"), Cause.FAILED, "DynamoDB: no"),
    ],
)
def test_failed_call_is_unavailable(error, cause, why):
    assert fetch_error(error) == Unavailable(cause, why)


def test_unreachable_service_is_unavailable():
    fetched = fetch_error(EndpointConnectionError(endpoint_url="https://sqs.example"))
    assert fetched.cause is Cause.FAILED
    assert "sqs.example" in fetched.why


def test_programming_error_is_raised():
    with pytest.raises(KeyError):
        fetch_error(KeyError("Attributes"))


def test_clock_skew_is_positive_if_this_machine_is_ahead():
    reply = {"ResponseMetadata": {"HTTPHeaders": {"date": "Wed, 27 Nov 2024 02:00:00 GMT"}}}
    assert clock_skew(reply, NOW + 90) == 90
    assert clock_skew({}, NOW) is None


@pytest.mark.parametrize("moment", ["never", "before the last run", "after the last run"])
def test_ledger_shows_another_program_that_puts_the_state(world, moment):
    deadline = world.clock.deadline(2 * DAY)

    def read():
        return read_ledger(Runs(world.open_table(), deadline), world.open_table(), DEFAULT_STACK, deadline)

    assert read() == LedgerFacts(None, is_state_overwritten=False)

    def put_state():
        item = {"PK": "SYSTEM", "SK": "STRIPE_ORDER_SYNC", "lastSyncStartedAt": "2024-11-27T01:00:00Z"}
        world.memory.put_item(TableName=world.ledger, Item=wire(item))

    world.body()
    if moment == "before the last run":
        put_state()
    world.clock.now += DAY
    world.body({})
    if moment == "after the last run":
        put_state()
    assert read() == LedgerFacts(DEFAULT_STACK, is_state_overwritten=moment != "never")


@pytest.fixture
def probe(stripe):
    def probe(key=KEY, proof_id=None, **variables):
        env = {
            "COMMERCE_TABLE": "t",
            "SYNC_QUEUE_URL": "q",
            "STRIPE_SECRET": key,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_MAX_RPS": "1000",
        } | variables
        return probe_permissions(load_settings(env), NOW, FakeTime().deadline(30), proof_id)

    return probe


@pytest.fixture
def sold(stripe):
    stripe.store.add(SessionSpec("cs_test_old", NOW - 7200))
    stripe.store.add(SessionSpec("cs_test_new", NOW - 3600))


@pytest.mark.usefixtures("sold")
def test_permissions_take_one_request_each(probe, stripe):
    details = dict.fromkeys(DETAILS, ALLOWED)
    recent = RecentSessions(2, 2, 2)
    assert probe() == KeyPermissions(*[ALLOWED] * 5, recent=recent, invoices=ALLOWED, details=details)
    assert stripe.calls.summary()["total"] == 5


def test_permissions_without_session_are_untried(probe):
    untried = AccessProbe(Access.UNTRIED, "Stripe lists no complete session to try it with")
    nothing = RecentSessions(0, 0, 0)
    assert probe() == KeyPermissions(
        ALLOWED, untried, untried, ALLOWED, ALLOWED, recent=nothing, invoices=ALLOWED
    )


def test_latest_sessions_are_counted_by_filter_and_user(probe, stripe):
    for number, fields in enumerate(
        [
            {"metadata": {"shop": "a", "userId": "u1"}},
            {"metadata": {"shop": "a"}, "customer": "cus_1"},
            {"metadata": {"shop": "a", "userId": "用户"}},
            {"metadata": {"shop": "a"}, "mode": "setup"},
            {"metadata": {"shop": "b", "userId": "u2"}},
        ]
    ):
        stripe.store.add(SessionSpec(f"cs_test_{number}", NOW - 3600, **fields))
    assert probe(SYNC_ONLY="metadata.shop=a").recent == RecentSessions(5, 4, 2)
    assert probe(SYNC_ONLY="metadata.shop=a", SYNC_USER_ID_FROM="customer").recent == RecentSessions(5, 4, 2)


@pytest.mark.usefixtures("sold")
def test_wrong_key_is_rejected_and_not_quoted(probe):
    permissions = probe("sk_test_wrong0000")
    probes = (permissions.sessions, permissions.disputes, permissions.events)
    assert {one.access for one in probes} == {Access.REJECTED}
    assert "wrong" not in repr(permissions)


@pytest.mark.usefixtures("sold")
@pytest.mark.parametrize(
    ("where", "area"),
    [
        ({"endpoint": Endpoint.LIST}, "sessions"),
        ({"endpoint": Endpoint.RETRIEVE, "expanding": "line_items.data.price"}, "line_items"),
        ({"endpoint": Endpoint.RETRIEVE, "expanding": "payment_intent"}, "charges"),
        ({"endpoint": Endpoint.DISPUTES}, "disputes"),
        ({"endpoint": Endpoint.INVOICE_PAYMENTS}, "invoices"),
        ({"endpoint": Endpoint.EVENTS}, "events"),
        ({"expanding": "payment_intent.review"}, "reviews"),
        ({"expanding": "payment_intent.latest_charge.balance_transaction"}, "balance_transactions"),
        ({"expanding": "shipping_cost.shipping_rate"}, "shipping_rates"),
        ({"expanding": "discounts.promotion_code"}, "promotion_codes"),
        ({"expanding": "total_details.breakdown"}, "coupons"),
    ],
)
def test_missing_permission_is_found(probe, stripe, where, area):
    stripe.faults.forbidden(**where)
    permissions = probe()
    probes = vars(permissions) | permissions.details
    assert [name for name, one in probes.items() if one == AccessProbe(Access.NOT_ALLOWED, ANY)] == [area]


@pytest.mark.usefixtures("sold")
def test_parts_of_a_payment_that_cannot_be_read_are_untried(probe, stripe):
    stripe.faults.forbidden(expanding="payment_intent")
    details = probe().details
    assert {name for name, one in details.items() if one.access is Access.UNTRIED} == {
        "reviews",
        "balance_transactions",
    }
    assert len(details) == len(DETAILS)


@pytest.mark.usefixtures("sold")
def test_failing_stripe_leaves_permission_unknown(probe, stripe):
    stripe.faults.server_error(endpoint=Endpoint.EVENTS)
    permissions = probe()
    assert permissions.events.access is Access.FAILED
    assert permissions.sessions == ALLOWED


@pytest.mark.usefixtures("sold")
@pytest.mark.parametrize(
    ("proof", "access"), [("cs_test_old", Access.ALLOWED), ("cs_test_of_another_account", Access.NOT_FOUND)]
)
def test_proof_session_shows_the_account_of_the_key(probe, proof, access):
    assert probe(proof_id=proof).proof.access is access
