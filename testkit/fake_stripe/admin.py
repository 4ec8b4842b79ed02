"""The admin endpoints of a fake Stripe, with which another process controls it, in JSON under `/_admin/`.

PUT /_admin/faults              add a fault: the fields of `StripeFault`
DELETE /_admin/faults           remove all faults; with `?session=<id>` those of one session
GET /_admin/faults              list the faults
POST /_admin/sessions           add sessions: a list of specs
PUT /_admin/keys                replace the valid API keys: a list
PUT /_admin/limits              `{"per_second": …, "per_endpoint": …}`; null removes a limit
GET /_admin/calls               counts of requests; DELETE resets them
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from testkit.fake_stripe.faults import Faults, fault_from_json, fault_to_json
from testkit.fake_stripe.specs import spec_from_json
from testkit.fake_stripe.store import Store
from testkit.fake_stripe.traffic import Calls, RateLimits
from testkit.shapes import JsonObject

PREFIX: Final = "/_admin/"


class AdminTarget(Protocol):
    """The parts of a fake Stripe that can be controlled."""

    store: Store
    faults: Faults
    calls: Calls
    limits: RateLimits

    def accept_keys(self, keys: Iterable[str]) -> None: ...


def handle(stripe: AdminTarget, method: str, target: str, content: bytes) -> tuple[int, JsonObject]:
    """Return the status and the body of the response to one admin request."""
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    try:
        body = json.loads(content) if content else None
        answer = _perform(stripe, method, url.path.removeprefix(PREFIX), body, query)
    except (ValueError, TypeError, KeyError) as exc:
        return 400, {"error": str(exc)}
    if answer is None:
        return 404, {"error": f"no such admin endpoint: {method} {url.path}"}
    return 200, answer


def _perform(
    stripe: AdminTarget, method: str, path: str, body: Any, query: Mapping[str, str]
) -> JsonObject | None:
    match method, path:
        case _, "faults":
            return _perform_on_faults(stripe.faults, method, body, query.get("session"))
        case "POST", "sessions":
            specs = [spec_from_json(spec) for spec in body]
            stripe.store.add_all(specs)
            return {"added": len(specs)}
        case "PUT", "keys":
            if not isinstance(body, list) or not all(isinstance(key, str) and key for key in body):
                raise ValueError("keys must be a list of strings")
            stripe.accept_keys(body)
        case "PUT", "limits":
            limits = body["per_second"], body["per_endpoint"]
            if not all(limit is None or isinstance(limit, int) for limit in limits):
                raise ValueError("a limit must be a number of requests, or null")
            stripe.limits.per_second, stripe.limits.per_endpoint = limits
        case "GET", "calls":
            return stripe.calls.summary()
        case "DELETE", "calls":
            stripe.calls.clear()
        case _:
            return None
    return {}


def _perform_on_faults(faults: Faults, method: str, body: Any, session: str | None) -> JsonObject | None:
    match method:
        case "PUT":
            faults.add(fault_from_json(body))
        case "DELETE" if session is not None:
            faults.heal(session)
        case "DELETE":
            faults.clear()
        case "GET":
            return {"faults": [fault_to_json(fault) for fault in faults.active()]}
        case _:
            return None
    return {}
