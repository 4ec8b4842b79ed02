"""Stripe's endpoints: from a request to the body of its response, or to an error of `errors`. No sockets.

They have the parameters that the product and the stripe library send; every other one is an error.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from testkit.fake_stripe import errors
from testkit.fake_stripe.disputes import dispute_object
from testkit.fake_stripe.expansion import NOTHING, parse_expansion
from testkit.fake_stripe.faults import Endpoint
from testkit.fake_stripe.objects import (
    event_object,
    item_objects,
    line_items_url,
    list_object,
    product_object,
    session_object,
)
from testkit.fake_stripe.params import CREATED, PAGING, Params
from testkit.fake_stripe.payments import invoice_payment_object
from testkit.fake_stripe.specs import SessionSpec, Status
from testkit.fake_stripe.store import CreatedRange, EventSpec, Store, StorePage, UnknownCursorError
from testkit.shapes import JsonObject

SESSIONS_URL = "/v1/checkout/sessions"
EVENTS_URL = "/v1/events"
DISPUTES_URL = "/v1/disputes"
INVOICE_PAYMENTS_URL = "/v1/invoice_payments"
PRODUCTS_URL = "/v1/products"
MAX_EVENT_TYPES = 20

_LISTS = {
    SESSIONS_URL: Endpoint.LIST,
    EVENTS_URL: Endpoint.EVENTS,
    DISPUTES_URL: Endpoint.DISPUTES,
    INVOICE_PAYMENTS_URL: Endpoint.INVOICE_PAYMENTS,
    PRODUCTS_URL: Endpoint.PRODUCTS,
}
_ONE_SESSION = re.compile(rf"^{SESSIONS_URL}/(?P<session>[^/]+)$")
_LINE_ITEMS = re.compile(rf"^{SESSIONS_URL}/(?P<session>[^/]+)/line_items$")


@dataclass(frozen=True, slots=True)
class StripeRequest:
    """A request, as far as its URL describes it."""

    endpoint: Endpoint
    session: str | None
    query: str

    @property
    def expanded(self) -> list[str]:
        """Return the paths of `expand[]`, valid or not."""
        return Params(self.query).texts("expand")


def understand(method: str, path: str, query: str) -> StripeRequest:
    """Return the request of a URL. The fake only reads, so that every other method is an unknown URL."""
    if method != "GET":
        return StripeRequest(Endpoint.UNKNOWN, None, query)
    if path in _LISTS:
        return StripeRequest(_LISTS[path], None, query)
    for pattern, endpoint in ((_ONE_SESSION, Endpoint.RETRIEVE), (_LINE_ITEMS, Endpoint.LINE_ITEMS)):
        if found := pattern.match(path):
            return StripeRequest(endpoint, found["session"], query)
    return StripeRequest(Endpoint.UNKNOWN, None, query)


def answer(store: Store, request: StripeRequest) -> JsonObject:
    """Return the body of a successful response. Raise StripeFailureError otherwise."""
    if request.endpoint in _LISTED:
        return _LISTED[request.endpoint](store, request.query)
    match request.endpoint:
        case Endpoint.RETRIEVE:
            return retrieve_session(store, request)
        case Endpoint.LINE_ITEMS:
            return list_line_items(store, request)
        case _:
            raise ValueError("an unknown URL has no answer")


def list_sessions(store: Store, query: str) -> JsonObject:
    params = Params(query, PAGING | CREATED | {"status", "payment_intent", "customer_details[email]"})
    expand = parse_expansion(params.texts("expand"), "sessions").get("data", NOTHING)
    status = params.choice("status", get_args(Status))
    intent, email = params.text("payment_intent"), params.text("customer_details[email]")

    def is_wanted(spec: SessionSpec) -> bool:
        is_named = intent in (None, spec.payment_intent) and email in (None, spec.email)
        return is_named and status in (None, spec.status)

    page = _read_page(store.sessions, params, is_wanted, "checkout.session")
    built = [session_object(spec, expand) for spec in page.items]
    return list_object(built, SESSIONS_URL, has_more=page.has_more)


def list_events(store: Store, query: str) -> JsonObject:
    params = Params(query, PAGING | CREATED | {"types", "delivery_success"})
    parse_expansion(params.texts("expand"), "events")
    types = params.texts("types")
    if len(types) > MAX_EVENT_TYPES:
        raise errors.invalid(f"You may pass at most {MAX_EVENT_TYPES} types.", "types")
    delivered = params.boolean("delivery_success")

    def is_wanted(event: EventSpec) -> bool:
        if types and event.type not in types:
            return False
        return delivered is None or is_delivered(store, event) == delivered

    page = _read_page(store.events, params, is_wanted, "event")
    built = [event_object(event, spec) for event in page.items if (spec := store.session(event.session_id))]
    return list_object(built, EVENTS_URL, has_more=page.has_more)


def is_delivered(store: Store, event: EventSpec) -> bool:
    """Return whether the shop's webhook has acknowledged an event."""
    spec = store.session(event.session_id)
    return spec is not None and spec.event_delivered


def list_disputes(store: Store, query: str) -> JsonObject:
    params = Params(query, PAGING | CREATED | {"charge"})
    parse_expansion(params.texts("expand"), "disputes")
    charge = params.text("charge")
    page = _read_page(store.disputes, params, lambda dispute: charge in (None, dispute.charge), "dispute")
    built = [
        dispute_object(spec, dispute.created)
        for dispute in page.items
        if (spec := store.session(dispute.session_id))
    ]
    return list_object(built, DISPUTES_URL, has_more=page.has_more)


def list_invoice_payments(store: Store, query: str) -> JsonObject:
    """Return the payments of one invoice, or of all: a free one has none, every other has one."""
    params = Params(query, PAGING | {"invoice"})
    expand = parse_expansion(params.texts("expand"), "invoice_payments").get("data", NOTHING)
    limit, invoice = params.limit(), params.text("invoice")
    if invoice is None:
        if params.text("starting_after") is not None:
            raise errors.invalid("The fake lists the first page of all invoices only.", "starting_after")
        page = store.sessions(limit, CreatedRange(), None, lambda spec: bool(spec.invoice and spec.intent_id))
        paid, has_more = list(page.items), page.has_more
    else:
        spec = store.session_of_invoice(invoice)
        if spec is None:
            raise errors.no_such_cursor("invoice", invoice, "invoice")
        paid, has_more = [spec] if spec.intent_id else [], False
    payments = [invoice_payment_object(spec, expand) for spec in paid]
    return list_object(payments, INVOICE_PAYMENTS_URL, has_more=has_more)


def list_products(store: Store, query: str) -> JsonObject:
    """Return the products with the given ids. A deleted one is not listed."""
    params = Params(query, PAGING | {"ids"})
    parse_expansion(params.texts("expand"), "products")
    limit, ids = params.limit(), params.texts("ids")
    if not ids:
        raise errors.invalid("The fake lists products by their ids only.", "ids")
    if params.text("starting_after") is not None:
        raise errors.invalid("You cannot use `starting_after` with `ids`.", "starting_after")
    lines = [line for each in dict.fromkeys(ids) if (line := store.product(each))]
    found = [product_object(line) for line in lines if line.product != "deleted"]
    return list_object(found[:limit], PRODUCTS_URL, has_more=len(found) > limit)


def retrieve_session(store: Store, request: StripeRequest) -> JsonObject:
    spec = _find_session(store, request)
    params = Params(request.query, {"expand"})
    return session_object(spec, parse_expansion(params.texts("expand"), "checkout.session"))


def list_line_items(store: Store, request: StripeRequest) -> JsonObject:
    """Return a page of lines in the order of the session, since lines have no date."""
    spec = _find_session(store, request)
    params = Params(request.query, PAGING)
    expand = parse_expansion(params.texts("expand"), "items").get("data", NOTHING)
    ids = [spec.line_id(position) for position in range(len(spec.lines))]
    after = params.text("starting_after")
    if after is not None and after not in ids:
        raise errors.no_such_cursor("item", after, "starting_after")
    left = range(0 if after is None else ids.index(after) + 1, len(ids))
    shown = left[: params.limit()]
    has_more = len(shown) < len(left)
    return list_object(item_objects(spec, shown, expand), line_items_url(spec.id), has_more=has_more)


def _find_session(store: Store, request: StripeRequest) -> SessionSpec:
    session_id = request.session or ""
    spec = store.session(session_id)
    if spec is None:
        raise errors.no_such_session(session_id)
    return spec


def _read_page[T](
    read: Callable[[int, CreatedRange, str | None, Callable[[T], bool]], StorePage[T]],
    params: Params,
    is_wanted: Callable[[T], bool],
    kind: str,
) -> StorePage[T]:
    try:
        return read(params.limit(), params.created(), params.text("starting_after"), is_wanted)
    except UnknownCursorError as exc:
        raise errors.no_such_cursor(kind, str(exc), "starting_after") from exc


_LISTED: Mapping[Endpoint, Callable[[Store, str], JsonObject]] = {
    Endpoint.LIST: list_sessions,
    Endpoint.EVENTS: list_events,
    Endpoint.DISPUTES: list_disputes,
    Endpoint.INVOICE_PAYMENTS: list_invoice_payments,
    Endpoint.PRODUCTS: list_products,
}
