"""A process builds its clients from the environment, with this project's limits."""

from contextlib import ExitStack, closing

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


def describe(client):
    """Return the client's service, timeouts and retries."""
    config = client.meta.config
    return (
        client.meta.service_model.service_name,
        (config.connect_timeout, config.read_timeout),
        config.retries["total_max_attempts"],
        config.retries["mode"],
        config.max_pool_connections,
    )


def expected_limits(service):
    return (service, (1.0, 3.0), AWS_ATTEMPTS, "standard", 32)


@pytest.fixture
def connect():
    """Return a function that connects to Stripe and closes the connection after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            closing(connect_stripe(load_settings(ENV), **{"timeout": 2.0} | options))
        )


def test_clients_are_built_from_the_environment():
    clients = build_clients(ENV, threads=7)
    assert clients.settings == load_settings(ENV)
    assert (describe(clients.table._client), clients.table.shop) == (expected_limits("dynamodb"), "shop")
    assert (describe(clients.queue._client), clients.queue._url) == (
        expected_limits("sqs"),
        "https://sqs.test/queue",
    )
    assert clients.pool._max_workers == 7


def test_incomplete_environment_builds_nothing():
    with pytest.raises(ConfigError, match="missing environment variables: SYNC_QUEUE_URL"):
        build_clients({name: value for name, value in ENV.items() if name != "SYNC_QUEUE_URL"}, threads=1)


@pytest.mark.parametrize(
    ("function", "threads", "service", "rate"),
    [(producer_function, 20, "producer", 6.0), (consumer_function, 25, "consumer", 2.0)],
)
def test_each_function_builds_its_clients_once(function, threads, service, rate):
    assert function.clients() is function.clients()
    assert function.clients().pool._max_workers == threads
    assert function.telemetry() is function.telemetry()
    assert function.telemetry()._service == f"stripe-nightly-sync-{service}"
    with closing(function.stripe_connection(2.5)) as connection:
        assert (connection.rate_limiter.rate, connection.timeout) == (rate * USED_SHARE, 2.5)


def test_producer_invokes_itself_with_the_same_limits():
    assert describe(producer_function.lambda_client()) == expected_limits("lambda")


def test_connection_has_key_rate_timeout_and_address(connect):
    connection = connect(requests_per_second=4, ssm=lambda: FakeSSM("sk_test_of_the_parameter"))
    assert connection.key.read() == "sk_test_of_the_parameter"
    assert (connection.rate_limiter.rate, connection.timeout) == (4 * USED_SHARE, 2.0)
    assert connection._client._requestor._options.base_addresses["api"] == "http://127.0.0.1:1"


def test_connections_share_a_rate_limiter_and_client_limits(connect):
    first, second = (connect(requests_per_second=9) for _ in range(2))
    assert first.rate_limiter is second.rate_limiter
    assert describe(first.key._ssm()) == expected_limits("ssm")
