"""Stripe as the rest sees it: every error of the library mapped, every page read, the key re-read once."""

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
    MalformedSession,
    OutOfTime,
    Permanent,
    Retryable,
    SessionNotFound,
    StripeRejected,
    StripeThrottled,
    StripeUnavailable,
)
from recon.stripe.key import StripeKey
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.connection import ERRORS, STRIPE_VERSION, StripeConnection, to_domain_error
from recon.stripe.source import Page, StripeSource
from testkit.builders import NOW, FakeTime
from testkit.fake_stripe import Endpoint, LineSpec, SessionSpec
from testkit.world import KEY, FakeSSM


def classes_of_the_library():
    """Every exception class anywhere in the stripe package."""
    found = set()
    for module in pkgutil.iter_modules(stripe.__path__):
        if "error" not in module.name:
            continue
        for _, cls in inspect.getmembers(import_module(f"stripe.{module.name}"), inspect.isclass):
            if issubclass(cls, stripe.StripeError):
                found.add(cls)
    found |= {
        cls for cls in vars(stripe).values() if inspect.isclass(cls) and issubclass(cls, stripe.StripeError)
    }
    return found


# Never raised themselves: what others are made of.
ABSTRACT = {stripe.StripeError, stripe.error.StripeErrorWithParamCode, oauth_error.OAuthError}


def test_each_concrete_error_of_the_library_has_a_row_of_its_own():
    concrete = classes_of_the_library() - ABSTRACT
    assert len(concrete) > 25
    assert concrete == set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_each_row_is_one_of_our_leaves(kind):
    ours = ERRORS[kind]
    assert issubclass(ours, Retryable | Permanent)
    assert ours not in (Retryable, Permanent)


def test_an_error_that_nobody_mapped_is_retried_and_not_lost():
    class NewError(stripe.StripeError):
        pass

    assert type(to_domain_error(NewError("x"))) is StripeUnavailable


def test_a_404_is_a_session_that_stripe_does_not_know():
    error = stripe.InvalidRequestError("No such checkout.session", "session", http_status=404)
    assert type(to_domain_error(error)) is SessionNotFound
    assert (
        type(to_domain_error(stripe.InvalidRequestError("bad", "limit", http_status=400))) is StripeRejected
    )


def test_stripes_own_text_is_not_passed_on():
    error = stripe.AuthenticationError("Invalid API Key provided: sk_test_***right a@b.com", http_status=401)
    assert str(to_domain_error(error)) == "Stripe: AuthenticationError (status 401)"


def test_only_words_are_passed_on_and_never_prose():
    error = stripe.InvalidRequestError(
        "x", "metadata[a@b.com is here]", code="resource_missing", http_status=400
    )
    assert str(to_domain_error(error)) == "Stripe: InvalidRequestError (status 400, code resource_missing)"


@pytest.fixture
def clock():
    return FakeTime()


@pytest.fixture
def make_source(stripe, clock):
    made = []

    def make(*, per_second=10_000.0, settings=None, ssm=None, seconds=60.0):
        settings = settings or Settings("t", "q", stripe_secret=KEY)
        key = StripeKey(settings, lambda: ssm)
        connection = StripeConnection(key, RateLimiter(per_second, clock), timeout=0.5, api_base=stripe.url)
        made.append(connection)
        throttled = []
        source = StripeSource(connection, clock.deadline(seconds), lambda: throttled.append(1))
        source.throttled = throttled
        return source

    yield make
    for connection in made:
        connection.close()


def test_the_version_is_pinned_in_every_request(make_source, monkeypatch):
    source = make_source()
    seen = []
    request = source._connection._http.request

    def recording(method, url, headers, post_data=None):
        seen.append(headers["Stripe-Version"])
        return request(method, url, headers, post_data)

    monkeypatch.setattr(source._connection._http, "request", recording)
    source.list_sessions(0, NOW)
    assert seen == [STRIPE_VERSION]


@pytest.mark.parametrize(
    ("api_base", "url"), [(None, "https://api.stripe.com"), ("http://stripe.test", "http://stripe.test")]
)
def test_stripe_itself_is_asked_unless_another_place_is_named(clock, monkeypatch, api_base, url):
    key = StripeKey(Settings("t", "q", stripe_secret=KEY), lambda: None)
    connection = StripeConnection(key, RateLimiter(1000, clock), timeout=10, api_base=api_base)
    asked = []

    def request(method, url, headers, post_data=None):
        asked.append((method, url, headers["Authorization"]))
        return b"{}", 200, {}

    monkeypatch.setattr(connection._http, "request", request)
    connection.get("/v1/events", {"limit": 1}, KEY)
    connection.close()
    assert asked == [("get", f"{url}/v1/events?limit=1", f"Bearer {KEY}")]


def test_connecting_and_waiting_for_the_answer_take_no_longer_than_a_request_may(clock):
    connection = StripeConnection(None, RateLimiter(1000, clock), timeout=10)
    assert connection._http._timeout == (pytest.approx(3), pytest.approx(7))
    connection.close()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b'{"id": "\xff"}', "Stripe: the answer is no text"), (b"[]", "Stripe: the answer is no JSON object")],
)
def test_an_answer_that_cannot_be_read_says_what_is_wrong_with_it(make_source, monkeypatch, content, told):
    source = make_source()
    monkeypatch.setattr(source._connection._http, "request", lambda *args, **kwargs: (content, 200, {}))
    with pytest.raises(StripeUnavailable) as caught:
        source.list_sessions(0, NOW)
    assert str(caught.value) == told


def test_an_answer_that_is_no_text_is_asked_for_again(make_source, monkeypatch):
    source = make_source()
    answers = [(b'{"id": "\xff"}', 200, {}), (b'{"data": [], "has_more": false}', 200, {})]
    monkeypatch.setattr(source._connection._http, "request", lambda *args, **kwargs: answers.pop(0))
    assert source.list_sessions(0, NOW) == Page([], has_more=False)


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
def test_a_session_comes_with_all_its_lines_in_as_few_requests_as_stripe_allows(
    stripe, make_source, count, calls
):
    stripe.store.add(SessionSpec("cs_test_1", NOW, lines=tuple(LineSpec(f"l{n}") for n in range(count))))
    fetched = make_source().fetch("cs_test_1")
    assert [line["description"] for line in fetched.line_items] == [f"l{n}" for n in range(count)]
    assert all(isinstance(line["price"]["product"], dict) for line in fetched.line_items)
    assert stripe.calls.count() == calls


def test_an_id_with_a_slash_asks_for_nothing_else(stripe, make_source):
    with pytest.raises(SessionNotFound):
        make_source().fetch("../../v1/events")
    assert stripe.calls.count(Endpoint.EVENTS) == 0


def test_a_short_burst_of_429s_is_waited_out_and_slows_the_pace(stripe, make_source, clock):
    stripe.faults.rate_limit(times=2)
    source = make_source(per_second=8)
    source.list_sessions(0, NOW)
    assert len(source.throttled) == 2
    assert source._connection.rate_limiter.rate < 8 / 2
    assert stripe.calls.count() == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [("rate_limit", StripeThrottled), ("server_error", StripeUnavailable), ("drop", StripeUnavailable)],
)
def test_what_lasts_is_raised_after_three_tries(stripe, make_source, fault, error):
    getattr(stripe.faults, fault)()
    with pytest.raises(error):
        make_source().list_sessions(0, NOW)
    assert stripe.calls.count() == 3


def test_a_hanging_stripe_costs_the_timeout_and_not_80_seconds(stripe, make_source):
    stripe.faults.hang(times=1)
    make_source().list_sessions(0, NOW)
    assert stripe.calls.count(status=200) == 1


def test_no_request_begins_that_could_outlast_the_invocation(stripe, make_source):
    with pytest.raises(OutOfTime):
        make_source(seconds=0.4).list_sessions(0, NOW)
    assert stripe.calls.count() == 0


@pytest.mark.parametrize("answer", [{"data": None}, {"data": "x"}, {}])
def test_an_unreadable_list_is_an_error_and_no_empty_list(make_source, monkeypatch, answer):
    source = make_source()
    monkeypatch.setattr(source._connection, "get", lambda path, params, key: answer)
    with pytest.raises(StripeUnavailable):
        source.list_sessions(0, NOW)


@pytest.mark.parametrize("stranger", [5, None, {}, {"object": "checkout.session"}, {"id": None}, {"id": 7}])
def test_a_listed_entry_without_an_id_is_counted_and_takes_no_neighbour_along(
    make_source, monkeypatch, stranger
):
    source = make_source()
    answer = {"data": [stranger, {"id": "cs_1"}], "has_more": False}
    monkeypatch.setattr(source._connection, "get", lambda path, params, key: answer)
    assert source.list_sessions(0, NOW) == Page([{"id": "cs_1"}], has_more=False, unreadable=1)


def test_line_items_that_are_no_list_are_an_error(make_source, monkeypatch):
    source = make_source()
    monkeypatch.setattr(source._connection, "get", lambda path, params, key: {"id": "cs_1"})
    with pytest.raises(MalformedSession):
        source.fetch("cs_1")


FROM_SSM = Settings("t", "q", stripe_secret_parameter="/shop/stripe")


def test_the_key_is_the_decrypted_value_of_the_parameter_that_the_settings_name():
    class Parameters:
        def get_parameter(self, *, Name, WithDecryption):  # noqa: N803 - boto3's names
            assert WithDecryption is True
            return {"Parameter": {"/shop/stripe": {"Value": " sk_test_1\n"}}[Name]}

    assert StripeKey(FROM_SSM, Parameters).read() == "sk_test_1"


def test_the_parameter_is_read_when_first_needed_and_kept(stripe, make_source):
    ssm = FakeSSM(KEY + "\n")
    source = make_source(settings=FROM_SSM, ssm=ssm)
    assert ssm.reads == 0
    for _ in range(3):
        source.list_sessions(0, NOW)
    assert ssm.reads == 1


def test_after_a_401_the_parameter_is_read_again_once(stripe, make_source):
    ssm = FakeSSM("sk_test_old")
    source = make_source(settings=FROM_SSM, ssm=ssm)
    with pytest.raises(KeyRejected):
        source.list_sessions(0, NOW)
    assert (ssm.reads, stripe.calls.count(status=401)) == (2, 1)
    with pytest.raises(KeyRejected):
        source.list_sessions(0, NOW)
    assert (ssm.reads, stripe.calls.count(status=401)) == (2, 1)  # not in this invocation again


def test_a_rotated_key_is_used_at_once(stripe, make_source):
    ssm = FakeSSM("sk_test_old")
    source = make_source(settings=FROM_SSM, ssm=ssm)
    stripe.accept_keys({"sk_test_old"})
    source.list_sessions(0, NOW)
    stripe.accept_keys({"sk_test_new"})
    ssm.value = "sk_test_new"
    source.list_sessions(0, NOW)
    assert ssm.reads == 2


def test_the_key_in_the_environment_wins_and_is_never_reread(stripe, make_source):
    ssm = FakeSSM("sk_test_other")
    settings = Settings("t", "q", stripe_secret="sk_test_wrong", stripe_secret_parameter="/shop/stripe")
    with pytest.raises(KeyRejected):
        make_source(settings=settings, ssm=ssm).list_sessions(0, NOW)
    assert ssm.reads == 0


def test_a_parameter_that_cannot_be_read_is_named_and_retryable(make_source):
    class Broken:
        def get_parameter(self, **_):
            error = {"Code": "ParameterNotFound", "Message": "secret text"}
            raise ClientError({"Error": error}, "GetParameter")

    words = "/shop/stripe cannot be read: GetParameter: ParameterNotFound"
    with pytest.raises(KeyUnavailable, match=words) as caught:
        make_source(settings=FROM_SSM, ssm=Broken()).list_sessions(0, NOW)
    assert "secret" not in str(caught.value)
