"""Stripe over HTTP: errors are mapped, requests have version and timeouts, and the key is read again once."""

import inspect
import pkgutil
from importlib import import_module

import pytest
import stripe
from botocore.exceptions import ClientError
from stripe import oauth_error

from recon.config import Settings
from recon.errors import (
    KeyRejected,
    KeyUnavailable,
    OutOfTime,
    Permanent,
    Retryable,
    SessionNotFound,
    StripeRejected,
    StripeThrottled,
    StripeUnavailable,
)
from recon.stripe.connection import ERRORS, STRIPE_VERSION, StripeConnection, to_domain_error
from recon.stripe.key import StripeKey
from recon.stripe.pages import Page
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.source import StripeSource
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import Endpoint, LineSpec, SessionSpec
from testkit.world import KEY, FakeSSM

# Errors


# Never raised; others inherit from them.
ABSTRACT = {stripe.StripeError, stripe.error.StripeErrorWithParamCode, oauth_error.OAuthError}


def find_library_errors():
    modules = [stripe] + [
        import_module(f"stripe.{module.name}")
        for module in pkgutil.iter_modules(stripe.__path__)
        if "error" in module.name
    ]
    classes = {cls for module in modules for _, cls in inspect.getmembers(module, inspect.isclass)}
    return {cls for cls in classes if issubclass(cls, stripe.StripeError)}


def test_each_concrete_library_error_is_mapped():
    concrete = find_library_errors() - ABSTRACT
    assert len(concrete) > 25
    assert concrete == set(ERRORS)
    assert all(issubclass(ours, Retryable | Permanent) for ours in ERRORS.values())
    assert not {Retryable, Permanent} & set(ERRORS.values())


class NewError(stripe.StripeError):
    """An error of a later version of the library."""


SECRET = "of jane@example.com, sk_test_right"
FACTS = {
    "code": "resource_missing",
    "headers": {"stripe-rate-limited-reason": "global-rate", "request-id": "req_1"},
}


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (NewError(SECRET), StripeUnavailable, "NewError"),
        (stripe.APIConnectionError(SECRET), StripeUnavailable, "APIConnectionError"),
        (
            stripe.AuthenticationError(SECRET, http_status=401),
            KeyRejected,
            "AuthenticationError (status 401)",
        ),
        (
            stripe.InvalidRequestError(SECRET, "session", http_status=404),
            SessionNotFound,
            "InvalidRequestError (status 404, param session)",
        ),
        (
            stripe.InvalidRequestError(SECRET, "expand", http_status=400, **FACTS),
            StripeRejected,
            (
                "InvalidRequestError (status 400, code resource_missing, param expand, reason global-rate, "
                "request req_1)"
            ),
        ),
        (
            stripe.CardError(SECRET, "metadata[a@b.com is here]", "a code of words", http_status=402),
            StripeRejected,
            "CardError (status 402)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_error_is_described_by_codes_and_ids_only(error, kind, text):
    ours = to_domain_error(error)
    assert (type(ours), str(ours)) == (kind, f"Stripe: {text}")


# Requests


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def make_source(stripe, clock):
    connections = []

    def make(*, per_second=10_000.0, settings=None, ssm=None, seconds=60.0, timeout=5.0):
        key = StripeKey(settings or Settings("t", "q", stripe_secret=KEY), lambda: ssm)
        connection = StripeConnection(
            key, RateLimiter(per_second, clock), timeout=timeout, clock=clock, api_base=stripe.url
        )
        connections.append(connection)
        throttles = []
        source = StripeSource(connection, clock.deadline(seconds), lambda: throttles.append(1))
        source.throttles = throttles
        return source

    yield make
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("api_base", "url"), [(None, "https://api.stripe.com"), ("http://stripe.test", "http://stripe.test")]
)
def test_request_has_key_version_timeouts_and_address(clock, monkeypatch, api_base, url):
    connection = StripeConnection(None, RateLimiter(1000, clock), timeout=10, clock=clock, api_base=api_base)
    requests = []

    def request(method, url, headers, post_data=None):
        requests.append((method, url, headers["Authorization"], headers["Stripe-Version"]))
        return b"{}", 200, {}

    monkeypatch.setattr(connection._http, "request", request)
    connection.get("/v1/events", {"limit": 1}, KEY)
    connection.close()
    assert requests == [("get", f"{url}/v1/events?limit=1", f"Bearer {KEY}", STRIPE_VERSION)]
    assert connection._http._timeout == (pytest.approx(3), pytest.approx(7))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"id": "\xff"}', "Stripe: the response is not valid text"),
        (b"[]", "Stripe: the response is not a JSON object"),
    ],
)
def test_unreadable_response_is_retried(make_source, monkeypatch, content, problem):
    source = make_source()
    responses = [content, b'{"data": [], "has_more": false}', *[content] * 3]
    monkeypatch.setattr(
        source._connection._http, "request", lambda *args, **kwargs: (responses.pop(0), 200, {})
    )
    assert source.list_sessions(0, NOW) == Page([], has_more=False)
    with pytest.raises(StripeUnavailable, match=f"^{problem}$"):
        source.list_sessions(0, NOW)


def test_pages_follow_each_other(stripe, make_source):
    for n in range(7):
        stripe.store.add(SessionSpec(f"cs_test_{n}", NOW + n // 3))
    source = make_source()
    first = source.list_sessions(NOW, NOW + 9, limit=4)
    rest = source.list_sessions(NOW, NOW + 9, limit=4, after=first.sessions[-1]["id"])
    assert (first.has_more, rest.has_more) == (True, False)
    ids = [session["id"] for session in first.sessions + rest.sessions]
    assert len(ids) == len(set(ids)) == 7


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (10, 1), (11, 2), (110, 2), (111, 3), (250, 4)])
def test_session_with_all_lines_takes_few_requests(stripe, make_source, count, calls):
    stripe.store.add(SessionSpec("cs_test_1", NOW, lines=tuple(LineSpec(f"l{n}") for n in range(count))))
    fetched = make_source().fetch("cs_test_1")
    assert [line["description"] for line in fetched.line_items] == [f"l{n}" for n in range(count)]
    assert all(isinstance(line["price"]["product"], dict) for line in fetched.line_items)
    assert stripe.calls.count() == calls


def test_id_with_a_slash_requests_no_other_path(stripe, make_source):
    with pytest.raises(SessionNotFound):
        make_source().fetch("../../v1/events")
    assert stripe.calls.count(Endpoint.EVENTS) == 0


def test_short_burst_of_429s_is_retried_at_a_lower_rate(stripe, make_source):
    stripe.faults.rate_limit(times=2)
    source = make_source(per_second=8)
    source.list_sessions(0, NOW)
    assert len(source.throttles) == 2
    assert source._connection.rate_limiter.rate < 8 / 2
    assert stripe.calls.count() == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [("rate_limit", StripeThrottled), ("server_error", StripeUnavailable), ("drop", StripeUnavailable)],
)
def test_lasting_failure_is_raised_after_three_attempts(stripe, make_source, fault, error):
    getattr(stripe.faults, fault)()
    with pytest.raises(error):
        make_source().list_sessions(0, NOW)
    assert stripe.calls.count() == 3


def test_hanging_request_ends_at_its_timeout(stripe, make_source):
    stripe.faults.hang(times=1)
    make_source(timeout=0.5).list_sessions(0, NOW)
    assert stripe.calls.count(status=200) == 1


def test_request_that_could_outlast_the_invocation_is_not_started(stripe, make_source):
    with pytest.raises(OutOfTime):
        make_source(seconds=4.9).list_sessions(0, NOW)
    assert stripe.calls.count() == 0


# The key

FROM_SSM = Settings("t", "q", stripe_secret_parameter="/shop/stripe")


def test_key_is_the_stripped_value_of_its_parameter():
    class Parameters:
        def get_parameter(self, *, Name, WithDecryption):  # noqa: N803 - boto3's names
            assert WithDecryption is True
            return {"Parameter": {"/shop/stripe": {"Value": " sk_test_1\n"}}[Name]}

    assert StripeKey(FROM_SSM, Parameters).read() == "sk_test_1"


def test_replacement_read_by_another_thread_is_reused():
    ssm = FakeSSM("sk_test_old")
    key = StripeKey(FROM_SSM, lambda: ssm)
    assert key.find_replacement(key.read()) is None
    ssm.value = "sk_test_new"
    for _ in range(2):
        assert key.find_replacement("sk_test_old") == "sk_test_new"
    assert ssm.reads == 3


def test_parameter_is_read_once_at_the_first_request(make_source):
    ssm = FakeSSM(KEY)
    source = make_source(settings=FROM_SSM, ssm=ssm)
    assert ssm.reads == 0
    for _ in range(3):
        source.list_sessions(0, NOW)
    assert ssm.reads == 1


def test_parameter_is_read_again_once_after_a_401(stripe, make_source):
    ssm = FakeSSM("sk_test_old")
    source = make_source(settings=FROM_SSM, ssm=ssm)
    for _ in range(2):
        with pytest.raises(KeyRejected):
            source.list_sessions(0, NOW)
        assert (ssm.reads, stripe.calls.count(status=401)) == (2, 1)


def test_rotated_key_is_used_at_once(stripe, make_source):
    ssm = FakeSSM("sk_test_old")
    source = make_source(settings=FROM_SSM, ssm=ssm)
    stripe.accept_keys({"sk_test_old"})
    source.list_sessions(0, NOW)
    stripe.accept_keys({"sk_test_new"})
    ssm.value = "sk_test_new"
    source.list_sessions(0, NOW)
    assert ssm.reads == 2


def test_key_of_the_environment_takes_precedence(make_source):
    ssm = FakeSSM("sk_test_other")
    settings = Settings("t", "q", stripe_secret="sk_test_wrong", stripe_secret_parameter="/shop/stripe")
    with pytest.raises(KeyRejected):
        make_source(settings=settings, ssm=ssm).list_sessions(0, NOW)
    assert ssm.reads == 0


def test_unreadable_parameter_is_named_without_awss_text(make_source):
    class DenyingSSM:
        def get_parameter(self, **_):
            error = {"Code": "ParameterNotFound", "Message": "secret text"}
            raise ClientError({"Error": error}, "GetParameter")

    with pytest.raises(KeyUnavailable) as caught:
        make_source(settings=FROM_SSM, ssm=DenyingSSM()).list_sessions(0, NOW)
    assert str(caught.value) == (
        "the SSM parameter /shop/stripe cannot be read: GetParameter: ParameterNotFound"
    )
