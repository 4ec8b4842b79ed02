"""Stripe, seen from here: pages of sessions, and one session with all its line items.

The only importer of the stripe library, and imported late by whoever needs it: a batch of known orders
never pays for it. Reads with `raw_request`: typed objects cost twenty times the CPU and nothing here
needs them. Every error of the library becomes one of ours, without Stripe's text in it.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import stripe
from stripe import oauth_error

from recon.errors import (
    KeyRejected,
    KeyUnavailable,
    MalformedSession,
    SessionNotFound,
    StripeRejected,
    StripeThrottled,
    StripeUnavailable,
    SyncError,
)
from recon.order import Json
from recon.pacing import Pacer
from recon.retry import STRIPE_ATTEMPTS, STRIPE_NETWORK_RETRIES, Deadline, attempts
from recon.stripe_key import StripeKey

# The version this code was written against; without the pin an upgrade in the dashboard changes shapes.
STRIPE_VERSION = "2026-10-28.endive"
PAGE_SIZE = 100  # Stripe's maximum
SESSIONS = "/v1/checkout/sessions"
NOT_FOUND = 404
CONNECT_SHARE = 0.3

# Each concrete class of the library has its own row; a test fails when a new one appears.
ERRORS: dict[type[stripe.StripeError], type[SyncError]] = {
    stripe.APIConnectionError: StripeUnavailable,
    stripe.APIError: StripeUnavailable,
    stripe.AuthenticationError: KeyRejected,
    stripe.PermissionError: KeyRejected,
    stripe.RateLimitError: StripeThrottled,
    # A 404 of this class is SessionNotFound, see `translated`.
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
    # The account's owner, not the request, is in the way: it may pass without a change to the message.
    stripe.BlockedByStripeError: KeyRejected,
    stripe.QuotaExceededError: StripeThrottled,
    stripe.TemporarySessionExpiredError: StripeUnavailable,
    # OAuth is how a connected account's key is refused.
    oauth_error.InvalidClientError: KeyRejected,
    oauth_error.InvalidGrantError: KeyRejected,
    oauth_error.InvalidRequestError: StripeRejected,
    oauth_error.InvalidScopeError: KeyRejected,
    oauth_error.UnsupportedGrantTypeError: StripeRejected,
    oauth_error.UnsupportedResponseTypeError: StripeRejected,
}


def translated(error: stripe.StripeError) -> SyncError:
    """Ours for Stripe's: status, code, parameter and request id, never the text (it may quote a key)."""
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
    known = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    return kind(f"Stripe: {type(error).__name__}" + (f" ({known})" if known else ""))


@dataclass(frozen=True)
class Page:
    """One page of a list, newest first."""

    sessions: list[Json]
    has_more: bool


@dataclass(frozen=True)
class FetchedSession:
    session: Json
    line_items: list[Json]


class StripeConnection:
    """What a process keeps of Stripe between invocations: connections, pace and key."""

    def __init__(self, key: StripeKey, pacer: Pacer, *, timeout: float, api_base: str | None = None) -> None:
        self.key = key
        self.pacer = pacer
        self.timeout = timeout
        # One to connect and one to wait for the answer, together no longer than a request may take.
        self._http = stripe.RequestsClient(timeout=(timeout * CONNECT_SHARE, timeout * (1 - CONNECT_SHARE)))
        self._client = stripe.StripeClient(
            "set per request",
            base_addresses={"api": api_base} if api_base else {},
            http_client=self._http,
            max_network_retries=STRIPE_NETWORK_RETRIES,
            stripe_version=STRIPE_VERSION,
        )

    def get(self, path: str, params: Json, api_key: str) -> Json:
        try:
            data = self._client.raw_request("get", path, api_key=api_key, **params).data
        except stripe.StripeError as exc:
            # Not `from exc`: a traceback would print Stripe's own text, which may quote the key.
            raise translated(exc) from None
        if not isinstance(data, dict):
            raise StripeUnavailable("Stripe: the answer is no JSON object")
        return data

    def close(self) -> None:
        self._http.close()  # type: ignore[no-untyped-call]  # the library's own omission


class StripeSource:
    """Stripe for one invocation: paced, retried within its deadline. Thread-safe."""

    def __init__(
        self, connection: StripeConnection, deadline: Deadline, on_throttle: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self._on_throttle = on_throttle
        self._no_key: SyncError | None = None
        self._key_lock = threading.Lock()

    def list_sessions(
        self, created_from: int, created_to: int, *, after: str | None = None, limit: int = PAGE_SIZE
    ) -> Page:
        """A page of the complete sessions created in [from, to] (epoch seconds), newest first, those
        after the id `after`. https://docs.stripe.com/api/checkout/sessions/list"""
        params: Json = {
            "created": {"gte": created_from, "lte": created_to},
            "status": "complete",
            "limit": limit,
        }
        data = self._get(SESSIONS, params | ({"starting_after": after} if after else {}))
        page = Page(_list_of(data, "id"), data.get("has_more") is True)
        if page.has_more and not page.sessions:
            raise StripeUnavailable("Stripe: an empty page that says there is more")
        return page

    def fetch(self, session_id: str) -> FetchedSession:
        """The session with all its line items, products expanded; one request for up to ten items.

        Raises SessionNotFound, and whatever else `ERRORS` says.
        """
        path = f"{SESSIONS}/{quote(session_id, safe='')}"
        expand = ["line_items", "line_items.data.price.product"]
        session = self._get(path, {"expand": expand})
        embedded = session.get("line_items")
        if not isinstance(embedded, dict):
            raise MalformedSession("line_items must be a list")
        items = _list_of(embedded, "id")
        if embedded.get("has_more") is True:
            items.extend(self._further_items(path, items[-1]["id"] if items else None))
        return FetchedSession(session, items)

    def _further_items(self, path: str, after: str | None) -> Iterator[Json]:
        while True:
            params: Json = {"limit": PAGE_SIZE, "expand": ["data.price.product"]}
            data = self._get(f"{path}/line_items", params | ({"starting_after": after} if after else {}))
            items = _list_of(data, "id")
            yield from items
            if data.get("has_more") is not True:
                return
            if not items:
                raise StripeUnavailable("Stripe: an empty page that says there is more")
            after = items[-1]["id"]

    def _get(self, path: str, params: Json) -> Json:
        # A rejected key is not among them: waiting a second does not make it a better key.
        again = attempts(
            STRIPE_ATTEMPTS, self._deadline, first=0.2, longest=2.0, on=(StripeThrottled, StripeUnavailable)
        )
        return again(self._once, path, params)

    def _once(self, path: str, params: Json) -> Json:
        key = self._key()
        try:
            data = self._call(path, params, key)
        except KeyRejected:
            data = self._call(path, params, self._other_key(key))
        self._connection.pacer.succeeded()
        return data

    def _key(self) -> str:
        with self._key_lock:
            return self._unless_known_bad(self._connection.key.current)

    def _other_key(self, rejected: str) -> str:
        """The key that replaced the rejected one; raises KeyRejected when there is none."""
        with self._key_lock:
            replacement = self._unless_known_bad(lambda: self._connection.key.replacement_for(rejected))
            if replacement is None:
                self._no_key = KeyRejected("Stripe rejects the key, and the parameter holds no other")
                raise self._no_key
            return replacement

    def _unless_known_bad[T](self, ask: Callable[[], T]) -> T:
        """What this invocation has learned of the key is said again without asking anybody again."""
        if self._no_key:
            raise type(self._no_key)(str(self._no_key))
        try:
            return ask()
        except KeyUnavailable as error:
            self._no_key = error
            raise

    def _call(self, path: str, params: Json, key: str) -> Json:
        self._connection.pacer.wait(self._deadline, needed_after=self._connection.timeout)
        try:
            return self._connection.get(path, params, key)
        except StripeThrottled:
            self._connection.pacer.throttled()
            self._on_throttle()
            raise


def _list_of(data: Json, needed: str) -> list[Json]:
    rows: Any = data.get("data")
    if not isinstance(rows, list):
        raise StripeUnavailable("Stripe: a list without data")
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get(needed), str):
            raise MalformedSession(f"an entry of a list has no {needed}")
    return rows
