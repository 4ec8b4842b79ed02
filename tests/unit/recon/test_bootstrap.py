"""What a process makes of its environment: clients with this project's limits, once everything is checked."""

import pytest

import consumer.lambda_function as consumer_function
import producer.lambda_function as producer_function
from recon.bootstrap import USED_SHARE, build_clients, connect_stripe
from recon.config import load_settings
from recon.errors import ConfigError
from recon.retry import AWS_ATTEMPTS
from testkit.world import FakeSSM

ENV = {
    "COMMERCE_TABLE": "shop",
    "SYNC_QUEUE_URL": "https://sqs.test/queue",
    "STRIPE_SECRET_PARAMETER": "/shop/stripe",
    "STRIPE_API_BASE": "http://127.0.0.1:1",
    "STRIPE_MAX_RPS": "6",
    "SYNC_CONSUMER_CONCURRENCY": "3",
}
CACHED = ("clients", "telemetry", "stripe_connection")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    caches = [getattr(module, name) for module in (consumer_function, producer_function) for name in CACHED]
    for cached in (*caches, producer_function.lambda_client):
        cached.cache_clear()
    yield
    for cached in (*caches, producer_function.lambda_client):
        cached.cache_clear()


def facts(client):
    """Which service a client is for, and how long and often it tries."""
    config = client.meta.config
    return (
        client.meta.service_model.service_name,
        (config.connect_timeout, config.read_timeout),
        config.retries["total_max_attempts"],
        config.retries["mode"],
        config.max_pool_connections,
    )


def limited(service):
    return (service, (1.0, 3.0), AWS_ATTEMPTS, "standard", 32)


def test_a_process_keeps_one_table_one_queue_and_as_many_threads_as_it_wants():
    made = build_clients(ENV, threads=7)
    assert made.settings == load_settings(ENV)
    assert (facts(made.table._client), made.table._name) == (limited("dynamodb"), "shop")
    assert (facts(made.queue._client), made.queue._url) == (limited("sqs"), "https://sqs.test/queue")
    assert made.pool._max_workers == 7


def test_nothing_is_made_of_an_environment_that_lacks_something():
    with pytest.raises(ConfigError, match="missing environment variables: SYNC_QUEUE_URL"):
        build_clients({name: value for name, value in ENV.items() if name != "SYNC_QUEUE_URL"}, threads=1)


@pytest.mark.parametrize(
    ("function", "threads", "service"),
    [(producer_function, 20, "producer"), (consumer_function, 25, "consumer")],
)
def test_each_function_makes_its_clients_once(function, threads, service):
    assert function.clients() is function.clients()
    assert function.clients().pool._max_workers == threads
    assert function.telemetry() is function.telemetry()
    assert function.telemetry()._service == f"stripe-nightly-sync-{service}"


def test_the_producer_invokes_itself_with_the_same_limits():
    assert facts(producer_function.lambda_client()) == limited("lambda")


@pytest.mark.parametrize(("function", "share"), [(producer_function, 6.0), (consumer_function, 2.0)])
def test_each_function_asks_stripe_at_its_share_of_the_pace(function, share):
    connection = function.stripe_connection(2.5)
    assert (connection.rate_limiter.rate, connection.timeout) == (share * USED_SHARE, 2.5)
    connection.close()


def test_a_connection_has_the_settings_key_address_and_time_limit():
    ssm = FakeSSM("sk_test_of_the_parameter")
    connection = connect_stripe(load_settings(ENV), requests_per_second=4, timeout=2.0, ssm=lambda: ssm)
    assert connection.key.read() == "sk_test_of_the_parameter"
    assert connection.rate_limiter.rate == 4 * USED_SHARE
    assert connection.timeout == 2.0
    assert connection._client._requestor._options.base_addresses["api"] == "http://127.0.0.1:1"
    connection.close()


def test_what_a_429_taught_outlives_a_connection():
    settings = load_settings(ENV)
    first, second = (connect_stripe(settings, requests_per_second=9, timeout=1.0) for _ in range(2))
    assert first.rate_limiter is second.rate_limiter
    first.close()
    second.close()


def test_the_key_is_read_with_a_client_of_the_process_and_the_same_limits():
    connection = connect_stripe(load_settings(ENV), requests_per_second=5, timeout=1.0)
    assert facts(connection.key._ssm()) == limited("ssm")
    connection.close()
