"""The client of a fake Stripe that runs in another process."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

from testkit.fake_stripe.admin import PREFIX
from testkit.fake_stripe.faults import StripeFault, fault_from_json, fault_to_json
from testkit.fake_stripe.specs import SessionSpec, spec_to_json
from testkit.shapes import JsonObject

_TIMEOUT_SECONDS = 30
# A request body with this many sessions is a few megabytes.
_SESSIONS_PER_REQUEST = 5000


class FakeStripeAdminError(Exception):
    """The fake Stripe refused an admin request."""


class FakeStripeAdmin:
    """Adds sessions and faults, and counts calls. It needs no closing."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def add_sessions(self, specs: Iterable[SessionSpec]) -> int:
        """Add sessions and return their number."""
        bodies = [spec_to_json(spec) for spec in specs]
        starts = range(0, len(bodies), _SESSIONS_PER_REQUEST)
        chunks = [bodies[start : start + _SESSIONS_PER_REQUEST] for start in starts]
        return sum(self._ask("POST", "sessions", chunk)["added"] for chunk in chunks)

    def add_fault(self, fault: StripeFault) -> None:
        self._ask("PUT", "faults", fault_to_json(fault))

    def heal(self, session: str) -> None:
        self._ask("DELETE", f"faults?session={quote(session)}")

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults")

    def faults(self) -> list[StripeFault]:
        return [fault_from_json(fault) for fault in self._ask("GET", "faults")["faults"]]

    def accept_keys(self, keys: Iterable[str]) -> None:
        self._ask("PUT", "keys", list(keys))

    def set_limits(self, *, per_second: int | None, per_endpoint: int | None) -> None:
        self._ask("PUT", "limits", {"per_second": per_second, "per_endpoint": per_endpoint})

    def calls(self) -> JsonObject:
        """Return `{"total": 3, "endpoints": {"list": {"200": 3}}}`; status 0 is a dropped connection."""
        return self._ask("GET", "calls")

    def clear_calls(self) -> None:
        self._ask("DELETE", "calls")

    def _ask(self, method: str, path: str, body: object = None) -> JsonObject:
        connection = HTTPConnection(self._address, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, PREFIX + path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer: JsonObject = json.loads(response.read())
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise FakeStripeAdminError(answer.get("error", f"status {response.status}"))
        return answer
