"""Settings name every missing and every wrong variable at once."""

import pytest

from recon.config import Settings, settings_from
from recon.errors import ConfigError

LEAST = {"COMMERCE_TABLE": "t", "SYNC_QUEUE_URL": "q", "STRIPE_SECRET": "sk_test_x"}


def test_the_defaults_are_those_of_the_contract():
    assert settings_from(LEAST) == Settings(table="t", queue_url="q", stripe_secret="sk_test_x")
    settings = settings_from(LEAST)
    assert (settings.lookback_hours, settings.max_sessions, settings.max_receive_count) == (25, 500, 10)
    assert (settings.backoff_base_seconds, settings.consumer_concurrency, settings.stripe_max_rps) == (
        30,
        5,
        12,
    )
    assert (settings.order_ttl_days, settings.order_number_prefix, settings.dry_run) == (0, "BC", False)


def test_every_missing_name_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        settings_from({})
    assert str(caught.value) == (
        "missing environment variables: COMMERCE_TABLE, SYNC_QUEUE_URL, "
        "STRIPE_SECRET or STRIPE_SECRET_PARAMETER"
    )


def test_an_empty_value_counts_as_missing():
    with pytest.raises(ConfigError, match="COMMERCE_TABLE"):
        settings_from(LEAST | {"COMMERCE_TABLE": " "})


def test_every_wrong_value_is_named_at_once_with_what_would_be_right():
    with pytest.raises(ConfigError) as caught:
        settings_from(
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
        settings_from(LEAST | {name: value})


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("FALSE", False), ("0", False)])
def test_booleans_are_read_as_people_write_them(text, value):
    assert settings_from(LEAST | {"SYNC_DRY_RUN": text}).dry_run is value


def test_either_source_of_the_key_will_do():
    without = {name: value for name, value in LEAST.items() if name != "STRIPE_SECRET"}
    assert settings_from(without | {"STRIPE_SECRET_PARAMETER": "/p"}).stripe_secret_parameter == "/p"


def test_a_consumer_has_its_share_of_the_pace():
    assert settings_from(LEAST | {"STRIPE_MAX_RPS": "25"}).consumer_rps == 5


def test_the_key_is_not_printed():
    assert "sk_test_x" not in repr(settings_from(LEAST))
