"""A connection to Stripe from settings. Imports the stripe library, so it is imported late itself."""

import time
from functools import cache
from typing import TYPE_CHECKING

from recon.aws import client
from recon.config import Settings
from recon.pacing import Pacer
from recon.stripe_key import StripeKey
from recon.stripe_source import StripeConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ssm import SSMClient


# Requests take now longer and now shorter to arrive. At all of the allowed pace the limiter would count one
# too many in some seconds, and each 429 costs more than this does.
USED_SHARE = 0.98


@cache
def _pacer(per_second: float) -> Pacer:
    """One a process: what a 429 taught it outlives a connection."""
    return Pacer(per_second * USED_SHARE, time.monotonic)


def _own_ssm() -> "SSMClient":
    return client("ssm")


def connected(
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
