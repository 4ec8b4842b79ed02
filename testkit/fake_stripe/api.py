"""Stripe's endpoints: from a request to the body of its answer, or to one of `errors`. No sockets here."""

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from testkit.fake_stripe import errors
from testkit.fake_stripe.disputes import dispute_object
from testkit.fake_stripe.expansion import NOTHING, expansion
from testkit.fake_stripe.faults import Endpoint
from testkit.fake_stripe.objects import (
    event_object,
    item_objects,
    line_items_url,
    list_object,
    session_object,
)
from testkit.fake_stripe.params import CREATED, PAGING, Params
from testkit.fake_stripe.specs import SessionSpec, Status
from testkit.fake_stripe.store import (
    Cursor,
    DisputeSpec,
    EventSpec,
    Page,
    Store,
    UnknownCursorError,
    Window,
)

SESSIONS_URL = "/v1/checkout/sessions"
EVENTS_URL = "/v1/events"
DISPUTES_URL = "/v1/disputes"
MAX_EVENT_TYPES = 20

_SESSION_FILTERS = frozenset({"status", "customer", "payment_intent", "customer_details[email]"})
_EVENT_FILTERS = frozenset({"type", "types", "delivery_success"})
_DISPUTE_FILTERS = frozenset({"charge", "payment_intent"})

_ONE_SESSION = re.compile(rf"^{SESSIONS_URL}/(?P<session>[^/]+)$")
_LINE_ITEMS = re.compile(rf"^{SESSIONS_URL}/(?P<session>[^/]+)/line_items$")

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, understood from the URL alone."""

    endpoint: Endpoint
    session: str | None
    query: str

    @property
    def expanded(self) -> list[str]:
        """The paths of `expand[]`, whether they can be followed or not."""
        return Params(self.query).texts("expand")


def understand(method: str, path: str, query: str) -> Request:
    """Which endpoint a URL means. The fake only ever reads, so every other method is an unknown URL."""
    if method != "GET":
        return Request(Endpoint.UNKNOWN, None, query)
    if path == SESSIONS_URL:
        return Request(Endpoint.LIST, None, query)
    if path == EVENTS_URL:
        return Request(Endpoint.EVENTS, None, query)
    if path == DISPUTES_URL:
        return Request(Endpoint.DISPUTES, None, query)
    for pattern, endpoint in ((_ONE_SESSION, Endpoint.RETRIEVE), (_LINE_ITEMS, Endpoint.LINE_ITEMS)):
        if found := pattern.match(path):
            return Request(endpoint, found["session"], query)
    return Request(Endpoint.UNKNOWN, None, query)


def answer(store: Store, request: Request) -> Json:
    """The body of the 200. Raises StripeFailureError for anything else."""
    match request.endpoint:
        case Endpoint.LIST:
            return list_sessions(store, request.query)
        case Endpoint.EVENTS:
            return list_events(store, request.query)
        case Endpoint.DISPUTES:
            return list_disputes(store, request.query)
        case Endpoint.RETRIEVE:
            return retrieve_session(store, request)
        case Endpoint.LINE_ITEMS:
            return list_line_items(store, request)
        case Endpoint.UNKNOWN:
            raise ValueError("an unknown URL has no answer")


def list_sessions(store: Store, query: str) -> Json:
    params = Params(query, PAGING | CREATED | _SESSION_FILTERS)
    expand = expansion(params.texts("expand"), "sessions").get("data", NOTHING)
    wanted = _session_filter(params)
    page = _cut(store.sessions, params, wanted, "checkout.session")
    return list_object(
        [session_object(spec, expand) for spec in page.items], SESSIONS_URL, has_more=page.has_more
    )


def list_events(store: Store, query: str) -> Json:
    params = Params(query, PAGING | CREATED | _EVENT_FILTERS)
    expansion(params.texts("expand"), "events")
    page = _cut(store.events, params, _event_filter(store, params), "event")
    built = [
        event_object(event, spec)
        for event in page.items
        if (spec := store.session(event.session_id)) is not None
    ]
    return list_object(built, EVENTS_URL, has_more=page.has_more)


def list_disputes(store: Store, query: str) -> Json:
    params = Params(query, PAGING | CREATED | _DISPUTE_FILTERS)
    expand = expansion(params.texts("expand"), "disputes").get("data", NOTHING)
    page = _cut(store.disputes, params, _dispute_filter(store, params), "dispute")
    built = [
        dispute_object(spec, dispute.created, expand)
        for dispute in page.items
        if (spec := store.session(dispute.session_id)) is not None
    ]
    return list_object(built, DISPUTES_URL, has_more=page.has_more)


def retrieve_session(store: Store, request: Request) -> Json:
    spec = _known_session(store, request)
    params = Params(request.query, {"expand"})
    return session_object(spec, expansion(params.texts("expand"), "checkout.session"))


def list_line_items(store: Store, request: Request) -> Json:
    spec = _known_session(store, request)
    params = Params(request.query, PAGING)
    expand = expansion(params.texts("expand"), "items").get("data", NOTHING)
    start, stop = _line_range(spec, params.cursor())
    shown = _nearest(range(start, stop), params.limit(), from_end=params.text("ending_before") is not None)
    has_more = len(shown) < stop - start
    return list_object(item_objects(spec, shown, expand), line_items_url(spec.id), has_more=has_more)


def _known_session(store: Store, request: Request) -> SessionSpec:
    session_id = request.session or ""
    spec = store.session(session_id)
    if spec is None:
        raise errors.no_such_session(session_id)
    return spec


def _session_filter(params: Params) -> Callable[[SessionSpec], bool]:
    wanted = {
        "status": params.choice("status", get_args(Status)),
        "customer": params.text("customer"),
        "payment_intent": params.text("payment_intent"),
        "email": params.text("customer_details[email]"),
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    return lambda spec: all(getattr(spec, name) == value for name, value in given.items())


def _event_filter(store: Store, params: Params) -> Callable[[EventSpec], bool]:
    patterns = _event_types(params)
    delivered = params.boolean("delivery_success")

    def wanted(event: EventSpec) -> bool:
        if patterns and not any(fnmatch.fnmatchcase(event.type, pattern) for pattern in patterns):
            return False
        return delivered is None or _is_delivered(store, event) == delivered

    return wanted


def _dispute_filter(store: Store, params: Params) -> Callable[[DisputeSpec], bool]:
    given = {name: value for name in _DISPUTE_FILTERS if (value := params.text(name)) is not None}

    def wanted(dispute: DisputeSpec) -> bool:
        spec = store.session(dispute.session_id)
        return spec is not None and all(getattr(spec, name) == value for name, value in given.items())

    return wanted


def _event_types(params: Params) -> list[str]:
    """`type` may hold a `*`; `types` names events exactly, but the fake takes a `*` there, too."""
    one, several = params.text("type"), params.texts("types")
    if one is not None and several:
        raise errors.invalid("You may pass either `type` or `types`, but not both.", "types")
    if len(several) > MAX_EVENT_TYPES:
        raise errors.invalid(f"You may pass at most {MAX_EVENT_TYPES} types.", "types")
    return several if one is None else [one]


def _is_delivered(store: Store, event: EventSpec) -> bool:
    spec = store.session(event.session_id)
    return spec is not None and spec.event_delivered


def _cut[T](
    source: Callable[[int, Window, Cursor, Callable[[T], bool]], Page[T]],
    params: Params,
    wanted: Callable[[T], bool],
    kind: str,
) -> Page[T]:
    cursor = params.cursor()
    try:
        return source(params.limit(), params.window(), cursor, wanted)
    except UnknownCursorError as exc:
        param = "ending_before" if cursor.starting_after is None else "starting_after"
        raise errors.no_such_cursor(kind, str(exc), param) from exc


def _line_range(spec: SessionSpec, cursor: Cursor) -> tuple[int, int]:
    """The lines that a cursor leaves, in the order of the session: lines have no date."""
    if cursor.starting_after is not None:
        return _line_position(spec, cursor.starting_after, "starting_after") + 1, len(spec.lines)
    if cursor.ending_before is not None:
        return 0, _line_position(spec, cursor.ending_before, "ending_before")
    return 0, len(spec.lines)


def _line_position(spec: SessionSpec, line_id: str, param: str) -> int:
    for position in range(len(spec.lines)):
        if spec.line_id(position) == line_id:
            return position
    raise errors.no_such_cursor("item", line_id, param)


def _nearest(positions: range, limit: int, *, from_end: bool) -> range:
    return positions[-limit:] if from_end else positions[:limit]
