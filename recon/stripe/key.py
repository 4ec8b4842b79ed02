"""The Stripe key: from the environment or an SSM SecureString, cached, read again after a 401 or 404."""

import threading
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from recon.aws.errors import describe_error
from recon.config import Settings
from recon.errors import KeyUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_ssm import SSMClient


class StripeKey:
    """The key of one process. It is thread-safe and reads the parameter at the first use."""

    def __init__(self, settings: Settings, ssm: "Callable[[], SSMClient]") -> None:
        self._fixed = settings.stripe_secret
        self._parameter = settings.stripe_secret_parameter
        self._ssm = ssm
        self._cached: str | None = None
        self._superseded = False
        self._lock = threading.Lock()

    def read(self) -> str:
        """Return the key. Raise KeyUnavailable if the parameter cannot be read."""
        if self._fixed:
            return self._fixed
        with self._lock:
            if self._cached is None:
                self._cached = self._fetch()
            return self._cached

    def find_replacement(self, rejected: str) -> str | None:
        """Return the parameter's value if it differs from the key that was rejected, else None."""
        if self._fixed:
            return None
        with self._lock:
            if self._cached == rejected:
                self._cached = self._fetch()
            return self._cached if self._cached != rejected else None

    def is_superseded(self) -> bool:
        """Return whether the parameter has another key than the one in use, which stays until `renew`."""
        if self._fixed:
            return False
        with self._lock:
            self._superseded = self._fetch() != self._cached
            return self._superseded

    def renew(self) -> None:
        """Drop the key if `is_superseded` found another one: the next use reads the parameter."""
        with self._lock:
            if self._superseded:
                self._cached, self._superseded = None, False

    def _fetch(self) -> str:
        try:
            response = self._ssm().get_parameter(Name=str(self._parameter), WithDecryption=True)
        except (ClientError, BotoCoreError) as exc:
            raise KeyUnavailable(
                f"the SSM parameter {self._parameter} cannot be read: {describe_error(exc)}"
            ) from exc
        return response["Parameter"]["Value"].strip()
