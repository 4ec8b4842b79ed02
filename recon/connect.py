"""A connection to Stripe from settings. Imports the stripe library, so it is imported late itself."""

import time
from functools import cache
from typing import TYPE_CHECKING

from recon.aws.clients import client
from recon.config import Settings
from recon.stripe.key import StripeKey
from recon.stripe.rate_limiter import RateLimiter
from recon.stripe.source import StripeConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ssm import SSMClient


# Requests take now longer and now shorter to arrive. At all of the allowed pace the limiter would count one
# too many in some seconds, and each 429 costs more than this does.
USED_SHARE = 0.98


@cache
def _pacer(per_second: float) -> RateLimiter:
    """One a process: what a 429 taught it outlives a connection."""
    return RateLimiter(per_second * USED_SHARE, time.monotonic)


def _own_ssm() -> "SSMClient":
    return client("ssm")


def connect_stripe(
    settings: Settings,
    *,
    per_second: float,
    timeout: float,
    ssm: "Callable[[], SSMClient]" = _own_ssm,
) -> StripeConnection:
    """`per_second`: this process's share of the requests; `timeout`: of one request, in seconds; `ssm`: who
    reads the key's parameter, by default as this process's environment says."""
    return StripeConnection(
        StripeKey(settings, ssm),
        _pacer(per_second),
        timeout=timeout,
        api_base=settings.stripe_api_base,
    )
