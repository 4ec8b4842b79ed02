"""Settings name every missing and every wrong variable at once."""

import pytest

from recon.config import Settings, load_settings
from recon.errors import ConfigError

LEAST = {"COMMERCE_TABLE": "t", "SYNC_QUEUE_URL": "q", "STRIPE_SECRET": "sk_test_x"}


def test_the_defaults_are_those_of_the_contract():
    assert load_settings(LEAST) == Settings(table="t", queue_url="q", stripe_secret="sk_test_x")
    settings = load_settings(LEAST)
    assert (settings.lookback_hours, settings.max_sessions, settings.max_receive_count) == (25, 500, 10)
    assert (settings.backoff_base_seconds, settings.consumer_concurrency, settings.stripe_max_rps) == (
        30,
        5,
        12,
    )
    assert (settings.order_ttl_days, settings.order_number_prefix, settings.dry_run) == (0, "BC", False)


def test_every_missing_name_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        load_settings({})
    assert str(caught.value) == (
        "missing environment variables: COMMERCE_TABLE, SYNC_QUEUE_URL, "
        "STRIPE_SECRET or STRIPE_SECRET_PARAMETER"
    )


def test_an_empty_value_counts_as_missing():
    with pytest.raises(ConfigError, match="COMMERCE_TABLE"):
        load_settings(LEAST | {"COMMERCE_TABLE": " "})


def test_every_wrong_value_is_named_at_once_with_what_would_be_right():
    with pytest.raises(ConfigError) as caught:
        load_settings(
            LEAST | {"SYNC_LOOKBACK_HOURS": "721", "SYNC_DRY_RUN": "perhaps", "STRIPE_MAX_RPS": "0"}
        )
    assert str(caught.value) == (
        "wrong environment variables: SYNC_LOOKBACK_HOURS must be an integer from 1 to 720, "
        "SYNC_DRY_RUN must be true or false, STRIPE_MAX_RPS must be a number above 0"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNC_LOOKBACK_HOURS", "0"),
        ("SYNC_LOOKBACK_HOURS", "1.5"),
        ("SYNC_MAX_SESSIONS", "none"),
        ("ORDER_TTL_DAYS", "-1"),
        ("SYNC_MAX_RECEIVE_COUNT", "999"),
        ("SYNC_BACKOFF_BASE_SECONDS", "3601"),
        ("SYNC_CONSUMER_CONCURRENCY", "1"),
        ("STRIPE_MAX_RPS", "inf"),
        ("STRIPE_MAX_RPS", "nan"),
    ],
)
def test_a_value_out_of_range_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        load_settings(LEAST | {name: value})


# name, field, the least and the most that are allowed, what is neither, and what a wrong one is told
RANGES = [
    ("SYNC_LOOKBACK_HOURS", "lookback_hours", 1, 720, (0, 721), "an integer from 1 to 720"),
    ("SYNC_MAX_SESSIONS", "max_sessions", 1, 10**6, (0, "x"), "an integer from 1"),
    ("ORDER_TTL_DAYS", "order_ttl_days", 0, 10**6, (-1, "x"), "an integer from 0 (0 = never)"),
    ("SYNC_MAX_RECEIVE_COUNT", "max_receive_count", 1, 998, (0, 999), "an integer from 1 to 998"),
    ("SYNC_BACKOFF_BASE_SECONDS", "backoff_base_seconds", 1, 3600, (0, 3601), "an integer from 1 to 3600"),
    ("SYNC_CONSUMER_CONCURRENCY", "consumer_concurrency", 2, 1000, (1, 1001), "an integer from 2 to 1000"),
    ("SYNC_GRACE_MINUTES", "grace_minutes", 0, 1440, (-1, 1441), "an integer from 0 to 1440"),
    ("STRIPE_MAX_RPS", "stripe_max_rps", 0.1, 10**6, (0, "inf"), "a number above 0"),
    ("SYNC_DRY_RUN", "dry_run", False, True, ("", "perhaps"), "true or false"),
    ("SYNC_WEBHOOK_FENCE", "webhook_fence", False, True, ("", "perhaps"), "true or false"),
]


@pytest.mark.parametrize(("name", "field", "least", "most", "neither", "told"), RANGES)
def test_every_setting_is_read_to_both_ends_of_its_range_and_told_beyond(
    name, field, least, most, neither, told
):
    for value in (least, most):
        assert getattr(load_settings(LEAST | {name: str(value)}), field) == value
    for value in filter(str, neither):
        with pytest.raises(ConfigError) as caught:
            load_settings(LEAST | {name: str(value)})
        assert str(caught.value) == f"wrong environment variables: {name} must be {told}"


def test_what_is_missing_is_told_before_what_is_wrong():
    with pytest.raises(ConfigError) as caught:
        load_settings({"COMMERCE_TABLE": "t", "STRIPE_SECRET": "sk_test_x", "SYNC_DRY_RUN": "perhaps"})
    assert str(caught.value) == (
        "missing environment variables: SYNC_QUEUE_URL; "
        "wrong environment variables: SYNC_DRY_RUN must be true or false"
    )


def test_texts_are_read_as_they_are_without_the_blanks_around_them():
    settings = load_settings(
        LEAST
        | {"ORDER_NUMBER_PREFIX": " SHOP ", "STRIPE_API_BASE": "http://127.0.0.1:1", "COMMERCE_TABLE": " t2 "}
    )
    assert (settings.order_number_prefix, settings.stripe_api_base, settings.table) == (
        "SHOP",
        "http://127.0.0.1:1",
        "t2",
    )


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("FALSE", False), ("0", False)])
def test_booleans_are_read_as_people_write_them(text, value):
    assert load_settings(LEAST | {"SYNC_DRY_RUN": text}).dry_run is value


def test_either_source_of_the_key_will_do():
    without = {name: value for name, value in LEAST.items() if name != "STRIPE_SECRET"}
    assert load_settings(without | {"STRIPE_SECRET_PARAMETER": "/p"}).stripe_secret_parameter == "/p"


def test_a_consumer_has_its_share_of_the_pace():
    assert load_settings(LEAST | {"STRIPE_MAX_RPS": "25"}).consumer_rps == 5


def test_the_key_is_not_printed():
    assert "sk_test_x" not in repr(load_settings(LEAST))
