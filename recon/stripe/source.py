"""Stripe, seen from here: pages of sessions, and one session with all its line items.

The only importer of the stripe library, and imported late by whoever needs it: a batch of known orders
never pays for it. Reads with `raw_request`: typed objects cost twenty times the CPU and nothing here
needs them. Every error of the library becomes one of ours, without Stripe's text in it.
"""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import stripe
from stripe import oauth_error

from recon.domain.message import is_id
from recon.domain.stripe_objects import ASYNC_PAYMENT_SUCCEEDED, CHECKOUT_COMPLETED, Json
from recon.errors import (
    KeyNotAllowed,
    KeyRejected,
    KeyUnavailable,
    MalformedSession,
    SessionNotFound,
    StripeRejected,
    StripeThrottled,
    StripeUnavailable,
    SyncError,
)
from recon.retry import STRIPE_ATTEMPTS, STRIPE_NETWORK_RETRIES, Deadline, attempts
from recon.stripe.key import StripeKey
from recon.stripe.rate_limiter import RateLimiter

# The version this code was written against; without the pin an upgrade in the dashboard changes shapes.
STRIPE_VERSION = "2026-10-28.endive"
PAGE_SIZE = 100  # Stripe's maximum
SESSIONS = "/v1/checkout/sessions"
EVENTS = "/v1/events"
DISPUTES = "/v1/disputes"
# Areas of permission of a restricted key that are asked for beside the sessions themselves.
READ_SESSIONS, READ_EVENTS, READ_CHARGES, READ_DISPUTES = "sessions", "events", "charges", "disputes"
ANYTHING = ""
NOT_FOUND = 404
CONNECT_SHARE = 0.3
# Of what Stripe says only this is passed on: a status, a code, the name of a parameter, an id. Never prose.
_IS_WORD = re.compile(r"[\w.\[\]-]{1,100}", re.ASCII)

# Each concrete class of the library has its own row; a test fails when a new one appears.
ERRORS: dict[type[stripe.StripeError], type[SyncError]] = {
    stripe.APIConnectionError: StripeUnavailable,
    stripe.APIError: StripeUnavailable,
    stripe.AuthenticationError: KeyRejected,
    stripe.PermissionError: KeyNotAllowed,
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
    oauth_error.InvalidScopeError: KeyNotAllowed,
    oauth_error.UnsupportedGrantTypeError: StripeRejected,
    oauth_error.UnsupportedResponseTypeError: StripeRejected,
}


def to_domain_error(error: stripe.StripeError) -> SyncError:
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
    words = {name: value for name, value in facts.items() if value and _IS_WORD.fullmatch(str(value))}
    known = ", ".join(f"{name} {value}" for name, value in words.items())
    return kind(f"Stripe: {type(error).__name__}" + (f" ({known})" if known else ""))


@dataclass(frozen=True)
class Page:
    """One page of a list, newest first. `unreadable`: entries that are no object with an id of Stripe's."""

    sessions: list[Json]
    has_more: bool
    unreadable: int = 0


@dataclass(frozen=True)
class FetchedSession:
    """`charges_known` is False where the key may not read what became of the payment."""

    session: Json
    line_items: list[Json]
    refunded: bool = False
    charges_known: bool = True


@dataclass(frozen=True)
class SessionEvent:
    """That a session was completed or paid; `created` in epoch seconds."""

    id: str
    type: str
    created: int
    session_id: str


class StripeConnection:
    """What a process keeps of Stripe between invocations: connections, pace and key."""

    def __init__(
        self, key: StripeKey, rate_limiter: RateLimiter, *, timeout: float, api_base: str | None = None
    ) -> None:
        self.key = key
        self.rate_limiter = rate_limiter
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
            raise to_domain_error(exc) from None
        except UnicodeDecodeError:
            raise StripeUnavailable("Stripe: the answer is no text") from None
        if not isinstance(data, dict):
            raise StripeUnavailable("Stripe: the answer is no JSON object")
        return data

    def close(self) -> None:
        self._http.close()  # type: ignore[no-untyped-call]  # the library's own omission


class StripeSource:
    """Stripe for one invocation: paced, each request tried so often within its deadline. Thread-safe."""

    def __init__(
        self,
        connection: StripeConnection,
        deadline: Deadline,
        on_throttle: Callable[[], None],
        tries: int = STRIPE_ATTEMPTS,
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self._tries = tries
        self._on_throttle = on_throttle
        self._learned: dict[str, SyncError] = {}
        self._paid: dict[int, frozenset[str]] = {}
        self._paid_lock = threading.Lock()
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
        params |= {"starting_after": after} if after else {}
        data = self._get(SESSIONS, params, READ_SESSIONS)
        rows = _rows_of(data)
        readable = [row for row in rows if _has_id(row) and is_id(row["id"])]
        page = Page(readable, data.get("has_more") is True, len(rows) - len(readable))
        if page.has_more and not page.sessions:
            raise StripeUnavailable("Stripe: an empty page that says there is more")
        return page

    def list_events(self, created_from: int, *, undelivered: bool = False) -> Iterator[SessionEvent]:
        """The events of completed and of paid sessions from then on, newest first; `undelivered`: only those
        that a webhook has not acknowledged. Raises KeyNotAllowed where the key may not read events.
        https://docs.stripe.com/api/events/list"""
        params: Json = {
            "types": [CHECKOUT_COMPLETED, ASYNC_PAYMENT_SUCCEEDED],
            "created": {"gte": created_from},
            "limit": PAGE_SIZE,
        }
        params |= {"delivery_success": "false"} if undelivered else {}
        for event in self._all_of(EVENTS, params, READ_EVENTS, whole=False):
            if found := _session_event(event):
                yield found

    def find_paid_after(self, moment: int) -> frozenset[str]:
        """The sessions whose delayed payment settled after that moment; asked for once an invocation. None
        are known where the key may not read events."""
        with self._paid_lock:
            if moment not in self._paid:
                self._paid[moment] = self._ask_who_paid_after(moment)
            return self._paid[moment]

    def _ask_who_paid_after(self, moment: int) -> frozenset[str]:
        try:
            events = list(self.list_events(moment + 1))
        except KeyNotAllowed:
            return frozenset()
        return frozenset(event.session_id for event in events if event.type == ASYNC_PAYMENT_SUCCEEDED)

    def fetch(self, session_id: str) -> FetchedSession:
        """The session with all its line items, products expanded, and whether its money went back; one
        request for up to ten items. Raises SessionNotFound, and whatever else `ERRORS` says."""
        path = f"{SESSIONS}/{quote(session_id, safe='')}"
        session, charges_known = self._session(path)
        embedded = session.get("line_items")
        if not isinstance(embedded, dict):
            raise MalformedSession("line_items must be a list")
        items = _list_of(embedded, "line_items")
        if embedded.get("has_more") is True:
            further: Json = {"limit": PAGE_SIZE, "expand": ["data.price.product"]}
            further |= {"starting_after": items[-1]["id"]} if items else {}
            items.extend(self._all_of(f"{path}/line_items", further, READ_SESSIONS))
        charge = _charge_of(session)
        refunded = charge.get("refunded") is True
        if charge.get("disputed") is True and not refunded:
            refunded, disputes_known = self._is_lost(charge.get("id"))
            charges_known = charges_known and disputes_known
        return FetchedSession(session, items, refunded, charges_known)

    def _session(self, path: str) -> tuple[Json, bool]:
        """The session, with the charge that paid it where the key may read that."""
        expand = ["line_items", "line_items.data.price.product"]
        try:
            with_charge = [*expand, "payment_intent.latest_charge"]
            return self._get(path, {"expand": with_charge}, READ_CHARGES), True
        except KeyNotAllowed:
            return self._get(path, {"expand": expand}, READ_SESSIONS), False

    def _is_lost(self, charge_id: object) -> tuple[bool, bool]:
        """Whether a dispute about the charge was lost, and whether the key may know; else the sale stands."""
        params = {"charge": charge_id, "limit": PAGE_SIZE}
        try:
            disputes = list(self._all_of(DISPUTES, params, READ_DISPUTES))
        except KeyNotAllowed:
            return False, False
        return any(dispute.get("status") == "lost" for dispute in disputes), True

    def _all_of(self, path: str, params: Json, area: str, *, whole: bool = True) -> Iterator[Json]:
        """All entries of a list, page after page; without `whole` those that have no id are left out."""
        while True:
            data = self._get(path, params, area)
            name = path.rpartition("/")[2]
            rows = _list_of(data, name) if whole else list(filter(_has_id, _rows_of(data)))
            yield from rows
            if data.get("has_more") is not True:
                return
            if not rows:
                raise StripeUnavailable("Stripe: an empty page that says there is more")
            params = params | {"starting_after": rows[-1]["id"]}

    def _get(self, path: str, params: Json, area: str) -> Json:
        # A rejected key is not among them: waiting a second does not make it a better key.
        again = attempts(
            self._tries, self._deadline, first=0.2, longest=2.0, on=(StripeThrottled, StripeUnavailable)
        )
        return again(self._once, path, params, area)

    def _once(self, path: str, params: Json, area: str) -> Json:
        key = self._key(area)
        try:
            data = self._call(path, params, key)
        except KeyRejected as error:
            data = self._call(path, params, self._other_key(key, area, error))
        self._connection.rate_limiter.speed_up()
        return data

    def _key(self, area: str) -> str:
        with self._key_lock:
            return self._unless_known_bad(area, self._connection.key.read)

    def _other_key(self, rejected: str, area: str, error: KeyRejected) -> str:
        """The key that replaced the rejected one; raises the rejection when there is none."""
        with self._key_lock:
            replacement = self._unless_known_bad(
                area, lambda: self._connection.key.find_replacement(rejected)
            )
            if replacement is None:
                # A missing permission concerns what needs it, a wrong key everything.
                self._learned[area if isinstance(error, KeyNotAllowed) else ANYTHING] = error
                raise error
            return replacement

    def _unless_known_bad[T](self, area: str, ask: Callable[[], T]) -> T:
        """What this invocation has learned of the key is said again without asking anybody again."""
        if known := self._learned.get(ANYTHING) or self._learned.get(area):
            raise type(known)(str(known))
        try:
            return ask()
        except KeyUnavailable as error:
            self._learned[ANYTHING] = error
            raise

    def _call(self, path: str, params: Json, key: str) -> Json:
        self._connection.rate_limiter.wait(self._deadline, needed_after=self._connection.timeout)
        try:
            return self._connection.get(path, params, key)
        except StripeThrottled:
            self._connection.rate_limiter.slow_down()
            self._on_throttle()
            raise


def _session_event(event: Json) -> SessionEvent | None:
    """Only ids are taken: the rest has the shape of the account's own version."""
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    session_id = subject.get("id") if isinstance(subject, dict) else None
    kind, created = event.get("type"), event.get("created")
    if not (is_id(event["id"]) and is_id(kind) and is_id(session_id)) or not isinstance(created, int):
        return None
    return SessionEvent(event["id"], str(kind), created, str(session_id))


def _charge_of(session: Json) -> Json:
    """The charge that paid the session, where it was expanded and there is one."""
    intent = session.get("payment_intent")
    charge = intent.get("latest_charge") if isinstance(intent, dict) else None
    return charge if isinstance(charge, dict) else {}


def _list_of(data: Json, name: str) -> list[Json]:
    """Of a list that is worth nothing unless it is whole."""
    rows = _rows_of(data)
    if not all(map(_has_id, rows)):
        raise MalformedSession(f"an entry of {name} has no id")
    return rows


def _rows_of(data: Json) -> list[Any]:
    rows = data.get("data")
    if not isinstance(rows, list):
        raise StripeUnavailable("Stripe: a list without data")
    return rows


def _has_id(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)
