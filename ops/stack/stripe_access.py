"""Access to Stripe with the deployed consumer's settings and the operator's own AWS credentials."""

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
    """A lazily opened connection to Stripe. Thread-safe; closed as a context manager.

    It sends at most as many requests a second as the whole pipeline may. Stripe allows more, and a 429 slows
    both down.
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

    def source(self) -> "StripeSource":
        """Return the source; the first call connects."""
        with self._lock:
            if self._source is None:
                self._source = self._connect()
            return self._source

    def _connect(self) -> "StripeSource":
        # Imported here because importing the stripe library takes longer than most commands run.
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
        """Return the key's mode as `key_livemode` does. Raise KeyUnavailable if the key cannot be read."""
        self.source()
        assert self._connection is not None  # noqa: S101 - set by the line above
        return key_livemode(self._connection.key.read())


def stripe_access(stack: Stack) -> StripeAccess:
    """Create the access for a stack without connecting. Raise CommandError if its settings are invalid."""
    return StripeAccess(stack.settings, lambda: stack.client("ssm"), stack.deadline)


def key_livemode(key: str) -> bool | None:
    """Return True for a live key, False for a test key and None for any other prefix.

    https://docs.stripe.com/keys#obtain-api-keys
    """
    if key.startswith(_LIVE):
        return True
    return False if key.startswith(_TEST) else None
