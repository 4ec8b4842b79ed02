"""Stripe as an operator asks it: with the deployed consumer's settings, and the key as the operator's own AWS
credentials read it."""

import threading
from typing import TYPE_CHECKING, Self

from ops.stack.stack import Stack
from recon.config import Settings
from recon.retry import STRIPE_TIMEOUT_SECONDS, Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ssm import SSMClient

    from recon.stripe.connection import StripeConnection
    from recon.stripe.source import StripeSource

_LIVE, _TEST = ("sk_live_", "rk_live_"), ("sk_test_", "rk_test_")


class StripeAccess:
    """Calling it gives the source, connected when first called. Closed as a context manager. Thread-safe.

    It keeps the pace that the whole pipeline has; Stripe allows more, and a 429 of its slows both down.
    """

    def __init__(self, settings: Settings, ssm: "Callable[[], SSMClient]", deadline: Deadline) -> None:
        self._settings = settings
        self._ssm = ssm
        self._deadline = deadline
        self._lock = threading.Lock()
        self._connection: StripeConnection | None = None
        self._source: StripeSource | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()

    def __call__(self) -> "StripeSource":
        with self._lock:
            if self._source is None:
                self._source = self._connected()
            return self._source

    def _connected(self) -> "StripeSource":
        # Imported when it is needed: the stripe library takes longer to import than most commands to run.
        from recon.bootstrap import connect_stripe  # noqa: PLC0415 - see above
        from recon.stripe.source import StripeSource  # noqa: PLC0415

        self._connection = connect_stripe(
            self._settings,
            requests_per_second=self._settings.stripe_max_rps,
            timeout=STRIPE_TIMEOUT_SECONDS,
            ssm=self._ssm,
        )
        return StripeSource(self._connection, self._deadline, on_throttle=lambda: None)

    def livemode(self) -> bool | None:
        """Which sessions the key reads, by its prefix; None for a key of another form. Raises KeyUnavailable
        where it cannot be read."""
        self()
        assert self._connection is not None  # noqa: S101 - made by the line above
        return key_livemode(self._connection.key.read())


def stripe_access(place: Stack) -> StripeAccess:
    """Raises CannotRun where the consumer could not work with its settings. Asks Stripe nothing yet."""
    return StripeAccess(place.settings, lambda: place.client("ssm"), place.deadline)


def key_livemode(key: str) -> bool | None:
    """https://docs.stripe.com/keys#obtain-api-keys"""
    if key.startswith(_LIVE):
        return True
    return False if key.startswith(_TEST) else None
