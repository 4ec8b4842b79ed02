"""Stripe's data: pages of sessions, events, and one session with all its line items.

It applies the rate limit, retries, and what an invocation learns about the key.
"""

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from recon.domain.message import is_id
from recon.domain.payment_state import Payment, find_payment
from recon.domain.stripe_objects import (
    ASYNC_PAYMENT_SUCCEEDED,
    CHECKOUT_COMPLETED,
    FREE,
    SUBSCRIPTION,
    Json,
)
from recon.domain.stripe_values import read_flag
from recon.errors import (
    KeyNotAllowed,
    KeyRejected,
    KeyUnavailable,
    MalformedSession,
    Retryable,
    SessionNotFound,
    StripeThrottled,
    StripeUnavailable,
    SyncError,
)
from recon.retry import STRIPE_ATTEMPTS, Deadline, attempts
from recon.stripe.bulk import read_together
from recon.stripe.expansions import (
    INVOICE_PAYMENT_EXPANSIONS,
    LINE_EXPANSIONS,
    LISTED_EXPANSIONS,
    LISTED_REQUIRED,
    REQUIRED,
    SESSION_EXPANSIONS,
    ExpandedRequests,
    Expansion,
)
from recon.stripe.pages import EMPTY_PAGE, PAGE_SIZE, Page, has_id, read_page, read_rows, read_valid_rows

if TYPE_CHECKING:
    from recon.stripe.connection import StripeConnection

SESSIONS = "/v1/checkout/sessions"
EVENTS = "/v1/events"
DISPUTES = "/v1/disputes"
PRODUCTS = "/v1/products"
INVOICE_PAYMENTS = "/v1/invoice_payments"
# The permissions of a restricted key that requests need, besides those of their expansions.
READ_SESSIONS, READ_EVENTS, READ_DISPUTES, READ_INVOICES = "sessions", "events", "disputes", "invoices"
READ_PRODUCTS, READ_LISTED = "products", "listed"
ANY_PERMISSION = ""
EVENT_TYPES = (CHECKOUT_COMPLETED, ASYNC_PAYMENT_SUCCEEDED)


@dataclass(frozen=True)
class FetchedSession:
    """A session with all its line items and its payment.

    `charges_known` is False if the key may not read all of the payment, `details_known` if it may not read
    one of the optional objects of `expansions`. `number` counts what an invocation reads.
    """

    session: Json
    line_items: list[Json]
    payment: Payment = field(default_factory=Payment)
    charges_known: bool = True
    details_known: bool = True
    number: int = field(default=0, compare=False)


@dataclass(frozen=True)
class SessionEvent:
    """An event of a completed or paid session; `created` is in epoch seconds."""

    id: str
    type: str
    created: int
    session_id: str


class StripeSource:
    """Stripe for one invocation: rate-limited, with retries within the deadline. It is thread-safe.

    `find_share` returns the share of the connection's rate that is allowed at the moment. All requests but
    the first leave time for `reserved_requests` of `find_events_between`.
    """

    def __init__(
        self,
        connection: "StripeConnection",
        deadline: Deadline,
        on_throttle: Callable[[], None],
        tries: int = STRIPE_ATTEMPTS,
        find_share: Callable[[], float] = lambda: 1.0,
        reserved_requests: int = 0,
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self._tries = tries
        self._on_throttle = on_throttle
        self._find_share = find_share
        self._reserved_requests = reserved_requests
        self._rejections: dict[str, SyncError] = {}
        self._numbers = itertools.count(1)
        # By moment, with the number that was next when the read began.
        self._paid: dict[int, tuple[int, frozenset[str]]] = {}
        self._paid_lock = threading.Lock()
        self._key_lock = threading.Lock()
        self._beginning = threading.Lock()
        self._has_sent = False
        self._proofs: set[tuple[str, str]] = set()
        self._proof_lock = threading.Lock()
        self._is_superseded: bool | None = None
        connection.key.renew()
        self._expanded = ExpandedRequests(self._get)

    def list_sessions(
        self, created_from: int, created_to: int, *, after: str | None = None, limit: int = PAGE_SIZE
    ) -> Page:
        """Return a page of the complete sessions created in [from, to] (epoch seconds), newest first.

        It starts after the session id `after`. https://docs.stripe.com/api/checkout/sessions/list
        """
        params = _complete_sessions(created_from, created_to) | {"limit": limit}
        params |= {"starting_after": after} if after else {}
        return read_page(self._get(SESSIONS, params, READ_SESSIONS))

    def list_expanded(self, created_from: int, created_to: int, limit: int = PAGE_SIZE) -> Page:
        """Return the newest page of `list_sessions` with all that `fetch` returns but products.

        Of a session with more than ten lines, Stripe embeds only the first. A page that is late, that fails
        or that the key may not read is an error at once, since there is a smaller request for each session.
        """
        expansions = self._expanded.list_allowed(LISTED_EXPANSIONS)
        params = _complete_sessions(created_from, created_to) | {
            "limit": limit,
            "expand": [*LISTED_REQUIRED, *(path for each in expansions for path in each.paths)],
        }
        permission = "+".join([READ_SESSIONS, READ_LISTED, *(each.permission for each in expansions)])
        return read_page(self._get(SESSIONS, params, permission, on=(StripeThrottled,)))

    def list_products(self, ids: Sequence[str]) -> list[Json]:
        """Return the products with these ids, 100 at most. Deleted ones are not listed."""
        # The default limit is 10, also for more ids.
        data = self._get(PRODUCTS, {"ids": list(ids), "limit": PAGE_SIZE}, READ_PRODUCTS)
        return read_valid_rows(data, "products")

    def search_sessions(self, filters: Json) -> list[Json]:
        """Return the newest hundred sessions of any status that match Stripe's own filters of the list.

        Raise SessionNotFound if a filter names an object that does not exist.
        """
        rows = read_rows(self._get(SESSIONS, {**filters, "limit": PAGE_SIZE}, READ_SESSIONS))
        return [row for row in rows if has_id(row) and is_id(row["id"])]

    def list_events(
        self,
        created_from: int,
        *,
        created_to: int | None = None,
        undelivered: bool = False,
        types: Sequence[str] = EVENT_TYPES,
    ) -> Iterator[SessionEvent]:
        """Yield events of completed and of paid sessions, newest first, created within the epoch seconds.

        Both ends are inclusive, and without `created_to` now is the end. With `undelivered`, yield only
        events that no webhook has acknowledged. Raise KeyNotAllowed if the key may not read events.
        https://docs.stripe.com/api/events/list
        """
        params: Json = {
            "types": list(types),
            "created": {"gte": created_from} | ({} if created_to is None else {"lte": created_to}),
            "limit": PAGE_SIZE,
        }
        params |= {"delivery_success": "false"} if undelivered else {}
        for row in self._iterate(EVENTS, params, READ_EVENTS, skip_invalid=True):
            if event := _parse_event(row):
                yield event

    def find_events_between(self, created_from: int, created_to: int) -> list[SessionEvent]:
        """Return the newest events of completed and paid sessions within two epoch seconds: one page.

        Both ends are inclusive. The result is empty if the key may not read events.
        """
        params: Json = {
            "types": list(EVENT_TYPES),
            "created": {"gte": created_from, "lte": created_to},
            "limit": PAGE_SIZE,
        }
        try:
            rows = read_rows(self._get(EVENTS, params, READ_EVENTS, reserved=0))
        except KeyNotAllowed:
            return []
        return [event for row in filter(has_id, rows) if (event := _parse_event(row))]

    def is_paid_after(self, moment: int, fetched: FetchedSession) -> bool:
        """Return whether the delayed payment of a fetched session succeeded after `moment` (epoch seconds).

        The events are read after the session, whose payment may have settled since others were fetched. One
        read serves all sessions that were fetched before it. If the key may not read events, it is False.
        """
        with self._paid_lock:
            began, paid = self._paid.get(moment, (0, frozenset()))
            if began <= fetched.number:
                began = next(self._numbers)
                paid = self._load_paid_after(moment)
                self._paid[moment] = began, paid
        return fetched.session.get("id") in paid

    def _load_paid_after(self, moment: int) -> frozenset[str]:
        try:
            events = list(self.list_events(moment + 1))
        except KeyNotAllowed:
            return frozenset()
        return frozenset(event.session_id for event in events if event.type == ASYNC_PAYMENT_SUCCEEDED)

    def list_together(self, wanted: Mapping[str, int], pool: Executor) -> Generator[dict[str, Json | None]]:
        """Yield the sessions in parts, each as `fetch` takes it as `listed`. Close it to stop early.

        Those that lie close together are listed. `wanted` has the `created` of each id (epoch seconds).
        """
        return read_together(self, self._connection.products, wanted, pool)

    def fetch(self, session_id: str, listed: Json | None = None) -> FetchedSession:
        """Fetch a session, all its line items with products, and its payment.

        A session with up to ten items takes one request, or none if `listed` is what a list brought of it. A
        subscription takes one more, and so does a disputed payment. Raise SessionNotFound, or another error
        in `connection.ERRORS`.
        """
        path = f"{SESSIONS}/{quote(session_id, safe='')}"
        session = listed or self._expanded.get(path, {}, READ_SESSIONS, SESSION_EXPANSIONS, REQUIRED)
        embedded = session.get("line_items")
        if not isinstance(embedded, dict):
            raise MalformedSession("line_items must be a list")
        items = read_valid_rows(embedded, "line_items")
        if embedded.get("has_more") is True:
            further: Json = {"limit": PAGE_SIZE, "expand": [*LINE_EXPANSIONS]}
            further |= {"starting_after": items[-1]["id"]} if items else {}
            items.extend(self._iterate(f"{path}/line_items", further, READ_SESSIONS))
        payment, payment_known = self._fetch_payment(session)
        denied = self.list_denied()
        charges_known = payment_known and all(each.is_detail for each in denied)
        details_known = not any(each.is_detail for each in denied)
        number = next(self._numbers)
        return FetchedSession(session, items, payment, charges_known, details_known, number)

    def list_denied(self) -> list[Expansion]:
        """Return the optional objects of a session that the key turned out to lack permission for."""
        return self._expanded.list_denied(SESSION_EXPANSIONS)

    def is_gone(self, session_id: str, proof_id: str) -> bool:
        """Return whether the key cannot find a session, and can find `proof_id` of the same account and mode.

        It is False if the key was replaced in between: then the two responses prove nothing.
        """
        key = self._connection.key.read()
        with self._proof_lock:
            if (key, proof_id) not in self._proofs:
                if not self.has_session(proof_id):
                    return False
                self._proofs.add((key, proof_id))
        return not self.has_session(session_id) and self._connection.key.read() == key

    def reload_key(self) -> bool:
        """Read the key's parameter again. Return True if it has another key than before."""
        key = self._connection.key
        return key.find_replacement(key.read()) is not None

    def has_newer_key(self) -> bool:
        """Return whether the key's parameter has another key by now, which the next invocation uses.

        The parameter is read once. It is False if that fails. The key does not change in the middle of an
        invocation: if the new one were of another account, its list of paid sessions would lack the shop's.
        """
        with self._key_lock:
            if self._is_superseded is None:
                try:
                    self._is_superseded = self._connection.key.is_superseded()
                except KeyUnavailable:
                    self._is_superseded = False
            return self._is_superseded

    def has_session(self, session_id: str) -> bool:
        """Return True if the key can read the session, False if Stripe does not know it (404)."""
        return self.find_session(session_id) is not None

    def find_session(self, session_id: str) -> Json | None:
        """Return the session without its line items and payment, or None if Stripe does not know it (404)."""
        try:
            return self._get(f"{SESSIONS}/{quote(session_id, safe='')}", {}, READ_SESSIONS)
        except SessionNotFound:
            return None

    def _fetch_payment(self, session: Json) -> tuple[Payment, bool]:
        """Return the payment, and whether the key may read the invoice and the disputes that it needs."""
        try:
            payment = find_payment(session, self._fetch_invoice_payments(session))
        except KeyNotAllowed:
            return find_payment(session), False
        charge = payment.charge or {}
        if read_flag(charge, "disputed", parent="latest_charge.") is not True:
            return payment, True
        params = {"charge": charge.get("id"), "limit": PAGE_SIZE}
        try:
            disputes = tuple(self._iterate(DISPUTES, params, READ_DISPUTES))
        except KeyNotAllowed:
            return payment, False
        return replace(payment, disputes=disputes), True

    def _fetch_invoice_payments(self, session: Json) -> list[Json]:
        """Return the payments of a subscription's first invoice. A free one, as in a trial, has none."""
        invoice = session.get("invoice")
        invoice_id = invoice.get("id") if isinstance(invoice, dict) else invoice
        if session.get("mode") != SUBSCRIPTION or session.get("payment_status") == FREE or invoice_id is None:
            return []
        if not is_id(invoice_id):
            raise MalformedSession("invoice must be an id")
        params = {"invoice": invoice_id, "limit": PAGE_SIZE}
        data = self._expanded.get(INVOICE_PAYMENTS, params, READ_INVOICES, INVOICE_PAYMENT_EXPANSIONS)
        return read_valid_rows(data, "invoice_payments")

    def _iterate(
        self, path: str, params: Json, permission: str, *, skip_invalid: bool = False
    ) -> Iterator[Json]:
        """Yield all entries of a list, page by page.

        An entry without an id raises MalformedSession, or is skipped with `skip_invalid`.
        """
        name = path.rpartition("/")[2]
        while True:
            data = self._get(path, params, permission)
            rows = list(filter(has_id, read_rows(data))) if skip_invalid else read_valid_rows(data, name)
            yield from rows
            if data.get("has_more") is not True:
                return
            if not rows:
                raise StripeUnavailable(EMPTY_PAGE)
            params = params | {"starting_after": rows[-1]["id"]}

    def _get(
        self,
        path: str,
        params: Json,
        permission: str,
        on: tuple[type[Retryable], ...] = (StripeThrottled, StripeUnavailable),
        reserved: int | None = None,
    ) -> Json:
        # A rejected key is not retried: waiting does not make it valid.
        retrying = attempts(self._tries, self._deadline, first=0.2, longest=2.0, on=on)
        reserved = self._reserved_requests if reserved is None else reserved
        return retrying(self._get_once, path, params, permission, reserved)

    def _get_once(self, path: str, params: Json, permission: str, reserved: int) -> Json:
        key = self._read_key(permission)
        try:
            data = self._send(path, params, key, reserved)
        except KeyRejected as error:
            data = self._send(path, params, self._replace_key(key, permission, error), reserved)
        self._connection.rate_limiter.speed_up()
        return data

    def _read_key(self, permission: str) -> str:
        with self._key_lock:
            return self._unless_rejected(permission, self._connection.key.read)

    def _replace_key(self, rejected: str, permission: str, error: KeyRejected) -> str:
        """Return the key that replaced the rejected one. If there is none, record and raise the rejection."""
        with self._key_lock:
            replacement = self._unless_rejected(
                permission, lambda: self._connection.key.find_replacement(rejected)
            )
            if replacement is None:
                # A missing permission affects the requests that need it, a wrong key affects all.
                self._rejections[permission if isinstance(error, KeyNotAllowed) else ANY_PERMISSION] = error
                raise error
            return replacement

    def _unless_rejected[T](self, permission: str, load: Callable[[], T]) -> T:
        """Call `load`, unless this invocation has recorded a rejection: then raise that again."""
        if rejection := self._rejections.get(ANY_PERMISSION) or self._rejections.get(permission):
            raise type(rejection)(str(rejection))
        try:
            return load()
        except KeyUnavailable as error:
            self._rejections[ANY_PERMISSION] = error
            raise

    def _send(self, path: str, params: Json, key: str, reserved: int) -> Json:
        # One beginning request waits for its turn at a time, so that sessions under way come first and end.
        with self._beginning if _begins(path) else nullcontext():
            self._connection.rate_limiter.wait(
                self._deadline,
                needed_after=self._connection.timeout,
                find_share=self._find_share,
                # The first request always has its turn: only a success raises a rate that was lowered.
                turns_after=reserved if self._has_sent else 0,
            )
            self._has_sent = True
        try:
            return self._connection.get(path, params, key)
        except StripeThrottled:
            self._connection.rate_limiter.slow_down()
            self._on_throttle()
            raise


def _parse_event(event: Json) -> SessionEvent | None:
    """Read only the ids: the rest has the shape of the account's own API version."""
    data = event.get("data")
    subject = data.get("object") if isinstance(data, dict) else None
    session_id = subject.get("id") if isinstance(subject, dict) else None
    kind, created = event.get("type"), event.get("created")
    if not (is_id(event["id"]) and is_id(kind) and is_id(session_id)) or not isinstance(created, int):
        return None
    return SessionEvent(event["id"], str(kind), created, str(session_id))


def _begins(path: str) -> bool:
    """Return whether this is the first request for its sessions, after which further ones may follow."""
    return path.startswith(SESSIONS) and not path.endswith("/line_items")


def _complete_sessions(created_from: int, created_to: int) -> Json:
    return {"created": {"gte": created_from, "lte": created_to}, "status": "complete"}
