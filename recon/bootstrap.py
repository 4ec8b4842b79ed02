"""The composition root both Lambdas and the operator's command share: build clients from the environment.

Importing this module imports neither boto3 nor the stripe library; `connect_stripe` imports the latter when
it is called, which saves most of a cold start for batches that need no Stripe request.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from recon.aws.clients import client, transaction_client
from recon.aws.queue import SessionQueue
from recon.config import Settings, load_settings
from recon.dynamodb.table import Table
from recon.stripe.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ssm import SSMClient

    from recon.stripe.connection import StripeConnection

# Network latency varies, so at exactly the allowed rate some seconds would see one request too many.
# A 429 costs more time than the 2 % given up here.
USED_SHARE = 0.98


@dataclass(frozen=True)
class Clients:
    """The settings and clients that a Lambda process keeps between invocations."""

    settings: Settings
    table: Table
    queue: SessionQueue
    pool: Executor


def build_clients(environ: Mapping[str, str], threads: int) -> Clients:
    """Build settings and clients from the environment. Raise ConfigError before any client is made."""
    settings = load_settings(environ)
    return Clients(
        settings=settings,
        table=Table(
            client("dynamodb"),
            settings.table,
            ledger=settings.ledger_table,
            transactions=transaction_client(),
        ),
        queue=SessionQueue(client("sqs"), settings.queue_url),
        pool=ThreadPoolExecutor(threads),
    )


def _ssm_client() -> "SSMClient":
    return client("ssm")


def connect_stripe(
    settings: Settings,
    *,
    requests_per_second: float,
    timeout: float,
    ssm: "Callable[[], SSMClient]" = _ssm_client,
) -> "StripeConnection":
    """Return a connection to Stripe.

    `requests_per_second` is this process's share of the allowed rate, `timeout` the limit of one request in
    seconds. `ssm` builds the client that reads the key's parameter.
    """
    # Imports the stripe library, which takes longer than everything else in a cold start.
    from recon.stripe.connection import StripeConnection  # noqa: PLC0415 - see above
    from recon.stripe.key import StripeKey  # noqa: PLC0415 - see above

    return StripeConnection(
        StripeKey(settings, ssm),
        _rate_limiter(requests_per_second),
        timeout=timeout,
        clock=time.monotonic,
        api_base=settings.stripe_api_base,
    )


@cache
def _rate_limiter(requests_per_second: float) -> RateLimiter:
    """Return the process's only limiter, so that a lowered rate outlives a connection."""
    return RateLimiter(requests_per_second * USED_SHARE, time.monotonic)
