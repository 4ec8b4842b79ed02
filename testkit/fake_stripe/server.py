"""The fake Stripe as an HTTP server: API keys, rate limits, faults, and the log of requests."""

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from testkit.fake_stripe import admin, errors
from testkit.fake_stripe.api import StripeRequest, answer, understand
from testkit.fake_stripe.errors import DropConnectionError, StripeFailureError
from testkit.fake_stripe.faults import Endpoint, FaultKind, Faults, StripeFault
from testkit.fake_stripe.objects import ACCOUNT, API_VERSION
from testkit.fake_stripe.specs import stable_id
from testkit.fake_stripe.store import Store
from testkit.fake_stripe.traffic import NO_ANSWER, Calls, LoggedCall, RateLimits
from testkit.fake_stripe.wire import Answer, HttpServer
from testkit.shapes import JsonObject

_REQUEST_ID_LENGTH = len("req_") + 14
# The permission that a restricted key needs for each endpoint, and for each expanded object.
_PERMISSIONS: Final[Mapping[Endpoint, str]] = {
    Endpoint.LIST: "rak_checkout_session_read",
    Endpoint.RETRIEVE: "rak_checkout_session_read",
    Endpoint.LINE_ITEMS: "rak_checkout_session_read",
    Endpoint.EVENTS: "rak_event_read",
    Endpoint.DISPUTES: "rak_dispute_read",
    Endpoint.INVOICE_PAYMENTS: "rak_invoice_read",
    Endpoint.PRODUCTS: "rak_product_read",
}
_EXPANDED_PERMISSIONS: Final[Mapping[str, str]] = {
    "payment_intent": "rak_payment_intent_read",
    "payment_intent.latest_charge": "rak_charge_read",
    "payment_intent.latest_charge.balance_transaction": "rak_balance_transaction_read",
    "payment_intent.review": "rak_review_read",
}


class FakeStripe:
    """A Stripe account served on 127.0.0.1, as a context manager or from `start` to `stop`.

    `store` is the content of the account, `faults` is what fails, `limits` are the rate limits, and `calls`
    is the log of requests. `on_request` is called with every request that has a valid key and is within the
    limits, before it is answered, on the thread of the request. If it raises, the connection is dropped.
    """

    def __init__(self, api_key: str, *, port: int = 0, limits: RateLimits | None = None) -> None:
        self.store = Store()
        self.faults = Faults()
        self.calls = Calls()
        self.limits = limits or RateLimits()
        self.on_request: Callable[[StripeRequest], None] | None = None
        self._keys = frozenset({api_key})
        self._request_numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._server = HttpServer(port, self._answer)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> Self:
        self._server.start()
        return self

    def stop(self) -> None:
        """End every request, including those that hang, and close every connection."""
        self._stopping.set()
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def accept_keys(self, keys: Iterable[str]) -> None:
        """Replace the valid API keys."""
        self._keys = frozenset(keys)

    def _answer(self, method: str, target: str, headers: Mapping[str, str], content: bytes) -> Answer:
        if target.startswith(admin.PREFIX):
            return Answer(*admin.handle(self, method, target, content))
        return self._answer_as_stripe(method, target, headers)

    def _answer_as_stripe(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request of Stripe's API and log it, even if its connection is dropped."""
        url = urlsplit(target)
        request = understand(method, url.path, url.query)
        request_id = stable_id("req", next(self._request_numbers))[:_REQUEST_ID_LENGTH]
        try:
            reply = self._reply(request, method, url.path, headers, request_id)
        except DropConnectionError:
            self._log(request, NO_ANSWER)
            raise
        self._log(request, reply.status)
        return reply

    def _reply(
        self, request: StripeRequest, method: str, path: str, headers: Mapping[str, str], request_id: str
    ) -> Answer:
        given = {"Request-Id": request_id, "Stripe-Version": headers.get("stripe-version", API_VERSION)}
        try:
            self._check_key(headers.get("authorization", ""))
            self._check_rate(request)
            self._notify(request)
            self._apply_faults(request, headers.get("authorization", ""))
            if request.endpoint is Endpoint.UNKNOWN:
                raise errors.unknown_url(method, path)
            return Answer(200, self._serve(request), given)
        except StripeFailureError as failure:
            if failure.rate_limited_reason is not None:
                given["Stripe-Rate-Limited-Reason"] = failure.rate_limited_reason
            return Answer(failure.status, failure.body(request_id), given)

    def _serve(self, request: StripeRequest) -> JsonObject:
        """Return the body. A session whose own requests fail is not expanded in a list either."""
        body = answer(self.store, request)
        if request.endpoint is Endpoint.LIST and request.expanded:
            failing = self.faults.sessions()
            for row in body["data"]:
                if row["id"] in failing:
                    row.pop("line_items", None)
        return body

    def _check_key(self, authorization: str) -> None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise errors.missing_key()
        if key not in self._keys:
            raise errors.wrong_key(key)

    def _check_rate(self, request: StripeRequest) -> None:
        reason = self.limits.refusal(request.endpoint)
        if reason is not None:
            raise errors.rate_limited(reason)

    def _notify(self, request: StripeRequest) -> None:
        if self.on_request is None:
            return
        try:
            self.on_request(request)
        except Exception as exc:
            raise DropConnectionError from exc

    def _apply_faults(self, request: StripeRequest, authorization: str) -> None:
        for fault in self.faults.take(request.endpoint, request.session, request.expanded):
            self._apply_fault(fault, request, authorization)

    def _apply_fault(self, fault: StripeFault, request: StripeRequest, authorization: str) -> None:
        match fault.kind:
            case FaultKind.LATENCY:
                self._stopping.wait(fault.seconds)
            case FaultKind.HANG:
                self._stopping.wait(fault.seconds)
                raise DropConnectionError
            case FaultKind.DROP:
                raise DropConnectionError
            case FaultKind.RATE_LIMIT:
                raise errors.rate_limited("endpoint-rate")
            case FaultKind.SERVER_ERROR:
                raise errors.server_error()
            case FaultKind.MISSING:
                raise errors.no_such_session(request.session or "")
            case FaultKind.UNAUTHORIZED:
                raise errors.wrong_key("sk_test_" + "0" * 24)
            case FaultKind.FORBIDDEN:
                _, _, key = authorization.partition(" ")
                raise errors.forbidden(key, ACCOUNT, _permission(fault, request))

    def _log(self, request: StripeRequest, status: int) -> None:
        self.calls.record(LoggedCall(request.endpoint, request.session, status, monotonic()))


def _permission(fault: StripeFault, request: StripeRequest) -> str:
    default = _PERMISSIONS.get(request.endpoint, "rak_account_read")
    return _EXPANDED_PERMISSIONS.get(fault.expanding or "", default)
