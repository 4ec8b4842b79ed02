"""What StripeSource remembers of its key: what it may not read, a newer one, which sessions it finds."""

from types import SimpleNamespace

import pytest

from recon.config import Settings
from recon.errors import KeyNotAllowed, KeyRejected, KeyUnavailable
from recon.stripe.key import StripeKey
from recon.stripe.source import FetchedSession, StripeSource
from testkit.builders import FakeTime
from tests.unit.recon.stub_stripe import (
    BALANCE,
    CORE,
    DENIED,
    DETAILS,
    EXPANDED,
    FIRST_ITEMS,
    MISSING,
    REVIEW,
    WITH_ALL,
    a_charged_session,
    connect,
    session,
)


@pytest.mark.parametrize("superseded", [True, False])
def test_parameter_is_compared_with_the_key_once_per_invocation(superseded):
    source, connection = connect()
    answers = iter([superseded])
    connection.key.is_superseded = lambda: next(answers)
    assert [source.has_newer_key(), source.has_newer_key()] == [superseded, superseded]


def test_parameter_that_cannot_be_read_shows_no_newer_key():
    source, connection = connect()
    reads = []

    def fail():
        reads.append(1)
        raise KeyUnavailable("no")

    connection.key.is_superseded = fail
    assert [source.has_newer_key(), source.has_newer_key()] == [False, False]
    assert reads == [1]


def test_newer_key_is_used_from_the_next_invocation_on():
    source, connection = connect({"id": "cs_1"}, {"id": "cs_1"})
    parameter = {"Value": "sk_test_old"}
    ssm = SimpleNamespace(get_parameter=lambda **_: {"Parameter": parameter})
    settings = Settings(table="t", queue_url="q", stripe_secret_parameter="/key")
    connection.key = StripeKey(settings, lambda: ssm)
    assert connection.key.read() == "sk_test_old"
    assert not source.has_newer_key()
    parameter = {"Value": "sk_test_new"}
    second = StripeSource(connection, FakeTime().deadline(600), lambda: None)
    assert second.has_newer_key()
    assert connection.key.read() == "sk_test_old"
    StripeSource(connection, FakeTime().deadline(600), lambda: None)
    assert connection.key.read() == "sk_test_new"


def test_key_of_the_environment_is_never_superseded():
    key = StripeKey(Settings(table="t", queue_url="q", stripe_secret="sk_test_1"), lambda: None)
    assert not key.is_superseded()


def test_session_is_gone_if_the_same_key_finds_the_proof():
    source, connection = connect({"id": "cs_proof"}, MISSING, MISSING)
    assert source.is_gone("cs_1", "cs_proof")
    assert source.is_gone("cs_2", "cs_proof")
    paths = [path for path, _ in connection.asked]
    assert paths == [f"checkout/sessions/{name}" for name in ("cs_proof", "cs_1", "cs_2")]


@pytest.mark.parametrize("responses", [(MISSING,), ({"id": "cs_proof"}, {"id": "cs_1"})])
def test_session_is_not_gone_without_proof_or_if_it_is_found(responses):
    source, connection = connect(*responses)
    assert not source.is_gone("cs_1", "cs_proof")
    assert connection.responses == []


def test_session_is_not_gone_if_the_key_was_replaced_in_between():
    source, connection = connect({"id": "cs_proof"}, MISSING)
    keys = iter(["sk_test_1", "sk_test_1", "sk_test_1", "sk_test_2"])
    connection.key.read = lambda: next(keys)
    assert not source.is_gone("cs_1", "cs_proof")


def list_sessions(source):
    source.list_sessions(1, 2)


def fetch(source):
    source.fetch("cs_1")


def add_details(expanded):
    """Return the requests that find out which of the details can be read."""
    return [[*expanded, *DETAILS[:number]] for number in range(len(DETAILS) + 1)]


@pytest.mark.parametrize(
    ("denied", "requests", "charges_known", "details_known"),
    [
        ((), [WITH_ALL], True, True),
        (
            (DETAILS[2],),
            [
                WITH_ALL,
                [*EXPANDED, *CORE],
                [*EXPANDED, *CORE, BALANCE],
                *add_details([*EXPANDED, *CORE, BALANCE, REVIEW]),
                [*EXPANDED, *CORE, BALANCE, REVIEW, *DETAILS[:2]],
            ],
            True,
            False,
        ),
        (
            (BALANCE,),
            [
                WITH_ALL,
                [*EXPANDED, *CORE],
                [*EXPANDED, *CORE, BALANCE],
                *add_details([*EXPANDED, *CORE, REVIEW]),
            ],
            True,
            False,
        ),
        (
            (CORE[1],),
            [
                WITH_ALL,
                [*EXPANDED, *CORE],
                [*EXPANDED, CORE[0]],
                [*EXPANDED, *CORE],
                *add_details([*EXPANDED, CORE[0], REVIEW]),
            ],
            False,
            True,
        ),
        (
            (CORE[0],),
            [WITH_ALL, [*EXPANDED, *CORE], [*EXPANDED, CORE[0]], *add_details(EXPANDED)[1:]],
            False,
            True,
        ),
    ],
    ids=["nothing", "discounts", "balance transactions", "charges", "intents"],
)
def test_missing_permission_is_found_once_and_costs_only_its_objects(
    denied, requests, charges_known, details_known
):
    """A combination that Stripe has refused is not requested again, so some requests are not sent."""
    source, connection = connect()

    def get(path, params, key):
        connection.asked.append(params["expand"])
        if any(f"{path}.".startswith(f"{one}.") for path in params["expand"] for one in denied):
            raise DENIED
        return session()

    connection.get = get
    for _ in range(2):
        fetched = source.fetch("cs_1")
        assert (fetched.charges_known, fetched.details_known) == (charges_known, details_known)
    sent = [request for n, request in enumerate(requests) if request not in requests[:n]]
    assert connection.asked == [*sent, requests[-1]]


def test_missing_permission_for_disputes_is_requested_once():
    source, connection = connect(a_charged_session(disputed=True), DENIED, a_charged_session(disputed=True))
    for _ in range(2):
        assert source.fetch("cs_1").charges_known is False
    assert len(connection.asked) == 3


def test_rejected_key_is_not_used_again():
    clock = FakeTime()
    source, connection = connect(KeyRejected("Stripe: no"), tries=3, clock=clock)
    for request in (fetch, fetch, lambda source: source.is_paid_after(1, FetchedSession({}, []))):
        with pytest.raises(KeyRejected, match=r"^Stripe: no$"):
            request(source)
    assert len(connection.asked) == 1
    assert clock.slept == []  # waiting does not make a key valid


def test_unavailable_key_is_read_once():
    source, connection = connect(tries=3)
    reads = []

    def read():
        reads.append(1)
        raise KeyUnavailable("no parameter")

    connection.key.read = read
    for _ in range(2):
        with pytest.raises(KeyUnavailable, match=r"^no parameter$"):
            source.list_sessions(1, 2)
    assert len(reads) == 1


def test_two_simultaneous_rejections_search_one_replacement():
    source, connection = connect()
    searched = []
    connection.key.find_replacement = searched.append

    def reject(path, params, key):
        raise DENIED

    def reject_after_another_request(path, params, key):
        connection.get = reject
        with pytest.raises(KeyNotAllowed):
            source.list_sessions(1, 2)
        raise DENIED

    connection.get = reject_after_another_request
    with pytest.raises(KeyNotAllowed):
        source.list_sessions(1, 2)
    assert searched == ["sk_test_1"]


@pytest.mark.parametrize(
    ("responses", "first", "second"),
    [
        ([*[KeyNotAllowed("charges")] * 6, DENIED], fetch, list_sessions),
        ([FIRST_ITEMS, DENIED], fetch, list_sessions),
        ([DENIED, *[KeyNotAllowed("charges")] * 6], list_sessions, fetch),
    ],
    ids=["fetched", "further items", "listed"],
)
def test_sessions_are_one_permission_for_lists_fetches_and_items(responses, first, second):
    source, connection = connect(*responses)
    for request in (first, second):
        with pytest.raises(KeyNotAllowed, match=r"^denied$"):
            request(source)
    assert len(connection.asked) == len(responses)
