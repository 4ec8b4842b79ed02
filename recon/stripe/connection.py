"""The HTTP connection to Stripe, and the mapping of the library's errors to those of this project.

This is the only module that imports the stripe library, which takes longer than the rest of a cold start.
`raw_request` is used because typed objects take twenty times the CPU and nothing here needs them.
"""

import re
from collections.abc import Callable

import stripe
from stripe import oauth_error

from recon.domain.stripe_objects import Json
from recon.errors import (
    KeyNotAllowed,
    KeyRejected,
    SessionNotFound,
    StripeRejected,
    StripeThrottled,
    StripeUnavailable,
    SyncError,
)
from recon.retry import STRIPE_NETWORK_RETRIES
from recon.stripe.bulk import Products
from recon.stripe.key import StripeKey
from recon.stripe.rate_limiter import RateLimiter

# The version this code was written for; without the pin an upgrade in the dashboard changes the responses.
STRIPE_VERSION = "2026-10-28.endive"
NOT_FOUND = 404
# The share of a request's timeout that connecting may take.
CONNECT_SHARE = 0.3
# An error's values are passed on only if they are a code, a parameter's name or an id. Prose never is.
_CODE = re.compile(r"[\w.\[\]-]{1,100}", re.ASCII)

# Every concrete class of the library has its own row; a test fails when a new one appears.
ERRORS: dict[type[stripe.StripeError], type[SyncError]] = {
    stripe.APIConnectionError: StripeUnavailable,
    stripe.APIError: StripeUnavailable,
    stripe.AuthenticationError: KeyRejected,
    stripe.PermissionError: KeyNotAllowed,
    stripe.RateLimitError: StripeThrottled,
    # With status 404 it is SessionNotFound, see `to_domain_error`.
    stripe.InvalidRequestError: StripeRejected,
    stripe.AlreadyCanceledError: StripeRejected,
    stripe.CannotProceedError: StripeRejected,
    stripe.CapabilityNotEnabledError: StripeRejected,
    stripe.CardError: StripeRejected,
    stripe.ControlledByAlternateResourceError: StripeRejected,
    stripe.FeatureNotEnabledError: StripeRejected,
    stripe.FinancialAccountNotOpenError: StripeRejected,
    stripe.FxQuoteNeedsRefreshError: StripeRejected,
    stripe.IdempotencyError: StripeRejected,
    stripe.InsufficientFundsError: StripeRejected,
    stripe.InvalidPaymentMethodError: StripeRejected,
    stripe.InvalidPayoutMethodError: StripeRejected,
    stripe.InvalidVaultedCredentialError: StripeRejected,
    stripe.NotCancelableError: StripeRejected,
    stripe.RecipientNotNotifiableError: StripeRejected,
    stripe.SignatureVerificationError: StripeRejected,
    stripe.VerificationAttemptFailedError: StripeRejected,
    stripe.VerificationExpiredError: StripeRejected,
    stripe.VerificationNotInitiatedError: StripeRejected,
    # Caused by the account, not by the request: it may pass without a change to the message.
    stripe.BlockedByStripeError: KeyRejected,
    stripe.QuotaExceededError: StripeThrottled,
    stripe.TemporarySessionExpiredError: StripeUnavailable,
    # Stripe rejects a connected account's key with OAuth errors.
    oauth_error.InvalidClientError: KeyRejected,
    oauth_error.InvalidGrantError: KeyRejected,
    oauth_error.InvalidRequestError: StripeRejected,
    oauth_error.InvalidScopeError: KeyNotAllowed,
    oauth_error.UnsupportedGrantTypeError: StripeRejected,
    oauth_error.UnsupportedResponseTypeError: StripeRejected,
}


def to_domain_error(error: stripe.StripeError) -> SyncError:
    """Map a library error to a domain error.

    The message holds status, code, parameter and request id, but never Stripe's text, which may quote a key.
    """
    kind = next((ERRORS[cls] for cls in type(error).__mro__ if cls in ERRORS), StripeUnavailable)
    if kind is StripeRejected and error.http_status == NOT_FOUND:
        kind = SessionNotFound
    facts = {
        "status": error.http_status,
        "code": error.code,
        "param": getattr(error, "param", None),
        "reason": error.headers.get("stripe-rate-limited-reason") if error.headers else None,
        "request": error.request_id,
    }
    codes = {name: value for name, value in facts.items() if value and _CODE.fullmatch(str(value))}
    details = ", ".join(f"{name} {value}" for name, value in codes.items())
    return kind(f"Stripe: {type(error).__name__}" + (f" ({details})" if details else ""))


class StripeConnection:
    """The connections, rate limiter and key that a process keeps between invocations.

    `timeout` is the limit of one request in seconds; `clock` is monotonic.
    """

    def __init__(
        self,
        key: StripeKey,
        rate_limiter: RateLimiter,
        *,
        timeout: float,
        clock: Callable[[], float],
        api_base: str | None = None,
    ) -> None:
        self.key = key
        self.rate_limiter = rate_limiter
        self.timeout = timeout
        self.products = Products(clock)
        # The library adds the time to connect and the time to wait for the response.
        self._http = stripe.RequestsClient(timeout=(timeout * CONNECT_SHARE, timeout * (1 - CONNECT_SHARE)))
        self._client = stripe.StripeClient(
            "set per request",
            base_addresses={"api": api_base} if api_base else {},
            http_client=self._http,
            max_network_retries=STRIPE_NETWORK_RETRIES,
            stripe_version=STRIPE_VERSION,
        )

    def get(self, path: str, params: Json, api_key: str) -> Json:
        """Send one GET request and return the JSON object of the response. Raise the errors in `ERRORS`."""
        try:
            data = self._client.raw_request("get", path, api_key=api_key, **params).data
        except stripe.StripeError as exc:
            # Not `from exc`: a traceback would print Stripe's own text, which may quote the key.
            raise to_domain_error(exc) from None
        except UnicodeDecodeError:
            raise StripeUnavailable("Stripe: the response is not valid text") from None
        if not isinstance(data, dict):
            raise StripeUnavailable("Stripe: the response is not a JSON object")
        return data

    def close(self) -> None:
        self._http.close()  # type: ignore[no-untyped-call]  # the library has no annotation here
