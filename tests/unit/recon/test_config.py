"""Settings are read from the environment and validated; an error lists every wrong variable."""

import pytest

from recon.config import Settings, load_settings
from recon.domain.user_ids import EmailCase, UserIdRules
from recon.errors import ConfigError

MINIMUM = {"COMMERCE_TABLE": "t", "SYNC_QUEUE_URL": "q", "STRIPE_SECRET": "sk_test_x"}


def test_defaults_are_the_documented_ones():
    settings = load_settings(MINIMUM)
    assert settings == Settings(table="t", queue_url="q", stripe_secret="sk_test_x")
    assert (settings.lookback_hours, settings.sessions_per_invocation) == (25, 0)
    assert settings.max_receive_count == 10
    assert (settings.backoff_base_seconds, settings.consumer_concurrency, settings.stripe_max_rps) == (
        30,
        5,
        12,
    )
    assert (settings.order_ttl_days, settings.order_number_prefix, settings.dry_run) == (0, "BC", False)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {},
            (
                "missing environment variables: COMMERCE_TABLE, SYNC_QUEUE_URL, "
                "STRIPE_SECRET or STRIPE_SECRET_PARAMETER"
            ),
        ),
        (MINIMUM | {"COMMERCE_TABLE": " "}, "missing environment variables: COMMERCE_TABLE"),
        (
            MINIMUM | {"SYNC_LOOKBACK_HOURS": "721", "SYNC_DRY_RUN": "perhaps", "STRIPE_MAX_RPS": "0"},
            (
                "wrong environment variables: SYNC_LOOKBACK_HOURS must be an integer from 1 to 720, "
                "SYNC_DRY_RUN must be true or false, STRIPE_MAX_RPS must be a number above 0"
            ),
        ),
        (
            {"COMMERCE_TABLE": "t", "STRIPE_SECRET": "sk_test_x", "SYNC_DRY_RUN": "perhaps"},
            (
                "missing environment variables: SYNC_QUEUE_URL; "
                "wrong environment variables: SYNC_DRY_RUN must be true or false"
            ),
        ),
    ],
)
def test_all_missing_and_wrong_variables_are_listed(environ, problem):
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("SYNC_ONLY", "metadata.shop=a paymentlink", "'paymentlink'"),
        ("SYNC_USER_ID_FROM", "metadata.userId,email", "'email'"),
        ("EMAIL_CASE", "upper", "keep or lower"),
    ],
)
def test_wrong_condition_or_source_is_named(name, value, named):
    with pytest.raises(ConfigError, match=f"wrong environment variables: {name}.*{named}"):
        load_settings(MINIMUM | {name: value})


def test_filter_and_sources_of_the_user_id_are_read():
    settings = load_settings(
        MINIMUM
        | {"SYNC_ONLY": " mode=payment ", "SYNC_USER_ID_FROM": "customer, metadata.id", "EMAIL_CASE": "lower"}
    )
    assert settings.session_filter.text == "mode=payment"
    assert settings.user_ids == UserIdRules(("customer", "metadata.id"), EmailCase.LOWER)


UNTIL_TIME_RUNS_OUT = "an integer from 0 (0 = until an invocation's time runs out)"
# variable, field, lowest and highest value, wrong values, rule
RANGES = [
    ("SYNC_LOOKBACK_HOURS", "lookback_hours", 1, 720, (0, 721, 1.5), "an integer from 1 to 720"),
    ("SYNC_MAX_SESSIONS", "sessions_per_invocation", 0, 10**6, (-1, "x"), UNTIL_TIME_RUNS_OUT),
    ("ORDER_TTL_DAYS", "order_ttl_days", 0, 10**6, (-1, "x"), "an integer from 0 (0 = never)"),
    ("SYNC_MAX_RECEIVE_COUNT", "max_receive_count", 1, 998, (0, 999), "an integer from 1 to 998"),
    ("SYNC_BACKOFF_BASE_SECONDS", "backoff_base_seconds", 1, 3600, (0, 3601), "an integer from 1 to 3600"),
    ("SYNC_CONSUMER_CONCURRENCY", "consumer_concurrency", 2, 20, (1, 1001), "an integer from 2 to 1000"),
    ("SYNC_GRACE_MINUTES", "grace_minutes", 0, 1440, (-1, 1441), "an integer from 0 to 1440"),
    ("STRIPE_MAX_RPS", "stripe_max_rps", 3, 10**6, (0, "inf", "nan"), "a number above 0"),
    ("SYNC_DRY_RUN", "dry_run", False, True, ("perhaps",), "true or false"),
]


@pytest.mark.parametrize(("name", "field", "lowest", "highest", "wrong", "rule"), RANGES)
def test_setting_is_read_within_its_range_only(name, field, lowest, highest, wrong, rule):
    for value in (lowest, highest):
        assert getattr(load_settings(MINIMUM | {name: str(value)}), field) == value
    for value in wrong:
        with pytest.raises(ConfigError) as caught:
            load_settings(MINIMUM | {name: str(value)})
        assert str(caught.value) == f"wrong environment variables: {name} must be {rule}"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("ORDER_NUMBER_PREFIX", " SHOP ", "order_number_prefix", "SHOP"),
        ("STRIPE_API_BASE", "http://127.0.0.1:1", "stripe_api_base", "http://127.0.0.1:1"),
        ("COMMERCE_TABLE", " t2 ", "table", "t2"),
        ("SYNC_DRY_RUN", "true", "dry_run", True),
        ("SYNC_DRY_RUN", "1", "dry_run", True),
        ("SYNC_DRY_RUN", "FALSE", "dry_run", False),
        ("SYNC_DRY_RUN", "0", "dry_run", False),
        ("STRIPE_MAX_RPS", "25", "consumer_rps", 5),
        ("SYNC_WEBHOOK_FENCE", "written", "webhook_fence", "written"),
        ("SYNC_WEBHOOK_FENCE", "ALL", "webhook_fence", "all"),
        ("SYNC_WEBHOOK_FENCE", "off", "webhook_fence", "off"),
        ("SYNC_WEBHOOK_FENCE", "True", "webhook_fence", "written"),
        ("SYNC_WEBHOOK_FENCE", "false", "webhook_fence", "off"),
        # The default of earlier versions, which a stack keeps as its parameter.
        ("SYNC_MAX_SESSIONS", "500", "sessions_per_invocation", 0),
        ("SYNC_MAX_SESSIONS", "499", "sessions_per_invocation", 499),
        ("SYNC_MAX_SESSIONS", "501", "sessions_per_invocation", 501),
    ],
)
def test_text_of_a_variable_becomes_its_value(name, text, field, value):
    assert getattr(load_settings(MINIMUM | {name: text}), field) == value


@pytest.mark.parametrize(("rps", "consumers"), [("1.2", "2"), ("4.2", "7"), ("600", "1000")])
def test_least_pace_of_a_consumer_is_accepted(rps, consumers):
    pace = {"STRIPE_MAX_RPS": rps, "SYNC_CONSUMER_CONCURRENCY": consumers}
    assert load_settings(MINIMUM | pace).consumer_rps == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("rps", "consumers", "numbers", "rule"),
    [
        ("2", None, "2 and 5", "at least 3, or the second at most 3"),
        (None, "21", "12 and 21", "at least 12.6, or the second at most 20"),
        ("1", "2", "1 and 2", "at least 1.2"),
    ],
)
def test_pace_that_leaves_a_consumer_too_little_is_an_error(rps, consumers, numbers, rule):
    given = {"STRIPE_MAX_RPS": rps, "SYNC_CONSUMER_CONCURRENCY": consumers}
    with pytest.raises(ConfigError) as caught:
        load_settings(MINIMUM | {name: value for name, value in given.items() if value})
    assert str(caught.value) == (
        f"wrong environment variables: STRIPE_MAX_RPS and SYNC_CONSUMER_CONCURRENCY are {numbers}, and the "
        f"first must be at least 0.6 times the second: {rule}"
    )


def test_unknown_mode_of_the_fence_is_an_error():
    with pytest.raises(ConfigError) as caught:
        load_settings(MINIMUM | {"SYNC_WEBHOOK_FENCE": "some"})
    assert str(caught.value) == (
        "wrong environment variables: SYNC_WEBHOOK_FENCE must be written, all or off (true means written, "
        "and false means off)"
    )


def test_parameter_of_the_key_replaces_the_key():
    environ = {"COMMERCE_TABLE": "t", "SYNC_QUEUE_URL": "q", "STRIPE_SECRET_PARAMETER": "/p"}
    assert load_settings(environ).stripe_secret_parameter == "/p"


def test_key_is_not_printed():
    assert "sk_test_x" not in repr(load_settings(MINIMUM))
