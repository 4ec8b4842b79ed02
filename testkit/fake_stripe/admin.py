"""The other side of the counter: seed, break, heal and count from another process, in JSON under `/_admin/`.

PUT /_admin/faults              switch one more fault on: the fields of `Fault`
DELETE /_admin/faults           switch every fault off; with `?session=<id>` those of one session
GET /_admin/faults              what is switched on
POST /_admin/sessions           add sessions: a list of specs
PUT /_admin/keys                the API keys that are right from now on: a list
PUT /_admin/limits              `{"per_second": …, "per_endpoint": …}`; null lifts one
GET /_admin/calls               counts of requests; DELETE starts them afresh
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from testkit.fake_stripe.faults import fault_from_json, fault_to_json
from testkit.fake_stripe.specs import spec_from_json

if TYPE_CHECKING:
    from testkit.fake_stripe.server import FakeStripe

PREFIX: Final = "/_admin/"

type Json = dict[str, Any]


def handle(stripe: "FakeStripe", method: str, target: str, content: bytes) -> tuple[int, Json]:
    """Status and body of the answer to one admin request."""
    url = urlsplit(target)
    route = _ROUTES.get((method, url.path.removeprefix(PREFIX)))
    if route is None:
        return 404, {"error": f"no such admin endpoint: {method} {url.path}"}
    try:
        return 200, route(stripe, json.loads(content) if content else None, _first_values(url.query))
    except (ValueError, TypeError, KeyError) as exc:
        return 400, {"error": str(exc)}


def _first_values(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _add_fault(stripe: "FakeStripe", body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    stripe.faults.add(fault_from_json(body))
    return {}


def _clear_faults(stripe: "FakeStripe", _body: Any, query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    if "session" in query:
        stripe.faults.heal(query["session"])
    else:
        stripe.faults.clear()
    return {}


def _list_faults(stripe: "FakeStripe", _body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    return {"faults": [fault_to_json(fault) for fault in stripe.faults.active()]}


def _add_sessions(stripe: "FakeStripe", body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    specs = [spec_from_json(spec) for spec in body]
    stripe.store.add_all(specs)
    return {"added": len(specs)}


def _accept_keys(stripe: "FakeStripe", body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    if not isinstance(body, list) or not all(isinstance(key, str) and key for key in body):
        raise ValueError("keys are a list of strings")
    stripe.accept_keys(body)
    return {}


def _set_limits(stripe: "FakeStripe", body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    per_second, per_endpoint = body["per_second"], body["per_endpoint"]
    if not all(limit is None or isinstance(limit, int) for limit in (per_second, per_endpoint)):
        raise ValueError("a limit is a number of requests, or null")
    stripe.limits.per_second, stripe.limits.per_endpoint = per_second, per_endpoint
    return {}


def _count_calls(stripe: "FakeStripe", _body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    return stripe.calls.summary()


def _forget_calls(stripe: "FakeStripe", _body: Any, _query: Mapping[str, str]) -> Json:  # noqa: ANN401 - JSON
    stripe.calls.clear()
    return {}


_ROUTES: Final[Mapping[tuple[str, str], Callable[["FakeStripe", Any, Mapping[str, str]], Json]]] = {
    ("PUT", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "faults"): _list_faults,
    ("POST", "sessions"): _add_sessions,
    ("PUT", "keys"): _accept_keys,
    ("PUT", "limits"): _set_limits,
    ("GET", "calls"): _count_calls,
    ("DELETE", "calls"): _forget_calls,
}
